package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

// round is one window of the candidate and, with a partner, one of its engine:
// the two take turns.
type round struct {
	own, partner []engine.Window // turns, in the order in which they were timed; partner may be empty
	observed     observation
	suffered     bool // it counts although it was disturbed
}

// A window has this many parts when two engines take turns (A B, B A, A B, …). An
// even number lets a steady drift cancel, and the fewest are enough for an interval
// of one window; the shorter they are, the better what slows the machine down meets
// both.
const fewestTurns, mostTurns = 6, 20

// turn is how long one lasts at least, and turnQueries how many queries it has.
const (
	turn        = 100 * time.Millisecond
	turnQueries = 50
)

// turns is the number of parts, from the warm-up's pace. A device's counters of
// energy and work need longer ones.
func (r *run) turns() int {
	if r.sampler != nil || len(r.warm.Latencies) == 0 {
		return fewestTurns
	}
	pace := r.warm.Elapsed / float64(len(r.warm.Latencies))
	n := min(r.window()/turn.Seconds(), r.window()/pace/turnQueries)
	return 2 * int(min(max(n/2, fewestTurns/2), mostTurns/2))
}

// window is how long a window will take by the warm-up's pace, in seconds.
func (r *run) window() float64 {
	o, pace := r.job.Options, 0.0
	if n := len(r.warm.Latencies); n > 0 {
		pace = r.warm.Elapsed / float64(n)
	}
	return min(max(o.MinWindow.Seconds(), pace*float64(o.MinQueries)), o.MaxWindow.Seconds())
}

// settling is how much of a turn is run untimed first, so that each engine
// finds the caches as it left them: a tenth, at most 50 ms.
func settling(d time.Duration) time.Duration { return min(d/10, 50*time.Millisecond) }

// whole is a round's window of the candidate.
func (x round) whole() engine.Window { return joined(x.own) }

func joined(parts []engine.Window) engine.Window {
	if len(parts) == 1 {
		return parts[0]
	}
	out := engine.Window{Phases: map[engine.Phase][]float64{}}
	for _, w := range parts {
		out.Latencies = append(out.Latencies, w.Latencies...)
		out.Elapsed += w.Elapsed
		for phase, v := range w.Phases {
			out.Phases[phase] = append(out.Phases[phase], v...)
		}
		out.Overhead = max(out.Overhead, w.Overhead)
	}
	return out
}

// warmUp runs the engine untimed and returns its pace.
func (r *run) warmUp(ctx context.Context) error {
	o, batch := r.job.Options, r.batches[0]
	inputs, err := r.timed(batch)
	if err != nil {
		return err
	}
	r.progress(engine.Progress{Stage: "warm-up", Message: fmt.Sprintf("%v, batch %d", o.WarmUp, batch)})
	r.warm, err = r.engine.Time(ctx, inputs, engine.TimeOptions{Concurrency: 1, Queries: 1, Duration: o.WarmUp, MaxDuration: o.MaxWindow})
	return err
}

func (r *run) latency(ctx context.Context) error {
	o := r.job.Options
	batch := r.batches[0]
	inputs, err := r.timed(batch)
	if err != nil {
		return err
	}
	var rounds []round
	for {
		r.progress(engine.Progress{
			Stage: "latency", Done: float64(len(rounds)), Total: float64(o.MaxWindows),
			Message: fmt.Sprintf("window %d of at most %d, %s", len(rounds)+1, o.MaxWindows, r.expected()),
		})
		x, err := r.round(ctx, inputs, len(rounds), r.partner != nil && r.undecided(rounds))
		if err != nil {
			return err
		}
		rounds = append(rounds, x)
		for _, w := range x.own {
			for _, text := range w.Warnings {
				r.warn("%s", text)
			}
		}
		if len(rounds) >= o.MaxWindows || r.enough(rounds) {
			break
		}
	}
	if err := r.contest(ctx, rounds); err != nil {
		return err
	}
	accepted := r.conclude(batch, rounds)
	return r.keepSamples(accepted)
}

// enough reports whether further windows would show nothing new.
func (r *run) enough(rounds []round) bool {
	suffered := 0
	for _, x := range rounds {
		if x.suffered {
			suffered++
		}
	}
	if suffered >= 2 && r.patience() == 0 {
		return true // the machine does not come to rest
	}
	_, stable := r.settled(rounds)
	return stable && !r.undecided(rounds)
}

// settled chooses the rounds that the latency rests on, and reports whether it is
// stable. Quiet rounds alone are looked at, unless there are fewer than two. Of
// those it is the last in a row whose throughput agrees, and the latency is
// stable when the interval of the percentile that decides is narrow enough.
func (r *run) settled(rounds []round) (accepted []round, stable bool) {
	o := r.job.Options
	quiet := slices.DeleteFunc(slices.Clone(rounds), func(x round) bool { return x.suffered })
	if len(quiet) < 2 {
		quiet = rounds
	}
	first := len(quiet) - 1
	for first > 0 && agree(quiet[first-1].whole(), quiet[first].whole(), o.ThroughputTolerance) {
		first--
	}
	accepted = quiet[first:]
	if len(accepted) < 2 {
		return quiet, false
	}
	return accepted, narrow(pooled(accepted), r.job.Guard.Decisive(), o.P99Tolerance)
}

// agree reports whether two windows have the same throughput.
func agree(a, b engine.Window, tolerance float64) bool {
	rate := func(w engine.Window) float64 { return float64(len(w.Latencies)) / w.Elapsed }
	x, y := rate(a), rate(b)
	return math.Abs(x-y) <= tolerance*max(x, y)
}

// narrow reports whether the percentile that decides, or the highest below it that
// the queries suffice for, is known within the tolerance: half its interval.
func narrow(samples []float64, decisive, tolerance float64) bool {
	for _, q := range slices.Backward(Percentiles) {
		if q > decisive || len(samples) < MinQueries(q) {
			continue
		}
		sorted := slices.Sorted(slices.Values(samples))
		low, high, ok := interval(samples, sorted, q)
		return ok && (high-low)/2 <= tolerance*NearestRank(sorted, q)
	}
	return false // too few queries to decide
}

func pooled(rounds []round) (samples []float64) {
	for _, x := range rounds {
		for _, w := range x.own {
			samples = append(samples, w.Latencies...)
		}
	}
	return samples
}

// conclude makes the latency of the rounds, and returns those that it rests on.
func (r *run) conclude(batch int, rounds []round) []round {
	o := r.job.Options
	accepted, stable := r.settled(rounds)
	r.m.Stable, r.m.Windows, r.m.Timeline = stable, len(rounds), timeline(rounds, accepted)
	var windows []engine.Window
	var observed, suffered []observation
	var watched []Telemetry
	for _, x := range accepted {
		windows = append(windows, x.whole())
		observed = append(observed, x.observed)
		if x.observed.device != nil {
			watched = append(watched, *x.observed.device)
		}
		if x.suffered {
			suffered = append(suffered, x.observed)
		}
	}
	all := joined(windows)
	r.m.Overhead = all.Overhead
	r.m.Latency = Summarize(batch, all.Latencies)
	r.m.Phases = phases(windows)
	r.m.Sweep = append([]Point{point(batch, 1, all)}, r.m.Sweep...)
	for _, p := range r.m.Sweep {
		r.m.Throughput = max(r.m.Throughput, p.Throughput)
	}
	r.judge(o, len(accepted), len(suffered) > 0)
	r.telemetry(watched)
	for _, x := range r.points { // a point that suffered makes the throughput doubtful
		if x.suffered {
			suffered = append(suffered, x.observed)
		}
		if t := x.observed.device; t != nil && t.Suffered > 0 {
			r.m.Stable = false
			r.m.Telemetry.Suffered++
		}
	}
	r.suffer(observed, suffered)
	r.m.Rebuild = r.job.Rebuild
	r.compare(rounds)
	return accepted
}

// expected says what a window will take, from the warm-up's pace.
func (r *run) expected() string {
	o := r.job.Options
	if len(r.warm.Latencies) == 0 {
		return fmt.Sprintf("%d queries", o.MinQueries)
	}
	d := time.Duration(r.window() * float64(time.Second))
	return fmt.Sprintf("%d queries or more, about %v", o.MinQueries, d.Round(100*time.Millisecond))
}

// judge says in words why a figure of the latency is not to be trusted; what
// disturbed it is said elsewhere.
func (r *run) judge(o Options, accepted int, disturbed bool) {
	l := r.m.Latency
	switch {
	case r.m.Stable || disturbed:
	case o.MaxWindows < 2:
		r.warn("one window cannot show whether the latency is stable: allow 2 or more")
	case accepted == r.m.Windows && l.Queries >= MinQueries(0.5):
		r.warn("the latency did not settle: in %d windows no two in a row agreed within %.3g %% of throughput with a P%v known within %.3g %%; all of them are pooled",
			r.m.Windows, 100*o.ThroughputTolerance, 100*r.job.Guard.Decisive(), 100*o.P99Tolerance)
	default:
		r.warn("the latency did not settle: after %d windows P%v is still not known within %.3g %%", r.m.Windows, 100*r.job.Guard.Decisive(), 100*o.P99Tolerance)
	}
	if least := MinQueries(0.99); l.Queries < least {
		r.warn("P99 needs at least %d queries; got %d: raise max_window or lower the batch", least, l.Queries)
	} else if least := minQueriesForBound(0.99); l.Queries < least {
		r.warn("a bound on P99 needs at least %d queries; got %d", least, l.Queries)
	}
	if cv := l.StdDev / l.Mean; cv > 0.1 && r.host == nil {
		r.warn("latency varies by %.0f %% (standard deviation over mean): is something else running on the machine?", 100*cv)
	}
	if share := r.m.Overhead / l.Mean; share > 0.01 {
		r.warn("measuring adds %.1f %% to each query", 100*share)
	}
}

func phases(windows []engine.Window) []PhaseLatency {
	var out []PhaseLatency
	for _, phase := range []engine.Phase{engine.Enqueue, engine.H2D, engine.Compute, engine.D2H} {
		var all []float64
		for _, w := range windows {
			all = append(all, w.Phases[phase]...)
		}
		if len(all) == 0 {
			continue
		}
		slices.Sort(all)
		var sum float64
		for _, v := range all {
			sum += v
		}
		out = append(out, PhaseLatency{Phase: phase, Mean: sum / float64(len(all)), P50: NearestRank(all, 0.5), P99: NearestRank(all, 0.99)})
	}
	return out
}
