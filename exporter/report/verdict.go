package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

// rowVerdicts are the answers of every threshold for one engine of a candidate.
func rowVerdicts(m *standing.Model, of history.Trial, e history.Entry) []RowVerdict {
	var out []RowVerdict
	for _, x := range m.Verdicts {
		t := x.Threshold
		if !t.Counts(e.Precision) || t.Environment != "" && t.Environment != e.Fingerprint {
			continue
		}
		r := standing.JudgeEngine(t.Criteria, e)
		v := RowVerdict{Kind: t.Kind, Name: t.Name, Outcome: r.Outcome, Criteria: []CriterionView{}}
		counts := false
		for x := range standing.Counting(t.Select, of) {
			counts = counts || x.ID == e.ID
		}
		if !counts { // its figures are those of another precision
			v.Outcome = standing.Unknown
		}
		for _, c := range r.Criteria {
			if !counts {
				c.Outcome, c.Value = standing.Unknown, math.NaN()
			}
			v.Criteria = append(v.Criteria, criterionView(c))
		}
		out = append(out, v)
	}
	return out
}

func criterionView(c standing.CriterionResult) CriterionView {
	v := CriterionView{Text: c.String(), Metric: c.Metric, Title: title(c.Criterion), Target: c.Target, Unit: c.Unit, Outcome: c.Outcome}
	v.Value = num(c.Value)
	return v
}

// valueText is a criterion's value; a missed one that has none is the latency of a
// workload that cannot be served.
func valueText(v *float64, u units.Unit) string {
	if v == nil || math.IsInf(*v, 0) {
		return "unbounded (saturated)"
	}
	return units.Format(*v, u)
}

// title is a criterion's quantity as people read it.
func title(c forecast.Criterion) string {
	if q, err := history.QuantityByName(c.Metric); err == nil {
		return q.Title
	}
	return c.Metric
}

// verdictViews are the answers of every threshold for a model.
func verdictViews(m *standing.Model) []VerdictView {
	out := []VerdictView{}
	for _, x := range m.Verdicts {
		v := VerdictView{Kind: x.Threshold.Kind, Name: x.Threshold.Name, Outcome: x.Outcome, Why: why(x), P99Target: p99Target(x.Threshold.Criteria)}
		if x.Trial != nil {
			v.Version = outside.Line(x.Trial.Version, 100)
		}
		if x.Engine != nil {
			v.Precision = x.Engine.Precision
		}
		out = append(out, v)
	}
	return out
}

// why says in words what is missed or unknown; "" when the threshold is met.
func why(v standing.Verdict) string {
	switch v.Reason {
	case standing.NoResult:
		return "no result yet"
	case standing.OtherEnvironment:
		return "no result in environment " + v.Threshold.Environment
	case standing.StillMeasuring:
		return "still being measured"
	case standing.Absent:
		return "not in the repository"
	case standing.NoEffect:
		return strings.ToUpper(v.Threshold.Precision) + " had no effect"
	case standing.NoEngine:
		return noEngine(v)
	}
	if v.Outcome == standing.Met || v.Engine == nil {
		return ""
	}
	return misses(*v.Engine)
}

// noEngine says why no engine that counts was measured.
func noEngine(v standing.Verdict) string {
	if v.Trial == nil {
		return "no measured engine yet"
	}
	for e := range v.Trial.Entries() {
		if v.Threshold.Counts(e.Precision) && !e.OK() && !e.Unsupported() {
			return fmt.Sprintf("%s failed: %s", e.Precision, kindTitle(e.Failure))
		}
	}
	for e := range v.Trial.Entries() {
		if v.Threshold.Counts(e.Precision) && e.Unsupported() {
			return fmt.Sprintf("%s is not supported here", e.Precision)
		}
	}
	return "no measured engine"
}

// misses names what an engine misses, with value and target.
func misses(r standing.EngineResult) string {
	var parts []string
	for _, c := range r.Criteria {
		switch c.Outcome {
		case standing.Missed:
			parts = append(parts, fmt.Sprintf("%s %s, wanted %s %s", title(c.Criterion), valueText(&c.Value, c.Unit), c.Comparison, units.Format(c.Target, c.Unit)))
		case standing.Unknown:
			parts = append(parts, title(c.Criterion)+" not measured")
		case standing.Undecided:
			parts = append(parts, fmt.Sprintf("%s %s on a disturbed machine, wanted %s %s", title(c.Criterion), valueText(&c.Value, c.Unit), c.Comparison, units.Format(c.Target, c.Unit)))
		}
	}
	return strings.Join(parts, "; ")
}

func p99Target(criteria []forecast.Criterion) *float64 {
	for _, c := range criteria {
		if c.Metric == "p99" && c.Comparison.LowerIsBetter() {
			return num(c.Target)
		}
	}
	return nil
}

// deciding are the verdicts that a model's status speaks of: its targets, or
// the milestones where it has no target.
func (m ModelView) deciding() []VerdictView {
	n := slices.IndexFunc(m.Verdicts, func(v VerdictView) bool { return v.Kind != standing.KindTarget })
	if n <= 0 {
		return m.Verdicts // of one kind
	}
	return m.Verdicts[:n]
}

// decides reports whether the engine of precision p is why the model has not met
// a threshold: what the other engines miss is of no interest.
func (m ModelView) decides(p engine.Precision, of RowVerdict) bool {
	return slices.ContainsFunc(m.Verdicts, func(v VerdictView) bool {
		return v.Kind == of.Kind && v.Name == of.Name && v.Precision == p && v.Outcome != standing.Met
	})
}

// ExitCode is that of plancast run: the targets of every model selected by
// only (nil for all), the baseline and the gates; a model whose newest version has no result counts as
// undecided, and so does a target without any model, or one that lists a model
// that the repository lacks.
// Milestones have a say in it by gates alone.
func (v View) ExitCode(only func(model string) bool) int {
	outcomes := v.Baseline.Outcomes()
	for _, g := range v.Gates {
		outcomes = append(outcomes, g.Outcome)
	}
	for _, u := range v.Unmatched {
		if u.Kind == standing.KindTarget {
			outcomes = append(outcomes, standing.Unknown) // a gate that guards nothing
		}
	}
	for _, a := range v.Absent {
		if a.Kind == standing.KindTarget && (only == nil || only(a.Model)) {
			outcomes = append(outcomes, standing.Unknown)
		}
	}
	for _, g := range v.Gaps {
		if only == nil || only(g.Model) {
			outcomes = append(outcomes, standing.Unknown)
		}
	}
	for _, m := range v.Models {
		if only != nil && !only(m.Name) {
			continue
		}
		for _, x := range m.Verdicts {
			if x.Kind == standing.KindTarget {
				outcomes = append(outcomes, x.Outcome)
			}
		}
	}
	return standing.ExitCode(outcomes)
}
