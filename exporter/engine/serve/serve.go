// Package serve plays the requests of a window to instances of an engine in real
// time. Backends whose runtime has no such loop of its own build their
// engine.Engine.Serve with it.
package serve

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plancast/plancast/exporter/engine"
)

// Instance serves one request at a time.
type Instance interface {
	// Run runs one of the inputs and returns when its outputs are there. It is always
	// called from one and the same thread.
	Run(input int) error
}

// Play serves requests in their order. Each instance has a thread, takes the next
// request when it is free, waits until the request is due and runs it.
func Play(ctx context.Context, requests []engine.Request, instances []Instance, longest time.Duration) ([]engine.Answer, error) {
	p := player{ctx: ctx, requests: requests, longest: longest, answers: make([]engine.Answer, len(requests))}
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	errs := make([]error, len(instances))
	for i, instance := range instances {
		ready.Add(1)
		done.Go(func() {
			// A thread of its own: the scheduler cannot move it while it waits.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			ready.Done()
			<-gate
			if errs[i] = p.serve(instance); errs[i] != nil {
				p.failed.Store(true)
			}
		})
	}
	ready.Wait()
	p.origin = time.Now()
	close(gate)
	done.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return p.answered(), nil
}

// player is one window.
type player struct {
	ctx      context.Context
	requests []engine.Request
	longest  time.Duration
	origin   time.Time

	next    atomic.Int64
	failed  atomic.Bool
	answers []engine.Answer
}

// serve is what one instance does.
func (p *player) serve(instance Instance) error {
	early := least
	for {
		i := int(p.next.Add(1)) - 1
		taken := time.Since(p.origin)
		if i >= len(p.requests) || p.failed.Load() || p.over(i, taken) {
			return nil
		}
		if err := p.wait(p.requests[i].At, &early); err != nil {
			return err
		}
		start := time.Since(p.origin)
		if err := instance.Run(p.requests[i].Input); err != nil {
			return err
		}
		p.answers[i] = engine.Answer{Taken: taken, Start: start, End: time.Since(p.origin)}
	}
}

// over reports whether the window ends before request i, which an instance has taken. A
// machine that stalls as the window begins does not end it: its first request is served.
func (p *player) over(i int, taken time.Duration) bool {
	return p.longest > 0 && (p.requests[i].At >= p.longest || i > 0 && taken >= p.longest)
}

// A thread that sleeps wakes up some 60 µs late, and now and then much later; on a
// virtual machine whose processor went to sleep as well, often by more than 200 µs.
// The last part of a wait is spent looking at the clock. A longer wait looks up from
// time to time, since the context may have ended.
const nap = 100 * time.Millisecond

// margin is how long before a request is due the sleep of its instance ends.
type margin time.Duration

// The bounds of a margin: more would take a processor from those that compute.
const (
	least = margin(200 * time.Microsecond)
	most  = margin(time.Millisecond)
)

// earlier is the margin after a sleep that ended so late: at least twice that, and
// otherwise a little less than before.
func (m margin) earlier(late time.Duration) margin {
	return min(max(m-m/16, 2*margin(late), least), most)
}

// wait returns when a request is due.
func (p *player) wait(at time.Duration, early *margin) error {
	for {
		begun := time.Since(p.origin)
		left := at - begun
		switch {
		case left <= 0:
			return p.ctx.Err()
		case left > time.Duration(*early):
			if err := p.ctx.Err(); err != nil {
				return err
			}
			d := min(left-time.Duration(*early), nap)
			sleep(d)
			*early = early.earlier(time.Since(p.origin) - begun - d)
		}
	}
}

// sleep is the kernel's own: Go's waits for its timers in whole milliseconds.
func sleep(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil) // woken earlier, the caller looks at the clock
}

// answered are the answers up to the first request that was not served.
func (p *player) answered() []engine.Answer {
	for i, a := range p.answers {
		if a.End == 0 {
			return p.answers[:i]
		}
	}
	return p.answers
}
