package serve

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
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

func TestASleepEndsEarlierWhereThreadsWakeUpLate(t *testing.T) {
	const us = time.Microsecond
	for _, c := range []struct {
		name  string
		early margin
		late  time.Duration
		want  time.Duration
	}{
		{"on time", least, 60 * us, 200 * us},
		{"late", least, 220 * us, 440 * us},
		{"much too late", least, 30 * time.Millisecond, time.Millisecond},
		{"on time again", margin(480 * us), 60 * us, 450 * us},
	} {
		if got := c.early.earlier(c.late); got != margin(c.want) {
			t.Errorf("%s: it ends %v before the request is due, want %v", c.name, time.Duration(got), c.want)
		}
	}
}

func TestAWindowThatBeginsLateServesItsFirstRequest(t *testing.T) {
	answers, err := Play(t.Context(), make([]engine.Request, 5), []Instance{call(func(int) error { return nil })}, 1)
	if err != nil || len(answers) != 1 {
		t.Errorf("%d answers, %v", len(answers), err)
	}
	answers, err = Play(t.Context(), []engine.Request{{At: time.Second}}, []Instance{call(func(int) error { return nil })}, 1)
	if err != nil || len(answers) != 0 {
		t.Errorf("%d answers to a request that is due after the window, %v", len(answers), err)
	}
}
