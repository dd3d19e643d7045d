package trt

import (
	"context"
	"fmt"
	"time"
)

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
	// Chain has queries take what the ones before them left. Shapes, Inputs and Seed are
	// for benchers without one.
	Chain *Chain
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
	links []Link
	steps [][]namedTensor
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
	var err error
	if o.Chain != nil {
		if job.Depth != 1 {
			return job, invalidf("a chain with a depth of %d, want 1: a step takes what the one before it left", job.Depth)
		}
		job.links = o.Chain.Links
		job.steps, err = o.Chain.steps(info, o.Profile)
		return job, err
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
		if _, ok := info.has(name, true); !ok {
			return job, invalidf("the engine has no input %q", name)
		}
	}
	inputs, err := checkInputs(info.Tensors, values, o.Profile, nil)
	job.steps = [][]namedTensor{inputs}
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

// Query runs the next step and waits until it is done. The bencher needs one stream and
// a Depth of 1.
func (b *Bencher) Query() error {
	unlock, err := b.alone()
	if err != nil {
		return err
	}
	defer unlock()
	return b.n.query()
}

// Outputs are what a step of the first stream left when it last ran, which it did when
// the bencher was made. Linked outputs are left out: later steps write over them.
func (b *Bencher) Outputs(step int) (map[string]Tensor, error) {
	unlock, err := b.alone()
	if err != nil {
		return nil, err
	}
	defer unlock()
	return b.n.outputs(step)
}
