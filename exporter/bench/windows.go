package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

func (r *run) latency(ctx context.Context) error {
	o := r.job.Options
	batch := r.batches[0]
	inputs, err := r.timed(batch)
	if err != nil {
		return err
	}
	r.progress(engine.Progress{Stage: "warm-up", Message: fmt.Sprintf("%v, batch %d", o.WarmUp, batch)})
	warm, err := r.engine.Time(ctx, inputs, engine.TimeOptions{Concurrency: 1, Queries: 1, Duration: o.WarmUp, MaxDuration: o.MaxWindow})
	if err != nil {
		return err
	}
	var windows []engine.Window
	var watched []Telemetry // of windows; empty without a sampler
	for len(windows) < o.MaxWindows && !r.m.Stable {
		r.progress(engine.Progress{
			Stage: "latency", Done: float64(len(windows)), Total: float64(o.MaxWindows),
			Message: fmt.Sprintf("window %d of at most %d, %s", len(windows)+1, o.MaxWindows, expected(warm, o)),
		})
		w, seen, err := r.window(ctx, "latency", inputs, engine.TimeOptions{Concurrency: 1, Queries: o.MinQueries, Duration: o.MinWindow, MaxDuration: o.MaxWindow})
		if err != nil {
			return err
		}
		if len(w.Latencies) == 0 || !(w.Elapsed > 0) {
			return engine.Errorf(engine.KindInternal, "time a window", r.job.Model, "the backend returned %d queries in %v s", len(w.Latencies), w.Elapsed)
		}
		for _, text := range w.Warnings {
			r.warn("%s", text)
		}
		windows = append(windows, w)
		if seen != nil {
			watched = append(watched, *seen)
		}
		if n := len(windows); n >= 2 {
			r.m.Stable = agree(windows[n-2], windows[n-1], o)
		}
	}
	r.m.Windows = len(windows)
	accepted := windows
	if r.m.Stable {
		accepted, watched = windows[len(windows)-2:], watched[max(0, len(watched)-2):]
	}
	var pooled []float64
	var elapsed float64
	for _, w := range accepted {
		pooled = append(pooled, w.Latencies...)
		elapsed += w.Elapsed
		r.m.Overhead = max(r.m.Overhead, w.Overhead)
	}
	r.m.Latency = Summarize(batch, pooled)
	r.m.Phases = phases(accepted)
	r.m.Sweep = []Point{point(batch, 1, engine.Window{Latencies: pooled, Elapsed: elapsed})}
	r.judge(o)
	r.telemetry(watched)
	return nil
}

// expected says what a window will take, from the warm-up's pace.
func expected(warm engine.Window, o Options) string {
	if len(warm.Latencies) == 0 {
		return fmt.Sprintf("%d queries", o.MinQueries)
	}
	each := warm.Elapsed / float64(len(warm.Latencies))
	d := time.Duration(math.Max(each*float64(o.MinQueries), o.MinWindow.Seconds()) * float64(time.Second))
	return fmt.Sprintf("%d queries or more, about %v", o.MinQueries, min(d, o.MaxWindow).Round(100*time.Millisecond))
}

// agree tells whether two windows measured the same thing: throughput and P99,
// or the highest percentile that both have the queries for.
func agree(a, b engine.Window, o Options) bool {
	near := func(x, y, tolerance float64) bool { return math.Abs(x-y) <= tolerance*max(x, y) }
	rate := func(w engine.Window) float64 { return float64(len(w.Latencies)) / w.Elapsed }
	if !near(rate(a), rate(b), o.ThroughputTolerance) {
		return false
	}
	n := min(len(a.Latencies), len(b.Latencies))
	for _, q := range slices.Backward(Percentiles) {
		if n >= MinQueries(q) {
			return near(NearestRank(slices.Sorted(slices.Values(a.Latencies)), q), NearestRank(slices.Sorted(slices.Values(b.Latencies)), q), o.P99Tolerance)
		}
	}
	return false // too few queries to tell
}

// judge says in words why a figure of the latency is not to be trusted.
func (r *run) judge(o Options) {
	l := r.m.Latency
	if !r.m.Stable {
		if o.MaxWindows < 2 {
			r.warn("one window cannot show whether the latency is stable: allow 2 or more")
		} else {
			r.warn("the latency did not settle: no two of %d windows in a row agreed within %.3g %% of throughput and %.3g %% of P99; all of them are pooled", r.m.Windows, 100*o.ThroughputTolerance, 100*o.P99Tolerance)
		}
	}
	if least := MinQueries(0.99); l.Queries < least {
		r.warn("%d queries are too few for a P99, which takes %d: raise max_window or lower the batch", l.Queries, least)
	} else if least := MinQueriesForBound(0.99); l.Queries < least {
		r.warn("%d queries are too few for a bound on P99, which takes %d", l.Queries, least)
	}
	if cv := l.StdDev / l.Mean; cv > 0.1 {
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

func point(batch, concurrency int, w engine.Window) Point {
	sorted := slices.Sorted(slices.Values(w.Latencies))
	p := Point{
		Batch: batch, Concurrency: concurrency, Queries: len(sorted),
		Throughput: float64(batch*len(sorted)) / w.Elapsed, P50: NearestRank(sorted, 0.5),
	}
	if len(sorted) >= MinQueries(0.99) {
		p.P99 = NearestRank(sorted, 0.99)
	}
	return p
}

// sweep times every other batch and concurrency. A point that fails (a batch
// that does not fit into memory) is a warning: the latency stands without it.
func (r *run) sweep(ctx context.Context) error {
	o := r.job.Options
	concurrency := slices.Compact(slices.Sorted(slices.Values(append([]int{1}, o.Concurrency...))))
	total := len(r.batches) * len(concurrency)
	done := 1
	for i, batch := range r.batches {
		var inputs []engine.Tensor
		for _, lanes := range concurrency {
			if i == 0 && lanes == 1 {
				continue // measured as the latency
			}
			if inputs == nil {
				var err error
				if inputs, err = r.timed(batch); err != nil {
					return err
				}
			}
			r.progress(engine.Progress{
				Stage: "throughput", Done: float64(done), Total: float64(total),
				Message: fmt.Sprintf("batch %d, concurrency %d, about %v", batch, lanes, o.SweepWindow),
			})
			w, seen, err := r.window(ctx, "throughput", inputs, engine.TimeOptions{
				Concurrency: lanes, Queries: 1, Duration: o.SweepWindow, MaxDuration: max(o.MaxWindow, o.SweepWindow), WarmUp: min(o.WarmUp, o.SweepWindow/4),
			})
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				r.warn("batch %d at concurrency %d failed: %v", batch, lanes, err)
			case len(w.Latencies) > 0 && w.Elapsed > 0:
				r.m.Sweep = append(r.m.Sweep, point(batch, lanes, w))
				if seen != nil && seen.Suffered > 0 {
					r.m.Stable = false
					r.m.Telemetry.Suffered++
					r.warn("the device was throttled %s at batch %d and concurrency %d, after %d windows were thrown away", seen.disturbed(), batch, lanes, r.discarded)
				}
			}
			done++
		}
	}
	for _, p := range r.m.Sweep {
		r.m.Throughput = max(r.m.Throughput, p.Throughput)
	}
	if r.m.Telemetry != nil {
		r.m.Telemetry.Discarded = r.discarded
	}
	return nil
}
