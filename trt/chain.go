package trt

import (
	"fmt"
	"maps"
	"slices"
)

// Chain is steps that queries run in turn; after the last one the first follows again.
// What links take from one step to the next stays in device memory. Each stream has a
// chain of its own. It needs a Depth of 1.
type Chain struct {
	Links []Link
	// Steps are the values of each step's inputs, all but those that links fill.
	Steps []map[string]Tensor
}

// Link is an output that is an input of the next step.
type Link struct {
	Input, Output string
	Start         Tensor // what the first step takes
	// Shapes has one entry more than there are steps: step i takes Shapes[i] and leaves
	// Shapes[i+1].
	Shapes []Shape
}

// room is the size of the memory that a link needs, in bytes.
func (l Link) room() int64 {
	most := int64(0)
	for _, s := range l.Shapes {
		most = max(most, l.Start.DType.bytes(s.Elements()))
	}
	return most
}

// step is what step i takes. Linked inputs have a shape and no values.
func (c *Chain) step(i int) map[string]Tensor {
	values := maps.Clone(c.Steps[i])
	if values == nil {
		values = map[string]Tensor{}
	}
	for _, l := range c.Links {
		values[l.Input] = Tensor{DType: l.Start.DType, Shape: l.Shapes[i]}
	}
	return values
}

// steps are the inputs of each step, in the engine's order.
func (c *Chain) steps(info EngineInfo, profile int) ([][]namedTensor, error) {
	if len(c.Steps) == 0 {
		return nil, invalidf("a chain without steps")
	}
	for _, l := range c.Links {
		in, taken := info.has(l.Input, true)
		out, left := info.has(l.Output, false)
		switch {
		case !taken || !left:
			return nil, invalidf("the engine has no output %q to be linked with an input %q", l.Output, l.Input)
		case in.DType != out.DType || l.Start.DType != in.DType:
			return nil, invalidf("output %q is %v, input %q is %v and starts with %v", l.Output, out.DType, l.Input, in.DType, l.Start.DType)
		case len(l.Shapes) != len(c.Steps)+1 || !slices.Equal(l.Shapes[0], l.Start.Shape):
			return nil, invalidf("input %q starts with %v and has %d shapes for %d steps", l.Input, l.Start.Shape, len(l.Shapes), len(c.Steps))
		case slices.ContainsFunc(l.Shapes, Shape.Dynamic):
			return nil, invalidf("input %q has the shapes %v, of which one is not fixed", l.Input, l.Shapes)
		}
		if err := l.Start.check(); err != nil {
			return nil, fmt.Errorf("input %q: %w", l.Input, err)
		}
	}
	var out [][]namedTensor
	for i := range c.Steps {
		ordered, err := checkInputs(info.Tensors, c.step(i), profile, c.Links)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", i, err)
		}
		out = append(out, ordered)
	}
	return out, nil
}
