package iterations

import (
	"math"
	"testing"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/tsdb/prom"
	"github.com/plancast/plancast/units"
)

// A result without end is one that misses every limit, also before the first that has a
// number. Other values that are no numbers are no results.
func TestAResultWithoutEndIsAResult(t *testing.T) {
	l := label("model", "a")
	number := NewJoin([]prom.Series{series(l, "0:1 600:2 1200:3 1800:4 2400:5")})
	its, _ := Rebuild(series(l, "0:nan 600:+Inf 1200:7 1800:+Inf 2400:-Inf"), Joins{Numbers: number})
	var endless []bool
	for _, it := range its {
		endless = append(endless, it.Endless)
	}
	if got, want := format(its), "2@600! 3@1200=7 4@1800! 5@2400!"; got != want || !endless[0] || endless[1] || !endless[2] || endless[3] {
		t.Errorf("got %s, without end %v; want %s", got, endless, want)
	}
	missed := []Iteration{{Number: 2, Time: at(0), Known: at(0)}}
	if merged := Merge(missed, its[:1]); len(merged) != 1 || !merged[0].Endless {
		t.Errorf("a replica that missed it hides it: %+v", merged)
	}
	limit := forecast.Criterion{Metric: "p99@chat", Comparison: forecast.Below, Target: 0.05, Unit: units.Seconds}
	alone := forecast.Criterion{Metric: "p99", Comparison: forecast.Below, Target: 0.05, Unit: units.Seconds}
	engine := func(served, own float64, disturbed bool) Engine {
		one := Iteration{Number: 1, Time: at(0), Known: at(0), Valid: true, Disturbed: disturbed}
		if one.Value = served; math.IsInf(served, 1) {
			one.Value, one.Valid, one.Endless = 0, false, true
		}
		other := one
		other.Value, other.Valid, other.Endless, other.Disturbed = own, true, false, false
		return Engine{[][]Iteration{{one}, {other}}}
	}
	for name, c := range map[string]struct {
		engines []Engine
		endless bool
		valid   bool // of the engine's own figure
	}{
		"one that misses nothing goes before it": {[]Engine{engine(math.Inf(1), 0.01, false), engine(0.02, 0.02, false)}, false, true},
		"it is missed, and the rest counts":      {[]Engine{engine(math.Inf(1), 0.01, false)}, true, true},
		"disturbed, it is undecided":             {[]Engine{engine(math.Inf(1), 0.01, true)}, false, false},
	} {
		got := Best([]forecast.Criterion{limit, alone}, c.engines, false)
		if a, b := got[0][0], got[1][0]; a.Endless != c.endless || b.Valid != c.valid || a.Endless && a.Valid {
			t.Errorf("%s: %+v and %+v", name, a, b)
		}
	}
}
