package report

import (
	"strconv"
	"strings"

	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/units"
)

// column is one column of the table of a model, the same in every form.
type column struct {
	title string
	right bool // numbers are aligned to the right
	cell  func(line) string
}

// line is one line of the table: a row's own result, or its last good one.
type line struct {
	row    Row
	result *Result // nil: there is none, and the row's state is written instead
	old    bool    // result is the last good one of an earlier candidate
}

const none = "–"

// lines lays the rows of a model out: a row without a result is one line that
// says why, followed by its last good result.
func lines(m ModelView) []line {
	var out []line
	for _, r := range m.Rows {
		out = append(out, line{row: r, result: r.Result})
		if r.Result == nil && r.LastGood != nil {
			out = append(out, line{row: r, result: r.LastGood, old: true})
		}
	}
	return out
}

func (l line) precision() string {
	s := string(l.row.Precision)
	if l.old {
		s += ", last good"
	}
	if l.result != nil && l.result.NoEffect != "" {
		s += ", had no effect"
	}
	return s
}

// why says in one line why there is no result.
func (l line) why() string {
	switch {
	case l.row.State == RowWaiting:
		return "not measured yet"
	case l.row.Failure == nil:
		return ""
	case l.row.State == RowUnsupported:
		return "unsupported" + detail(l.row.Failure)
	}
	return "failed: " + l.row.Failure.Text()
}

func detail(f *Failure) string {
	if f.Message == "" {
		return ""
	}
	return ": " + f.Message
}

func quantity(v *float64, u units.Unit) string {
	if v == nil {
		return none
	}
	return units.Format(*v, u)
}

var columns = []column{
	{"Precision", false, line.precision},
	{"Version", false, func(l line) string { return l.result.Version }},
	{"Mean", true, func(l line) string { return quantity(l.result.Mean, units.Seconds) }},
	{"P99", true, func(l line) string {
		if l.result.P99 == nil {
			return none
		}
		return units.Format(l.result.P99.Value, units.Seconds)
	}},
	{"P99 bound (n)", true, func(l line) string { return bound(l.result) }},
	{"Change", false, func(l line) string { return changeText(l.result) }},
	{"Throughput", true, func(l line) string { return quantity(l.result.Throughput, units.PerSec) }},
	{"Top-1", true, func(l line) string { return top1(l.result) }},
	{"Deviation", true, func(l line) string { return quantity(l.result.Deviation, units.Ratio) }},
	{"Memory", true, func(l line) string { return quantity(l.result.PeakMemory, units.Bytes) }},
	{"Build", true, func(l line) string {
		if l.result.Build == nil {
			return "reused"
		}
		return units.Format(*l.result.Build, units.Seconds)
	}},
	{"Stable", false, func(l line) string {
		switch d := l.result.Disturbance; {
		case l.result.Stable:
			return "yes"
		case d != nil && d.Disturbed:
			return "disturbed"
		}
		return "no"
	}},
	{"Thresholds", false, func(l line) string { return thresholdsCell(l) }},
	{"Age", false, func(l line) string { return units.Ago(seconds(l.result.Age)) }},
}

// bound is the early-stopping bound with the queries it rests on.
func bound(r *Result) string {
	switch n := units.Number(float64(r.Queries)); {
	case r.Queries == 0: // a fleet's store does not know
		return none
	case r.P99 == nil:
		return none + " (" + n + ")"
	case r.P99.Upper == nil:
		return "none (" + n + ")"
	default:
		return "≤ " + units.Format(*r.P99.Upper, units.Seconds) + " (" + n + ")"
	}
}

func changeText(r *Result) string {
	c := r.Change
	if c == nil {
		return none
	}
	return c.Text + " " + from(c)
}

// from reads "from v2", or "from v2 fp32" after a change of precision. Where a store does
// not know the version it reads "from version of iteration 2".
func from(c *Change) string {
	text := "from v" + c.Version
	if _, err := strconv.ParseUint(c.Version, 10, 64); err != nil {
		text = "from version " + c.Version
	}
	if !c.Same {
		text += " " + string(c.Precision)
	}
	return text
}

// top1 is the labeled accuracy, or else the agreement with the reference.
func top1(r *Result) string {
	switch {
	case r.Top1 != nil:
		return units.Format(*r.Top1, units.Ratio)
	case r.Top1Agreement != nil:
		return "agrees " + units.Format(*r.Top1Agreement, units.Ratio)
	}
	return none
}

func thresholdsCell(l line) string {
	var parts []string
	if l.old {
		return none
	}
	for _, v := range l.row.Verdicts {
		parts = append(parts, v.Name+" "+string(v.Outcome))
	}
	if len(parts) == 0 {
		return none
	}
	return strings.Join(parts, ", ")
}

// misses lists, in words, what a row misses: "launch: P99 latency 61 ms, wanted < 50 ms".
func (v RowVerdict) misses() []string {
	var out []string
	for _, c := range v.Criteria {
		if c.Outcome == standing.Missed {
			out = append(out, v.Name+": "+c.Title+" "+valueText(c.Value, c.Unit)+", wanted "+wanted(c))
		}
	}
	return out
}

// wanted is the criterion without its metric: "< 50 ms".
func wanted(c CriterionView) string { return strings.TrimPrefix(c.Text, c.Metric+" ") }
