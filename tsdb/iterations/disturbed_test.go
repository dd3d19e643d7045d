package iterations

import (
	"testing"
	"time"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

// A disturbed result counts as plancast's exporter has it: what it meets is met,
// and what it misses is no result.
func TestDisturbedResults(t *testing.T) {
	fast := forecast.Criterion{Metric: "p99", Comparison: forecast.Below, Target: 0.05, Unit: units.Seconds}
	faithful := forecast.Criterion{Metric: "accuracy_deviation", Comparison: forecast.Below, Target: 0.005, Unit: units.Ratio}
	for name, c := range map[string]struct {
		p99, deviation  float64
		disturbed       bool
		valid, faithful bool
	}{
		"quiet and missed":                        {0.06, 0, false, true, true},
		"disturbed and missed":                    {0.06, 0, true, false, false},
		"disturbed and met":                       {0.04, 0, true, true, true},
		"disturbed, and not faithful in any case": {0.06, 0.1, true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			at := time.Unix(1000, 0)
			of := func(v float64) []Iteration {
				return []Iteration{{Number: 1, Time: at, Known: at, Value: v, Valid: true, Disturbed: c.disturbed}}
			}
			got := Best([]forecast.Criterion{fast, faithful}, []Engine{{[][]Iteration{of(c.p99), of(c.deviation)}}}, false)
			if a, b := got[0][0], got[1][0]; a.Valid != c.valid || b.Valid != c.faithful || a.Disturbed != (c.disturbed && c.valid) || b.Disturbed {
				t.Errorf("P99 %+v, deviation %+v", a, b)
			}
		})
	}
}
