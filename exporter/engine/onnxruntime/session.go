package onnxruntime

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/ort"
	"github.com/plancast/plancast/exporter/onnx"
)

// session implements engine.Engine.
type session struct {
	session   *ort.Session // nil once closed
	model     *onnx.Model
	plan      engine.Plan
	source    string // the candidate, "" when the plan was not built by this backend
	optimized bool
	spins     bool // it has threads beside its callers

	learnt   map[string]learnt // by the inputs' shapes
	overhead float64           // of the loop, seconds a query; 0 before it is measured
}

// learnt is what runs on inputs of some shapes showed of the outputs.
type learnt struct {
	// shapes are those of the outputs that can be given memory before a run. The
	// others, nil, are allocated by ONNX Runtime: their size changes from run to run,
	// or they are no tensors of numbers.
	shapes   [][]int64
	warnings []string
}

func (s *session) Inputs() []engine.TensorInfo  { return slices.Clone(s.model.Inputs) }
func (s *session) Outputs() []engine.TensorInfo { return slices.Clone(s.model.Outputs) }

// Close frees the session.
func (s *session) Close() error {
	if s.session != nil {
		s.session.Close()
		s.session = nil
	}
	return nil
}

// Memory reports the plan's weights and the process's peak resident memory
// since the plan was loaded (since the process began, where the kernel cannot
// reset its mark).
func (s *session) Memory() engine.Memory {
	var m engine.Memory
	if weights := s.model.TotalWeightBytes(); weights > 0 {
		m.WeightsBytes = &weights
	}
	if peak, ok := root("/").peakResident(); ok {
		m.PeakBytes = &peak
	}
	return m
}

// values copies inputs into memory that ONNX Runtime may use.
func (s *session) values(inputs []engine.Tensor) ([]*ort.Value, error) {
	if len(inputs) != len(s.model.Inputs) {
		return nil, engine.Errorf(engine.KindInvalidInput, opRun, "", "%d inputs given and the model has %d", len(inputs), len(s.model.Inputs))
	}
	var values []*ort.Value
	for i, t := range inputs {
		v, err := s.value(i, t)
		if err != nil {
			freeAll(values)
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// value copies input i.
func (s *session) value(i int, t engine.Tensor) (*ort.Value, error) {
	want := s.model.Inputs[i]
	if t.Container == "" && t.DType != want.DType {
		return nil, engine.Errorf(engine.KindInvalidInput, opRun, "", "input %s is given as %s", want, t.DType)
	}
	v, err := newValue(want, t)
	if err != nil {
		return nil, engine.Errorf(engine.KindInvalidInput, opRun, "", "input %s: %v", want, err)
	}
	return v, nil
}

const opRun = "run engine"

// failed makes a failure of what ONNX Runtime says of a run. What is one already stays
// as it is.
func (s *session) failed(op string, err error) error {
	var e *engine.Error
	if errors.As(err, &e) {
		return e
	}
	return failure(engine.KindRunFailed, op, s.plan.Path, err)
}

// Infer runs once. ONNX Runtime allocates the outputs: what a model declares of
// their shapes is often wrong, and often known only after the run.
func (s *session) Infer(ctx context.Context, inputs []engine.Tensor) ([]engine.Tensor, error) {
	if s.session == nil {
		return nil, errClosed
	}
	in, err := s.values(inputs)
	if err != nil {
		return nil, err
	}
	defer freeAll(in)
	opts, err := ort.NewRunOptions()
	if err != nil {
		return nil, s.failed(opRun, err)
	}
	defer opts.Free()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(stopped); _ = opts.Terminate() })
	out, err := s.session.Run(in, opts)
	if !stop() {
		<-stopped // the options must outlive the call that ends the run
	}
	defer freeAll(out)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, s.failed(opRun, err)
	}
	tensors := make([]engine.Tensor, len(out))
	for i, v := range out {
		info := s.model.Outputs[i]
		if tensors[i], err = tensorOf(info.Name, v); err != nil {
			return nil, engine.Errorf(engine.KindRunFailed, opRun, s.plan.Path, "output %s: %v", info, err)
		}
	}
	return tensors, nil
}

// bind binds values in the model's order. An output without one is ONNX Runtime's to
// allocate. The caller frees the binding, in any case.
func (s *session) bind(inputs, outputs []*ort.Value) (ort.Bound, error) {
	b, err := s.session.NewBinding()
	bound := ort.Bound{Binding: b}
	if err != nil {
		return bound, err
	}
	for i, v := range inputs {
		err = errors.Join(err, b.Input(i, v))
	}
	for i, v := range outputs {
		if v == nil {
			bound.Allocated = append(bound.Allocated, i)
			err = errors.Join(err, b.Allocated(i))
		} else {
			err = errors.Join(err, b.Output(i, v))
		}
	}
	return bound, err
}

// lane is one of the parallel requests of a window: its own inputs and
// outputs, bound once, so that nothing is allocated or looked up while timing.
type lane struct {
	ort.Bound
	values []*ort.Value

	times ort.Times
	err   error
}

func (l *lane) close() {
	if l.Binding != nil {
		l.Binding.Free()
	}
	freeAll(l.values)
}

func (s *session) newLane(inputs []engine.Tensor, outputs [][]int64) (*lane, error) {
	l := &lane{}
	in, err := s.values(inputs)
	if err != nil {
		return nil, err
	}
	l.values = in
	fail := func(err error) (*lane, error) {
		l.close()
		return nil, s.failed("bind tensors", err)
	}
	out := make([]*ort.Value, len(outputs))
	for i, shape := range outputs {
		if shape == nil {
			continue
		}
		if out[i], err = blank(s.model.Outputs[i].DType, shape); err != nil {
			return fail(err)
		}
		l.values = append(l.values, out[i])
	}
	if l.Bound, err = s.bind(in, out); err != nil {
		return fail(err)
	}
	return l, nil
}

// learn runs twice to see the outputs' shapes for these inputs, and whether they
// stay and are what the model declares.
func (s *session) learn(ctx context.Context, inputs []engine.Tensor) (learnt, error) {
	key := ""
	for _, t := range inputs {
		key += fmt.Sprint(t.Shape)
	}
	if known, ok := s.learnt[key]; ok {
		return known, nil
	}
	first, err := s.Infer(ctx, inputs)
	if err != nil {
		return learnt{}, err
	}
	second, err := s.Infer(ctx, inputs)
	if err != nil {
		return learnt{}, err
	}
	var l learnt
	for i, t := range first {
		info, again := s.model.Outputs[i], second[i]
		l.shapes = append(l.shapes, nil)
		switch {
		case t.Container != "" || t.DType == engine.String || t.DType != info.DType || len(info.In) > 0:
		case !slices.Equal(t.Shape, again.Shape):
			l.warnings = append(l.warnings, fmt.Sprintf("output %s changes its size from run to run on the same inputs: %v, then %v", info, t.Shape, again.Shape))
		default:
			if undeclared(info, t.Shape) {
				// Memory of another shape than the declared one is refused.
				l.warnings = append(l.warnings, fmt.Sprintf("output %s: a run gives %v; the model's declaration is wrong", info, t.Shape))
				continue
			}
			l.shapes[i] = t.Shape
		}
	}
	s.learnt[key] = l
	return l, nil
}

// undeclared reports whether a shape differs from what the model declares. A
// declaration without dimensions says nothing.
func undeclared(info engine.TensorInfo, shape []int64) bool {
	if len(info.Dims) == 0 {
		return false
	}
	if len(shape) != len(info.Dims) {
		return true
	}
	for i, d := range info.Dims {
		if d.Size >= 0 && d.Size != shape[i] {
			return true
		}
	}
	return false
}

// allocating is l with every output left to ONNX Runtime.
func (l learnt) allocating() learnt {
	l.shapes = make([][]int64, len(l.shapes))
	return l
}
