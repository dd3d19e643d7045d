package baseline

import (
	"cmp"
	"slices"

	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/standing"
)

// Comparison is how the engines of a run compare with those of a baseline.
type Comparison struct {
	Name     string           `json:"name"`     // where the baseline came from
	Verdict  compare.Verdict  `json:"verdict"`  // the worst of Results
	Results  []compare.Result `json:"results"`  // one for each engine that both have
	Criteria []Criterion      `json:"criteria"` // the relative criteria of the targets
	Missing  []string         `json:"missing,omitempty"`
}

// Criterion is a relative criterion of a target with its answer for a model.
type Criterion struct {
	Target    string           `json:"target"`
	Model     string           `json:"model"`
	Precision engine.Precision `json:"precision,omitempty"` // of the engine that was judged
	Text      string           `json:"text"`                // "p99 <= base + 5 %"
	Outcome   standing.Outcome `json:"outcome"`
	Why       string           `json:"why,omitempty"` // it is not decided
}

// Outcomes are what an exit status rests on: the criteria or, where no target has
// one, that nothing regressed. A nil Comparison has none.
func (c *Comparison) Outcomes() (out []standing.Outcome) {
	if c == nil {
		return nil
	}
	for _, x := range c.Criteria {
		out = append(out, x.Outcome)
	}
	switch {
	case len(c.Criteria) > 0:
	case c.Verdict == compare.Regressed:
		out = append(out, standing.Missed)
	case len(c.Results) == 0 && len(c.Missing) > 0: // a baseline of something else guards nothing
		out = append(out, standing.Unknown)
	}
	return out
}

// Compare compares what was measured, own, with the results of a baseline, engine by
// engine, and judges the relative criteria of the targets.
func Compare(name string, base, own []history.Record, targets []config.Target, o compare.Options) Comparison {
	base = slices.DeleteFunc(slices.Clone(base), func(b history.Record) bool { // nothing is its own baseline
		return b.ID != 0 && slices.ContainsFunc(own, func(r history.Record) bool { return r.ID == b.ID })
	})
	out := Comparison{Name: withoutSecrets(name), Verdict: compare.Undecided, Results: []compare.Result{}}
	for _, r := range own {
		b, ok := counterpart(base, r)
		if !ok {
			out.Missing = append(out.Missing, r.Model+" "+string(r.Precision))
			continue
		}
		out.Results = append(out.Results, compare.Results(b, r, o))
	}
	for _, t := range targets {
		for _, model := range models(own) {
			if !t.Matches(model) {
				continue
			}
			for _, c := range t.Relative {
				out.Criteria = append(out.Criteria, judge(t, c, of(base, model), of(own, model), o))
			}
		}
	}
	for _, v := range []compare.Verdict{compare.Regressed, compare.Undecided, compare.Improved, compare.Unchanged} {
		if slices.ContainsFunc(out.Results, func(r compare.Result) bool { return r.Verdict == v }) {
			out.Verdict = v
			break
		}
	}
	return out
}

// judge answers one criterion for a model, by the engine that its target names, or
// by the fastest of each side.
func judge(t config.Target, c compare.Criterion, base, own []history.Record, o compare.Options) Criterion {
	out := Criterion{Target: t.Name, Text: c.String(), Outcome: standing.Unknown}
	if len(own) > 0 {
		out.Model = own[0].Model
	}
	r, ok := engineOf(t.Select, own)
	if !ok {
		out.Why = "the model has no " + t.Precision + " engine"
		return out
	}
	out.Precision = r.Precision
	b, ok := engineOf(t.Select, base)
	if t.Precision != config.Best {
		b, ok = counterpart(base, r)
	}
	if !ok {
		out.Why = "the baseline has no result for it"
		return out
	}
	answer, why := compare.Results(b, r, o).Judge(c)
	out.Why = why
	switch answer {
	case compare.Holds:
		out.Outcome = standing.Met
	case compare.Broken:
		out.Outcome = standing.Missed
	default:
		out.Outcome = standing.Undecided
	}
	return out
}

// engineOf is the record that a selection judges: of Best the one with the lowest
// P99, or mean where there is none.
func engineOf(s config.Select, list []history.Record) (history.Record, bool) {
	list = slices.DeleteFunc(slices.Clone(list), func(r history.Record) bool { return !s.Counts(r.Precision) })
	if len(list) == 0 {
		return history.Record{}, false
	}
	speed := func(r history.Record) float64 {
		if x, ok := r.Measurement.Latency.At(0.99); ok {
			return x.Value
		}
		return r.Measurement.Latency.Mean
	}
	return slices.MinFunc(list, func(a, b history.Record) int { return cmp.Compare(speed(a), speed(b)) }), true
}

// counterpart is the newest result of the same model and precision, of the same
// environment where there is one.
func counterpart(base []history.Record, r history.Record) (best history.Record, found bool) {
	better := func(b history.Record) bool {
		if x, y := b.Fingerprint == r.Fingerprint, best.Fingerprint == r.Fingerprint; x != y {
			return x
		}
		return cmp.Or(b.Finished.Compare(best.Finished), cmp.Compare(b.ID, best.ID)) > 0
	}
	for _, b := range base {
		if b.Model == r.Model && b.Precision == r.Precision && (!found || better(b)) {
			best, found = b, true
		}
	}
	return best, found
}

// of are the newest records of a model, one of each precision.
func of(list []history.Record, model string) (out []history.Record) {
	for _, p := range engine.AllPrecisions {
		if r, ok := counterpart(list, history.Record{Model: model, Precision: p}); ok {
			out = append(out, r)
		}
	}
	return out
}

func models(list []history.Record) (out []string) {
	for _, r := range list {
		if !slices.Contains(out, r.Model) {
			out = append(out, r.Model)
		}
	}
	return out
}
