package tensorrt

import (
	"context"
	"errors"
	"fmt"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/trt"
)

// Walk runs a chain once.
func (e *loaded) Walk(ctx context.Context, c engine.Chain) ([][]engine.Tensor, error) {
	if e.engine == nil {
		return nil, errClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.stopTiming() // its memory may be needed
	b, _, err := e.newBencher(c, 1, anyProfile)
	if err != nil {
		return nil, failure(ctx, engine.KindRunFailed, opRun, e.plan.Path, err)
	}
	defer b.Close()
	walked := make([][]engine.Tensor, len(c.Steps))
	for i := range walked {
		got, err := b.Outputs(i) // of the run that made the bencher ready
		if err != nil {
			return nil, failure(ctx, engine.KindRunFailed, opRun, e.plan.Path, err)
		}
		for k, t := range e.outputs {
			if c.From(k) == nil {
				walked[i] = append(walked[i], engine.Tensor{Name: t.Name, DType: t.DType, Shape: got[t.Name].Shape, Data: got[t.Name].Data})
			}
		}
	}
	return walked, nil
}

// anyProfile stands for the first that admits the shapes.
const anyProfile = -1

// newBencher makes a chain ready to run, with a CUDA graph of each step where the
// settings ask for one and the engine can be captured. note says how it runs otherwise;
// "" where it does not.
func (e *loaded) newBencher(c engine.Chain, lanes, profile int) (b *trt.Bencher, note string, err error) {
	chain, err := e.chain(c)
	if err != nil {
		return nil, "", err
	}
	if info := e.engine.Info(); profile < 0 || profile >= info.Profiles {
		profile = info.ChainProfile(chain)
	}
	o := trt.BenchOptions{
		Chain: chain, Profile: profile, Streams: lanes, Depth: 1,
		CUDAGraph: e.settings.CUDAGraph, SpinWait: e.settings.SpinWait, Transfers: e.settings.Transfers,
	}
	b, err = e.engine.NewBencher(o)
	if o.CUDAGraph && errors.Is(err, trt.ErrUnsupported) {
		note = fmt.Sprintf("it is measured without a CUDA graph: %v", err)
		o.CUDAGraph = false
		b, err = e.engine.NewBencher(o)
	}
	return b, note, err
}

// chain hands a chain to trt, which does not keep its values.
func (e *loaded) chain(c engine.Chain) (*trt.Chain, error) {
	if err := c.Check(e.inputs, e.outputs); err != nil {
		return nil, err
	}
	out := &trt.Chain{}
	for _, l := range c.Links {
		start, err := e.tensor(l.Input, l.Start)
		if err != nil {
			return nil, err
		}
		link := trt.Link{Input: e.inputs[l.Input].Name, Output: e.outputs[l.Output].Name, Start: start}
		for _, shape := range l.Shapes {
			link.Shapes = append(link.Shapes, shape)
		}
		out.Links = append(out.Links, link)
	}
	for _, inputs := range c.Steps {
		step := map[string]trt.Tensor{}
		for i, t := range inputs {
			if c.Into(i) != nil {
				continue
			}
			var err error
			if step[e.inputs[i].Name], err = e.tensor(i, t); err != nil {
				return nil, err
			}
		}
		out.Steps = append(out.Steps, step)
	}
	return out, nil
}
