package compare

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/terms"
)

// kind is how a figure is judged.
type kind int

const (
	timed    kind = iota // it has an interval
	weighed              // it is known: a change counts beyond the margin
	accurate             // it is known: every difference that can be seen counts
	passing              // it differs from build to build, and is shown only
)

// least is the difference of an accuracy that can be seen: a hundredth of a percent.
const least = 1e-4

func kindOf(quantity string) kind {
	switch quantity {
	case "memory", "size":
		return weighed
	case "top1", "accuracy_deviation":
		return accurate
	case "build_duration":
		return passing
	}
	return timed
}

// percentiles are the timed quantities that name one, the highest first.
var percentiles = []struct {
	name string
	q    float64
}{{"p99", 0.99}, {"p95", 0.95}, {"p90", 0.9}, {"p50", 0.5}}

// compared is the row of a quantity without its change; false when neither has it.
func compared(q history.Quantity, a, b history.Record) (Row, bool) {
	row := Row{Quantity: q.Name, Title: q.Title, Unit: q.Unit, Lower: q.LowerIsBetter, Verdict: Undecided, A: figure(q, a), B: figure(q, b)}
	row.Decides = decides(q.Name, a, b)
	return row, row.A != nil || row.B != nil
}

// decides reports whether a quantity says that a candidate is better or worse: the
// highest percentile that both have, throughput and accuracy.
func decides(quantity string, a, b history.Record) bool {
	switch quantity {
	case "throughput", "top1", "accuracy_deviation":
		return true
	}
	for _, p := range percentiles {
		of, _ := history.QuantityByName(p.name)
		_, first := of.Of(a)
		_, second := of.Of(b)
		if first && second {
			return p.name == quantity
		}
	}
	return false
}

// figure is a quantity of a record with its interval; nil where it is unknown.
func figure(q history.Quantity, r history.Record) *Figure {
	v, ok := q.Of(r)
	if !ok || finite(v) == nil {
		return nil
	}
	f := &Figure{Value: v}
	latency, quantity := latencyOf(r.Measurement, q.Name)
	for _, p := range percentiles {
		if p.name == quantity {
			x, _ := latency.At(p.q)
			f.Low, f.High = x.Low, x.High
			return f
		}
	}
	switch q.Name {
	case "mean":
		f.within(meanError(r.Measurement, r.Measurement.Latency.Queries))
	case "throughput":
		f.within(meanError(r.Measurement, queries(r.Measurement)))
	}
	return f
}

// latencyOf is the latency that a quantity is of: a workload's, or the engine's.
func latencyOf(m *bench.Measurement, name string) (l bench.Latency, quantity string) {
	quantity, workload := terms.SplitWorkload(name)
	if workload == "" {
		return m.Latency, quantity
	}
	if w := m.Workload(workload); w != nil && w.Latency != nil {
		l = *w.Latency
	}
	return l, quantity
}

// within gives a figure the interval of a relative error; NaN gives none.
func (f *Figure) within(relative float64) {
	if finite(relative) == nil {
		return
	}
	f.Low, f.High = finite(f.Value*math.Exp(-relative)), finite(f.Value*math.Exp(relative))
}

// queries are those that the throughput rests on.
func queries(m *bench.Measurement) int {
	for _, p := range m.Sweep {
		if p.Throughput == m.Throughput {
			return p.Queries
		}
	}
	return m.Latency.Queries
}

// meanError is half of the interval of a mean over n queries, as a share of it. It
// is the larger of what independent queries would have and what the interval of
// the median says, which comes from the same queries and knows that they depend on
// each other; fewer queries widen it by the root of their number. NaN when the
// record does not say enough.
func meanError(m *bench.Measurement, n int) float64 {
	l := m.Latency
	median, ok := l.At(0.5)
	if !ok || median.Low == nil || median.High == nil || l.Mean <= 0 || n <= 0 || *median.Low <= 0 {
		return math.NaN()
	}
	normal := distuv.UnitNormal.Quantile((1 + bench.IntervalConfidence) / 2)
	e := max(math.Log(*median.High / *median.Low)/2, normal*l.StdDev/l.Mean/math.Sqrt(float64(l.Queries)))
	return e * math.Sqrt(max(1, float64(l.Queries)/float64(n)))
}

// judge works out the change of a row and what it means.
func (row *Row) judge(a, b history.Record, pair *bench.Comparison, incomparable bool, o Options) {
	kind := kindOf(row.Quantity)
	switch {
	case row.A == nil:
		row.Why = "the first result lacks it"
		return
	case row.B == nil:
		row.Why = "the second result lacks it"
		return
	case row.A.Value > 0:
		row.Change = &Change{Ratio: row.B.Value / row.A.Value}
	}
	switch kind {
	case accurate:
		row.Verdict = row.direction(math.Abs(row.B.Value-row.A.Value) > least, row.B.Value > row.A.Value)
	case weighed:
		c := row.Change
		row.Verdict = row.direction(c != nil && math.Abs(math.Log(c.Ratio)) > math.Log1p(o.Margin), row.B.Value > row.A.Value)
	case passing:
		row.Verdict, row.Why = Undecided, "it differs from build to build"
	default:
		row.time(a, b, pair, incomparable, o)
	}
}

// time judges a figure that has an interval.
func (row *Row) time(a, b history.Record, pair *bench.Comparison, incomparable bool, o Options) {
	x, turns := pair.Of(row.Quantity)
	switch {
	case turns:
		row.Change = &Change{Ratio: x.Ratio, Low: finite(x.Low), High: finite(x.High), WithinRebuild: x.WithinRebuild}
		if pair.Disturbed {
			row.Change.Low, row.Change.High = nil, nil // it is no interval of what it should be
			row.Why = "other work disturbed both"
			return
		}
	case incomparable, a.Fingerprint != b.Fingerprint:
		row.Why = "measured under other conditions"
		return
	case history.EntryOf(a).DisturbedFor(row.Quantity) || history.EntryOf(b).DisturbedFor(row.Quantity):
		row.Why = "the machine was disturbed"
		return
	default:
		row.Apart = pair != nil
		row.unpaired(a, b)
	}
	c := row.Change
	if c == nil || c.Low == nil && c.High == nil {
		row.Why = "it has no interval"
		return
	}
	low, high := c.bounds()
	switch upper := 1 + o.Margin; {
	case low > upper:
		row.Verdict = row.direction(true, true)
	case high < 1/upper:
		row.Verdict = row.direction(true, false)
	case low >= 1/upper && high <= upper:
		row.Verdict = Unchanged
	default:
		row.Why = "the interval is too wide"
	}
}

// bounds are the ends of the interval, 0 and infinity where it has none.
func (c Change) bounds() (low, high float64) {
	high = math.Inf(1)
	if c.Low != nil {
		low = *c.Low
	}
	if c.High != nil {
		high = *c.High
	}
	return low, high
}

// unpaired is the interval of the quotient of two results that were measured apart.
// On a logarithmic scale the distances of the ends add up as the sides of a right
// triangle (MOVER: Zou and Donner, "Construction of confidence intervals about
// effect measures", Statistics in Medicine 27 (2008)). What building the same
// candidate twice changed comes in as a third side. What the machine did
// differently on two days is in none of them.
func (row *Row) unpaired(a, b history.Record) {
	c := row.Change
	if c == nil {
		return
	}
	drawn := 0.0
	for _, r := range []history.Record{a, b} {
		if x, ok := r.Measurement.Rebuild.Of(rebuilt(row.Quantity)); ok {
			drawn = max(drawn, math.Abs(math.Log(x.Ratio)))
		}
	}
	c.Low = end(c.Ratio, -1, below(*row.B), above(*row.A), drawn)
	c.High = end(c.Ratio, 1, above(*row.B), below(*row.A), drawn)
}

// rebuilt is the quantity of a rebuild that says how far another moves.
func rebuilt(quantity string) string {
	if quantity == "throughput" {
		return "mean"
	}
	return quantity
}

// below and above are how far the ends of a figure's interval lie from it, on a
// logarithmic scale; infinite where there is no end.
func below(f Figure) float64 {
	if f.Low == nil || *f.Low <= 0 {
		return math.Inf(1)
	}
	return math.Log(f.Value / *f.Low)
}

func above(f Figure) float64 {
	if f.High == nil {
		return math.Inf(1)
	}
	return math.Log(*f.High / f.Value)
}

// end is an end of a quotient's interval; nil where it has none.
func end(ratio, sign float64, sides ...float64) *float64 {
	sum := 0.0
	for _, s := range sides {
		sum += s * s
	}
	if math.IsInf(sum, 1) || math.IsNaN(sum) {
		return nil
	}
	return finite(ratio * math.Exp(sign*math.Sqrt(sum)))
}

// direction is the verdict of a figure that changed, or did not.
func (row *Row) direction(changed, more bool) Verdict {
	switch {
	case !changed:
		return Unchanged
	case more == row.Lower:
		return Regressed
	}
	return Improved
}
