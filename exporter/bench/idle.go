package bench

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

// Idle is what a device did while this process gave it nothing to do: whatever
// was at work then belongs to others. A container shows no process but its own, so
// this is what finds a neighbor on a GPU there.
type Idle struct {
	Took time.Duration
	// Nil figures are ones that the device does not report.
	Utilization *float64 // share of the time in which a kernel ran
	SMActivity  *float64 // mean share of the SMs at work
}

// others is the larger figure, in words as well.
func (i Idle) others() (share float64, words string) {
	for _, x := range []struct {
		of     *float64
		format string
	}{
		{i.SMActivity, "another process on the GPU (SM activity %.0f %% while plancast was idle)"},
		{i.Utilization, "another process on the GPU (at work %.0f %% of the time while plancast was idle)"},
	} {
		if x.of != nil && *x.of > share {
			share, words = *x.of, fmt.Sprintf(x.format, math.Max(1, 100**x.of))
		}
	}
	return share, words
}

// look watches the idle device, unless nobody judges what it does.
func (r *run) look(ctx context.Context) Idle {
	if r.sampler == nil || r.host == nil || r.job.Guard.MaxDisturbance >= 1 {
		return Idle{}
	}
	return r.sampler.Idle(ctx, r.job.Guard.MaxDisturbance)
}

// between watches the idle device after a window, which is also before the next
// one; it returns what was worse, before the window or after it.
func (r *run) between(ctx context.Context, before Idle) Idle {
	r.idle = new(r.look(ctx))
	a, _ := before.others()
	if b, _ := r.idle.others(); b > a {
		return *r.idle
	}
	return before
}

// before is the look before a window: the last one, since when only this process
// gave the device work, or the first.
func (r *run) before(ctx context.Context) Idle {
	if r.idle == nil {
		r.idle = new(r.look(ctx))
	}
	return *r.idle
}

// rest waits until others leave alone what the timed work needs, at most for
// most, and returns how long that took.
func (r *run) rest(ctx context.Context, onDevice bool, most time.Duration) time.Duration {
	if !onDevice {
		return r.host.Quiet(ctx, r.job.Guard.MaxDisturbance, most)
	}
	var waited time.Duration
	for waited < most && ctx.Err() == nil {
		r.idle = new(r.look(ctx))
		waited += r.idle.Took
		if share, _ := r.idle.others(); share <= r.job.Guard.MaxDisturbance {
			break
		}
	}
	return waited
}

// effort is the least that a query of the candidate's engine was seen to take of the
// device: SMs times seconds, and SMs times cycles. The first is the engine's own at
// any clock where memory decides how long it takes, the second where the SMs do.
type effort struct{ seconds, cycles float64 }

// efforts are by the engine that had the turn before, nil after a pause: the device's
// counters lag, and still count the end of that.
type efforts map[engine.Engine]*effort

// counterLag is how long, in seconds, the counters may lag. On an H200 a turn of 0.19 s
// after a pause showed next to nothing, and one after a partner's half of the partner.
const counterLag = 0.2

// surplus learns from a turn and returns by how much the activity of the SMs
// exceeds what the engine's own queries take, as a share of all SMs: others were
// at work then. Since the first turns have little to compare with, what others do
// all the time shows while the device should be idle and not here. The activity is
// that of the time watched, which begins before the queries and ends after them.
func (e efforts) surplus(before engine.Engine, t Telemetry, w engine.Window) float64 {
	hidden := 0.0 // share of the turn that the counters may not show
	if before == nil {
		hidden = counterLag / t.Duration
	}
	if t.SMActivity == nil || t.SMClock == nil || !(t.Duration > 0) || hidden > 0.5 || len(w.Latencies) == 0 {
		return 0
	}
	if e[before] == nil {
		e[before] = new(effort)
	}
	return e[before].surplus(t, float64(len(w.Latencies))/t.Duration, 1-hidden)
}

func (e *effort) surplus(t Telemetry, rate, shown float64) float64 {
	taken := *t.SMActivity / shown / rate
	now := effort{taken, taken * *t.SMClock}
	if e.seconds == 0 {
		*e = now
	}
	e.seconds, e.cycles = min(e.seconds, now.seconds), min(e.cycles, now.cycles)
	return max(0, *t.SMActivity-rate*max(e.seconds, e.cycles / *t.SMClock))
}
