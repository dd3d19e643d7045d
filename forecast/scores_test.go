package forecast

import (
	"math"
	"testing"
)

func TestPinballLossOfKnownValues(t *testing.T) {
	for _, c := range []struct{ v, want float64 }{
		{2, (0.1 + 0 + 0.1) / 3},    // in the middle: a step from each end
		{1, (0 + 0.5 + 0.2) / 3},    // at the low end
		{0, (0.9 + 1 + 0.3) / 3},    // below it, which was said to be rare
		{5, (0.4 + 1.5 + 1.8) / 3},  // above the high end
		{1e9, (10 + 10 + 10) / 3.0}, // no history is all
		{-1e9, (10 + 10 + 10) / 3.0},
	} {
		if got := pinball(c.v, 1, 2, 3); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%g: %g, want %g", c.v, got, c.want)
		}
	}
}

func TestScoresOfKnownAnswers(t *testing.T) {
	near := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: %g, want %g", name, got, want)
		}
	}
	x := tester{questions: []question{{hit: true}, {hit: false}}}
	given := func(list ...float64) answers { return func(i int) float64 { return list[i] } }
	s, bins := x.score(given(0.8, 0.3), given(0.5, 0.5))
	near("hit rate", s.HitRate, 0.5)
	near("Brier", s.Brier, (0.04+0.09)/2)
	near("log loss", s.LogLoss, -(math.Log(0.8)+math.Log(0.7))/2)
	near("skill", s.Skill, 1-0.065/0.25)
	near("calibration error", s.CalibrationError, (0.2+0.3)/2)
	if b := bins[8]; b.Questions != 1 || b.Said != 0.8 || b.True != 1 {
		t.Errorf("the bin of 80 %%: %+v", b)
	}
	s, bins = x.score(given(1, 1), given(1, 0)) // certain, and wrong once
	near("log loss of certainty", s.LogLoss, -(math.Log(1-1e-4)+math.Log(1e-4))/2)
	near("skill against who knew", s.Skill, 0)
	if bins[9].Questions != 2 {
		t.Errorf("certainty is in bin %+v", bins)
	}
}

// Worked out by hand: the line through 0, 1, 0, 1 is at 1 one step later, with a
// spread of 1; smoothing takes 0, 1, 1 on to 3 in two steps, with a spread of 1.
func TestUsualMethodsOnKnownHistories(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"line", linear([]float64{0, 1, 0, 1}, 1, 1), 0.5},
		{"line, one spread above", linear([]float64{0, 1, 0, 1}, 2, 1), 0.5 + 1/(2*math.Sqrt(3))},
		{"exact line, above", linear([]float64{3, 2, 1, 0}, -0.99, 1), 1},
		{"exact line, below", linear([]float64{3, 2, 1, 0}, -1.01, 1), 0},
		{"smoothing", holt([]float64{0, 1, 1}, 3, 2), 0.5},
		{"smoothing, one spread above", holt([]float64{0, 1, 1}, 4, 2), (1 + math.Erf(1/math.Sqrt2)) / 2},
	} {
		if math.Abs(c.got-c.want) > 1e-9 {
			t.Errorf("%s: %g, want %g", c.name, c.got, c.want)
		}
	}
}
