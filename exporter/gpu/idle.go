package gpu

import (
	"context"
	"time"

	"github.com/plancast/plancast/exporter/bench"
)

// A look at an idle GPU takes as long as its counters need. NVML's utilization is a
// mean over up to a second, in which this process may still have been at work: it is
// read again until it is low or nothing of that can be left.
const (
	idleLeast = 200 * time.Millisecond
	idleStep  = 50 * time.Millisecond
	idleMost  = 1200 * time.Millisecond
)

// Idle implements bench.Sampler. A MIG instance has its own counters only.
func (w *Watcher) Idle(ctx context.Context, limit float64) bench.Idle {
	begun := time.Now()
	var out bench.Idle
	counting := w.dev.meter.start() == nil
	pause(ctx, idleLeast)
	if counting {
		if counters, err := w.dev.meter.read(); err == nil {
			out.SMActivity = counters.figure(SMActivity)
		}
	}
	decided := out.SMActivity != nil && *out.SMActivity > limit
	for w.dev == w.board && !decided {
		rates, _ := w.board.read([]reading{utilizationReading}) // what fails is absent, and the window's watch says why
		out.Utilization = rates.figure(Utilization)
		decided = out.Utilization == nil || *out.Utilization <= limit || time.Since(begun) >= idleMost || ctx.Err() != nil
		if !decided {
			pause(ctx, idleStep)
		}
	}
	out.Took = time.Since(begun)
	return out
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
