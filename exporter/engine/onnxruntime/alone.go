package onnxruntime

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plancast/plancast/exporter/engine"
)

// alone returns once no other session's threads take a core. They look for work 2^20
// times before they sleep, for some 50 ms: an engine that is timed in turns with another
// then has more threads beside it than there are cores, and a query that waits for one
// of its own threads to get its turn takes a time slice longer, 4 ms.
func (s *session) alone(ctx context.Context) error {
	if !s.spins {
		return nil
	}
	err := idle(ctx, used, time.Sleep)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return failure(engine.KindRunFailed, "wait for the threads of another engine to sleep", s.plan.Path, err)
}

// A process is idle that uses less than idleUse of a core in a step; more than steps are
// not waited for.
const (
	step    = 5 * time.Millisecond
	steps   = 100
	idleUse = 0.2
)

// idle returns once the process is, by the processor time that it used.
func idle(ctx context.Context, used func() (time.Duration, error), pause func(time.Duration)) error {
	before, err := used()
	for n := 0; n < steps && err == nil; n++ {
		if pause(step); ctx.Err() != nil {
			return ctx.Err()
		}
		var after time.Duration
		if after, err = used(); (after - before).Seconds() < idleUse*step.Seconds() {
			break
		}
		before = after
	}
	return err
}

// used is the processor time of this process so far.
func used() (time.Duration, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("read the processor time of this process: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
