package forecast

import "testing"

// A pair is what two candidates that were measured in turns differ by. Where there
// is one, the newest gain is the pair's, whatever the machine did between the two
// results.
func TestTheNewestGainIsThePairs(t *testing.T) {
	steady := ramp(7, 0.1, 0.1)                   // gains of 10 %
	short := append(steady[:6:6], steady[5]*0.97) // and then one of 3 %, by the results
	none := Pair{}
	for name, c := range map[string]struct {
		values []float64
		pair   Pair
		want   bool
	}{
		"no pair, a usual gain":                      {steady, none, false},
		"no pair, a short gain":                      {short, none, true},
		"a short gain that the pair confirms":        {short, Pair{0.97, 0.965, 0.975, true}, true},
		"a short gain by the machine's drift":        {short, Pair{0.9, 0.895, 0.905, true}, false},
		"a usual gain that the pair shows otherwise": {steady, Pair{0.97, 0.965, 0.975, true}, true},
		"a regression that the pair confirms":        {short, Pair{1.2, 1.18, 1.22, true}, true},
		"no change":                                  {short, Pair{1, 0.99, 1.01, false}, false},
		"an unclear change":                          {short, Pair{1.05, 0.9, 1.2, false}, false},
		"an interval that reaches what is usual":     {short, Pair{0.95, 0.9, 0.975, true}, false},
	} {
		s := Series{Criterion: Criterion{Metric: "p99", Comparison: AtMost, Target: 0.01}, Observations: daily(c.values...), Newest: c.pair}
		f := single(t, s, Goal{Iterations: 5}, after(len(c.values)))
		if f.Atypical == nil || f.Atypical.Is != c.want {
			t.Errorf("%s: %+v, want %t", name, f.Atypical, c.want)
		}
		higher := s // the same as a throughput
		higher.Criterion = Criterion{Metric: "throughput", Comparison: AtLeast, Target: 1000}
		inverse := make([]float64, len(c.values))
		for i, v := range c.values {
			inverse[i] = 1 / v
		}
		higher.Observations = daily(inverse...)
		if c.pair.Ratio > 0 {
			higher.Newest = Pair{1 / c.pair.Ratio, 1 / c.pair.High, 1 / c.pair.Low, c.pair.Changed}
		}
		if f := single(t, higher, Goal{Iterations: 5}, after(len(c.values))); f.Atypical == nil || f.Atypical.Is != c.want {
			t.Errorf("%s, as a throughput: %+v, want %t", name, f.Atypical, c.want)
		}
	}
}
