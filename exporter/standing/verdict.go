package standing

import (
	"iter"
	"math"
	"slices"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
)

// Outcome is the answer to a criterion.
type Outcome string

// The outcomes. Unknown and Undecided are never taken for either of the others.
const (
	Met     Outcome = "met"
	Missed  Outcome = "missed"
	Unknown Outcome = "unknown" // not measured: failed, unsupported, no reference, too few queries
	// Undecided is a time or throughput that would be missed, measured while other
	// work disturbed the machine. One that is met all the same stands: other work
	// makes nothing faster.
	Undecided Outcome = "undecided"
)

// decided reports whether the outcome is an answer.
func (o Outcome) decided() bool { return o == Met || o == Missed }

// CriterionResult is a criterion with its answer for one engine.
type CriterionResult struct {
	forecast.Criterion
	Outcome Outcome
	Value   float64 // in the criterion's unit; NaN when Outcome is Unknown, +Inf when a workload cannot be served
	// Disturbed says that something else used the machine while the figure was
	// measured.
	Disturbed bool
}

// Gap is forecast.Criterion.Gap of the value: +Inf when it is unknown.
func (c CriterionResult) Gap() float64 { return c.Criterion.Gap(c.Value) }

// EngineResult is one engine of a candidate, judged by one threshold.
type EngineResult struct {
	Precision engine.Precision
	Disturbed bool              // something else used the machine meanwhile
	NoEffect  bool              // nothing in the engine computes in its precision
	Criteria  []CriterionResult // in the order of the threshold
	// Outcome is Missed when one is missed, else Unknown when one is unknown, else
	// Undecided when one is undecided, else Met.
	Outcome Outcome
}

func (r *EngineResult) clone() *EngineResult {
	c := *r
	c.Criteria = slices.Clone(r.Criteria)
	return &c
}

// known reports whether at least one criterion has a value.
func (r *EngineResult) known() bool {
	return slices.ContainsFunc(r.Criteria, func(c CriterionResult) bool { return !math.IsNaN(c.Value) })
}

// Gap is the largest gap of its criteria: how far the engine is from meeting all.
func (r *EngineResult) Gap() float64 {
	gap := math.Inf(-1)
	for _, c := range r.Criteria {
		gap = max(gap, c.Gap())
	}
	return gap
}

// JudgeEngine answers the criteria for one entry.
func JudgeEngine(criteria []forecast.Criterion, e history.Entry) EngineResult {
	return judgeInto(make([]CriterionResult, len(criteria)), criteria, e)
}

// judgeInto is JudgeEngine with the memory for its criteria.
func judgeInto(memory []CriterionResult, criteria []forecast.Criterion, e history.Entry) EngineResult {
	r := EngineResult{Precision: e.Precision, Disturbed: e.Disturbed, NoEffect: e.NoEffect, Outcome: Met, Criteria: memory}
	for i, c := range criteria {
		x := CriterionResult{Criterion: c, Outcome: Unknown, Value: figure(e, c), Disturbed: e.DisturbedFor(c.Metric)}
		switch {
		case math.IsNaN(x.Value):
		case c.Met(x.Value):
			x.Outcome = Met
		case x.Disturbed && c.Timed():
			x.Outcome = Undecided
		default:
			x.Outcome = Missed
		}
		r.Criteria[i] = x
		switch {
		case x.Outcome == Missed:
			r.Outcome = Missed
		case x.Outcome == Unknown && r.Outcome != Missed:
			r.Outcome = Unknown
		case x.Outcome == Undecided && r.Outcome == Met:
			r.Outcome = Undecided
		}
	}
	return r
}

// Counts reports whether a measured entry may decide a threshold. An engine in
// which nothing computes in its precision is no result of that precision, so it
// does not count where a threshold names it.
func Counts(sel config.Select, e history.Entry) bool {
	return e.OK() && sel.Counts(e.Precision) && (!e.NoEffect || sel.Precision == config.Best)
}

// broughtNothing reports whether t has an engine that would count if its
// precision had had an effect.
func broughtNothing(sel config.Select, t history.Trial) bool {
	for e := range t.Entries() {
		if e.OK() && sel.Counts(e.Precision) && !Counts(sel, e) {
			return true
		}
	}
	return false
}

// Counting are the engines of a candidate that may decide a threshold: one whose
// precision has no effect only where there is no other.
func Counting(sel config.Select, t history.Trial) iter.Seq[history.Entry] {
	return func(yield func(history.Entry) bool) {
		idle := allIdle(sel, t)
		for i := range t.Len() {
			if e := t.At(i); Counts(sel, e) && e.NoEffect == idle && !yield(e) {
				return
			}
		}
	}
}

// allIdle reports whether no engine that counts has an effect.
func allIdle(sel config.Select, t history.Trial) bool {
	for i := range t.Len() {
		if e := t.At(i); Counts(sel, e) && !e.NoEffect {
			return false
		}
	}
	return true
}

// Judge answers the criteria for a candidate: one and the same engine must meet
// all of them. It returns the engine that decides: of those that count the one that
// meets all criteria, or else the one nearest to doing so. It is nil when no engine
// that counts was measured.
func Judge(sel config.Select, criteria []forecast.Criterion, t history.Trial) *EngineResult {
	e, ok := deciding(sel, criteria, t)
	if !ok {
		return nil
	}
	return new(JudgeEngine(criteria, e))
}

// deciding is the engine of a candidate that decides; false when none that counts was
// measured.
func deciding(sel config.Select, criteria []forecast.Criterion, t history.Trial) (e history.Entry, ok bool) {
	// A long history has many candidates, so nothing is allocated: no iterator.
	idle := allIdle(sel, t)
	at, results, values := make([]int, 0, 4), make([][]float64, 0, 4), make([]float64, 0, 16)
	for i := range t.Len() {
		e := t.At(i)
		if !Counts(sel, e) || e.NoEffect != idle {
			continue
		}
		from := len(values)
		for _, c := range criteria {
			values = append(values, figure(e, c))
		}
		at, results = append(at, i), append(results, values[from:])
	}
	if len(at) == 0 {
		return e, false
	}
	return t.At(at[forecast.Nearest(criteria, results)]), true
}

// figure is what a criterion asks of an entry; NaN when it is unknown. The latency of
// a workload that cannot be served has no end.
func figure(e history.Entry, c forecast.Criterion) float64 {
	v, ok := e.Value(c.Metric)
	if _, workload := terms.SplitWorkload(c.Metric); !ok || math.IsInf(v, 0) && workload == "" {
		return math.NaN()
	}
	return v
}

// through reports whether t has been tried at all precisions that are expected of it
// and count.
func through(sel config.Select, t history.Trial, configured []engine.Precision) bool {
	return !slices.ContainsFunc(t.Expected(configured), func(p engine.Precision) bool {
		if !sel.Counts(p) {
			return false
		}
		_, ok := t.Entry(p)
		return !ok
	})
}

// Reason says why a verdict is what it is where its engine does not say it.
type Reason string

// The reasons. A verdict with an engine has none, except StillMeasuring.
const (
	NoResult         Reason = "no_result"         // nothing ended yet in the environment that counts
	OtherEnvironment Reason = "other_environment" // nothing in the environment that the milestone names
	NoEngine         Reason = "no_engine"         // no engine that counts was measured: Verdict.Trial says why
	NoEffect         Reason = "no_effect"         // the engine of the precision that the threshold names computes nothing in it
	StillMeasuring   Reason = "still_measuring"   // the candidate is not measured at every precision yet
	Absent           Reason = "absent"            // the repository lacks the model
)

// Verdict is the answer of a threshold for a model. A target speaks of the
// newest candidate, a milestone of the one that the model stands on.
type Verdict struct {
	Threshold Threshold
	Outcome   Outcome
	Reason    Reason
	Trial     *history.Trial // that was judged; nil when there is none
	Engine    *EngineResult  // that decides; nil when none was measured
}

// Exit codes of plancast run.
const (
	ExitMet    = 0 // every target holds
	ExitMissed = 1 // a target is missed
	ExitError  = 2 // a target could not be judged, or a candidate has no result at all
)

// ExitCode combines outcomes: what could not be decided outweighs what was
// missed, since the pass is incomplete then.
func ExitCode(outcomes []Outcome) int {
	code := ExitMet
	for _, o := range outcomes {
		switch o {
		case Missed:
			code = max(code, ExitMissed)
		case Unknown, Undecided:
			code = ExitError
		}
	}
	return code
}
