package onnxruntime

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx"
)

// session implements engine.Engine.
type session struct {
	session   *ort.DynamicAdvancedSession // nil once closed
	model     *onnx.Model
	plan      engine.Plan
	source    string // the candidate, "" when the plan was not built by this backend
	optimized bool

	outputShapes map[string][][]int64 // by the inputs' shapes
	overhead     float64              // of the loop, seconds a query; 0 before it is measured
}

func (s *session) Inputs() []engine.TensorInfo  { return slices.Clone(s.model.Inputs) }
func (s *session) Outputs() []engine.TensorInfo { return slices.Clone(s.model.Outputs) }

// Close frees the session.
func (s *session) Close() error {
	if s.session == nil {
		return nil
	}
	err := s.session.Destroy()
	s.session = nil
	return err
}

// Memory reports the plan's weights and the process's peak resident memory
// since the plan was loaded (since the process began, where the kernel cannot
// reset its mark).
func (s *session) Memory() engine.Memory {
	var m engine.Memory
	weights := s.model.TotalWeightBytes()
	m.WeightsBytes = &weights
	if peak, ok := root("/").peakResident(); ok {
		m.PeakBytes = &peak
	}
	return m
}

// values copies tensors into memory that ONNX Runtime may use.
func (s *session) values(inputs []engine.Tensor) ([]*value, error) {
	if len(inputs) != len(s.model.Inputs) {
		return nil, engine.Errorf(engine.KindInvalidInput, "run engine", "", "%d inputs given and the model has %d", len(inputs), len(s.model.Inputs))
	}
	var values []*value
	for i, t := range inputs {
		want := s.model.Inputs[i]
		if t.DType != want.DType {
			destroyAll(values)
			return nil, engine.Errorf(engine.KindInvalidInput, "run engine", "", "input %s is given as %s", want, t.DType)
		}
		v, err := newValue(t.DType, t.Shape, t.Data)
		if err != nil {
			destroyAll(values)
			return nil, engine.Errorf(engine.KindInvalidInput, "run engine", "", "input %s: %v", want, err)
		}
		values = append(values, v)
	}
	return values, nil
}

func destroyAll(values []*value) {
	for _, v := range values {
		v.destroy()
	}
}

func asValues(values []*value) []ort.Value {
	out := make([]ort.Value, len(values))
	for i, v := range values {
		if v != nil {
			out[i] = v
		}
	}
	return out
}

// Infer runs once.
func (s *session) Infer(ctx context.Context, inputs []engine.Tensor) ([]engine.Tensor, error) {
	if s.session == nil {
		return nil, errClosed
	}
	in, err := s.values(inputs)
	if err != nil {
		return nil, err
	}
	defer destroyAll(in)
	return s.infer(ctx, in, inputs)
}

func (s *session) infer(ctx context.Context, in []*value, inputs []engine.Tensor) ([]engine.Tensor, error) {
	out, err := s.run(ctx, in, inputs, true)
	if err != nil && ctx.Err() == nil && s.hasUnranked() {
		// An output without dimensions is a scalar, or one whose rank the model
		// does not say: take it for the latter then.
		if again, errAgain := s.run(ctx, in, inputs, false); errAgain == nil {
			return again, nil
		}
	}
	return out, err
}

func (s *session) hasUnranked() bool {
	return slices.ContainsFunc(s.model.Outputs, func(t engine.TensorInfo) bool { return len(t.Dims) == 0 })
}

// run runs once and lets ONNX Runtime allocate the outputs, except where the
// binding cannot hand them over: halves (it takes them for single bytes) and
// scalars. Those get memory of the shape that the model promises.
func (s *session) run(ctx context.Context, in []*value, inputs []engine.Tensor, scalars bool) ([]engine.Tensor, error) {
	const op = "run engine"
	opts, err := ort.NewRunOptions()
	if err != nil {
		return nil, failure(engine.KindRunFailed, op, s.plan.Path, err)
	}
	defer opts.Destroy()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(stopped); _ = opts.Terminate() })

	outputs := make([]ort.Value, len(s.model.Outputs))
	var owned []*value
	defer func() { destroyAll(owned) }()
	for i, t := range s.model.Outputs {
		half := t.DType == engine.Float16 || t.DType == engine.BFloat16
		if !half && (len(t.Dims) > 0 || !scalars) {
			continue
		}
		shape, ok := s.symbols(inputs, t)
		if !ok {
			return nil, engine.Errorf(engine.KindRunFailed, op, s.plan.Path, "output %s: its shape is not known before it runs, and the ONNX Runtime binding cannot return halves of an unknown shape", t)
		}
		v, err := newValue(t.DType, shape, nil)
		if err != nil {
			return nil, engine.Errorf(engine.KindRunFailed, op, s.plan.Path, "output %s: %v", t, err)
		}
		owned = append(owned, v)
		outputs[i] = v
	}
	err = s.session.RunWithOptions(asValues(in), outputs, opts)
	if !stop() {
		<-stopped // the options must outlive the call that ends the run
	}
	defer func() {
		for _, v := range outputs {
			if _, ours := v.(*value); v != nil && !ours {
				_ = v.Destroy()
			}
		}
	}()
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, failure(engine.KindRunFailed, op, s.plan.Path, err)
	}
	tensors := make([]engine.Tensor, len(outputs))
	for i, v := range outputs {
		shape := []int64(v.GetShape())
		if o, ok := v.(*value); ok {
			shape = o.shape
		}
		dtype, data, err := bytesOf(v)
		if err != nil {
			return nil, engine.Errorf(engine.KindRunFailed, op, s.plan.Path, "output %s: %v", s.model.Outputs[i], err)
		}
		tensors[i] = engine.Tensor{Name: s.model.Outputs[i].Name, DType: dtype, Shape: shape, Data: data}
	}
	return tensors, nil
}

// symbols resolves the shape of an output from the inputs' symbols.
func (s *session) symbols(inputs []engine.Tensor, t engine.TensorInfo) ([]int64, bool) {
	known := map[string]int64{}
	for i, in := range s.model.Inputs {
		for k, d := range in.Dims {
			if d.Size < 0 && d.Name != "" && k < len(inputs[i].Shape) {
				known[d.Name] = inputs[i].Shape[k]
			}
		}
	}
	shape := make([]int64, len(t.Dims))
	for i, d := range t.Dims {
		n, ok := known[d.Name]
		switch {
		case d.Size >= 0:
			shape[i] = d.Size
		case ok && d.Name != "":
			shape[i] = n
		default:
			return nil, false
		}
	}
	return shape, true
}

// lane is one of the parallel requests of a window: its own inputs and
// outputs, bound once, so that nothing is allocated or looked up while timing.
type lane struct {
	binding *ort.IoBinding
	values  []*value

	starts    []int64 // nanoseconds since the window's origin
	latencies []float64
	err       error
}

func (l *lane) close() {
	if l.binding != nil {
		_ = l.binding.Destroy()
	}
	destroyAll(l.values)
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
		return nil, failure(engine.KindRunFailed, "bind tensors", s.plan.Path, err)
	}
	if l.binding, err = s.session.CreateIoBinding(); err != nil {
		return fail(err)
	}
	for i, v := range in {
		if err := l.binding.BindInput(s.model.Inputs[i].Name, v); err != nil {
			return fail(err)
		}
	}
	for i, shape := range outputs {
		v, err := newValue(s.model.Outputs[i].DType, shape, nil)
		if err != nil {
			return fail(err)
		}
		l.values = append(l.values, v)
		if err := l.binding.BindOutput(s.model.Outputs[i].Name, v); err != nil {
			return fail(err)
		}
	}
	return l, nil
}

// shapesFor runs once to learn the outputs' shapes for these inputs.
func (s *session) shapesFor(ctx context.Context, inputs []engine.Tensor) ([][]int64, error) {
	key := ""
	for _, t := range inputs {
		key += fmt.Sprint(t.Shape)
	}
	if shapes, ok := s.outputShapes[key]; ok {
		return shapes, nil
	}
	outputs, err := s.Infer(ctx, inputs)
	if err != nil {
		return nil, err
	}
	var shapes [][]int64
	for _, t := range outputs {
		shapes = append(shapes, t.Shape)
	}
	s.outputShapes[key] = shapes
	return shapes, nil
}

// Time runs one window. Each request in flight has its own thread and bound
// buffers; the clock is read directly before and after ONNX Runtime's Run.
func (s *session) Time(ctx context.Context, inputs []engine.Tensor, opts engine.TimeOptions) (engine.Window, error) {
	var w engine.Window
	if s.session == nil {
		return w, errClosed
	}
	if err := ctx.Err(); err != nil {
		return w, err
	}
	shapes, err := s.shapesFor(ctx, inputs)
	if err != nil {
		return w, err
	}
	if s.overhead == 0 {
		if s.overhead, err = loopOverhead(); err != nil {
			return w, failure(engine.KindRunFailed, "measure the loop's overhead", s.plan.Path, err)
		}
	}
	lanes := make([]*lane, max(1, opts.Concurrency))
	defer func() {
		for _, l := range lanes {
			if l != nil {
				l.close()
			}
		}
	}()
	for i := range lanes {
		if lanes[i], err = s.newLane(inputs, shapes); err != nil {
			return w, err
		}
	}
	queries := 0
	if opts.WarmUp > 0 {
		if queries, err = s.race(ctx, lanes, engine.TimeOptions{Queries: 1, Duration: opts.WarmUp, MaxDuration: opts.MaxDuration}, 16); err != nil {
			return w, err
		}
	}
	// Room for twice what the warm-up promises, so that slices seldom grow.
	room := opts.Queries
	if opts.WarmUp > 0 {
		room = max(room, int(2*float64(queries)*float64(opts.Duration)/float64(opts.WarmUp)))
	}
	if _, err := s.race(ctx, lanes, opts, min(room+64, 1<<22)); err != nil {
		return w, err
	}
	return merge(lanes, s.overhead), nil
}

// race runs all lanes until the window is full and returns the query count.
func (s *session) race(ctx context.Context, lanes []*lane, opts engine.TimeOptions, room int) (int, error) {
	var count atomic.Int64
	var failed atomic.Bool
	var ready, done sync.WaitGroup
	gate := make(chan time.Time)
	for _, l := range lanes {
		l.err = nil
		l.starts = make([]int64, 0, room/len(lanes)+1)
		l.latencies = make([]float64, 0, room/len(lanes)+1)
		ready.Add(1)
		done.Go(func() {
			// A thread of its own: the scheduler cannot move it mid-query.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready.Done()
			origin := <-gate
			for {
				start := time.Now()
				err := s.session.RunWithBinding(l.binding)
				end := time.Now()
				if err != nil {
					l.err = failure(engine.KindRunFailed, "run engine", s.plan.Path, err)
					failed.Store(true)
					return
				}
				l.starts = append(l.starts, int64(start.Sub(origin)))
				l.latencies = append(l.latencies, end.Sub(start).Seconds())
				n, elapsed := count.Add(1), end.Sub(origin)
				enough := n >= int64(opts.Queries) && elapsed >= opts.Duration
				late := opts.MaxDuration > 0 && elapsed >= opts.MaxDuration
				if enough || late || failed.Load() {
					return
				}
				if l.err = ctx.Err(); l.err != nil {
					return
				}
			}
		})
	}
	ready.Wait()
	origin := time.Now()
	for range lanes {
		gate <- origin
	}
	done.Wait()
	for _, l := range lanes {
		if l.err != nil {
			return 0, l.err
		}
	}
	return int(count.Load()), nil
}

// merge puts the lanes' samples in order of start.
func merge(lanes []*lane, overhead float64) engine.Window {
	type sample struct {
		start   int64
		latency float64
	}
	var all []sample
	for _, l := range lanes {
		for i, at := range l.starts {
			all = append(all, sample{at, l.latencies[i]})
		}
	}
	slices.SortStableFunc(all, func(a, b sample) int { return int(a.start - b.start) })
	w := engine.Window{Latencies: make([]float64, len(all)), Overhead: overhead}
	var last float64
	for i, x := range all {
		w.Latencies[i] = x.latency
		last = max(last, time.Duration(x.start-all[0].start).Seconds()+x.latency)
	}
	w.Elapsed = last
	return w
}

// loopOverhead is what the loop itself adds to each timed query: the median
// time of reading the clock twice around a call into ONNX Runtime that does
// nothing but clear a flag, by the same way as Run.
func loopOverhead() (float64, error) {
	opts, err := ort.NewRunOptions()
	if err != nil {
		return 0, err
	}
	defer opts.Destroy()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	samples := make([]float64, 0, 2001)
	for range cap(samples) {
		start := time.Now()
		err := opts.UnsetTerminate()
		end := time.Now()
		if err != nil {
			return 0, err
		}
		samples = append(samples, end.Sub(start).Seconds())
	}
	slices.Sort(samples)
	return max(samples[len(samples)/2], 1e-9), nil
}
