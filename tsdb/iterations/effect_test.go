package iterations

import (
	"slices"
	"testing"
	"time"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/tsdb/prom"
	"github.com/plancast/plancast/units"
)

func TestAResultKnowsWhetherItsPrecisionHadAnEffect(t *testing.T) {
	l := label("model", "a")
	e := Joins{Numbers: NewJoin([]prom.Series{series(l, "0:1 600:2 1200:3")}), Effective: NewJoin([]prom.Series{series(l, "0:1 600:0 1200:1")})}
	its, _ := Rebuild(series(l, "0:5 600:4 1200:3"), e)
	var got []bool
	for _, it := range its {
		got = append(got, it.NoEffect)
	}
	if want := []bool{false, true, false}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// An engine whose precision had no effect counts as plancast's exporter has it: not
// where the milestone names the precision, and otherwise where no other counts.
func TestEnginesWithoutEffect(t *testing.T) {
	fast := forecast.Criterion{Metric: "p99", Comparison: forecast.Below, Target: 0.05, Unit: units.Seconds}
	for name, c := range map[string]struct {
		fp32, int8 float64 // 0: not measured
		named      bool
		want       float64 // 0: no result
	}{
		"named":                       {0, 0.04, true, 0},
		"best, beside another":        {0.06, 0.04, false, 0.06},
		"best, and there is no other": {0, 0.04, false, 0.04},
	} {
		t.Run(name, func(t *testing.T) {
			at := time.Unix(1000, 0)
			var engines []Engine
			for _, e := range []struct {
				value    float64
				noEffect bool
			}{{c.fp32, false}, {c.int8, true}} {
				if e.value > 0 {
					engines = append(engines, Engine{[][]Iteration{{{Number: 1, Time: at, Known: at, Value: e.value, Valid: true, NoEffect: e.noEffect}}}})
				}
			}
			got := Best([]forecast.Criterion{fast}, engines, c.named)[0]
			if len(got) != 1 || got[0].Valid != (c.want > 0) || got[0].Value != c.want {
				t.Errorf("%+v; want %v", got, c.want)
			}
		})
	}
}
