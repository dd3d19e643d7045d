package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/workload"
	"github.com/plancast/plancast/units"
)

// WorkloadView is what one workload showed of an engine. A request is one call; rates
// are in requests a second.
type WorkloadView struct {
	Name      string   `json:"name"`
	Text      string   `json:"text"`                      // "70 % sequence 32, 25 % 128, at 200 requests a second"
	Failure   string   `json:"failure,omitempty"`         // why nothing else is known
	Saturated bool     `json:"saturated,omitempty"`       // it cannot be served: there is no latency
	Scheduled *float64 `json:"scheduled_per_s,omitempty"` // nil in a closed loop
	Capacity  *float64 `json:"capacity_per_s,omitempty"`  // of the mix in a closed loop

	Mean     *float64    `json:"mean_s,omitempty"` // of the latency from when each request was due
	P50      *float64    `json:"p50_s,omitempty"`
	P90      *float64    `json:"p90_s,omitempty"`
	P95      *float64    `json:"p95_s,omitempty"`
	P99      *Percentile `json:"p99,omitempty"`
	Wait     *float64    `json:"wait_mean_s,omitempty"` // the mean part of it until an engine was free
	WaitP99  *float64    `json:"wait_p99_s,omitempty"`
	Requests int         `json:"requests,omitempty"`
	Answered *float64    `json:"answered_per_s,omitempty"`
	Within   *float64    `json:"within_s,omitempty"` // the limit of goodput
	Goodput  *float64    `json:"goodput_per_s,omitempty"`
	// MaxRate is the highest rate at which the percentile MaxRateOf stays within the
	// limit.
	MaxRate   *float64 `json:"max_rate_per_s,omitempty"`
	MaxRateOf string   `json:"max_rate_of,omitempty"` // "p99"

	// Phase is "prefill" or "decode" where the workload has one; Mean is then the time to
	// first token, or per output token. Generation is nil where the model's cache is not
	// recognized.
	Phase      workload.Phase    `json:"phase,omitempty"`
	Generation *bench.Generation `json:"generation,omitempty"`

	// Change is that of the latency from the candidate before, timed in turns; nil without.
	Change *WorkloadChange `json:"change,omitempty"`

	Shapes []bench.ShapeTimes `json:"shapes,omitempty"` // how long calls take, without waiting
	Starts *bench.Starts      `json:"starts,omitempty"` // how punctual they were; nil in a closed loop

	Stable      bool         `json:"stable"`
	Disturbance *Disturbance `json:"disturbance,omitempty"`
	Warnings    []string     `json:"warnings,omitempty"`
}

// WorkloadChange is how a workload's latency changed: the highest percentile that the
// requests suffice for, or the mean of a phase.
type WorkloadChange struct {
	Version  string        `json:"version"`  // of the candidate before
	Quantity string        `json:"quantity"` // "p99", "mean"
	Ratio    float64       `json:"ratio"`    // new/old - 1: -0.08 is 8 % faster
	Low      float64       `json:"low"`      // it lies between Low and High with 90 % confidence
	High     float64       `json:"high"`
	Verdict  bench.Verdict `json:"verdict"`
	Text     string        `json:"text"` // "down 8 % (7-9 %)"
}

func workloadChange(w bench.WorkloadResult) *WorkloadChange {
	quantities := []string{"p99", "p95", "p90", "p50", "mean"}
	if w.Phase != "" {
		quantities = []string{"mean"}
	}
	for _, q := range quantities {
		if x, ok := w.Comparison.Of(q); ok {
			return &WorkloadChange{outside.Line(w.Comparison.Version, 100), q, x.Ratio - 1, x.Low - 1, x.High - 1, x.Verdict, pairText(x)}
		}
	}
	return nil
}

func workloadViews(list []bench.WorkloadResult) []WorkloadView {
	var out []WorkloadView
	for _, w := range list {
		out = append(out, workloadView(w))
	}
	return out
}

func workloadView(w bench.WorkloadResult) WorkloadView {
	v := WorkloadView{Name: outside.Line(w.Name, 100), Text: outside.Line(w.String(), 300), Saturated: w.Saturated, Stable: w.Stable}
	if w.Open() {
		v.Scheduled = num(w.Rate)
	}
	if w.Failure != nil {
		v.Failure = outside.Line(w.Failure.Error(), 1000)
		return v
	}
	v.Phase, v.Generation, v.Change = w.Phase, w.Generation, workloadChange(w)
	v.Capacity, v.Answered, v.Goodput = num(w.Capacity), num(w.Answered), numOf(w.Goodput)
	if w.Within > 0 {
		v.Within = num(w.Within.Seconds())
	}
	if w.HighestRate != nil {
		v.MaxRate, v.MaxRateOf = numOf(w.HighestRate), bench.QuantityOf(w.MaxRate)
	}
	if l := w.Latency; l != nil {
		at := func(q float64) *float64 {
			x, ok := l.At(q)
			if !ok {
				return nil
			}
			return num(x.Value)
		}
		v.Requests, v.Mean, v.P50, v.P90, v.P95, v.P99 = l.Queries, num(l.Mean), at(0.5), at(0.9), at(0.95), percentile99(*l)
	}
	if l := w.Wait; l != nil {
		v.Wait, v.Starts = num(l.Mean), &w.Starts
		if x, ok := l.At(0.99); ok {
			v.WaitP99 = num(x.Value)
		}
	}
	for _, s := range w.Mix {
		s.Shape = outside.Line(s.Shape, 200)
		v.Shapes = append(v.Shapes, s)
	}
	if d := w.Disturbance; d != nil {
		v.Disturbance = &Disturbance{Disturbed: w.Disturbed(), Share: d.Share, Cause: d.Cause, Discarded: d.Discarded}
	}
	for _, s := range w.Warnings {
		v.Warnings = append(v.Warnings, outside.Line(s, 300))
	}
	return v
}

// workloadLine is a workload of one engine in the table of a model.
type workloadLine struct {
	Precision engine.Precision
	WorkloadView
}

// workloadLines are the workloads of a model's newest candidate, those of one workload
// together.
func workloadLines(rows []Row) []workloadLine {
	var out []workloadLine
	var names []string
	of := map[string][]workloadLine{}
	for _, r := range rows {
		if r.Result == nil {
			continue
		}
		for _, w := range r.Result.Workloads {
			if of[w.Name] == nil {
				names = append(names, w.Name)
			}
			of[w.Name] = append(of[w.Name], workloadLine{r.Precision, w})
		}
	}
	for _, name := range names {
		out = append(out, of[name]...)
	}
	return out
}

// workloadColumn is one column of the table of workloads, the same in every form.
type workloadColumn struct {
	title string
	right bool
	cell  func(workloadLine) string
	sub   func(workloadLine) string // below it in small print, on the page; nil for nothing
}

var workloadColumns = []workloadColumn{
	{"Workload", false, func(l workloadLine) string { return l.Name }, nil},
	{"Precision", false, func(l workloadLine) string { return string(l.Precision) }, nil},
	{"P50", true, func(l workloadLine) string { return quantity(l.P50, units.Seconds) }, nil},
	{"P99", true, workloadP99, workloadBound},
	{"Waiting P99", true, func(l workloadLine) string { return quantity(l.WaitP99, units.Seconds) }, nil},
	{"Answered", true, func(l workloadLine) string { return quantity(l.Answered, units.PerSec) }, workloadScheduled},
	{"Goodput", true, func(l workloadLine) string { return quantity(l.Goodput, units.PerSec) }, workloadWithin},
	{"Highest rate", true, func(l workloadLine) string { return quantity(l.MaxRate, units.PerSec) }, nil},
	{"Stable", false, func(l workloadLine) string {
		switch {
		case l.Disturbance != nil && l.Disturbance.Disturbed:
			return "disturbed"
		case l.Failure != "" || l.Saturated:
			return none
		case !l.Stable:
			return "no"
		}
		return "yes"
	}, nil},
}

func workloadP99(l workloadLine) string {
	switch {
	case l.Failure != "":
		return "failed"
	case l.Saturated:
		return "saturated"
	case l.P99 == nil:
		return none
	}
	return units.Format(l.P99.Value, units.Seconds)
}

func workloadBound(l workloadLine) string {
	if l.P99 == nil || l.P99.Upper == nil {
		return ""
	}
	return "≤ " + units.Format(*l.P99.Upper, units.Seconds) + " (" + units.Number(float64(l.Requests)) + ")"
}

func workloadScheduled(l workloadLine) string {
	if l.Scheduled == nil {
		return ""
	}
	return "of " + units.Format(*l.Scheduled, units.PerSec)
}

func workloadWithin(l workloadLine) string {
	if l.Within == nil {
		return ""
	}
	return "within " + units.Format(*l.Within, units.Seconds)
}

// details are sentences below the table of workloads.
func (l workloadLine) details() []string {
	var out []string
	say := func(text string) { out = append(out, fmt.Sprintf("%s under %s: %s", l.Precision, l.Name, text)) }
	if l.Failure != "" {
		say(l.Failure)
	}
	if l.Phase != "" && l.Mean != nil {
		say(l.generation())
	}
	if c := l.Change; c != nil {
		what := "the mean"
		if c.Quantity != "mean" {
			what = strings.ToUpper(c.Quantity)
		}
		say(fmt.Sprintf("in turns with version %s, %s: %s", c.Version, what, c.Text))
	}
	if len(l.Shapes) > 1 {
		parts := make([]string, len(l.Shapes))
		for i, s := range l.Shapes {
			parts[i] = s.Shape + " takes " + units.Format(s.P50, units.Seconds)
			if s.P99 != nil {
				parts[i] += " (P99 " + units.Format(*s.P99, units.Seconds) + ")"
			}
		}
		say(strings.Join(parts, ", "))
	}
	if text := l.cold(); text != "" {
		say(text)
	}
	for _, w := range l.Warnings {
		say(w)
	}
	return out
}

// noticeable is from when on a call after a pause is said to take longer than one back
// to back, as a ratio.
const noticeable = 1.1

// cold says why calls take longer as requests arrive than back to back, of the shape
// with most requests; "" where they do not.
func (l workloadLine) cold() string {
	if len(l.Shapes) == 0 || l.Disturbance != nil && l.Disturbance.Disturbed {
		return ""
	}
	s := slices.MaxFunc(l.Shapes, func(a, b bench.ShapeTimes) int { return cmp.Compare(a.Queries, b.Queries) })
	if s.BackToBack == nil || s.P50 <= noticeable**s.BackToBack {
		return ""
	}
	return fmt.Sprintf("a call of %s takes %s at P50, and %s back to back: in the pauses between requests caches and clocks cool down, and users wait for that too",
		s.Shape, units.Format(s.P50, units.Seconds), units.Format(*s.BackToBack, units.Seconds))
}

// generation says what a phase showed: "5.1 ms per output token on average, 196 tokens
// a second, a cache of 70.3 MiB at 2,000 tokens".
func (l workloadLine) generation() string {
	time := map[workload.Phase]string{workload.Prefill: "to first token", workload.Decode: "per output token"}
	parts := []string{units.Format(*l.Mean, units.Seconds) + " " + time[l.Phase] + " on average"}
	if g := l.Generation; g != nil {
		parts = append(parts, units.Number(g.Tokens)+" tokens a second")
		for _, c := range g.Cache {
			parts = append(parts, fmt.Sprintf("a cache of %s at %s", units.Format(float64(c.Bytes), units.Bytes), units.Count(int(c.Batch*c.Tokens), "token")))
		}
	}
	return strings.Join(parts, ", ")
}

// workloadSentences say below a table what each workload is, and its details.
func workloadSentences(list []workloadLine) []string {
	var out []string
	name := ""
	for _, l := range list {
		if l.Name != name {
			name = l.Name
			out = append(out, name+": "+l.Text)
		}
		out = append(out, l.details()...)
	}
	return out
}

// workloadTable is the table as the page shows it.
type workloadTable struct {
	Header  []htmlCell
	Rows    [][]htmlCell
	Details []string
}

func newWorkloadTable(list []workloadLine) workloadTable {
	var t workloadTable
	for _, c := range workloadColumns {
		t.Header = append(t.Header, htmlCell{Title: c.title, Right: c.right})
	}
	for _, l := range list {
		var row []htmlCell
		for _, c := range workloadColumns {
			cell := htmlCell{Title: c.title, Text: c.cell(l), Right: c.right}
			if c.sub != nil {
				cell.Sub = c.sub(l)
			}
			if c.title == "P99" && (l.Saturated || l.Failure != "") {
				cell.Class = "bad"
			}
			row = append(row, cell)
		}
		t.Rows = append(t.Rows, row)
	}
	t.Details = workloadSentences(list)
	return t
}
