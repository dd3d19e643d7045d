package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/units"
)

// best is the row to speak of: by the first threshold of the newest candidate the
// fastest engine that meets it, or the one that comes nearest; otherwise the one of
// the lowest P99.
func best(m ModelView) engine.Precision {
	for _, v := range m.deciding() {
		if row, _ := m.Row(v.Precision); m.Candidate == nil || v.Version != m.Candidate.Version || row.Result == nil {
			continue
		}
		if v.Outcome != standing.Met {
			return v.Precision
		}
		met := fastest(m.Rows, func(r Row) *Result {
			if !slices.ContainsFunc(r.Verdicts, func(x RowVerdict) bool {
				return x.Kind == v.Kind && x.Name == v.Name && x.Outcome == standing.Met
			}) {
				return nil
			}
			return r.Result
		})
		// A milestone of another environment judges none of these rows.
		return cmp.Or(met, v.Precision)
	}
	return fastest(m.Rows, func(r Row) *Result { return r.Result })
}

// fastest is the row of the lowest P99. One whose precision had no effect is
// taken only where there is no other: its figures are those of another precision.
func fastest(rows []Row, of func(Row) *Result) engine.Precision {
	var p engine.Precision
	least, effective := math.Inf(1), false
	for _, r := range rows {
		x := of(r)
		if x == nil || effective && x.NoEffect != "" {
			continue
		}
		v := math.MaxFloat64
		if x.P99 != nil {
			v = x.P99.Value
		}
		if v < least || !effective && x.NoEffect == "" {
			p, least, effective = r.Precision, v, x.NoEffect == ""
		}
	}
	return p
}

// noResult is the headline of a model without a candidate.
func noResult(m ModelView, a standing.Activity) string {
	s := m.Name + ": no result yet"
	for _, j := range a.Running {
		if j.Model == m.Name {
			return s + "; version " + outside.Line(j.Version, 100) + " is being measured"
		}
	}
	for _, j := range a.Queue {
		if j.Model == m.Name {
			return s + "; version " + outside.Line(j.Version, 100) + " is queued"
		}
	}
	if len(m.Waiting) > 0 {
		w := m.Waiting[len(m.Waiting)-1]
		s += fmt.Sprintf("; version %s is %s", w.Version, w.StateText())
		if w.Reason != "" {
			s += ": " + w.Reason
		}
	}
	return s
}

// headline is the result in one sentence.
func headline(m ModelView) string {
	s := m.Name
	if m.Environment != nil {
		s += " on " + outside.Line(m.Environment.DeviceName(), 80)
	}
	s += ": "
	if m.Best == "" {
		state := "failed"
		if m.Status == standing.StatusMeasuring {
			state = "is being measured"
		}
		s += "version " + m.Candidate.Version + " " + state
		for _, r := range m.Rows {
			if r.State == RowFailed {
				s += ", " + r.Failure.Title
				break
			}
		}
		if g := lastGood(m); g != nil {
			s += fmt.Sprintf("; last good result: version %s, %s, %s", g.Version, latencyText(*g), units.Ago(seconds(g.Age)))
		}
		return s
	}
	row, _ := m.Row(m.Best)
	r := row.Result
	s += latencyText(*r)
	if len(m.Rows) > 1 && r.NoEffect == "" {
		s += " with " + string(m.Best)
	}
	if r.NoEffect != "" {
		s += " (" + r.NoEffect + ")"
	}
	if c := r.Change; c != nil {
		s += ", " + c.Text
		if !c.Same {
			s += " from " + string(c.Precision)
		}
	}
	if r.Throughput != nil {
		s += ", " + units.Format(*r.Throughput, units.PerSec)
		if c := r.ThroughputChange; c != nil && c.Verdict == bench.Changed {
			s += ", " + c.Text
		}
	}
	if t := thresholdText(m); t != "" {
		s += ", " + t
	}
	return s
}

func lastGood(m ModelView) *Result {
	p := fastest(m.Rows, func(r Row) *Result { return r.LastGood })
	r, _ := m.Row(p)
	return r.LastGood
}

func latencyText(r Result) string {
	switch {
	case r.P99 != nil:
		return "P99 " + units.Format(r.P99.Value, units.Seconds)
	case r.Mean != nil:
		return "mean " + units.Format(*r.Mean, units.Seconds)
	}
	return "no latency"
}

// thresholdText says which thresholds are met: "meets the launch threshold".
func thresholdText(m ModelView) string {
	if m.Status == standing.StatusMeasuring {
		return "still being measured"
	}
	names := map[standing.Outcome][]string{}
	var reason string
	noun := "threshold"
	for _, v := range m.deciding() {
		names[v.Outcome] = append(names[v.Outcome], v.Name)
		if v.Outcome != standing.Met && v.Why != "" && (reason == "" || v.Outcome == standing.Missed) {
			reason = v.Why
		}
		if v.Kind == standing.KindMilestone {
			noun = "milestone"
		}
	}
	var parts []string
	for _, x := range []struct {
		outcome standing.Outcome
		words   string
	}{{standing.Met, "meets the"}, {standing.Missed, "misses the"}, {standing.Unknown, "cannot be judged on the"}, {standing.Undecided, "is undecided on the"}} {
		switch n := names[x.outcome]; len(n) {
		case 0:
		case 1:
			parts = append(parts, x.words+" "+n[0]+" "+noun)
		default:
			parts = append(parts, x.words+" "+and(n)+" "+noun+"s")
		}
	}
	s := strings.Join(parts, ", ")
	if reason != "" {
		s += " (" + reason + ")"
	}
	return s
}
