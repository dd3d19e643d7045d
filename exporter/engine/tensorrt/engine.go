package tensorrt

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"unsafe"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/trt"
)

// loaded implements engine.Engine.
type loaded struct {
	plan     engine.Plan
	settings engine.Settings
	engine   *trt.Engine
	contexts map[int]*trt.Context // for Infer, by profile; made when first needed

	inputs, outputs []engine.TensorInfo

	timing *timing // the last one, for windows on the same inputs
	noted  []string
	peak   int64
}

// timing is a bencher with what it was made for.
type timing struct {
	lanes  int
	inputs []engine.Tensor
	bench  *trt.Bencher
}

var errClosed = engine.Errorf(engine.KindInternal, "use engine", "", "it is closed")

// Load opens a plan on the backend's GPU.
func (b *Backend) Load(ctx context.Context, plan engine.Plan, opts engine.LoadOptions) (engine.Engine, error) {
	const op = "load engine"
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := b.open(); err != nil {
		return nil, err
	}
	var meta metadata
	text, err := os.ReadFile(metadataPath(plan.Path))
	if err == nil {
		err = json.Unmarshal(text, &meta)
	}
	if err != nil {
		return nil, engine.Errorf(engine.KindRunFailed, op, plan.Path, "its metadata cannot be read: %v", err)
	}
	content, err := os.ReadFile(plan.Path)
	if err != nil {
		return nil, engine.Errorf(engine.KindRunFailed, op, plan.Path, "%v", err)
	}
	runtime, err := b.lib.NewRuntime(b.device.Index)
	if err != nil {
		return nil, failure(ctx, engine.KindRunFailed, op, plan.Path, err)
	}
	defer runtime.Close()
	native, err := runtime.Load(content)
	if err != nil && plan.Precision == engine.AsBuilt {
		return nil, foreign(ctx, meta.Environment, err)
	}
	if err != nil {
		if errors.Is(err, trt.ErrIncompatiblePlan) || errors.Is(err, trt.ErrCorruptPlan) {
			_ = os.Remove(metadataPath(plan.Path)) // it is not found again
		}
		return nil, failure(ctx, engine.KindRunFailed, op, plan.Path, err)
	}
	e := &loaded{plan: plan, settings: opts.Settings, engine: native, contexts: map[int]*trt.Context{}}
	if plan.Precision == engine.AsBuilt {
		meta.Inputs, meta.Outputs = described(native.Info())
	}
	if err := e.describe(meta); err != nil {
		native.Close()
		return nil, err
	}
	return e, nil
}

// describe takes order and names of dimensions from the model, and types and
// sizes from the engine, which decides.
func (e *loaded) describe(meta metadata) error {
	take := func(infos []engine.TensorInfo, input bool) ([]engine.TensorInfo, error) {
		var out []engine.TensorInfo
		for _, t := range infos {
			real, ok := e.engine.Info().Tensor(t.Name)
			if !ok || real.Input != input {
				continue // an input that nothing uses
			}
			dtype, ok := fromDType(real.DType)
			if !ok {
				return nil, engine.Errorf(engine.KindUnsupportedOperator, "load engine", filepath.Base(e.plan.Path), "%q has the element type %v, which plancast does not move", t.Name, real.DType)
			}
			t.DType = dtype
			dims := make([]engine.Dim, len(real.Shape))
			for i, size := range real.Shape {
				dims[i] = engine.Dim{Size: size}
				if i < len(t.Dims) {
					dims[i].Name = t.Dims[i].Name // also where the engine was built for one size
				}
			}
			t.Dims = dims
			out = append(out, t)
		}
		return out, nil
	}
	var err error
	if e.inputs, err = take(meta.Inputs, true); err != nil {
		return err
	}
	if e.outputs, err = take(meta.Outputs, false); err != nil {
		return err
	}
	if len(e.inputs) == 0 {
		return engine.Errorf(engine.KindInvalidModel, "load engine", filepath.Base(e.plan.Path), "the model has no inputs, so there is nothing to measure")
	}
	return nil
}

func (e *loaded) Inputs() []engine.TensorInfo  { return e.inputs }
func (e *loaded) Outputs() []engine.TensorInfo { return e.outputs }

// Close frees the engine with everything made of it.
func (e *loaded) Close() error {
	if e.engine == nil {
		return nil
	}
	e.stopTiming()
	for _, c := range e.contexts {
		c.Close()
	}
	e.engine.Close()
	e.engine, e.contexts = nil, nil
	return nil
}

func (e *loaded) stopTiming() {
	if e.timing != nil {
		e.timing.bench.Close()
		e.timing = nil
	}
}

// tensors hands inputs to trt, which does not keep them.
func (e *loaded) tensors(inputs []engine.Tensor) (map[string]trt.Tensor, error) {
	if len(inputs) != len(e.inputs) {
		return nil, engine.Errorf(engine.KindInvalidInput, opRun, "", "%d inputs given and the model has %d", len(inputs), len(e.inputs))
	}
	out := map[string]trt.Tensor{}
	for i, t := range inputs {
		var err error
		if out[e.inputs[i].Name], err = e.tensor(i, t); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// tensor hands input i to trt.
func (e *loaded) tensor(i int, t engine.Tensor) (trt.Tensor, error) {
	want := e.inputs[i]
	dtype, ok := toDType(t.DType)
	if !ok || t.DType != want.DType {
		return trt.Tensor{}, engine.Errorf(engine.KindInvalidInput, opRun, "", "input %s is given as %s", want, t.DType)
	}
	if len(t.Shape) != len(want.Dims) {
		return trt.Tensor{}, engine.Errorf(engine.KindInvalidInput, opRun, "", "input %s is given with the shape %v", want, t.Shape)
	}
	return trt.Tensor{DType: dtype, Shape: t.Shape, Data: t.Data}, nil
}

const opRun = "run engine"

// Infer runs once.
func (e *loaded) Infer(ctx context.Context, inputs []engine.Tensor) ([]engine.Tensor, error) {
	if e.engine == nil {
		return nil, errClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	in, err := e.tensors(inputs)
	if err != nil {
		return nil, err
	}
	context, err := e.context(e.engine.Info().Profile(in))
	if err != nil {
		return nil, failure(ctx, engine.KindRunFailed, opRun, e.plan.Path, err)
	}
	got, err := context.Infer(in)
	if err != nil {
		return nil, failure(ctx, engine.KindRunFailed, opRun, e.plan.Path, err)
	}
	out := make([]engine.Tensor, len(e.outputs))
	for i, t := range e.outputs {
		out[i] = engine.Tensor{Name: t.Name, DType: t.DType, Shape: got[t.Name].Shape, Data: got[t.Name].Data}
	}
	return out, nil
}

// context is that of a profile, for Infer.
func (e *loaded) context(profile int) (*trt.Context, error) {
	if c := e.contexts[profile]; c != nil {
		return c, nil
	}
	e.stopTiming() // its memory may be needed
	c, err := e.engine.NewContext(profile)
	if err == nil {
		e.contexts[profile] = c
	}
	return c, err
}

// Time runs one window in trt's native loop: Concurrency requests are in flight,
// each on a stream of its own, and one starts when the one before it on its
// stream has ended. A latency is what a client sees: from handing the query over
// to seeing it done, transfers included where the settings ask for them.
func (e *loaded) Time(ctx context.Context, inputs []engine.Tensor, o engine.TimeOptions) (engine.Window, error) {
	const op = "time engine"
	if e.engine == nil {
		return engine.Window{}, errClosed
	}
	if err := ctx.Err(); err != nil {
		return engine.Window{}, err
	}
	lanes := max(o.Concurrency, 1)
	bench, err := e.bencher(inputs, lanes)
	if err != nil {
		return engine.Window{}, failure(ctx, engine.KindRunFailed, op, e.plan.Path, err)
	}
	s, err := bench.Run(ctx, trt.Window{
		Warmup: o.WarmUp, MinDuration: o.Duration, MinQueries: max((o.Queries+lanes-1)/lanes, 1), MaxDuration: o.MaxDuration,
	})
	if err != nil {
		return engine.Window{}, failure(ctx, engine.KindRunFailed, op, e.plan.Path, err)
	}
	e.peak = max(e.peak, s.PeakBytes)
	w := engine.Window{
		Latencies: s.EndToEnd, Elapsed: s.Span, Warnings: e.noted,
		Phases: map[engine.Phase][]float64{engine.Enqueue: s.Enqueue, engine.Compute: s.Compute},
	}
	if s.H2D != nil {
		w.Phases[engine.H2D], w.Phases[engine.D2H] = s.H2D, s.D2H
	}
	return w, nil
}

// bencher is the one of the last window, or a new one.
func (e *loaded) bencher(inputs []engine.Tensor, lanes int) (*trt.Bencher, error) {
	if t := e.timing; t != nil && t.lanes == lanes && slices.EqualFunc(t.inputs, inputs, same) {
		return t.bench, nil
	}
	e.stopTiming()
	b, note, err := e.newBencher(engine.Call(inputs), lanes, anyProfile)
	if err != nil {
		return nil, err
	}
	e.note(note)
	e.timing = &timing{lanes, slices.Clone(inputs), b}
	return b, nil
}

func (e *loaded) note(text string) {
	if text != "" && !slices.Contains(e.noted, text) {
		e.noted = append(e.noted, text)
	}
}

// same reports whether two tensors are the same memory.
func same(a, b engine.Tensor) bool {
	return a.Name == b.Name && a.DType == b.DType && slices.Equal(a.Shape, b.Shape) && len(a.Data) == len(b.Data) &&
		unsafe.SliceData(a.Data) == unsafe.SliceData(b.Data)
}

// Layers describes the plan after fusion, in the words of TensorRT's inspector.
func (e *loaded) Layers(ctx context.Context) ([]engine.Layer, error) {
	if e.engine == nil {
		return nil, errClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	native, err := e.engine.Layers()
	if err != nil {
		return nil, failure(ctx, engine.KindRunFailed, "inspect engine", e.plan.Path, err)
	}
	out := make([]engine.Layer, len(native))
	for i, l := range native {
		out[i] = layer(l)
	}
	return out, nil
}

func layer(l trt.Layer) engine.Layer {
	out := engine.Layer{Name: l.Name, Type: l.Operation, Origins: l.Origin, Tactic: l.Tactic, Quantizable: l.Quantizable()}
	if out.Type == "" {
		out.Type = l.Type
	}
	if out.Type == "" {
		out.Type = "unknown"
	}
	if p, err := engine.ParsePrecision(l.Precision); err == nil {
		out.Precision = p
	}
	return out
}

// Memory is what TensorRT says of the engine. The peak is the most that was in use
// on the GPU while it was measured, beyond what was used before it was loaded.
func (e *loaded) Memory() engine.Memory {
	if e.engine == nil {
		return engine.Memory{}
	}
	known := func(n int64) *int64 {
		if n <= 0 {
			return nil
		}
		return &n
	}
	info := e.engine.Info()
	return engine.Memory{WeightsBytes: known(info.DeviceBytes), ContextBytes: known(info.ContextBytes), PeakBytes: known(e.peak)}
}
