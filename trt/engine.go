package trt

import (
	"context"
	"fmt"
	"sort"
	"time"
)

// Runtime loads plans on one device.
type Runtime struct {
	guard
	n       nativeRuntime
	version string // of the library
}

// Close frees the runtime. Its engines stay usable.
func (r *Runtime) Close() { r.close(func() { r.n.close() }) }

// Load makes an engine of a plan. The error wraps ErrIncompatiblePlan for a plan of
// another TensorRT or GPU, ErrCorruptPlan for one that is damaged, and
// ErrOutOfMemory where that is so.
func (r *Runtime) Load(plan []byte) (*Engine, error) {
	if len(plan) == 0 {
		return nil, fmt.Errorf("tensorrt: load plan: %w: it is empty", ErrCorruptPlan)
	}
	if v := planVersion(plan); v != "" && v != r.version {
		return nil, fmt.Errorf("tensorrt: load plan: %w: it was built by TensorRT %s, this is %s; build it again", ErrIncompatiblePlan, v, r.version)
	}
	unlock, err := r.shared()
	if err != nil {
		return nil, err
	}
	defer unlock()
	n, err := r.n.load(plan)
	if err != nil {
		return nil, err
	}
	info := n.info()
	info.PlanBytes = int64(len(plan))
	return &Engine{n: n, info: info}, nil
}

// planVersion is the TensorRT version that built a plan, from its header; "" when
// the header is not one that is known. TensorRT itself does not compare it. The
// layout is that of trtexec's printPlanVersion.
func planVersion(plan []byte) string {
	if len(plan) < 28 || string(plan[:8]) != "ftrt\x00\x00\x00\x00" {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d.%d", plan[24], plan[25], plan[26], plan[27])
}

// EngineInfo describes an engine.
type EngineInfo struct {
	Name     string
	Tensors  []TensorInfo // inputs and outputs, in the engine's order
	Profiles int
	Layers   int // after fusion
	// PlanBytes is the size of the plan.
	PlanBytes int64
	// DeviceBytes is how much less device memory was free after loading: the weights
	// and what TensorRT keeps beside them. Other processes' changes count as well.
	DeviceBytes int64
	// ContextBytes is the scratch memory each execution context needs, as the engine
	// reports it for its largest profile.
	ContextBytes int64
}

// Tensor finds an input or output by name.
func (i EngineInfo) Tensor(name string) (TensorInfo, bool) {
	for _, t := range i.Tensors {
		if t.Name == name {
			return t, true
		}
	}
	return TensorInfo{}, false
}

// Engine is a plan in device memory.
type Engine struct {
	guard
	n    nativeEngine
	info EngineInfo
}

// Close frees the engine, once its contexts and benchers are closed as well.
func (e *Engine) Close() { e.close(func() { e.n.close() }) }

// Info describes the engine. It may be called after Close.
func (e *Engine) Info() EngineInfo { return e.info }

// InspectJSON is what TensorRT's engine inspector says, as it says it.
func (e *Engine) InspectJSON() ([]byte, error) {
	unlock, err := e.shared()
	if err != nil {
		return nil, err
	}
	defer unlock()
	return e.n.inspect()
}

// Layers are the engine's layers after fusion.
func (e *Engine) Layers() ([]Layer, error) {
	raw, err := e.InspectJSON()
	if err != nil {
		return nil, err
	}
	return ParseLayers(raw)
}

// Context runs an engine for its results.
type Context struct {
	guard
	n       nativeContext
	tensors []TensorInfo
	profile int
}

// NewContext makes a context that uses one optimization profile, from 0.
func (e *Engine) NewContext(profile int) (*Context, error) {
	if profile < 0 || profile >= max(e.info.Profiles, 1) {
		return nil, invalidf("profile %d of %d", profile, e.info.Profiles)
	}
	unlock, err := e.shared()
	if err != nil {
		return nil, err
	}
	defer unlock()
	n, err := e.n.newContext(profile)
	if err != nil {
		return nil, err
	}
	return &Context{n: n, tensors: e.info.Tensors, profile: profile}, nil
}

// Close frees the context.
func (c *Context) Close() { c.close(func() { c.n.close() }) }

// Infer runs the engine once and waits for the results. Every input must be given
// with its fixed shape and the engine's type.
func (c *Context) Infer(inputs map[string]Tensor) (map[string]Tensor, error) {
	ordered, err := checkInputs(c.tensors, inputs, c.profile)
	if err != nil {
		return nil, err
	}
	unlock, err := c.alone()
	if err != nil {
		return nil, err
	}
	defer unlock()
	return c.n.infer(ordered)
}

func checkInputs(tensors []TensorInfo, inputs map[string]Tensor, profile int) ([]namedTensor, error) {
	var ordered []namedTensor
	for _, info := range tensors {
		if !info.Input {
			continue
		}
		t, ok := inputs[info.Name]
		if !ok {
			return nil, invalidf("input %q (%v %v) is missing", info.Name, info.DType, info.Shape)
		}
		if t.DType != info.DType {
			return nil, invalidf("input %q is %v, given %v", info.Name, info.DType, t.DType)
		}
		if err := t.check(); err != nil {
			return nil, fmt.Errorf("input %q: %w", info.Name, err)
		}
		if err := info.admits(t.Shape, profile); err != nil {
			return nil, err
		}
		ordered = append(ordered, namedTensor{info.Name, t})
	}
	if len(ordered) != len(inputs) {
		names := make([]string, 0, len(inputs))
		for n := range inputs {
			names = append(names, n)
		}
		sort.Strings(names)
		for _, n := range names {
			known := false
			for _, o := range ordered {
				known = known || o.name == n
			}
			if !known {
				return nil, invalidf("the engine has no input %q", n)
			}
		}
	}
	return ordered, nil
}

// admits reports whether a shape fits the tensor and the profile's range.
func (i TensorInfo) admits(s Shape, profile int) error {
	bad := len(s) != len(i.Shape)
	for d := 0; !bad && d < len(s); d++ {
		bad = i.Shape[d] >= 0 && i.Shape[d] != s[d]
	}
	if bad {
		return invalidf("input %q has shape %v, given %v", i.Name, i.Shape, s)
	}
	if i.Host || profile >= len(i.Profiles) {
		return nil
	}
	r := i.Profiles[profile]
	for d := range s {
		if len(r.Min) == len(s) && (s[d] < r.Min[d] || s[d] > r.Max[d]) {
			return invalidf("input %q: shape %v is outside the profile's %v to %v", i.Name, s, r.Min, r.Max)
		}
	}
	return nil
}

// BenchOptions say how an engine is driven. Everything is explicit: the zero value
// runs one stream without CUDA graph, without transfers, sleeping while it waits.
type BenchOptions struct {
	Profile int
	// Shapes by input name; an input left out has the shape its profile is tuned for.
	Shapes map[string]Shape
	// Inputs are values by input name; an input left out is random (RandomTensor,
	// with Seed).
	Inputs map[string]Tensor
	Seed   uint64
	// Streams is the number of execution contexts driven side by side by one thread;
	// 0: 1.
	Streams int
	// CUDAGraph captures a query once and launches the graph. An engine that cannot
	// be captured gives ErrUnsupported.
	CUDAGraph bool
	// SpinWait polls for completion instead of sleeping: shorter waits, a busy core.
	SpinWait bool
	// Transfers copies inputs to and outputs from the device in each query.
	Transfers bool
	// Depth is the number of queries in flight per stream. 2, the default, hides the
	// enqueueing behind the query before; streams then go in step, as trtexec's do. With
	// 1 a query starts after the one before it on its stream has ended, whatever the
	// others do: Streams clients that each wait for their answer.
	Depth int
}

// Window says how long to measure. Both minimums are reached, unless MaxDuration
// ends the window before; it has at least one query in any case.
type Window struct {
	Warmup      time.Duration // queries that start earlier are not counted
	MinDuration time.Duration
	MinQueries  int           // per stream
	MaxDuration time.Duration // after the warm-up; 0: no bound
}

// Samples are the measurements of one window, one element per query, in the order
// the queries started on the device. Times are in seconds.
type Samples struct {
	Enqueue  []float64 // host time to hand the query to the device
	H2D      []float64 // copying inputs; nil without transfers
	Compute  []float64 // on the device, first to last kernel
	D2H      []float64 // copying outputs; nil without transfers
	EndToEnd []float64 // host time from handing the query over to seeing it done
	Start    []float64 // when it started on the device, from the window's beginning
	Stream   []int32

	Warmup   int           // queries before the window
	Wall     float64       // device time from the first query's start to the last one's end
	Span     float64       // host time from handing the first query over to seeing the last one done
	HostWall time.Duration // host time of the window, warm-up included
	// ContextBytes is the device memory of contexts, buffers and graphs; PeakBytes
	// the most that was in use on the device more than before the engine was loaded.
	// Both are differences of free memory, so other processes' changes count as well.
	ContextBytes int64
	PeakBytes    int64
}

// Queries is the number of queries measured.
func (s *Samples) Queries() int { return len(s.Compute) }

// Throughput is queries per second of device time, as trtexec counts it. A query is
// a whole batch.
func (s *Samples) Throughput() float64 {
	if s.Wall <= 0 {
		return 0
	}
	return float64(len(s.Compute)) / s.Wall
}

// Latency is H2D + Compute + D2H of each query, as trtexec counts it.
func (s *Samples) Latency() []float64 {
	out := append([]float64(nil), s.Compute...)
	for i := range s.H2D {
		out[i] += s.H2D[i] + s.D2H[i]
	}
	return out
}

// Bencher drives an engine and times it. The timing loop is native: while a window
// runs, no Go code does.
type Bencher struct {
	guard
	n nativeBencher
}

// benchJob is what BenchOptions come to for one engine.
type benchJob struct {
	BenchOptions
	inputs []namedTensor
}

// NewBencher makes the contexts, streams, buffers and graphs.
func (e *Engine) NewBencher(o BenchOptions) (*Bencher, error) {
	job, err := o.resolve(e.info)
	if err != nil {
		return nil, err
	}
	unlock, err := e.shared()
	if err != nil {
		return nil, err
	}
	defer unlock()
	n, err := e.n.newBencher(job)
	if err != nil {
		return nil, err
	}
	return &Bencher{n: n}, nil
}

func (o BenchOptions) resolve(info EngineInfo) (benchJob, error) {
	job := benchJob{BenchOptions: o}
	if o.Profile < 0 || o.Profile >= max(info.Profiles, 1) {
		return job, invalidf("profile %d of %d", o.Profile, info.Profiles)
	}
	if job.Streams == 0 {
		job.Streams = 1
	}
	if job.Depth == 0 {
		job.Depth = 2
	}
	if job.Streams < 1 || job.Streams > 128 {
		return job, invalidf("%d streams, want 1 to 128", o.Streams)
	}
	if job.Depth < 1 || job.Depth > 2 {
		return job, invalidf("depth %d, want 1 or 2", o.Depth)
	}
	values := map[string]Tensor{}
	for name, t := range o.Inputs {
		values[name] = t
	}
	for i, in := range info.Tensors {
		if !in.Input {
			continue
		}
		if _, ok := values[in.Name]; ok {
			continue
		}
		if in.Host {
			return job, invalidf("input %q decides shapes: give its values in Inputs", in.Name)
		}
		s, ok := o.Shapes[in.Name]
		if !ok {
			s = in.Shape
			if s.Dynamic() && o.Profile < len(in.Profiles) {
				s = in.Profiles[o.Profile].Opt
			}
		}
		t, err := RandomTensor(in.DType, s, o.Seed+uint64(i))
		if err != nil {
			return job, fmt.Errorf("input %q: %w", in.Name, err)
		}
		values[in.Name] = t
	}
	for name := range o.Shapes {
		if t, ok := info.Tensor(name); !ok || !t.Input {
			return job, invalidf("the engine has no input %q", name)
		}
	}
	var err error
	job.inputs, err = checkInputs(info.Tensors, values, o.Profile)
	return job, err
}

// Close frees what NewBencher made.
func (b *Bencher) Close() { b.close(func() { b.n.close() }) }

// Run measures one window. When ctx ends it returns at the next query, with an
// error that wraps the cause of ctx and no samples.
func (b *Bencher) Run(ctx context.Context, w Window) (*Samples, error) {
	if w.MinDuration < 0 || w.Warmup < 0 || w.MinQueries < 0 || w.MaxDuration < 0 || (w.MinDuration == 0 && w.MinQueries == 0) {
		return nil, invalidf("window of %v and %d queries after %v", w.MinDuration, w.MinQueries, w.Warmup)
	}
	unlock, err := b.alone()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("tensorrt: measure: %w", context.Cause(ctx))
	}
	return b.n.run(ctx, w)
}
