package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

// mostLaps is how many turns of the throughput each engine takes at most; a turn has
// at least lapQueries queries and takes lapTime.
const (
	mostLaps, lapQueries = 10, 10
	lapTime              = 50 * time.Millisecond
)

// contest times the throughput in turns, after the latency. Where the candidate's
// best point is the latency's own, its turns show the throughput as well. Otherwise
// the turns take a window of the sweep together, and no more than the partner's
// have left of their bound: all turns beyond the candidate's own latency take no
// longer than that.
func (r *run) contest(ctx context.Context, rounds []round) error {
	quiet := pairs(rounds, true)
	if r.partner == nil || r.partner.Rebuild || len(quiet) == 0 {
		return nil
	}
	best, found := r.beyond(point(r.batches[0], 1, quiet[len(quiet)-1].whole()).Throughput)
	if !found {
		r.laps = quiet
		return nil
	}
	o := r.job.Options
	each := min(left(rounds), o.SweepWindow.Seconds()) / 2
	laps := min(int(each/max(lapTime.Seconds(), lapQueries*best.P50/float64(best.Concurrency))), mostLaps)
	if laps < fewestSections {
		return nil
	}
	err := r.lap(ctx, best, laps, time.Duration(each/float64(laps)*float64(time.Second)))
	if err != nil && ctx.Err() == nil {
		r.warn("the throughput was not measured in turns with %s: %v", r.partner.name(), err)
		return nil
	}
	return err
}

// beyond is the best point of the sweep, false when none exceeds a throughput by more
// than a change that does not matter.
func (r *run) beyond(throughput float64) (best Point, found bool) {
	for _, p := range r.m.Sweep {
		if p.Throughput > max(best.Throughput, throughput*(1+r.job.Guard.Margin)) {
			best, found = p, true
		}
	}
	return best, found
}

// reserve is how many turns of the second window the partner leaves to the contest:
// as long as a window of the sweep, half of them at most, and none that the
// percentile that decides needs.
func (r *run) reserve(count int) int {
	if r.partner.Rebuild || len(r.warm.Latencies) == 0 {
		return 0
	}
	pace := r.warm.Elapsed / float64(len(r.warm.Latencies))
	if _, found := r.beyond(float64(r.batches[0]) / pace); !found {
		return 0
	}
	least := fewestSections * sections(leastQueries(r.job.Guard.Decisive()), int(r.window()/pace)/count)
	share := min(r.job.Options.SweepWindow.Seconds()/r.window(), 0.5)
	return max(min(int(share*float64(count)), 2*count-least), 0)
}

// left is how long the candidate's turns took that had no turn of the partner beside
// them, in seconds.
func left(rounds []round) (seconds float64) {
	for _, x := range rounds {
		for _, w := range x.own[len(x.partner):] {
			seconds += w.Elapsed
		}
	}
	return seconds
}

// lap times a point in turns: laps of each engine, d long together.
func (r *run) lap(ctx context.Context, at Point, laps int, d time.Duration) error {
	inputs, err := r.timed(at.Batch)
	if err != nil {
		return err
	}
	r.progress(engine.Progress{Stage: "throughput", Message: fmt.Sprintf("batch %d, concurrency %d, in turns with %s", at.Batch, at.Concurrency, r.partner.name())})
	o := r.job.Options
	t := turns{count: laps, partners: laps, options: engine.TimeOptions{Concurrency: at.Concurrency, Queries: 1, Duration: d, MaxDuration: o.MaxWindow}}
	warmUp := t.options
	warmUp.Duration = min(o.WarmUp, o.SweepWindow/4)
	if _, err := r.partner.engine.Time(ctx, inputs, warmUp); err != nil {
		return err
	}
	t.options.WarmUp = settling(d)
	x, err := r.fit(ctx, "throughput", r.job.Guard.Patience, func() (round, float64, error) { return r.alternate(ctx, inputs, t, efforts{}) })
	if err == nil {
		r.laps = []round{x}
	}
	return err
}

// throughputChange is what the turns of the throughput show.
func (r *run) throughputChange() (Change, bool) {
	var own, other [][]float64
	rate := func(w engine.Window) []float64 { return []float64{float64(len(w.Latencies)) / w.Elapsed} }
	disturbed := false
	for _, x := range r.laps {
		disturbed = disturbed || x.suffered
		for i, w := range x.partner {
			own, other = append(own, rate(x.own[i])), append(other, rate(w))
		}
	}
	c, ok := r.job.Guard.change("throughput", own, other, func(v []float64) float64 { return v[0] }, 1)
	if disturbed {
		c.Verdict = Inconclusive
	}
	return c, ok
}
