package engine_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
)

// chain is two steps of a model that appends x to past, which comes back as present.
func chain() (inputs, outputs []engine.TensorInfo, c engine.Chain) {
	info := func(name string) engine.TensorInfo { return engine.TensorInfo{Name: name, DType: engine.Float32} }
	inputs, outputs = []engine.TensorInfo{info("x"), info("past")}, []engine.TensorInfo{info("y"), info("present")}
	tensor := engine.Tensor{DType: engine.Float32, Shape: []int64{2}}
	c = engine.Chain{
		Links: []engine.Link{{Input: 1, Output: 1, Start: tensor, Shapes: [][]int64{{2}, {3}, {4}}}},
		Steps: [][]engine.Tensor{{tensor, {}}, {tensor, {}}},
	}
	return inputs, outputs, c
}

func TestChainsAreHeldAgainstTheirModel(t *testing.T) {
	inputs, outputs, c := chain()
	if err := c.Check(inputs, outputs); err != nil {
		t.Error(err)
	}
	if err := engine.Call(c.Steps[0]).Check(inputs, outputs); err != nil {
		t.Errorf("a call: %v", err)
	}
	for why, change := range map[string]func(c *engine.Chain){
		"there are none":                         func(c *engine.Chain) { c.Steps = nil },
		"1 inputs given for step 1":              func(c *engine.Chain) { c.Steps[1] = c.Steps[1][:1] },
		"from output 2 of 2":                     func(c *engine.Chain) { c.Links[0].Output = 2 },
		"to input -1 of 2":                       func(c *engine.Chain) { c.Links[0].Input = -1 },
		"is linked twice":                        func(c *engine.Chain) { c.Links = append(c.Links, c.Links[0]) },
		"differ in their type":                   func(c *engine.Chain) { c.Links[0].Start.DType = engine.Float16 },
		"starts with [2] and has 2 shapes":       func(c *engine.Chain) { c.Links[0].Shapes = c.Links[0].Shapes[:2] },
		"starts with [3] and has 3 shapes for 2": func(c *engine.Chain) { c.Links[0].Start.Shape = []int64{3} },
	} {
		inputs, outputs, c := chain()
		change(&c)
		err := c.Check(inputs, outputs)
		if err == nil || !strings.Contains(err.Error(), why) || engine.AsError(err).Kind != engine.KindInvalidInput {
			t.Errorf("%v, want %q", err, why)
		}
	}
}

func TestTheFirstStepsOfAChainAreAChain(t *testing.T) {
	inputs, outputs, c := chain()
	first := c.First(1)
	if err := first.Check(inputs, outputs); err != nil || len(first.Steps) != 1 {
		t.Errorf("%d steps, %v", len(first.Steps), err)
	}
	if len(c.Links[0].Shapes) != 3 || !reflect.DeepEqual(c.First(5), c) {
		t.Errorf("the chain itself has changed: %+v", c)
	}
}
