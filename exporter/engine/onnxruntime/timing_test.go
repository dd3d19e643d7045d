package onnxruntime

import (
	"context"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/enginetest"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/ort"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
)

// A query that took memory would take time for it.
func TestTheTimedLoopDoesNotAllocate(t *testing.T) {
	s := open(t, onnxtest.Classifier(8, 16, 4), engine.FP32).(*session)
	in := enginetest.Inputs(t, s, 1)
	known, err := s.learn(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.newLane(in, known.shapes)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	allocations := func(queries int) float64 {
		times := ort.NewTimes(queries)
		return testing.AllocsPerRun(20, func() {
			w, err := ort.NewWindow(queries, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Free()
			times.Starts, times.Latencies = times.Starts[:0], times.Latencies[:0]
			w.Begin()
			if err := l.Binding.Time(w, l.Allocated, &times); err != nil {
				t.Fatal(err)
			}
			if w.Count() != queries || len(times.Starts) != queries || len(times.Latencies) != queries {
				t.Fatalf("%d of %d queries, with %d starts and %d latencies", w.Count(), queries, len(times.Starts), len(times.Latencies))
			}
		})
	}
	if one, many := allocations(1), allocations(500); one != many {
		t.Errorf("%v allocations for one query, %v for 500", one, many)
	}
}

// Without room for its queries a window takes more, and loses none.
func TestAWindowGrows(t *testing.T) {
	s := open(t, onnxtest.Classifier(8, 16, 4), engine.FP32).(*session)
	l, err := s.newLane(enginetest.Inputs(t, s, 1), [][]int64{nil})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	n, err := s.race(t.Context(), []*lane{l}, engine.TimeOptions{Queries: 1000}, 0)
	if err != nil || n != 1000 || len(l.times.Starts) != 1000 {
		t.Fatalf("%d queries, %d starts, %v; want 1000", n, len(l.times.Starts), err)
	}
	for i := range l.times.Starts[1:] {
		if l.times.Starts[i+1] < l.times.Starts[i]+l.times.Latencies[i] {
			t.Fatalf("query %d starts before query %d ends", i+1, i)
		}
	}
}
