package standing

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/units"
)

// Week is what the trend of a probability is measured over.
const Week = 7 * 24 * time.Hour

// Forecast is what is expected of a milestone, and what it was a week ago.
type Forecast struct {
	forecast.Forecast
	// WeekAgo is the probability as it would have been said a week ago, from
	// what was known then; nil when there was nothing to say.
	WeekAgo *float64
}

// iteration is a trial that counts for a threshold, judged by it.
type iteration struct {
	trial  history.Trial
	time   time.Time     // when it finished; strictly ascending
	engine *EngineResult // nil without a measured engine that counts
}

// workspace is memory for the iterations of a series, which is used again for the next
// one: a long history has many. The zero value is ready.
type workspace struct {
	list     []iteration
	engines  []EngineResult
	criteria []CriterionResult
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// reset makes room for n iterations, so that nothing moves.
func (w *workspace) reset(n, criteria int) {
	w.list = slices.Grow(w.list[:0], n)
	w.engines = slices.Grow(w.engines[:0], n)
	w.criteria = slices.Grow(w.criteria[:0], n*criteria)
}

// judge is Judge in the memory of w.
func (w *workspace) judge(t Threshold, x history.Trial) *EngineResult {
	e, ok := deciding(t.Select, t.Criteria, x)
	if !ok {
		return nil
	}
	from, n := len(w.criteria), len(t.Criteria)
	w.criteria = w.criteria[:from+n]
	w.engines = append(w.engines, judgeInto(w.criteria[from:from+n:from+n], t.Criteria, e))
	return &w.engines[len(w.engines)-1]
}

// iterations are the trials of a series that count for a threshold, as known at
// a moment: those with an entry that could have counted. The newest one counts
// once it is measured at every expected precision; before that it would make
// every answer flap during a pass. Where nothing else is measured it counts all
// the same.
//
// They go back as far as since, and to the one that stood then, and in any case
// to the one that the model stands on.
//
// They are valid until w is used again.
func (w *workspace) iterations(t Threshold, s history.Series, expected []engine.Precision, known, since time.Time) []iteration {
	w.reset(len(s.Trials), len(t.Criteria))
	out := w.list
	newest, decided := true, false
	unfinished := -1 // the iteration that is not through
	for _, x := range slices.Backward(s.Trials) {
		if x = x.Until(known); x.Len() == 0 {
			continue
		}
		if t.concerns(x) {
			i := iteration{trial: x, time: x.Finished(), engine: w.judge(t, x)}
			if newest && !through(t.Select, x, expected) {
				unfinished = x.Iteration
			} else {
				decided = decided || i.engine != nil && i.engine.Outcome.decided()
			}
			if out = append(out, i); i.time.Before(since) && decided {
				break
			}
		}
		newest = false
	}
	slices.Reverse(out)
	if n := len(out) - 1; n >= 0 && out[n].trial.Iteration == unfinished {
		if out[n].engine == nil || slices.ContainsFunc(out[:n], func(x iteration) bool { return x.engine != nil }) {
			out = out[:n]
		}
	}
	for i := 1; i < len(out); i++ {
		if !out[i].time.After(out[i-1].time) { // its predecessor was tried again later
			out[i].time = out[i-1].time.Add(time.Millisecond)
		}
	}
	return out
}

// concerns reports whether a trial has an entry that could have counted.
func (t Threshold) concerns(x history.Trial) bool {
	for i := range x.Len() {
		if e := x.At(i); t.Counts(e.Precision) && !e.Unsupported() {
			return true
		}
	}
	return false
}

// stands is the iteration that a model stands on: the newest that meets all
// criteria or misses one. A newer candidate that failed, whose precision had no
// effect, of which too little is known, or that was measured on a disturbed machine,
// does not replace it. Without such a one it is the newest of which something is
// known, or else the newest that was measured; nil when there is none.
func stands(all []iteration) *iteration {
	var known, measured *iteration
	for i := len(all) - 1; i >= 0; i-- {
		x := &all[i]
		switch {
		case x.engine == nil:
			continue
		case x.engine.Outcome.decided():
			return x
		case known == nil && x.engine.known():
			known = x
		}
		measured = cmp.Or(measured, x)
	}
	return cmp.Or(known, measured)
}

// observations are the iterations in the terms of package forecast, a list for
// each criterion of the threshold.
func observations(criteria []forecast.Criterion, all []iteration, fingerprint string) [][]forecast.Observation {
	out := make([][]forecast.Observation, len(criteria))
	for k := range out {
		out[k] = make([]forecast.Observation, len(all))
	}
	unquantized := int32(0)
	for i, x := range all {
		concern := ""
		if e, ok := x.trial.Entry(engine.INT8); ok && e.Unquantized > unquantized {
			concern = units.Count(int(e.Unquantized), "layer") + " stayed unquantized"
			unquantized = e.Unquantized
		}
		for k := range out {
			o := forecast.Observation{Time: x.time, Environment: fingerprint, Concern: concern}
			// One engine stands for the candidate: the criteria must hold together.
			// What was disturbed is an iteration without a result, and so is a latency
			// without an end: how far it is from the threshold has no number.
			if x.engine != nil && x.engine.Outcome != Undecided && x.engine.Criteria[k].Outcome.decided() {
				r := x.engine.Criteria[k]
				o.Value, o.Valid = r.Value, !math.IsInf(r.Value, 0)
				o.Disturbed = r.Disturbed && r.Timed()
			}
			out[k][i] = o
		}
	}
	return out
}

// series are the histories of one model for a threshold, one for each
// criterion, of all environments. environment is the one that counts; "" is that
// of the newest result. pairs may be nil.
func series(t Threshold, h history.Model, expected []engine.Precision, environment string, known, since time.Time, pairs comparing) []forecast.Series {
	out := make([]forecast.Series, len(t.Criteria))
	for i, c := range t.Criteria {
		out[i] = forecast.Series{Model: h.Name, Criterion: c, Environment: environment}
	}
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	for _, s := range h.Series {
		all := w.iterations(t, s, expected, known, since)
		for k, list := range observations(t.Criteria, all, s.Fingerprint) {
			if pairs != nil && s.Fingerprint == environment {
				out[k].Newest = newest(k, all, pairs)
			}
			if out[k].Observations == nil {
				out[k].Observations = list
			} else {
				out[k].Observations = append(out[k].Observations, list...)
			}
		}
	}
	return out
}

// lookBack is how far back forecasts made at a moment look. It moves once a
// day, so that what was derived of a model stays true for that long.
func lookBack(now time.Time) time.Time {
	return now.Add(-terms.LookBack).Truncate(24 * time.Hour)
}

// Series is the history of one model for one criterion, from the engines that
// sel counts: the evidence of plancast forecast and backtest.
func Series(sel config.Select, c forecast.Criterion, h history.Model, now time.Time) forecast.Series {
	return series(Threshold{Select: sel, Criteria: []forecast.Criterion{c}}, h, nil, "", now, lookBack(now), nil)[0]
}

// goal is the milestone in the terms of package forecast, without its series.
func goal(m config.Milestone) forecast.JointGoal {
	return forecast.JointGoal{
		Name: m.Name, Share: m.Share,
		Goal: forecast.Goal{Iterations: m.Horizon, Deadline: m.Deadline, Ready: m.Ready, Effort: m.Effort},
	}
}

// expect forecasts a milestone from its series as of now.
func expect(m config.Milestone, all []forecast.Series, now time.Time) (*forecast.Forecast, error) {
	x := goal(m)
	x.Series = all
	f, err := forecast.Joint(x, now, forecast.Options{})
	if err != nil {
		return nil, fmt.Errorf("forecast milestone %s: %w", m.Name, err)
	}
	return &f, nil
}
