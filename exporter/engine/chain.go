package engine

import (
	"context"
	"fmt"
	"slices"
)

// Chain is steps of which each takes what the one before it left: how a decoder
// generates tokens over its key-value cache. A prefill is one step over an empty cache,
// and any other call is one step without links.
//
// What links take stays in the memory in which the engine computes: no step copies what
// the one before it left.
type Chain struct {
	Links []Link
	// Steps are the inputs of each step, in the model's order. Linked inputs are zero
	// Tensors: their values are not known before the run.
	Steps [][]Tensor
}

// Link is an output that the next step takes as an input. Both are positions in the
// model's order.
type Link struct {
	Input, Output int
	// Start is what the first step takes.
	Start Tensor
	// Shapes has one entry more than there are steps: step i takes Shapes[i] and leaves
	// Shapes[i+1].
	Shapes [][]int64
}

// Call is the chain of one call.
func Call(inputs []Tensor) Chain { return Chain{Steps: [][]Tensor{inputs}} }

func (c Chain) linked(is func(Link) bool) *Link {
	if i := slices.IndexFunc(c.Links, is); i >= 0 {
		return &c.Links[i]
	}
	return nil
}

// Into is the link that fills input i; nil without one.
func (c Chain) Into(i int) *Link { return c.linked(func(l Link) bool { return l.Input == i }) }

// From is the link that takes output i; nil without one.
func (c Chain) From(i int) *Link { return c.linked(func(l Link) bool { return l.Output == i }) }

// First is the chain cut to its first steps, all of them if there are fewer.
func (c Chain) First(steps int) Chain {
	steps = min(steps, len(c.Steps))
	out := Chain{Links: slices.Clone(c.Links), Steps: c.Steps[:steps]}
	for i := range out.Links {
		out.Links[i].Shapes = out.Links[i].Shapes[:steps+1]
	}
	return out
}

// Check holds a chain against a model's inputs and outputs. Refusals are *Error of
// KindInvalidInput.
func (c Chain) Check(inputs, outputs []TensorInfo) error {
	bad := func(format string, args ...any) error {
		return Errorf(KindInvalidInput, opChain, "", format, args...)
	}
	if len(c.Steps) == 0 {
		return bad("there are none")
	}
	for i, step := range c.Steps {
		if len(step) != len(inputs) {
			return bad("%d inputs given for step %d and the model has %d", len(step), i, len(inputs))
		}
	}
	for i, l := range c.Links {
		switch {
		case l.Input < 0 || l.Input >= len(inputs) || l.Output < 0 || l.Output >= len(outputs):
			return bad("a link leads from output %d of %d to input %d of %d", l.Output, len(outputs), l.Input, len(inputs))
		case c.Into(l.Input) != &c.Links[i] || c.From(l.Output) != &c.Links[i]:
			return bad("output %s or input %s is linked twice", outputs[l.Output], inputs[l.Input])
		case inputs[l.Input].DType != outputs[l.Output].DType || l.Start.DType != inputs[l.Input].DType:
			return bad("output %s, input %s and what it starts with, %s, differ in their type", outputs[l.Output], inputs[l.Input], l.Start.DType)
		case len(l.Shapes) != len(c.Steps)+1 || !slices.Equal(l.Shapes[0], l.Start.Shape):
			return bad("input %s starts with %v and has %d shapes for %d steps", inputs[l.Input], l.Start.Shape, len(l.Shapes), len(c.Steps))
		}
	}
	return nil
}

const opChain = "run a chain of steps"

// WalkPlainly does what Engine.Walk does, by one call of Infer for each step: what a
// step leaves is copied out, and in again for the next.
func WalkPlainly(ctx context.Context, e Engine, c Chain) ([][]Tensor, error) {
	if err := c.Check(e.Inputs(), e.Outputs()); err != nil {
		return nil, err
	}
	left := make([]Tensor, len(c.Links))
	for k, l := range c.Links {
		left[k] = l.Start
	}
	var walked [][]Tensor
	for i, step := range c.Steps {
		inputs := slices.Clone(step)
		for k, l := range c.Links {
			inputs[l.Input] = left[k]
		}
		outputs, err := e.Infer(ctx, inputs)
		if err != nil {
			return nil, fmt.Errorf("step %d: %w", i, err)
		}
		for k, l := range c.Links {
			left[k] = outputs[l.Output]
			if !slices.Equal(left[k].Shape, l.Shapes[i+1]) {
				return nil, Errorf(KindInvalidInput, opChain, "", "step %d leaves output %s in the shape %v, and not %v", i, e.Outputs()[l.Output], left[k].Shape, l.Shapes[i+1])
			}
		}
		var free []Tensor
		for k, t := range outputs {
			if c.From(k) == nil {
				free = append(free, t)
			}
		}
		walked = append(walked, free)
	}
	return walked, nil
}
