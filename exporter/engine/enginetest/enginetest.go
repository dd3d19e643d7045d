// Package enginetest is the contract that every engine backend fulfils. A
// backend's test is one call of TestBackend with models it can run.
package enginetest

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/tensorio"
)

// Fixtures are files that a backend is tried on.
type Fixtures struct {
	// Model is an fp32 model with at least one input whose first dimension is
	// symbolic. Required.
	Model string
	// Invalid is a file that is no model; Unsupported uses an operator that
	// the backend lacks; Int8 is quantized; Half is shipped as float16. Empty
	// ones are skipped.
	Invalid, Unsupported, Int8, Half string
	// Decoder is a decoder in the common layout for 24 tokens or more.
	Decoder string
	// Refused is a precision that Model cannot be built for, or "".
	Refused engine.Precision
	// Layers reports whether the backend describes layers.
	Layers bool
}

// TestBackend holds a backend to the contract. newBackend is called for each
// part; TestBackend closes what it returns.
func TestBackend(t *testing.T, newBackend func(testing.TB) engine.Backend, f Fixtures) {
	open := func(t *testing.T) engine.Backend {
		b := newBackend(t)
		t.Cleanup(func() {
			if err := b.Close(); err != nil {
				t.Errorf("close backend: %v", err)
			}
		})
		return b
	}
	build := func(t *testing.T, b engine.Backend, model string, p engine.Precision) (engine.Plan, error) {
		return b.Build(context.Background(), engine.BuildRequest{
			ModelPath: model, Precision: p, WorkDir: t.TempDir(), Settings: engine.Settings{Threads: 1}, Progress: func(engine.Progress) {},
		})
	}
	load := func(t *testing.T, b engine.Backend, model string, p engine.Precision) (engine.Engine, []engine.Tensor) {
		t.Helper()
		plan, err := build(t, b, model, p)
		if err != nil {
			t.Fatalf("build: %v", err)
		}
		e, err := b.Load(context.Background(), plan, engine.LoadOptions{Settings: engine.Settings{Threads: 1}, Concurrency: 2})
		if err != nil {
			t.Fatalf("load: %v", err)
		}
		t.Cleanup(func() {
			if err := errors.Join(e.Close(), e.Close()); err != nil {
				t.Errorf("closing twice: %v", err)
			}
		})
		return e, Inputs(t, e, 2)
	}

	t.Run("environment is filled in and stays the same", func(t *testing.T) {
		b := open(t)
		env, err := b.Environment(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if env.Backend != b.Name() || env.BackendVersion == "" || env.Device == "" || env.Platform == "" {
			t.Errorf("incomplete: %+v", env)
		}
		if again, err := b.Environment(context.Background()); err != nil || again != env {
			t.Errorf("%+v, then %+v %v", env, again, err)
		}
	})

	t.Run("a plan is a file of the size said", func(t *testing.T) {
		plan, err := build(t, open(t), f.Model, engine.FP32)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(plan.Path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() != plan.SizeBytes || plan.Precision != engine.FP32 || plan.Duration < 0 {
			t.Errorf("%+v, file of %d bytes", plan, info.Size())
		}
	})

	t.Run("infer is deterministic, does not touch its inputs and hands over its outputs", func(t *testing.T) {
		e, inputs := load(t, open(t), f.Model, engine.FP32)
		before := clone(inputs)
		first, err := e.Infer(context.Background(), inputs)
		if err != nil {
			t.Fatal(err)
		}
		kept := clone(first)
		second, err := e.Infer(context.Background(), inputs)
		if err != nil {
			t.Fatal(err)
		}
		if !equal(before, inputs) || !equal(first, kept) || !equal(first, second) {
			t.Error("inputs or outputs changed")
		}
		outputs := e.Outputs()
		if len(first) != len(outputs) {
			t.Fatalf("%d outputs, %d described", len(first), len(outputs))
		}
		for i, o := range first {
			if n, err := engine.Elements(o.Shape); o.Name != outputs[i].Name || o.DType != outputs[i].DType || err != nil || int(n) != o.Len() {
				t.Errorf("output %d is %s %s%v with %d elements, described as %s", i, o.Name, o.DType, o.Shape, o.Len(), outputs[i])
			}
		}
	})

	t.Run("the batch is the first dimension", func(t *testing.T) {
		e, _ := load(t, open(t), f.Model, engine.FP32)
		for _, batch := range []int64{1, 3} {
			out, err := e.Infer(context.Background(), Inputs(t, e, batch))
			if err != nil {
				t.Fatal(err)
			}
			if len(out[0].Shape) == 0 || out[0].Shape[0] != batch {
				t.Errorf("batch %d gives %v", batch, out[0].Shape)
			}
		}
	})

	t.Run("a window is as large as asked and adds up", func(t *testing.T) {
		e, inputs := load(t, open(t), f.Model, engine.FP32)
		for _, lanes := range []int{1, 2} {
			w, err := e.Time(context.Background(), inputs, engine.TimeOptions{Concurrency: lanes, Queries: 50, Duration: 20 * time.Millisecond, WarmUp: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			var sum, longest float64
			for _, l := range w.Latencies {
				if !(l > 0) || math.IsInf(l, 0) {
					t.Fatalf("a latency of %v", l)
				}
				sum, longest = sum+l, max(longest, l)
			}
			if len(w.Latencies) < 50 || w.Elapsed < 0.019 || w.Overhead < 0 {
				t.Errorf("concurrency %d: %d queries in %v s", lanes, len(w.Latencies), w.Elapsed)
			}
			// Requests in flight cannot take more time than there was, times
			// their number.
			if sum > w.Elapsed*float64(lanes)*1.000001 || longest > w.Elapsed*1.000001*float64(lanes) {
				t.Errorf("concurrency %d: latencies of %v s in %v s", lanes, sum, w.Elapsed)
			}
		}
	})

	t.Run("a window ends at its longest duration", func(t *testing.T) {
		e, inputs := load(t, open(t), f.Model, engine.FP32)
		w, err := e.Time(context.Background(), inputs, engine.TimeOptions{Concurrency: 1, Queries: 1 << 40, MaxDuration: 20 * time.Millisecond})
		if err != nil || len(w.Latencies) == 0 {
			t.Errorf("%d queries, %v", len(w.Latencies), err)
		}
	})

	t.Run("a context that has ended stops everything", func(t *testing.T) {
		b := open(t)
		e, inputs := load(t, b, f.Model, engine.FP32)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_, errBuild := b.Build(ctx, engine.BuildRequest{ModelPath: f.Model, Precision: engine.FP32, WorkDir: t.TempDir(), Progress: func(engine.Progress) {}})
		_, errInfer := e.Infer(ctx, inputs)
		_, errTime := e.Time(ctx, inputs, engine.TimeOptions{Concurrency: 1, Queries: 1 << 40})
		for _, err := range []error{errBuild, errInfer, errTime} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v instead of context canceled", err)
			}
		}
	})

	t.Run("a window is canceled while it runs", func(t *testing.T) {
		e, inputs := load(t, open(t), f.Model, engine.FP32)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if _, err := e.Time(ctx, inputs, engine.TimeOptions{Concurrency: 2, Queries: 1 << 40}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})

	t.Run("requests are served when they are due and not before, and inputs may differ", func(t *testing.T) {
		e, _ := load(t, open(t), f.Model, engine.FP32)
		inputs := []engine.Chain{engine.Call(Inputs(t, e, 1)), engine.Call(Inputs(t, e, 3))}
		requests := make([]engine.Request, 40)
		for i := range requests {
			requests[i] = engine.Request{At: time.Duration(i) * 200 * time.Microsecond, Input: i % 2}
		}
		for _, lanes := range []int{1, 2} {
			answers, err := e.Serve(context.Background(), inputs, requests, engine.ServeOptions{Concurrency: lanes})
			if err != nil || len(answers) != len(requests) {
				t.Fatalf("concurrency %d: %d answers, %v", lanes, len(answers), err)
			}
			for i, a := range answers {
				if a.Start < requests[i].At || a.Start < a.Taken || a.End <= a.Start {
					t.Errorf("concurrency %d: request %d due at %v was taken at %v, begun at %v and answered at %v", lanes, i, requests[i].At, a.Taken, a.Start, a.End)
				}
			}
		}
	})

	t.Run("serving ends at its longest duration, and with the context", func(t *testing.T) {
		e, inputs := load(t, open(t), f.Model, engine.FP32)
		requests := []engine.Request{{}, {At: time.Hour}}
		answers, err := e.Serve(context.Background(), []engine.Chain{engine.Call(inputs)}, requests, engine.ServeOptions{Concurrency: 1, MaxDuration: time.Minute})
		if err != nil || len(answers) != 1 {
			t.Errorf("%d answers, %v", len(answers), err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := e.Serve(ctx, []engine.Chain{engine.Call(inputs)}, requests, engine.ServeOptions{Concurrency: 2}); !errors.Is(err, context.Canceled) {
			t.Errorf("%v instead of context canceled", err)
		}
	})

	t.Run("wrong inputs are invalid input", func(t *testing.T) {
		e, inputs := load(t, open(t), f.Model, engine.FP32)
		wrongType := clone(inputs)
		wrongType[0].DType = engine.Int16
		wrongRank := clone(inputs)
		wrongRank[0].Shape = append([]int64{1}, wrongRank[0].Shape...)
		for name, in := range map[string][]engine.Tensor{"none": nil, "wrong type": wrongType, "wrong rank": wrongRank} {
			_, err := e.Infer(context.Background(), in)
			expect(t, name, err, engine.KindInvalidInput)
		}
	})

	t.Run("layers are described or refused", func(t *testing.T) {
		e, _ := load(t, open(t), f.Model, engine.FP32)
		layers, err := e.Layers(context.Background())
		switch {
		case !f.Layers && !errors.Is(err, engine.ErrNoLayers):
			t.Errorf("%v instead of ErrNoLayers", err)
		case f.Layers && (err != nil || len(layers) == 0):
			t.Errorf("%d layers, %v", len(layers), err)
		}
		for _, l := range layers {
			if l.Type == "" || (l.Precision != "" && !slices.Contains(engine.Precisions, l.Precision)) {
				t.Errorf("layer %+v", l)
			}
		}
	})

	t.Run("memory is positive where it is known", func(t *testing.T) {
		e, _ := load(t, open(t), f.Model, engine.FP32)
		m := e.Memory()
		for _, b := range []*int64{m.WeightsBytes, m.ContextBytes, m.PeakBytes} {
			if b != nil && *b <= 0 {
				t.Errorf("%+v", m)
			}
		}
	})

	testChains(t, open, f.Decoder)

	refused := func(name, model string, p engine.Precision, kinds ...engine.Kind) {
		t.Run(name, func(t *testing.T) {
			if model == "" || p == "" {
				t.Skip("no fixture")
			}
			_, err := build(t, open(t), model, p)
			expect(t, name, err, kinds...)
		})
	}
	refused("a missing file is an invalid model", f.Model+".missing", engine.FP32, engine.KindInvalidModel)
	refused("garbage is an invalid model", f.Invalid, engine.FP32, engine.KindInvalidModel)
	refused("an unknown operator is named", f.Unsupported, engine.FP32, engine.KindUnsupportedOperator)
	refused("a precision that does not exist is unsupported", f.Model, f.Refused, engine.KindUnsupportedPrecision)

	for name, c := range map[string]struct {
		model     string
		precision engine.Precision
	}{"a quantized model runs as int8": {f.Int8, engine.INT8}, "a float16 model runs as fp16": {f.Half, engine.FP16}} {
		t.Run(name, func(t *testing.T) {
			if c.model == "" {
				t.Skip("no fixture")
			}
			e, inputs := load(t, open(t), c.model, c.precision)
			if _, err := e.Infer(context.Background(), inputs); err != nil {
				t.Error(err)
			}
			if _, err := e.Time(context.Background(), inputs, engine.TimeOptions{Concurrency: 1, Queries: 3}); err != nil {
				t.Error(err)
			}
		})
	}
}

// expect checks that err is an *engine.Error of one of the kinds with all that
// a reader needs.
func expect(t *testing.T, what string, err error, kinds ...engine.Kind) {
	t.Helper()
	var e *engine.Error
	if !errors.As(err, &e) || !slices.Contains(kinds, e.Kind) {
		t.Errorf("%s: %v, want an error of kind %v", what, err, kinds)
		return
	}
	if e.Op == "" || e.Message == "" {
		t.Errorf("%s: %+v does not say what was attempted and why it failed", what, e)
	}
	if e.Kind == engine.KindUnsupportedOperator && e.Operator == "" {
		t.Errorf("%s: %+v does not name the operator", what, e)
	}
	if e.Kind == engine.KindUnsupportedPrecision && e.Hint == "" {
		t.Errorf("%s: %+v does not say what to do", what, e)
	}
}

// Inputs are generated inputs of e, the same each time.
func Inputs(t *testing.T, e engine.Engine, batch int64) []engine.Tensor {
	t.Helper()
	shapes, err := tensorio.Shapes{Batch: batch}.Resolve(e.Inputs())
	if err != nil {
		t.Fatal(err)
	}
	inputs, err := tensorio.Generate(e.Inputs(), shapes, 1)
	if err != nil {
		t.Fatal(err)
	}
	return inputs
}

func clone(ts []engine.Tensor) []engine.Tensor {
	out := slices.Clone(ts)
	for i := range out {
		out[i].Shape, out[i].Data = slices.Clone(out[i].Shape), slices.Clone(out[i].Data)
	}
	return out
}

func equal(a, b []engine.Tensor) bool {
	return slices.EqualFunc(a, b, func(x, y engine.Tensor) bool {
		return x.Name == y.Name && x.DType == y.DType && slices.Equal(x.Shape, y.Shape) && slices.Equal(x.Data, y.Data)
	})
}
