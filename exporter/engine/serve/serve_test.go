package serve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/workload"
)

// call is an instance whose requests take no time.
type call func(input int) error

func (c call) Run(input int) error { return c(input) }

func TestEveryRequestIsServedOnceWithItsInput(t *testing.T) {
	requests := make([]engine.Request, 1000)
	for i := range requests {
		requests[i].Input = i % 3
	}
	var counts [3]atomic.Int64
	one := call(func(input int) error { counts[input].Add(1); return nil })
	answers, err := Play(t.Context(), requests, []Instance{one, one, one, one}, 0)
	if err != nil || len(answers) != len(requests) {
		t.Fatalf("%d answers, %v", len(answers), err)
	}
	for input, want := range []int64{334, 333, 333} {
		if got := counts[input].Load(); got != want {
			t.Errorf("input %d ran %d times, want %d", input, got, want)
		}
	}
	for i, a := range answers {
		if a.Taken > a.Start || a.Start > a.End {
			t.Errorf("request %d is taken at %v, begun at %v and answered at %v", i, a.Taken, a.Start, a.End)
		}
	}
}

func TestAFailureEndsTheWindow(t *testing.T) {
	failure := errors.New("no such shape")
	ran := 0
	_, err := Play(t.Context(), make([]engine.Request, 100), []Instance{call(func(int) error {
		if ran++; ran == 5 {
			return failure
		}
		return nil
	})}, 0)
	if !errors.Is(err, failure) || ran != 5 {
		t.Errorf("%v after %d requests", err, ran)
	}
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	requests := []engine.Request{{}, {At: time.Hour}}
	_, err := Play(ctx, requests, []Instance{call(func(int) error { cancel(); return nil })}, 0)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// BenchmarkStarts measures how late calls begin that an instance is free for: the
// target is a median below 50 µs and a P99 below 1 ms on an idle machine.
func BenchmarkStarts(b *testing.B) {
	for _, rate := range []float64{200, 2000} {
		b.Run(fmt.Sprintf("%v a second", rate), func(b *testing.B) {
			w := workload.Workload{Shapes: []workload.Shape{{Weight: 1}}, Rate: rate, Burstiness: 1}
			busy := call(func(int) error {
				for end := time.Now().Add(100 * time.Microsecond); time.Now().Before(end); {
				}
				return nil
			})
			var late []float64
			for b.Loop() {
				requests := w.Sequence(1).Draw(int(3*rate), rate)
				answers, err := Play(b.Context(), requests, []Instance{busy}, 0)
				if err != nil {
					b.Fatal(err)
				}
				late = append(late, workload.Serve(requests, answers, true).Lateness...)
			}
			slices.Sort(late)
			b.ReportMetric(1e6*late[len(late)/2], "P50-µs")
			b.ReportMetric(1e6*late[len(late)*99/100], "P99-µs")
			b.ReportMetric(1e6*late[len(late)-1], "max-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}
