package onnxruntime

import (
	"context"
	"slices"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/ort"
)

// chain is an engine.Chain with all its steps bound. What a linked output leaves lies in
// memory that the next step's input is bound to, so that no step copies it. Each link
// has three pieces of memory: what the first step takes, which stays as it is so that
// the chain can begin again, and two that the steps read and write in turn.
type chain struct {
	steps  []ort.Bound
	values []*ort.Value
}

func (c *chain) close() {
	for _, s := range c.steps {
		s.Binding.Free()
	}
	slices.Reverse(c.values) // views go before what they look into
	freeAll(c.values)
}

// keep has a value freed with the chain.
func (c *chain) keep(v *ort.Value, err error) (*ort.Value, error) {
	if err == nil {
		c.values = append(c.values, v)
	}
	return v, err
}

// newChain binds the steps. outputs are the shapes of those to be given memory before
// a run; the others, nil, are ONNX Runtime's to allocate. The caller closes the chain, in
// any case.
func (s *session) newChain(of engine.Chain, outputs [][]int64) (*chain, error) {
	c := &chain{}
	if err := of.Check(s.model.Inputs, s.model.Outputs); err != nil {
		return c, err
	}
	links := make([]memory, len(of.Links))
	for k, link := range of.Links {
		var err error
		if links[k], err = c.memory(link); err != nil {
			return c, s.failed("bind tensors", err)
		}
	}
	for i := range of.Steps {
		in, out, err := s.tensors(c, of, i, links, outputs)
		if err != nil {
			return c, s.failed("bind tensors", err)
		}
		b, err := s.bind(in, out)
		c.steps = append(c.steps, b)
		if err != nil {
			return c, s.failed("bind tensors", err)
		}
	}
	return c, nil
}

// tensors are the inputs and outputs of step i, in the model's order.
func (s *session) tensors(c *chain, of engine.Chain, i int, links []memory, outputs [][]int64) (in, out []*ort.Value, err error) {
	in, out = make([]*ort.Value, len(s.model.Inputs)), make([]*ort.Value, len(s.model.Outputs))
	for k, l := range of.Links {
		if in[l.Input], err = c.view(links[k], l, i); err != nil {
			return nil, nil, err
		}
		if out[l.Output], err = c.view(links[k], l, i+1); err != nil {
			return nil, nil, err
		}
	}
	for k, t := range of.Steps[i] {
		if in[k] == nil {
			if in[k], err = c.keep(s.value(k, t)); err != nil {
				return nil, nil, err
			}
		}
	}
	for k, shape := range outputs {
		if shape != nil {
			if out[k], err = c.keep(blank(s.model.Outputs[k].DType, shape)); err != nil {
				return nil, nil, err
			}
		}
	}
	return in, out, nil
}

// memory is that of a link.
type memory struct {
	start *ort.Value
	turns [2]*ort.Value
}

func (c *chain) memory(link engine.Link) (m memory, err error) {
	largest := slices.MaxFunc(link.Shapes, func(a, b []int64) int { return int(bytesOf(link, a) - bytesOf(link, b)) })
	if m.start, err = c.keep(newTensor(link.Start)); err != nil {
		return m, err
	}
	for i := range m.turns {
		if m.turns[i], err = c.keep(blank(link.Start.DType, largest)); err != nil {
			return m, err
		}
	}
	return m, nil
}

// view is what step i takes of a link's memory, and what the step before it leaves.
func (c *chain) view(m memory, link engine.Link, i int) (*ort.Value, error) {
	of := m.start
	if i > 0 {
		of = m.turns[i%2]
	}
	return c.keep(of.View(codes[link.Start.DType], link.Shapes[i], int(bytesOf(link, link.Shapes[i]))))
}

// bytesOf is the size of a linked tensor of some shape; -1 of one that is not known,
// of which there is no view.
func bytesOf(link engine.Link, shape []int64) int64 {
	n, err := engine.Elements(shape)
	if err != nil {
		return -1
	}
	return link.Start.DType.Bytes(n)
}

// Walk runs a chain once.
func (s *session) Walk(ctx context.Context, of engine.Chain) ([][]engine.Tensor, error) {
	if s.session == nil {
		return nil, errClosed
	}
	c, err := s.newChain(of, nil)
	defer c.close()
	if err != nil {
		return nil, err
	}
	walked := make([][]engine.Tensor, len(of.Steps))
	for i, step := range c.steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := step.Binding.Run(); err != nil {
			return nil, s.failed(opRun, err)
		}
		if walked[i], err = s.left(step, of); err != nil {
			return nil, err
		}
	}
	return walked, nil
}

// left copies the outputs of a run that no link takes.
func (s *session) left(b ort.Bound, of engine.Chain) ([]engine.Tensor, error) {
	out, err := b.Binding.Outputs()
	if err != nil {
		return nil, s.failed(opRun, err)
	}
	defer freeAll(out)
	var tensors []engine.Tensor
	for i, v := range out {
		if of.From(i) != nil {
			continue
		}
		t, err := tensorOf(s.model.Outputs[i].Name, v)
		if err != nil {
			return nil, engine.Errorf(engine.KindRunFailed, opRun, s.plan.Path, "output %s: %v", s.model.Outputs[i], err)
		}
		tensors = append(tensors, t)
	}
	return tensors, nil
}
