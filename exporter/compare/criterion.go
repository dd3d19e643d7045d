package compare

import (
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/units"
)

// Criterion is a condition on one figure relative to that of a baseline: at most
// Factor times it plus Points, or at least.
type Criterion struct {
	Metric     string              `json:"metric"`
	Comparison forecast.Comparison `json:"comparison"`
	Factor     float64             `json:"factor"`           // 1.05 is 5 % more than the baseline
	Points     float64             `json:"points,omitempty"` // of accuracies: a ratio that is added
}

var (
	relative = regexp.MustCompile(`\bbase\b`)
	plus     = regexp.MustCompile(`^base\s*(?:([+-])\s*(\S+(?:\s*%)?))?$`)
	share    = regexp.MustCompile(`^(\S+(?:\s*%)?)\s+of\s+base$`)
)

// Relative reports whether a criterion's text is about a baseline.
func Relative(text string) bool { return relative.MatchString(text) }

// ParseCriterion reads "p99 <= base + 5%" and "throughput >= 98% of base". Of an
// accuracy, which is a share itself, "base - 0.5%" is half a point less.
func ParseCriterion(text string) (Criterion, error) {
	fail := func(err error) (Criterion, error) {
		return Criterion{}, fmt.Errorf("criterion %q: %w: write one such as \"p99 <= base + 5%%\" or \"throughput >= 98%% of base\"", text, err)
	}
	i := strings.IndexAny(text, "<>")
	if i < 0 {
		return fail(fmt.Errorf("it compares nothing"))
	}
	c := Criterion{Metric: strings.TrimSpace(text[:i]), Comparison: forecast.Comparison(text[i : i+1]), Factor: 1}
	rest := text[i+1:]
	if strings.HasPrefix(rest, "=") {
		c.Comparison, rest = c.Comparison+"=", rest[1:]
	}
	q, err := terms.QuantityByName(c.Metric)
	if err != nil {
		return fail(err)
	}
	if q.LowerIsBetter != c.Comparison.LowerIsBetter() {
		return fail(fmt.Errorf("it asks for a worse %s", q.Title))
	}
	if kindOf(c.Metric) == passing {
		return fail(fmt.Errorf("%s differs from build to build", q.Title))
	}
	rest = strings.TrimSpace(rest)
	switch m, n := plus.FindStringSubmatch(rest), share.FindStringSubmatch(rest); {
	case m != nil && m[1] == "":
	case m != nil:
		v, err := units.Parse(m[2], units.Ratio)
		if err != nil {
			return fail(err)
		}
		if m[1] == "-" {
			v = -v
		}
		if kindOf(c.Metric) == accurate {
			c.Points = v
		} else {
			c.Factor = 1 + v
		}
	case n != nil:
		if c.Factor, err = units.Parse(n[1], units.Ratio); err != nil {
			return fail(err)
		}
	default:
		return fail(fmt.Errorf("%q is not relative to base", rest))
	}
	if c.Factor <= 0 || c.Factor > 100 || math.Abs(c.Points) > 1 {
		return fail(fmt.Errorf("no result can differ that much from its baseline"))
	}
	return c, nil
}

// String is the criterion as ParseCriterion reads it.
func (c Criterion) String() string {
	s := fmt.Sprintf("%s %s base", c.Metric, c.Comparison)
	d := c.Points
	if d == 0 {
		d = c.Factor - 1
	}
	switch percent := units.Number(math.Abs(100 * d)); {
	case c.Points == 0 && kindOf(c.Metric) == accurate && c.Factor != 1:
		return fmt.Sprintf("%s %s %s %% of base", c.Metric, c.Comparison, units.Number(100*c.Factor))
	case d > 0:
		return s + " + " + percent + " %"
	case d < 0:
		return s + " - " + percent + " %"
	}
	return s
}

// Answer is what a comparison says to a criterion.
type Answer string

// The answers.
const (
	Holds  Answer = "holds"
	Broken Answer = "broken"
	Open   Answer = "open" // the interval, or a missing figure, leaves it open
)

// Judge answers a criterion for B of a comparison, by the interval of the change
// where the figure has one. why says why the answer is open.
func (r Result) Judge(c Criterion) (answer Answer, why string) {
	row, ok := r.Row(c.Metric)
	if !ok || row.A == nil || row.B == nil {
		return Open, "one of the two has no " + c.Metric
	}
	if kindOf(c.Metric) != timed {
		bound := c.Factor*row.A.Value + c.Points
		if (forecast.Criterion{Comparison: c.Comparison, Target: bound}).Met(row.B.Value) {
			return Holds, ""
		}
		return Broken, ""
	}
	if row.Change == nil || row.Change.Low == nil && row.Change.High == nil {
		return Open, row.Why
	}
	low, high := row.Change.bounds()
	f := forecast.Criterion{Comparison: c.Comparison, Target: c.Factor}
	switch first, last := f.Met(low), f.Met(high); {
	case first && last:
		return Holds, ""
	case !first && !last:
		return Broken, ""
	}
	return Open, "the interval is too wide"
}
