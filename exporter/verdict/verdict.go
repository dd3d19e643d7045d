// Package verdict judges candidates: it says for each criterion of a target or
// a milestone whether an engine meets it, misses it, or whether that cannot be
// told. It is pure; the report, the metrics, the exit code of plancast run and
// the forecast share its answers.
package verdict

import (
	"math"
	"slices"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
)

// Outcome is the answer to a criterion.
type Outcome string

// The outcomes. Unknown is never taken for either of the others.
const (
	Met     Outcome = "met"
	Missed  Outcome = "missed"
	Unknown Outcome = "unknown" // not measured: failed, unsupported, no reference, too few queries
)

// Criterion is a criterion with its answer for one engine.
type Criterion struct {
	forecast.Criterion
	Outcome Outcome
	Value   *float64 // in the criterion's unit; nil when Outcome is Unknown
}

// Gap is forecast.Criterion.Gap of the value: +Inf when it is unknown.
func (c Criterion) Gap() float64 { return c.Criterion.Gap(c.value()) }

// value is the value, NaN when it is unknown.
func (c Criterion) value() float64 {
	if c.Value == nil {
		return math.NaN()
	}
	return *c.Value
}

// Engine is one engine of a candidate, judged.
type Engine struct {
	Precision engine.Precision
	Criteria  []Criterion // in the order of the target
	Outcome   Outcome     // Missed when one is missed, else Unknown when one is unknown, else Met
}

// Judge answers the criteria for one record.
func Judge(criteria []forecast.Criterion, r history.Record) Engine {
	e := Engine{Precision: r.Precision, Outcome: Met, Criteria: make([]Criterion, len(criteria))}
	for i, c := range criteria {
		a := Criterion{Criterion: c, Outcome: Unknown}
		if q, err := history.QuantityByName(c.Metric); err == nil {
			if v, ok := q.Of(r); ok && !math.IsNaN(v) && !math.IsInf(v, 0) {
				a.Value, a.Outcome = &v, Missed
				if c.Met(v) {
					a.Outcome = Met
				}
			}
		}
		e.Criteria[i] = a
		switch {
		case a.Outcome == Missed:
			e.Outcome = Missed
		case a.Outcome == Unknown && e.Outcome == Met:
			e.Outcome = Unknown
		}
	}
	return e
}

// Candidate is the verdict on one candidate.
type Candidate struct {
	Outcome Outcome
	// Engine is the one that decides: the engine that meets all criteria, or
	// else the one nearest to doing so. Nil when no engine that counts was measured.
	Engine *Engine
	// Engines holds every measured engine that counts, most exact first.
	Engines []Engine
}

// JudgeCandidate answers the criteria for a candidate. One and the same engine
// must meet all of them; which engines count, sel says. Missed means that every
// engine with a result falls short and none is undecided.
func JudgeCandidate(sel config.Select, criteria []forecast.Criterion, c history.Candidate) Candidate {
	v := Candidate{Outcome: Unknown}
	for _, r := range c.Records {
		if r.OK() && sel.Counts(r.Precision) {
			v.Engines = append(v.Engines, Judge(criteria, r))
		}
	}
	if len(v.Engines) == 0 {
		return v
	}
	results := make([][]float64, len(v.Engines))
	for i, e := range v.Engines {
		for _, c := range e.Criteria {
			results[i] = append(results[i], c.value())
		}
	}
	nearest := v.Engines[forecast.Nearest(criteria, results)]
	v.Engine, v.Outcome = &nearest, nearest.Outcome
	return v
}

// Through tells whether c has been tried at all of the expected precisions
// that count.
func Through(sel config.Select, c history.Candidate, expected []engine.Precision) bool {
	return c.Complete(slices.DeleteFunc(slices.Clone(expected), func(p engine.Precision) bool { return !sel.Counts(p) }))
}

// Standing is the candidate that the model stands on today: the newest one with
// a measured engine that counts and with nothing that counts left to measure.
// A newer candidate that failed, or of which only some precisions are through,
// does not replace it, so that an answer does not flap during every pass.
// Without such a one it is the newest with a measured engine that counts.
// expected are the precisions that each candidate is measured at.
func Standing(sel config.Select, s history.Series, expected []engine.Precision) (history.Candidate, bool) {
	usable := func(c history.Candidate) bool {
		return slices.ContainsFunc(c.Records, func(r history.Record) bool { return r.OK() && sel.Counts(r.Precision) })
	}
	if c, ok := s.NewestWhere(func(c history.Candidate) bool { return usable(c) && Through(sel, c, expected) }); ok {
		return c, true
	}
	return s.NewestWhere(usable)
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
		case Unknown:
			code = ExitError
		}
	}
	return code
}
