package gpu

import (
	"context"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/pause"
)

// A look at an idle GPU takes as long as its counters need. Counters lag: those of an
// H200 (GPM) still showed up to 50 ms of this process's own work, and NVML's utilization
// is a mean over up to a second. So a look begins after a moment, and what is busy is
// read again until it is not, or none of the own work can be left.
const (
	idleSettle = 100 * time.Millisecond
	idleLeast  = 200 * time.Millisecond
	idleStep   = 50 * time.Millisecond
	idleMost   = 1300 * time.Millisecond
)

// Idle implements bench.Sampler. A MIG instance has its own counters only.
func (w *Watcher) Idle(ctx context.Context, limit float64) bench.Idle {
	begun := time.Now()
	_ = pause.For(ctx, idleSettle)
	out := bench.Idle{SMActivity: w.activity(ctx)}
	busy := func() bool { return out.SMActivity != nil && *out.SMActivity > limit }
	if busy() {
		out.SMActivity = w.activity(ctx) // twice in a row is somebody else
	}
	decided := busy()
	for w.dev == w.board && !decided {
		rates, _ := w.board.read([]reading{utilizationReading}) // what fails is absent, and the window's watch says why
		out.Utilization = rates.figure(Utilization)
		decided = out.Utilization == nil || *out.Utilization <= limit || time.Since(begun) >= idleMost || ctx.Err() != nil
		if !decided {
			_ = pause.For(ctx, idleStep)
		}
	}
	out.Took = time.Since(begun)
	return out
}

// activity is the share of the SMs at work within idleLeast from now, nil where the
// device has no such counter.
func (w *Watcher) activity(ctx context.Context) *float64 {
	counting := w.dev.meter.start() == nil
	_ = pause.For(ctx, idleLeast)
	if !counting {
		return nil
	}
	counters, err := w.dev.meter.read()
	if err != nil {
		return nil
	}
	return counters.figure(SMActivity)
}
