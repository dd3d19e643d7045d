package onnxruntime

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/ort"
)

// Time runs one window. Each request in flight has its own thread and bound
// buffers; the loop is native code.
func (s *session) Time(ctx context.Context, inputs []engine.Tensor, opts engine.TimeOptions) (engine.Window, error) {
	var w engine.Window
	if s.session == nil {
		return w, errClosed
	}
	if err := ctx.Err(); err != nil {
		return w, err
	}
	known, err := s.learn(ctx, inputs)
	if err != nil {
		return w, err
	}
	if s.overhead == 0 {
		if s.overhead, err = loopOverhead(); err != nil {
			return w, failure(engine.KindRunFailed, "measure the loop's overhead", s.plan.Path, err)
		}
	}
	w, err = s.window(ctx, inputs, known, opts)
	if err != nil && ctx.Err() == nil && slices.ContainsFunc(known.shapes, func(shape []int64) bool { return shape != nil }) {
		// Outputs may have outgrown the memory they were given.
		if again, errAgain := s.window(ctx, inputs, known.allocating(), opts); errAgain == nil {
			again.Warnings = append(again.Warnings, "an output changes its size from run to run")
			return again, nil
		}
	}
	return w, err
}

func (s *session) window(ctx context.Context, inputs []engine.Tensor, known learnt, opts engine.TimeOptions) (engine.Window, error) {
	var w engine.Window
	var err error
	lanes := make([]*lane, max(1, opts.Concurrency))
	defer func() {
		for _, l := range lanes {
			if l != nil {
				l.close()
			}
		}
	}()
	for i := range lanes {
		if lanes[i], err = s.newLane(inputs, known.shapes); err != nil {
			return w, err
		}
	}
	if err := s.alone(ctx); err != nil {
		return w, err
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
	w = merge(lanes, s.overhead)
	w.Warnings = slices.Clone(known.warnings)
	return w, nil
}

// race runs all lanes until the window is full and returns the query count.
func (s *session) race(ctx context.Context, lanes []*lane, opts engine.TimeOptions, room int) (int, error) {
	w, err := ort.NewWindow(opts.Queries, opts.Duration, opts.MaxDuration)
	if err != nil {
		return 0, failure(engine.KindOutOfMemory, "begin a window", s.plan.Path, err)
	}
	defer w.Free()
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(stopped); w.Stop() })
	defer func() {
		if !stop() {
			<-stopped // the window must outlive the call that ends it
		}
	}()
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	for _, l := range lanes {
		l.err = nil
		l.times = ort.NewTimes(room/len(lanes) + 1)
		ready.Add(1)
		done.Go(func() {
			// A thread of its own: it is warm and at its place when the window begins.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready.Done()
			<-gate
			if err := l.Binding.Time(w, l.Allocated, &l.times); err != nil {
				l.err = s.failed(opRun, err)
				w.Stop()
			}
		})
	}
	ready.Wait()
	w.Begin()
	close(gate)
	done.Wait()
	for _, l := range lanes {
		if l.err != nil {
			return 0, l.err
		}
	}
	return w.Count(), ctx.Err()
}

// merge puts the lanes' samples in order of start.
func merge(lanes []*lane, overhead float64) engine.Window {
	type sample struct {
		start   int64
		latency float64
	}
	var all []sample
	for _, l := range lanes {
		for i, at := range l.times.Starts {
			all = append(all, sample{at, time.Duration(l.times.Latencies[i]).Seconds()})
		}
	}
	slices.SortStableFunc(all, func(a, b sample) int { return cmp.Compare(a.start, b.start) })
	w := engine.Window{Latencies: make([]float64, len(all)), Overhead: overhead}
	var last float64
	for i, x := range all {
		w.Latencies[i] = x.latency
		last = max(last, time.Duration(x.start-all[0].start).Seconds()+x.latency)
	}
	w.Elapsed = last
	return w
}

// loopOverhead is what the loop itself adds to each timed query: the median time
// of reading the clock twice around a call that does nothing but clear a flag.
func loopOverhead() (float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	times, err := ort.LoopTimes(2001)
	if err != nil {
		return 0, err
	}
	slices.Sort(times)
	return max(time.Duration(times[len(times)/2]).Seconds(), 1e-9), nil
}
