package forecast

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/plancast/plancast/forecast/internal/law"
	"github.com/plancast/plancast/units"
)

// pair is one model with a latency and an accuracy deviation, measured in the
// same iterations.
func pair(latencies, deviations []float64) JointGoal {
	accuracy := Criterion{Metric: "accuracy_deviation", Comparison: AtMost, Target: 0.005, Unit: units.Ratio}
	return JointGoal{Name: "launch", Goal: Goal{Iterations: 10}, Series: []Series{
		{Model: "bert", Criterion: latency, Observations: daily(latencies...)},
		{Model: "bert", Criterion: accuracy, Observations: daily(deviations...)},
	}}
}

// together is the one model of a milestone.
func together(t *testing.T, m JointGoal) *model {
	t.Helper()
	var outlooks []*outlook
	for _, s := range m.Series {
		l := &outlook{}
		err := l.fill(s, m.Goal, after(len(s.Observations)), Options{}, law.Tally{}, &law.History{}, &law.Law{})
		if err != nil {
			t.Fatal(err)
		}
		outlooks = append(outlooks, l)
	}
	return newJoint(m, outlooks).models[0]
}

// Faster, but less accurate: each criterion was met once, never both.
func TestCriteriaThatTradeOffAreNotReadyTogether(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	fast, exact := make([]float64, 30), make([]float64, 30)
	for i := range fast {
		x := float64(i) / 29 // from 80 ms at 0.3 % to 40 ms at 0.8 %
		fast[i] = 0.08 * math.Exp(x*math.Log(0.5)+0.01*rng.NormFloat64())
		exact[i] = 0.003 * math.Exp(x*math.Log(8.0/3)+0.01*rng.NormFloat64())
	}
	m := pair(fast, exact)
	f := joined(t, m, Options{})
	parts := map[string]Forecast{}
	for _, p := range f.Parts {
		parts[p.Criterion.Metric] = p.Forecast
	}
	was, deviation := parts["p99"], parts["accuracy_deviation"]
	if !was.Met || deviation.Met {
		t.Fatalf("latency met %v, deviation met %v", was.Met, deviation.Met)
	}
	t.Logf("deviation alone %v, both %v", deviation.Probability, f.Probability)
	if f.Met || f.ModelsReady != 0 || f.Probability.Value > 0.2 || f.Probability.Value > 0.7*deviation.Probability.Value {
		t.Errorf("both together %v, the deviation alone %v", f.Probability, deviation.Probability)
	}
	if !slices.Contains(f.Advice, "Model bert has met each criterion, but never all in one iteration.") {
		t.Errorf("advice %q", f.Advice)
	}
}

// Where one criterion has room to spare, the other decides.
func TestCriterionWithRoomToSpareCostsNothing(t *testing.T) {
	m := pair(ramp(30, 0.2, 0.045), slices.Repeat([]float64{0.001, 0.0011}, 15))
	alone := single(t, m.Series[0], m.Goal, after(30)).Probability.Value
	both := together(t, m).curve[m.Goal.Iterations]
	if alone < 0.8 || both < 0.95*alone || both > alone {
		t.Errorf("latency alone %v, both %v", alone, both)
	}
}

func TestModelIsMetWhenItsNewestIterationMeetsAll(t *testing.T) {
	for name, c := range map[string]struct {
		fast, exact []float64
		missed      bool // the newest accuracy deviation
		met         bool
	}{
		"both in the newest":                    {fast: []float64{0.08, 0.04}, exact: []float64{0.003, 0.004}, met: true},
		"one after the other":                   {fast: []float64{0.04, 0.08}, exact: []float64{0.009, 0.004}},
		"a newest without a deviation":          {fast: []float64{0.08, 0.04, 0.04}, exact: []float64{0.003, 0.004, 0}, missed: true, met: true},
		"both, but in different ones":           {fast: []float64{0.08, 0.08, 0.04}, exact: []float64{0.003, 0.004, 0}, missed: true},
		"both before, one of them not any more": {fast: []float64{0.04, 0.04}, exact: []float64{0.003, 0.006}},
	} {
		t.Run(name, func(t *testing.T) {
			m := pair(c.fast, c.exact)
			if c.missed {
				m.Series[1].Observations[len(c.exact)-1].Valid = false
			}
			f := joined(t, m, Options{})
			if f.Met != c.met || f.Met != (f.ModelsReady == 1) || f.Met != (f.Probability.Value == 1) || f.Met != (*f.Attained == 1) {
				t.Errorf("met %v, %d ready, probability %v, attained %v", f.Met, f.ModelsReady, f.Probability, *f.Attained)
			}
		})
	}
}

// An iteration that misses one criterion decides, although the others are
// unknown; one of which too little is known does not.
func TestModelIsNotMetByCriteriaOfDifferentIterations(t *testing.T) {
	m := pair([]float64{0.04, 0.08, 0.04}, []float64{0.003, 0, 0})
	for i := 1; i < 3; i++ {
		m.Series[1].Observations[i].Valid = false
	}
	if f := joined(t, m, Options{}); f.Met || f.ModelsReady != 0 || f.State == Met {
		t.Errorf("met %v, %d ready, state %s", f.Met, f.ModelsReady, f.State)
	}
}

// The laws of one series hold for criteria that have to be met together.
func TestLawsOfCriteriaTogether(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 5))
		n := 2 + rng.IntN(50)
		m := pair(made(kinds[rng.IntN(len(kinds)-1)], n, rng), made(kinds[rng.IntN(len(kinds)-1)], n, rng))
		for k := range m.Series {
			c := &m.Series[k].Criterion
			c.Target = m.Series[k].Observations[rng.IntN(n)].Value * (0.8 + 0.4*rng.Float64())
			for i := range n {
				m.Series[k].Observations[i].Valid = rng.Float64() < 0.95
			}
			m.Series[k].Observations[n-1].Valid = true
		}
		check := func(what string, better func(k int, share float64) JointGoal) {
			for k := range m.Series {
				var last curve
				for step := range 25 {
					got := together(t, better(k, float64(step)/24)).curve
					for i, p := range got {
						if i > 0 && p < got[i-1] || p < 0 || p > 1 {
							t.Fatalf("seed %d: within %d %v, within %d %v", seed, i-1, got[i-1], i, p)
						}
						if last != nil && p < last[i] {
							t.Fatalf("seed %d, criterion %d, %s %d: within %d %v, before %v", seed, k, what, step, i, p, last[i])
						}
					}
					last = got
				}
			}
		}
		check("easier target", func(k int, share float64) JointGoal {
			b := m
			b.Series = slices.Clone(m.Series)
			b.Series[k].Criterion.Target *= math.Exp(2*share - 1)
			return b
		})
		check("better newest", func(k int, share float64) JointGoal {
			b := m
			b.Series = slices.Clone(m.Series)
			b.Series[k].Observations = slices.Clone(m.Series[k].Observations)
			b.Series[k].Observations[n-1].Value *= math.Exp(1 - 2*share)
			return b
		})
		for _, l := range together(t, m).outlooks { // no more than each alone
			both := together(t, m).curve
			for i := range both {
				if both[i] > l.curve[i] {
					t.Fatalf("seed %d: within %d both %v, one %v", seed, i, both[i], l.curve[i])
				}
			}
		}
	}
}

// Criteria that are never measured in the same iteration are taken one by one.
func TestCriteriaWithoutCommonIterations(t *testing.T) {
	m := pair([]float64{0.08, 0.07, 0.06}, []float64{0.003, 0.004, 0.004})
	for i := range m.Series[1].Observations {
		o := &m.Series[1].Observations[i]
		o.Time = o.Time.Add(-time.Hour)
	}
	f := joined(t, m, Options{})
	if f.Met || f.Probability.Value < 0.05 || f.Probability.Value > 0.9 {
		t.Errorf("met %v, probability %v", f.Met, f.Probability)
	}
	m.Series[0].Observations[2].Value = 0.04
	if f = joined(t, m, Options{}); !f.Met {
		t.Errorf("each met, state %s", f.State)
	}
}
