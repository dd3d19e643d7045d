package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

// Spec says how to run a child.
type Spec struct {
	Command []string // the program and its arguments: plancast's own worker command
	Env     []string // nil is what Environ leaves of the parent's
	// Scratch is where the child's own temporary folder is made, and removed with
	// the child; "" is the system's place for that.
	Scratch string
	Timeout time.Duration
	Memory  int64 // bytes resident; 0 is no limit
	Cores   []int // that the child may use; nil is all that the parent may
	// Progress receives what the child reports, from one goroutine; nil is nobody.
	Progress func(engine.Progress)
}

// Worker runs one request after the other, in a child that it starts when there is
// none. A child whose backend can be used again does the next request on the same
// backend and device; after anything but a result it is replaced. The zero value is
// ready to use, by one goroutine at a time; its specs differ in Progress and limits
// alone.
type Worker struct {
	waits *child // for a request; nil when there is none
}

// Run does req and says how the job ended. Whatever the child does becomes the
// Outcome. The error is for what is not the job's doing: ctx ended, or the child
// could not be started. A job whose child is killed from outside is done once more:
// the kernel, or a person, may have meant another. On return no process of the
// child's group is left but a child that waits for the next request.
func (w *Worker) Run(ctx context.Context, spec Spec, req Request) (Outcome, error) {
	if err := ctx.Err(); err != nil {
		return Outcome{}, err
	}
	if w.waits != nil && !w.waits.fit(spec, req) {
		w.Close()
	}
	used := w.waits != nil
	o, err := w.do(ctx, spec, req)
	if err == nil && o.Failure != nil && (o.killed || used && diedOf(o.Failure.Kind)) {
		// Somebody else ended it, or what the job before left behind.
		o, err = w.do(ctx, spec, req)
	}
	return o, err
}

func diedOf(k engine.Kind) bool { return k == engine.KindCrashed || k == engine.KindOutOfMemory }

// do asks the child that waits, or a new one.
func (w *Worker) do(ctx context.Context, spec Spec, req Request) (Outcome, error) {
	req.FileBytes = spec.Memory // a larger file could not be loaded
	text, err := json.Marshal(req)
	if err != nil {
		return Outcome{}, fmt.Errorf("start worker: %w", err)
	}
	c := w.waits
	w.waits = nil
	if c == nil {
		if c, err = start(spec, req); err != nil {
			return Outcome{}, err
		}
	}
	c.ask(append(text, '\n'))
	o, ready := c.wait(ctx, spec)
	if ready {
		w.waits = c
	}
	if err := ctx.Err(); err != nil && o.Measurement == nil {
		return Outcome{}, err
	}
	return o, nil
}

// Close ends the child that waits, if there is one.
func (w *Worker) Close() {
	if c := w.waits; c != nil {
		w.waits = nil
		c.stdin.Close()
		_ = c.end()
	}
}
