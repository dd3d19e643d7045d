//go:build tensorrt && cgo && gpu

package trt_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/plancast/plancast/trt"
)

func TestMeasure(t *testing.T) {
	e := load(t, smallPlan(t))
	for _, o := range []trt.BenchOptions{
		{},
		{CUDAGraph: true},
		{CUDAGraph: true, SpinWait: true, Depth: 1},
		{CUDAGraph: true, Streams: 4},
		{Transfers: true},
		{Transfers: true, CUDAGraph: true, Streams: 2, Depth: 1},
		{Transfers: true, CUDAGraph: true, SpinWait: true, Streams: 4, Depth: 1},
	} {
		b, err := e.NewBencher(o)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // a bencher serves many windows
			begun := time.Now()
			s, err := b.Run(t.Context(), trt.Window{Warmup: 20 * time.Millisecond, MinDuration: 100 * time.Millisecond, MinQueries: 500})
			went := time.Since(begun).Seconds()
			if err != nil {
				t.Fatal(err)
			}
			n := s.Queries()
			streams := max(o.Streams, 1)
			if n < 500*streams || len(s.Enqueue) != n || len(s.EndToEnd) != n || len(s.Start) != n || len(s.Stream) != n || (len(s.H2D) == n) != o.Transfers {
				t.Fatalf("%+v: %d queries", o, n)
			}
			perStream := make([]int, streams)
			for i := range n {
				perStream[s.Stream[i]]++
				if s.Compute[i] <= 0 || s.Enqueue[i] <= 0 || s.EndToEnd[i] < s.Compute[i]*0.9 || i > 0 && s.Start[i] < s.Start[i-1] {
					t.Fatalf("%+v: query %d: %g %g %g %g", o, i, s.Compute[i], s.Enqueue[i], s.EndToEnd[i], s.Start[i])
				}
			}
			for i, k := range perStream {
				if k < 500 {
					t.Errorf("%+v: stream %d has %d queries", o, i, k)
				}
			}
			if s.Wall < 0.095 || s.Wall > s.HostWall.Seconds() || s.HostWall.Seconds() > went || s.Warmup < 1 || s.PeakBytes <= 0 {
				t.Errorf("%+v: wall %g, host %v, call %g, warm-up %d, peak %d", o, s.Wall, s.HostWall, went, s.Warmup, s.PeakBytes)
			}
			if inFlight := max(o.Depth, 1) * streams; o.Depth == 1 && mean(s.EndToEnd)*float64(n) > s.Span*float64(inFlight) || s.Span < s.Wall*0.9 || s.Span > s.HostWall.Seconds() {
				t.Errorf("%+v: %d queries of %g s in %g s, %d at a time", o, n, mean(s.EndToEnd), s.Span, inFlight)
			}
			t.Logf("streams %d graph %v transfers %v spin %v depth %d: %.0f/s, enqueue %.1f compute %.1f end to end %.1f us", streams, o.CUDAGraph, o.Transfers, o.SpinWait, o.Depth,
				s.Throughput(), mean(s.Enqueue)*1e6, mean(s.Compute)*1e6, mean(s.EndToEnd)*1e6)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := b.Run(ctx, trt.Window{MinDuration: time.Hour}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("an hour in 50 ms: %v", err)
		}
		cancel()
		if _, err := b.Run(t.Context(), trt.Window{MinQueries: 10}); err != nil {
			t.Errorf("after an aborted window: %v", err)
		}
		begun := time.Now()
		s, err := b.Run(t.Context(), trt.Window{MinQueries: 1 << 40, MaxDuration: 50 * time.Millisecond})
		if err != nil || s.Queries() == 0 || s.Span < 0.045 || time.Since(begun) > 5*time.Second {
			t.Errorf("a window of 50 ms at most took %v: %+v, %v", time.Since(begun), s, err)
		}
		b.Close()
	}
}

// What a window costs beside the native loop, which measures itself.
func BenchmarkWindowOverhead(b *testing.B) {
	l, err := trt.Open(trt.Options{})
	if err != nil {
		b.Skip(err)
	}
	r, err := l.NewRuntime(0)
	if err != nil {
		b.Skip(err)
	}
	defer r.Close()
	p, err := fp32Plan()
	if err != nil {
		b.Fatal(err)
	}
	e, err := r.Load(p.Plan)
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	bench, err := e.NewBencher(trt.BenchOptions{CUDAGraph: true})
	if err != nil {
		b.Fatal(err)
	}
	defer bench.Close()
	var outside, queries float64
	for b.Loop() {
		begun := time.Now()
		s, err := bench.Run(b.Context(), trt.Window{MinQueries: 1000})
		if err != nil {
			b.Fatal(err)
		}
		outside += (time.Since(begun) - s.HostWall).Seconds()
		queries += float64(s.Queries())
	}
	b.ReportMetric(outside/queries*1e9, "ns-outside/query")
}
