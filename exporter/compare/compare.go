// Package compare says what changed from one result to another: by how much, how
// sure that is, and whether the two can be compared at all. Results is pure and
// gives data without layout, which package report presents; InStore reads the two
// from a history first.
package compare

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/units"
)

// Verdict says how a figure, or a candidate as a whole, changed.
type Verdict string

// The verdicts.
const (
	Regressed Verdict = "regressed" // worse, by more than the margin
	Improved  Verdict = "improved"  // better, by more than the margin
	Unchanged Verdict = "unchanged" // no measurable change: the interval lies inside the margin
	Undecided Verdict = "undecided" // the interval is too wide, or there is none
)

// Words is the verdict as people read it.
func (v Verdict) Words() string {
	switch v {
	case Unchanged:
		return "no measurable change"
	case Undecided:
		return "not decidable"
	}
	return string(v)
}

// Options say how to compare.
type Options struct {
	// Margin is the share of a figure below which a change is none, as in
	// bench.Guard. 0.02 is 2 %.
	Margin float64
}

// Result is the comparison of B with A.
type Result struct {
	A Side `json:"a"`
	B Side `json:"b"`
	// Obstacles say why the times cannot be compared; empty when they can.
	Obstacles []string `json:"not_comparable,omitempty"`
	// Paired says that the latencies were timed in turns, in one visit.
	Paired  bool    `json:"paired"`
	Verdict Verdict `json:"verdict"` // of the rows that decide
	Rows    []Row   `json:"rows"`    // in the order of history.QuantitiesOf, those that one of the two has
	// Layers is what changed in the engine; nil where the layers of one are unknown.
	Layers      *bench.LayerChanges `json:"layers,omitempty"`
	Environment []Difference        `json:"environment_differences,omitempty"`
}

// Side is one of the two results.
type Side struct {
	ID          int64            `json:"id,omitempty"` // 0 of a result that is not in this history
	Model       string           `json:"model"`
	Version     string           `json:"version"`
	Digest      string           `json:"digest"`
	Precision   engine.Precision `json:"precision"`
	Iteration   int              `json:"iteration,omitempty"`
	Finished    time.Time        `json:"finished"`
	Fingerprint string           `json:"fingerprint"`
	Marks       []string         `json:"marks,omitempty"` // "disturbed", "unstable", "excluded", "superseded", "imported"
	// Change is the change that led to the candidate; nil when nothing is known of it.
	Change *change.Change `json:"change,omitempty"`
}

// Row is one figure of both.
type Row struct {
	Quantity string     `json:"quantity"` // as in a criterion: "p99"
	Title    string     `json:"title"`
	Unit     units.Unit `json:"unit"`
	// Lower says that less of it is better.
	Lower   bool    `json:"lower_is_better"`
	Decides bool    `json:"decides"` // Result.Verdict rests on it
	A       *Figure `json:"a"`       // nil where it was not measured
	B       *Figure `json:"b"`
	Change  *Change `json:"change,omitempty"` // nil where one of the two is unknown, or A is 0
	// Apart says that the change is the quotient of two results of different times in a
	// comparison that was timed in turns otherwise: too few requests for the turns.
	Apart   bool    `json:"apart,omitempty"`
	Verdict Verdict `json:"verdict"`
	Why     string  `json:"why,omitempty"` // it is undecided
}

// Figure is a value with the interval in which the true one lies with
// bench.IntervalConfidence.
type Figure struct {
	Value float64  `json:"value"`
	Low   *float64 `json:"low,omitempty"`
	High  *float64 `json:"high,omitempty"` // nil beside a Low: it has no upper end
}

// Change is the ratio of B's figure to A's.
type Change struct {
	Ratio float64  `json:"ratio"`
	Low   *float64 `json:"low,omitempty"` // nil of a figure that is exact, or without an interval
	High  *float64 `json:"high,omitempty"`
	// WithinRebuild says that building the same candidate twice changed as much.
	WithinRebuild bool `json:"within_rebuild,omitempty"`
}

// Difference is one condition in which the two were measured differently.
type Difference struct {
	Name string `json:"name"`
	A    string `json:"a"`
	B    string `json:"b"`
}

// Results compares b with a. Both should have their layers.
func Results(a, b history.Record, o Options) Result {
	r := Result{A: side(a), B: side(b), Environment: differences(a, b), Verdict: Undecided}
	pair := paired(a, b)
	r.Paired = pair != nil
	r.Obstacles = obstacles(a, b, r.Environment, r.Paired)
	for _, q := range history.QuantitiesOf(a, b) {
		row, known := compared(q, a, b)
		if !known {
			continue
		}
		row.judge(a, b, pair, len(r.Obstacles) > 0, o)
		r.Rows = append(r.Rows, row)
	}
	r.decide()
	if a.OK() && b.OK() && a.Measurement.Layers != nil && b.Measurement.Layers != nil && a.Measurement.Layers.Layers != nil && b.Measurement.Layers.Layers != nil {
		r.Layers = bench.LayerChangesBetween(a.Version, a.Measurement.Layers.Layers, b.Measurement.Layers.Layers)
	}
	return r
}

func side(r history.Record) Side {
	s := Side{
		ID: r.ID, Model: r.Model, Version: r.Version, Digest: r.Digest, Precision: r.Precision, Iteration: r.Iteration,
		Finished: r.Finished, Fingerprint: r.Fingerprint, Change: r.Change,
	}
	mark := func(is bool, name string) {
		if is {
			s.Marks = append(s.Marks, name)
		}
	}
	mark(r.OK() && r.Measurement.Disturbed(), "disturbed")
	mark(r.OK() && !r.Measurement.Stable, "unstable")
	mark(r.Excluded != nil, "excluded")
	mark(r.SupersededBy != 0, "superseded")
	mark(r.Source != "", "imported")
	return s
}

// obstacles say why the times of a and b cannot be compared.
func obstacles(a, b history.Record, different []Difference, paired bool) (out []string) {
	for _, x := range []struct {
		record history.Record
		name   string
	}{{a, "the first"}, {b, "the second"}} {
		if f := x.record.Failure; f != nil {
			out = append(out, fmt.Sprintf("%s has no measurement: %s", x.name, f.Kind.Title()))
		}
	}
	if len(out) == 0 && same(a, b) {
		return []string{"both are the same result"}
	}
	if len(out) > 0 || paired || a.Fingerprint == b.Fingerprint {
		return out
	}
	if len(different) == 0 {
		return []string{"the benchmark settings or the inputs differ"}
	}
	var words []string
	for _, d := range different {
		words = append(words, d.String())
	}
	return []string{"measured in different environments: " + strings.Join(words, "; ")}
}

// same reports whether two records are one result, whose time and candidate no other has;
// one of them may have come with a report, without its ID.
func same(a, b history.Record) bool {
	return a.Model == b.Model && a.Digest == b.Digest && a.Precision == b.Precision && a.Fingerprint == b.Fingerprint &&
		!a.Finished.IsZero() && a.Finished.Equal(b.Finished)
}

// decide sums up the rows that decide: what regressed outweighs what improved, and
// what is open outweighs both an improvement and no change.
func (r *Result) decide() {
	has := func(v Verdict) bool {
		return slices.ContainsFunc(r.Rows, func(row Row) bool { return row.Decides && row.Verdict == v })
	}
	for _, v := range []Verdict{Regressed, Undecided, Improved, Unchanged} {
		if has(v) {
			r.Verdict = v
			return
		}
	}
}

// Comparable reports whether the times can be compared.
func (r Result) Comparable() bool { return len(r.Obstacles) == 0 }

// Row returns the row of a quantity, false when neither result has it.
func (r Result) Row(quantity string) (Row, bool) {
	i := slices.IndexFunc(r.Rows, func(x Row) bool { return x.Quantity == quantity })
	if i < 0 {
		return Row{}, false
	}
	return r.Rows[i], true
}

// paired are the turns that the two took with each other, as changes from a to b;
// nil where they took none.
func paired(a, b history.Record) *bench.Comparison {
	if !a.OK() || !b.OK() || a.Precision != b.Precision || a.Digest == b.Digest {
		return nil
	}
	if c := withWorkloads(b.Measurement); c != nil && c.Digest == a.Digest {
		return c
	}
	c := withWorkloads(a.Measurement)
	if c == nil || c.Digest != b.Digest {
		return nil
	}
	turned := *c
	turned.Changes = slices.Clone(c.Changes)
	for i, x := range turned.Changes {
		turned.Changes[i].Ratio, turned.Changes[i].Low, turned.Changes[i].High = 1/x.Ratio, 1/x.High, 1/x.Low
	}
	return &turned
}

// withWorkloads is the comparison of a measurement with the changes of its workloads
// ("p99@chat") that were timed in turns with the same candidate, undisturbed.
func withWorkloads(m *bench.Measurement) *bench.Comparison {
	if m.Comparison == nil {
		return nil
	}
	c := *m.Comparison
	c.Changes = slices.Clone(c.Changes)
	for i := range m.Workloads {
		w := &m.Workloads[i]
		if w.Comparison == nil || w.Comparison.Digest != c.Digest || w.Comparison.Disturbed {
			continue
		}
		for _, q := range terms.WorkloadQuantities() {
			if x, ok := w.ChangeOf(q.Name); ok && w.Shows(q.Name) {
				x.Quantity = terms.OfWorkload(q.Name, w.Name)
				c.Changes = append(c.Changes, x)
			}
		}
	}
	return &c
}

// finite is a pointer to v; nil when it is no finite number.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}
