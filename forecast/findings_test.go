package forecast

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// What people found wrong with forecasts, each with the answer that is right.
func TestAnswersThatWereFoundWrong(t *testing.T) {
	exact := make([]float64, 30)
	for i := range exact {
		exact[i] = 80 + 100*math.Exp(-float64(i)/7)
	}
	for name, c := range map[string]struct {
		values          []float64
		target          float64
		within          int
		least, greatest float64
	}{
		"four gains of 10 %, two more needed":                {ramp(5, 100, 0.1), 100 * math.Pow(0.9, 6.01), 5, 0.6, 0.95},
		"six gains of 10 %, two more needed":                 {ramp(7, 100, 0.1), 100 * math.Pow(0.9, 8.01), 5, 0.8, 0.97},
		"eleven gains of 10 %, two more needed":              {ramp(12, 100, 0.1), 100 * math.Pow(0.9, 13.01), 5, 0.8, 0.97},
		"an exact approach to 80, target 60":                 {exact, 60, 20, 0, 0.05},
		"a staircase that repeats itself seven times":        {append([]float64{120, 118, 62, 61, 34}, slices.Repeat([]float64{33.8}, 7)...), 30, 10, 0.15, 0.45},
		"a regression three times over the target":           {[]float64{175e-6, 68e-6, 35e-6, 20e-6, 9.5e-3}, 3e-3, 29, 0.5, 0.97},
		"a greater regression":                               {[]float64{175e-6, 68e-6, 35e-6, 20e-6, 1}, 3e-3, 29, 0, 0.8},
		"zero before, target 0":                              {[]float64{0, 0.005}, 0, 5, 0.1, 0.9},
		"nothing but zeros before, target 0, in large units": {[]float64{0, 0, 0, 5}, 0, 5, 0.05, 0.9},
	} {
		t.Run(name, func(t *testing.T) {
			s := Series{Criterion: Criterion{Metric: "x", Comparison: AtMost, Target: c.target}, Observations: daily(c.values...)}
			p := single(t, s, Goal{Iterations: c.within}, after(len(c.values))).Probability.Value
			if p < c.least || p > c.greatest {
				t.Errorf("%.3f, want %v to %v", p, c.least, c.greatest)
			}
		})
	}
}

func TestLimitIsNamedOnlyWhereTheHistoryShowsIt(t *testing.T) {
	exact := make([]float64, 40)
	for i := range exact {
		exact[i] = 80 + 100*math.Exp(-float64(i)/7)
	}
	for name, c := range map[string]struct {
		values []float64
		want   float64 // 0 is none
	}{
		"an exact approach":  {exact, 80},
		"three results":      {[]float64{50, 45, 41}, 0},
		"steep and straight": {ramp(9, 50, 0.3), 0},
	} {
		s := Series{Criterion: Criterion{Metric: "x", Comparison: AtMost, Target: 1}, Observations: daily(c.values...)}
		l := single(t, s, Goal{}, after(len(c.values))).Limit
		if (l.Value == nil) != (c.want == 0) || l.Value != nil && math.Abs(*l.Value/c.want-1) > 0.05 {
			t.Errorf("%s: limit %v, want %v", name, l.Value, c.want)
		}
	}
}

func TestBandsHaveAWidth(t *testing.T) {
	s := Series{Criterion: latency, Observations: daily(slices.Repeat([]float64{0.0652}, 200)...)}
	for i, b := range single(t, s, Goal{}, after(200)).Bands {
		if b.High-b.Low < 0.002*0.0652 {
			t.Fatalf("band %d: %+v", i+1, b)
		}
	}
}

func TestBandsOfHistoriesWithZeros(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		warns  bool // that sizes are not known
	}{
		"zero every second time":    {[]float64{0, 7, 0, 8, 0, 9}, false},
		"the first that is no zero": {[]float64{0, 0, 0, 0, 0, 9}, true},
		"nothing but zeros":         {[]float64{0, 0, 0, 0}, false},
	} {
		s := Series{Criterion: Criterion{Metric: "x", Comparison: AtMost, Target: -1}, Observations: daily(c.values...)}
		f := single(t, s, Goal{Iterations: 5}, after(len(c.values)))
		for _, b := range f.Bands {
			if b.Low < 0 || b.Low > b.Median || b.Median > b.High || (b.Low == b.High) != (slices.Max(c.values) == 0) {
				t.Errorf("%s: band %+v", name, b)
			}
		}
		if warns := slices.ContainsFunc(f.Basis.Warnings, func(w string) bool { return strings.Contains(w, "how large changes are is not known") }); warns != c.warns {
			t.Errorf("%s: warnings %q", name, f.Basis.Warnings)
		}
	}
}

func TestTooFewResultsSayWhatIsMissing(t *testing.T) {
	s := Series{Criterion: latency, Observations: daily(0.1, 0.09)}
	f := single(t, s, Goal{Iterations: 5}, after(2))
	if f.State != InsufficientData || f.Missing == nil || f.Missing.Results != FewResults-2 {
		t.Fatalf("state %s, missing %+v", f.State, f.Missing)
	}
	if !strings.HasPrefix(f.Summary, "only 2 results of 5") {
		t.Errorf("summary %q", f.Summary)
	}
	s.Observations = s.Observations[:1]
	f = single(t, s, Goal{Deadline: after(20)}, after(2))
	if want := "only 1 result of 5: too few to forecast p99 < 50 ms by 24 January 2026"; f.Summary != want {
		t.Errorf("summary %q, want %q: the pace is unknown", f.Summary, want)
	}
	s.Observations = daily(0.1, 0.09, 0.08)
	f = single(t, s, Goal{Deadline: after(20)}, after(3))
	if f.Missing.Until == nil || !strings.Contains(f.Summary, "enough about 9 January 2026") {
		t.Errorf("until %v, summary %q", f.Missing.Until, f.Summary)
	}
}

func TestARegressionIsCalledOne(t *testing.T) {
	s := Series{Criterion: latency, Observations: daily(append(ramp(7, 0.1, 0.05), 0.1)...)}
	s.Criterion.Target = 0.02
	f := single(t, s, Goal{Iterations: 5}, after(8))
	if f.Atypical == nil || !f.Atypical.Is || !strings.HasPrefix(f.Advice[0], "The newest result is a regression") || strings.Contains(f.Advice[0], "little room") {
		t.Errorf("advice %q", f.Advice)
	}
}

// A forecast that is likely and an atypical gain explain each other.
func TestAtypicalAndProbabilityAgree(t *testing.T) {
	v := ramp(7, 0.1, 0.12)
	v = append(v, v[6]*0.94)
	s := Series{Criterion: latency, Observations: daily(v...)}
	s.Criterion.Target = v[7] * 0.92
	f := single(t, s, Goal{Iterations: 10}, after(8))
	if !f.Atypical.Is || f.Probability.Value < 0.5 {
		t.Fatalf("atypical %+v, probability %v", f.Atypical, f.Probability)
	}
	if !strings.Contains(f.Advice[0], "still counts on gains like those before") {
		t.Errorf("advice %q", f.Advice)
	}
}

// The gain that is needed rests on the iterations that the probability expects.
func TestNeededGainRestsOnTheExpectedIterations(t *testing.T) {
	s := Series{Criterion: latency, Observations: daily(ramp(6, 0.1, 0.01)...)}
	f := single(t, s, Goal{Deadline: after(11)}, after(6)) // five days, one a day
	gap := math.Log(0.1*math.Pow(0.99, 5)) - math.Log(0.05)
	if want := -math.Expm1(-gap / 5); math.Abs(*f.Needs.GainPerIteration-want) > 0.005 {
		t.Errorf("needs %v in each iteration, want %v", *f.Needs.GainPerIteration, want)
	}
}
