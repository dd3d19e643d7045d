package forecast

import (
	"fmt"
	"math"
	"strings"

	"github.com/plancast/plancast/units"
)

// Comparison is the side of the target on which a criterion is met.
type Comparison string

// The comparisons of a criterion.
const (
	Below   Comparison = "<"
	AtMost  Comparison = "<="
	Above   Comparison = ">"
	AtLeast Comparison = ">="
)

// LowerIsBetter reports whether smaller values are nearer to the target.
func (c Comparison) LowerIsBetter() bool { return c == Below || c == AtMost }

// Valid reports whether c is one of the comparisons above.
func (c Comparison) Valid() bool {
	switch c {
	case Below, AtMost, Above, AtLeast:
		return true
	}
	return false
}

// Criterion is a condition on one metric: "p99 < 50 ms".
type Criterion struct {
	Metric     string     `json:"metric"`     // the name a reader knows: "p99", "accuracy_deviation"
	Comparison Comparison `json:"comparison"` //
	Target     float64    `json:"target"`     // in the base unit
	Unit       units.Unit `json:"unit"`       // base unit of the values and the target
}

// Timed reports whether other work on the machine can change the figure: it can
// only make it worse. All figures of a workload ("p99@chat") are such.
func (c Criterion) Timed() bool {
	if strings.Contains(c.Metric, "@") {
		return true
	}
	switch c.Metric {
	case "mean", "p50", "p90", "p95", "p99", "throughput":
		return true
	}
	return false
}

// Met reports whether value fulfils the criterion. NaN never does.
func (c Criterion) Met(value float64) bool {
	switch c.Comparison {
	case Below:
		return value < c.Target
	case AtMost:
		return value <= c.Target
	case Above:
		return value > c.Target
	case AtLeast:
		return value >= c.Target
	}
	return false
}

// Gap is by how much value misses the target, relative to the target: 0.1 is
// 10 % too slow, -0.2 leaves 20 % to spare. It is +Inf for NaN.
func (c Criterion) Gap(value float64) float64 {
	if math.IsNaN(value) {
		return math.Inf(1)
	}
	gap := value - c.Target
	if !c.Comparison.LowerIsBetter() {
		gap = -gap
	}
	if scale := math.Abs(c.Target); scale > 0 {
		gap /= scale
	}
	return gap
}

// Nearest returns which of several results of one iteration, such as its
// engines of different precisions, stands for it, since one and the same must
// meet all criteria: one that meets all, else one that misses none of those it
// has a value for, else any; among these the one whose largest gap is least;
// the first of equals. A result has a value for each criterion, NaN where none
// was measured. Without results it is -1.
func Nearest(criteria []Criterion, results [][]float64) int {
	best, bestRank, bestGap := -1, 0, 0.0
	for i, values := range results {
		rank, gap := 0, math.Inf(-1) // rank 0: all met, 1: some unknown, 2: one missed
		for k, c := range criteria {
			v := values[k]
			gap = max(gap, c.Gap(v))
			switch {
			case math.IsNaN(v):
				rank = max(rank, 1)
			case !c.Met(v):
				rank = 2
			}
		}
		if best < 0 || rank < bestRank || rank == bestRank && gap < bestGap {
			best, bestRank, bestGap = i, rank, gap
		}
	}
	return best
}

// String reads "p99 < 50 ms".
func (c Criterion) String() string {
	return fmt.Sprintf("%s %s %s", c.Metric, c.Comparison, units.Format(c.Target, c.Unit))
}

// Validate says what is wrong with c, if anything.
func (c Criterion) Validate() error {
	switch {
	case c.Metric == "":
		return fmt.Errorf("a criterion needs a metric, such as p99")
	case !c.Comparison.Valid():
		return fmt.Errorf("criterion on %s: %q is not a comparison: use <, <=, > or >=", c.Metric, c.Comparison)
	case math.IsNaN(c.Target) || math.IsInf(c.Target, 0):
		return fmt.Errorf("criterion on %s: the target must be a finite number", c.Metric)
	case !c.Unit.Valid():
		return fmt.Errorf("criterion on %s: %q is not a unit", c.Metric, c.Unit)
	}
	return nil
}

// ParseCriterion reads "p99 < 50ms". unit says the base unit of a metric and
// whether there is such a metric.
func ParseCriterion(text string, unit func(metric string) (units.Unit, error)) (Criterion, error) {
	i := strings.IndexAny(text, "<>")
	if i < 0 {
		return Criterion{}, fmt.Errorf("%q is not a criterion: write one such as \"p99 < 50ms\"", text)
	}
	comparison, rest := Comparison(text[i:i+1]), text[i+1:]
	if strings.HasPrefix(rest, "=") {
		comparison, rest = comparison+"=", rest[1:]
	}
	metric := strings.TrimSpace(text[:i])
	u, err := unit(metric)
	if err != nil {
		return Criterion{}, fmt.Errorf("criterion %q: %w", text, err)
	}
	target, err := units.Parse(rest, u)
	if err != nil {
		return Criterion{}, fmt.Errorf("criterion %q: %w", text, err)
	}
	return Criterion{Metric: metric, Comparison: comparison, Target: target, Unit: u}, nil
}
