package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
)

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

// sweep times every batch and concurrency but those of the latency, which come
// last: the memory is read in between, while no other engine is loaded. A point
// that fails (a batch that does not fit into memory) is a warning: the latency
// stands without it.
func (r *run) sweep(ctx context.Context) error {
	o := r.job.Options
	concurrency := slices.Compact(slices.Sorted(slices.Values(append([]int{1}, o.Concurrency...))))
	total := len(r.batches)*len(concurrency) - 1
	done := 0
	for i, batch := range r.batches {
		var inputs []engine.Tensor
		for _, lanes := range concurrency {
			if i == 0 && lanes == 1 {
				continue // the latency's
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
			var w engine.Window
			x, err := r.fit(ctx, "throughput", r.job.Guard.Patience/2, func() (x round, elapsed float64, err error) {
				var observed *Telemetry
				w, observed, err = r.watched(ctx, r.engine, inputs, engine.TimeOptions{
					Concurrency: lanes, Queries: 1, Duration: o.SweepWindow, MaxDuration: max(o.MaxWindow, o.SweepWindow), WarmUp: min(o.WarmUp, o.SweepWindow/4),
				})
				x.observed.device = observed // its queries are not counted: the throughput is a mean
				return x, w.Elapsed, err
			})
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				e := r.explain(engine.AsError(err)) // a report shortens long warnings: what to do comes first
				why := strings.TrimPrefix(e.Hint+" ("+e.Message+")", " ")
				r.warn("batch %d at concurrency %d failed: %s", batch, lanes, why)
			case len(w.Latencies) > 0 && w.Elapsed > 0:
				r.m.Sweep = append(r.m.Sweep, point(batch, lanes, w))
				if t := x.observed.device; t != nil && t.Suffered > 0 {
					r.warn("the device was throttled %s at batch %d and concurrency %d, after %d windows were discarded", t.throttled(), batch, lanes, r.throttled)
				}
				r.points = append(r.points, x)
			}
			done++
		}
	}
	return nil
}
