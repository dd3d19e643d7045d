package trt

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// memory is an engine whose input past grows by a token with each step.
func memory() EngineInfo {
	past := TensorInfo{Name: "past", Input: true, Shape: Shape{1, -1, 4}, Profiles: []Range{{Min: Shape{1, 0, 4}, Opt: Shape{1, 2, 4}, Max: Shape{1, 8, 4}}}}
	return EngineInfo{Profiles: 1, Tensors: []TensorInfo{{Name: "x", Input: true, Shape: Shape{1, 1, 4}}, past, {Name: "present", Shape: Shape{1, -1, 4}}, {Name: "mean", Shape: Shape{1, 4}}}}
}

// steps is a chain of n steps over a memory that begins with two tokens.
func steps(n int) *Chain {
	c := &Chain{Links: []Link{{Input: "past", Output: "present", Start: NewTensor(Float32, Shape{1, 2, 4}), Shapes: []Shape{{1, 2, 4}}}}}
	for i := range n {
		c.Steps = append(c.Steps, map[string]Tensor{"x": NewTensor(Float32, Shape{1, 1, 4})})
		c.Links[0].Shapes = append(c.Links[0].Shapes, Shape{1, int64(3 + i), 4})
	}
	return c
}

func TestChainsFitTheirEngine(t *testing.T) {
	job, err := BenchOptions{Depth: 1, Chain: steps(3)}.resolve(memory())
	if err != nil {
		t.Fatal(err)
	}
	if len(job.steps) != 3 || job.links[0].room() != 5*4*4 {
		t.Errorf("%d steps, memory of %d bytes", len(job.steps), job.links[0].room())
	}
	for i, step := range job.steps {
		if len(step) != 2 || step[1].name != "past" || !reflect.DeepEqual(step[1].Shape, Shape{1, int64(2 + i), 4}) || step[1].Data != nil {
			t.Errorf("step %d takes %+v", i, step)
		}
	}
	for want, change := range map[string]func(*BenchOptions){
		"a chain without steps":                                          func(o *BenchOptions) { o.Chain.Steps = nil },
		"a chain with a depth of 2":                                      func(o *BenchOptions) { o.Depth = 0 },
		`no output "past" to be linked with an input "past"`:             func(o *BenchOptions) { o.Chain.Links[0].Output = "past" },
		`input "past" is fp32 and starts with fp16`:                      func(o *BenchOptions) { o.Chain.Links[0].Start.DType = Float16 },
		"has 3 shapes for 3 steps":                                       func(o *BenchOptions) { o.Chain.Links[0].Shapes = o.Chain.Links[0].Shapes[:3] },
		"starts with 1x1x4":                                              func(o *BenchOptions) { o.Chain.Links[0].Start = NewTensor(Float32, Shape{1, 1, 4}) },
		"one is not fixed":                                               func(o *BenchOptions) { o.Chain.Links[0].Shapes[3][1] = -1 },
		"31 bytes for 1x2x4":                                             func(o *BenchOptions) { o.Chain.Links[0].Start.Data = make([]byte, 31) },
		`step 1: invalid argument: input "x" (fp32 1x1x4) is missing`:    func(o *BenchOptions) { o.Chain.Steps[1] = nil },
		`step 2: invalid argument: input "past": shape 1x9x4 is outside`: func(o *BenchOptions) { o.Chain.Links[0].Shapes[2][1] = 9 },
	} {
		o := BenchOptions{Depth: 1, Chain: steps(3)}
		change(&o)
		if _, err := o.resolve(memory()); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
