package bench

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/workload"
	"github.com/plancast/plancast/units"
)

// stretch are the windows of a workload, and when they suffice.
type stretch struct {
	options Options
	shares  []float64 // of the shapes

	rounds   []round
	requests [][]engine.Request
	served   []workload.Served
}

func (s *stretch) add(x round, requests []engine.Request, served workload.Served) {
	s.rounds, s.requests, s.served = append(s.rounds, x), append(s.requests, requests), append(s.served, served)
}

func (s *stretch) suffered() (n int) {
	for _, x := range s.rounds {
		if x.suffered {
			n++
		}
	}
	return n
}

// accepted are the windows that the figures rest on: those that nothing disturbed, or
// all where fewer than two are.
func (s *stretch) accepted() (list []int) {
	for i, x := range s.rounds {
		if !x.suffered {
			list = append(list, i)
		}
	}
	if len(list) < 2 {
		list = list[:0]
		for i := range s.rounds {
			list = append(list, i)
		}
	}
	return list
}

// settled reports whether the figures are known well enough: the engine was as fast
// in the last window as in the one before, and P99 is known within its tolerance.
func (s *stretch) settled() bool {
	list := s.accepted()
	if len(list) < 2 {
		return false
	}
	a, b := s.pace(list[len(list)-2]), s.pace(list[len(list)-1])
	return math.Abs(a-b) <= s.options.ThroughputTolerance*max(a, b) && narrow(pooled(s.those(list)), defaultPercentile, s.options.P99Tolerance)
}

func (s *stretch) those(list []int) (rounds []round) {
	for _, i := range list {
		rounds = append(rounds, s.rounds[i])
	}
	return rounds
}

// pace is how long a call takes in a window, of the mix as configured: which shapes
// were drawn does not change it.
func (s *stretch) pace(window int) (seconds float64) {
	weight := 0.0
	for shape, services := range s.services(window) {
		if len(services) == 0 {
			continue
		}
		sum := 0.0
		for _, v := range services {
			sum += v
		}
		seconds += s.shares[shape] * sum / float64(len(services))
		weight += s.shares[shape]
	}
	return seconds / weight
}

// services are how long the calls of each shape took.
func (s *stretch) services(windows ...int) [][]float64 {
	out := make([][]float64, len(s.shares))
	for _, i := range windows {
		for k, v := range s.served[i].Services {
			shape := s.requests[i][k].Input
			out[shape] = append(out[shape], v)
		}
	}
	return out
}

// conclude makes the result of the windows.
func (t *traffic) conclude(s stretch) {
	r, list := &t.result, s.accepted()
	accepted := s.those(list)
	r.Stable, r.Windows, r.Timeline = s.settled(), len(s.rounds), timeline(s.rounds, accepted)
	var waits, lateness []float64
	var elapsed float64
	good := 0
	for _, i := range list {
		x := s.served[i]
		waits, lateness = append(waits, x.Waits...), append(lateness, x.Lateness...)
		elapsed += x.Elapsed
		good += x.Good(t.w.Within)
	}
	latency, wait := Summarize(t.batches[0], pooled(accepted)), Summarize(t.batches[0], waits)
	r.Latency, r.Answered = &latency, float64(latency.Queries)/elapsed
	if t.w.Open() {
		r.Wait, r.Starts = &wait, starts(lateness)
	}
	if t.w.Within > 0 {
		r.Goodput = new(float64(good) / elapsed)
	}
	closed := t.closed.services(0)
	for shape, services := range s.services(list...) {
		x := shapeTimes(t.w.Shapes[shape], services)
		if alone := closed[shape]; t.w.Open() && len(alone) > 0 {
			x.BackToBack = new(shapeTimes(t.w.Shapes[shape], alone).P50)
		}
		r.Mix = append(r.Mix, x)
	}
	t.generated(s, list, elapsed)
	t.blame(accepted)
	t.judgeWorkload(len(s.rounds))
}

func starts(lateness []float64) Starts {
	slices.Sort(lateness)
	s := Starts{P50: NearestRank(lateness, 0.5), P99: NearestRank(lateness, 0.99)}
	for _, v := range slices.Backward(lateness) {
		if v <= LateStart {
			break
		}
		s.Late++
	}
	return s
}

func shapeTimes(shape workload.Shape, services []float64) ShapeTimes {
	slices.Sort(services)
	x := ShapeTimes{Shape: shape.Words(), Queries: len(services)}
	if len(services) > 0 {
		x.P50 = NearestRank(services, 0.5)
	}
	if len(services) >= MinQueries(0.99) {
		x.P99 = new(NearestRank(services, 0.99))
	}
	return x
}

// blame says what else used the machine, of the disturbed windows if there are any.
func (t *traffic) blame(accepted []round) {
	if t.host == nil {
		return
	}
	var observed, suffered []observation
	for _, x := range accepted {
		observed = append(observed, x.observed)
		if x.suffered {
			suffered = append(suffered, x.observed)
		}
	}
	if len(suffered) > 0 {
		observed = suffered
		t.result.Stable = false
	}
	d := t.job.Guard.disturbance(observed...)
	d.Discarded, d.Suffered = t.disturbed-t.before, len(suffered)
	t.result.Disturbance = &d
	if d.Suffered > 0 {
		t.warn("disturbed: %s, so the times decide nothing", d.Cause)
	}
}

// judgeWorkload says why the figures are not to be trusted.
func (t *traffic) judgeWorkload(windows int) {
	r := &t.result
	n := r.Latency.Queries
	if least := MinQueries(defaultPercentile); n < least {
		t.warn("%s are too few for a P99, which takes %d: %s", units.Count(n, "request"), least, cmp.Or(t.job.Options.MoreRequests(t.w), raiseMaxWindow))
	} else if !r.Stable && !r.Disturbed() {
		t.warn("the latency did not settle in %s", units.Count(windows, "window"))
	}
	if r.Starts.Late > 0 {
		t.warn("%s began more than %s after an engine was free for it: was the machine busy?", units.Count(r.Starts.Late, "call"), units.Format(LateStart, units.Seconds))
	}
}

// mostProbes bounds the search for the highest rate.
const mostProbes = 12

// rateTolerance is how well the highest rate is searched for.
const rateTolerance = 0.02

// search looks for the highest rate at which the percentile asked for stays within
// the limit. Every rate is tried on the same requests, closer together or further
// apart, so that what differs is the rate.
func (t *traffic) search(ctx context.Context) error {
	q := t.w.MaxRate
	if q == 0 {
		return nil
	}
	o := t.job.Options
	if t.w.Concurrency == 1 && NearestRank(t.calls, q) > t.w.Within.Seconds() {
		t.result.HighestRate = new(0.0) // a call takes too long even if it waits for none
		return nil
	}
	rate, err := workload.MaxRate(t.result.Capacity, rateTolerance, mostProbes, func(rate float64) (bool, error) {
		n := max(minQueriesForBound(q), int(rate*o.SweepWindow.Seconds()))
		t.progress(engine.Progress{Stage: "workload", Message: t.w.Name + ": is " + units.Format(rate, units.PerSec) + " too much?"})
		_, served, err := t.window(ctx, t.w.Sequence(o.Seed+1).Draw(min(n, mostRequests), rate), o.MaxWindow, true)
		if err != nil || served.FallsBehind(rate) {
			return false, err
		}
		sorted := slices.Sorted(slices.Values(served.Latencies))
		return NearestRank(sorted, q) <= t.w.Within.Seconds(), nil
	})
	if err == nil {
		t.result.HighestRate = &rate
	}
	return err
}
