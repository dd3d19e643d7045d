package report

import (
	"testing"

	"github.com/plancast/plancast/exporter/bench"
)

func TestCallsAfterPausesAreExplainedWhereTheyTakeLonger(t *testing.T) {
	shape := func(name string, queries int, p50 float64, backToBack ...float64) bench.ShapeTimes {
		s := bench.ShapeTimes{Shape: name, Queries: queries, P50: p50}
		if len(backToBack) > 0 {
			s.BackToBack = &backToBack[0]
		}
		return s
	}
	slower := "a call of n 1 takes 530 µs at P50, and 408 µs back to back: in the pauses between requests caches and clocks cool down, and users wait for that too"
	for _, c := range []struct {
		name      string
		shapes    []bench.ShapeTimes
		disturbed bool
		want      string
	}{
		{"slower", []bench.ShapeTimes{shape("n 1", 10, 530e-6, 408e-6)}, false, slower},
		{"as fast", []bench.ShapeTimes{shape("n 1", 10, 440e-6, 408e-6)}, false, ""},
		{"a closed loop", []bench.ShapeTimes{shape("n 1", 10, 530e-6)}, false, ""},
		{"by the shape with most requests", []bench.ShapeTimes{shape("n 9", 2, 900e-6, 890e-6), shape("n 1", 10, 530e-6, 408e-6)}, false, slower},
		{"on a disturbed machine", []bench.ShapeTimes{shape("n 1", 10, 530e-6, 408e-6)}, true, ""},
		{"saturated", nil, false, ""},
	} {
		l := workloadLine{WorkloadView: WorkloadView{Shapes: c.shapes, Disturbance: &Disturbance{Disturbed: c.disturbed}}}
		if got := l.cold(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
