package forecast

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/plancast/plancast/forecast/internal/law"
	"github.com/plancast/plancast/units"
)

// fleet is a milestone of n models with two criteria each, of all kinds.
func fleet(n, results int, seed uint64) Milestone {
	rng := rand.New(rand.NewPCG(seed, 1))
	m := Milestone{Name: "launch", Share: 0.8, Goal: Goal{Iterations: 12, Deadline: after(results + 14)}}
	for i := range n {
		v := made(kinds[i%4], results, rng)
		c := latency
		c.Target = slices.Min(v) * (0.85 + 0.2*rng.Float64())
		d := Criterion{Metric: "accuracy_deviation", Comparison: AtMost, Target: 0.005, Unit: units.Ratio}
		w := make([]float64, results)
		for k := range w {
			w[k] = 0.006 * math.Exp(0.1*rng.NormFloat64())
		}
		model := fmt.Sprint("model", i)
		m.Series = append(m.Series, Series{Model: model, Criterion: c, Observations: daily(v...)}, Series{Model: model, Criterion: d, Observations: daily(w...)})
	}
	return m
}

func joined(t testing.TB, m Milestone, o Options) Forecast {
	t.Helper()
	f, err := Joint(m, after(len(m.Series[0].Observations)), o)
	if err != nil {
		t.Fatal(err)
	}
	asJSON(t, f)
	return f
}

func TestMilestoneOfOneSeriesIsThatSeries(t *testing.T) {
	m := fleet(1, 30, 3)
	m.Series = m.Series[:1]
	got := joined(t, m, Options{})
	want := single(t, m.Series[0], m.Goal, after(30))
	got.Parts = nil
	if asJSON(t, got) != asJSON(t, want) {
		t.Errorf("milestone\n%s\nsingle\n%s", asJSON(t, got), asJSON(t, want))
	}
}

// Simulated marginals must be the ones of the curves: a model that is needed
// alone is reached as surely as by itself.
func TestSimulationKeepsTheMarginals(t *testing.T) {
	m := fleet(2, 30, 4)
	alone := m.Series[2:3]
	met := Series{Model: "met", Criterion: latency, Observations: daily(0.01, 0.01)}
	m.Series = []Series{alone[0], met}
	m.Share = 1
	got := joined(t, m, Options{Futures: 20_000})
	want := single(t, alone[0], m.Goal, after(30))
	for i := range want.Within {
		if d := got.Within[i].Value - want.Within[i].Value; math.Abs(d) > 0.01 {
			t.Errorf("within %d: simulated %v, exact %v", i+1, got.Within[i].Value, want.Within[i].Value)
		}
	}
	if d := got.ByDeadline.Value - want.ByDeadline.Value; math.Abs(d) > 0.01 {
		t.Errorf("by the deadline: simulated %v, exact %v", got.ByDeadline, want.ByDeadline)
	}
}

func TestMilestoneLaws(t *testing.T) {
	for seed := range uint64(4) {
		m := fleet(5, 25, seed)
		f := joined(t, m, Options{})
		for i, p := range f.Within {
			if !(p.Lower <= p.Value && p.Value <= p.Upper) || i > 0 && p.Value < f.Within[i-1].Value {
				t.Fatalf("within %d: %+v", i+1, p)
			}
			if !f.Met && (p.Value <= 0 || p.Value >= 1) {
				t.Fatalf("within %d is certain: %+v", i+1, p)
			}
		}
		// Within the iterations and by the deadline is no likelier than either.
		if p := f.Probability.Value; p > f.ByDeadline.Value || p > f.Within[m.Goal.Iterations-1].Value {
			t.Fatalf("both bounds %v, by the deadline %v, within the iterations %v", p, f.ByDeadline, f.Within[m.Goal.Iterations-1])
		}
		last := 0.0
		for _, days := range []int{0, 1, 7, 30, 365} {
			k := m
			k.Goal = Goal{Deadline: after(25 + days)}
			p := joined(t, k, Options{}).ByDeadline.Value
			if p < last {
				t.Fatalf("in %d days %v, before %v", days, p, last)
			}
			if last = p; days == 0 && !f.Met && p != 0 {
				t.Fatalf("deadline now: %v", p)
			}
		}
		last = 2
		for _, share := range []float64{0.2, 0.4, 0.6, 0.8, 1} {
			k := m
			k.Share = share
			p := joined(t, k, Options{}).Probability.Value
			if p > last {
				t.Fatalf("share %v: %v, of fewer models %v", share, p, last)
			}
			last = p
		}
		easier := m
		easier.Series = slices.Clone(m.Series)
		for i := range easier.Series {
			easier.Series[i].Criterion.Target *= 1.05
		}
		if a, b := f.Probability.Value, joined(t, easier, Options{}).Probability.Value; b < a {
			t.Fatalf("easier targets: %v, before %v", b, a)
		}
	}
}

// By a date of the forecast, so many futures are there, and a moment before fewer.
func TestMilestoneDatesAndProbabilitiesAgree(t *testing.T) {
	dates := 0
	for seed := range uint64(6) {
		m := fleet(5, 30, seed)
		f := joined(t, m, Options{})
		at := func(d time.Time) float64 {
			m.Goal = Goal{Deadline: d}
			return joined(t, m, Options{}).ByDeadline.Value
		}
		for _, d := range f.When {
			if f.Met {
				continue
			}
			dates++
			before := d.Time.Add(-d.Time.Sub(after(30)) / 500_000)
			if at(d.Time) < d.Quantile || at(before) >= d.Quantile {
				t.Errorf("seed %d: %v by %v, %v by %v", seed, at(d.Time), d.Time, at(before), before)
			}
		}
	}
	if dates < 6 {
		t.Errorf("only %d dates", dates)
	}
}

func TestDeadlineThatAMilestoneNeedsFollowsItsReadyProbability(t *testing.T) {
	m := fleet(6, 40, 5)
	m.Share = 0.5
	when := map[float64]time.Time{}
	for _, d := range joined(t, m, Options{}).When {
		when[d.Quantile] = d.Time
	}
	if len(when) != 3 {
		t.Fatalf("dates %v; want three", when)
	}
	var before time.Time
	for _, ready := range []float64{0.1, 0.3, 0.5, 0.8, 0.9, 0.91} {
		m.Goal.Ready = ready
		f := joined(t, m, Options{})
		if f.Needs == nil || f.Needs.Deadline == nil {
			t.Fatalf("ready %v: needs %+v", ready, f.Needs)
		}
		at := *f.Needs.Deadline
		if d, ok := when[ready]; ok && !at.Equal(d) {
			t.Errorf("ready %v needs %v; that probability is reached on %v", ready, at, d)
		}
		if !at.After(before) {
			t.Errorf("ready %v needs %v, less than %v", ready, at, before)
		}
		before = at
		for _, d := range f.When {
			if !d.Time.Equal(when[d.Quantile]) {
				t.Errorf("ready %v moves the date of %v", ready, d.Quantile)
			}
		}
	}
}

func TestNormalDistributionOfTheDraws(t *testing.T) {
	last := 0.0
	for x := -7.0; x <= 7; x += 0.0037 {
		p := normal(x)
		if want := distuv.UnitNormal.CDF(x); math.Abs(p-want) > 4e-9 || p < last || p <= 0 || p >= 1 {
			t.Fatalf("at %v: %v after %v, want %v", x, p, last, want)
		}
		last = p
	}
}

func TestCoresChangeNothing(t *testing.T) {
	m := fleet(40, 30, 6)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	want := asJSON(t, joined(t, m, Options{}))
	for _, cores := range []int{2, 3, 8} {
		runtime.GOMAXPROCS(cores)
		if got := asJSON(t, joined(t, m, Options{})); got != want {
			t.Fatalf("on %d cores\n%s\non one\n%s", cores, got, want)
		}
	}
}

func TestShareIsCountedInsideEachFuture(t *testing.T) {
	var m Milestone
	v := made("noise", 20, rand.New(rand.NewPCG(2, 3)))
	for i := range 5 {
		c := Criterion{Metric: "x", Comparison: AtMost, Target: 0.98 * slices.Min(v)}
		m.Series = append(m.Series, Series{Model: fmt.Sprint(i), Criterion: c, Observations: daily(v...)})
	}
	m.Goal = Goal{Iterations: 20}
	m.Share = 0.8
	// Histories that move as one lean on one component: nearly all or none.
	p := single(t, m.Series[0], m.Goal, after(20)).Probability.Value
	f := joined(t, m, Options{Futures: 20_000})
	if f.Evidence.Correlation < 0.8 {
		t.Fatalf("correlation %v of equal histories", f.Evidence.Correlation)
	}
	independent := 5*math.Pow(p, 4)*(1-p) + math.Pow(p, 5)
	if f.Probability.Value < 1.5*independent || f.Probability.Value > p {
		t.Errorf("4 of 5 together: %v; each %v; if they were independent %v", f.Probability.Value, p, independent)
	}
}

func TestCorrelationNeedsEvidence(t *testing.T) {
	observed := func(values ...[]float64) (outlooks []*outlook) {
		for _, v := range values {
			l := &outlook{}
			err := l.fill(Series{Criterion: latency, Observations: daily(v...)}, Goal{}, after(len(v)), Options{}, law.Tally{}, &law.History{}, &law.Law{})
			if err != nil {
				t.Fatal(err)
			}
			outlooks = append(outlooks, l)
		}
		return outlooks
	}
	rng := rand.New(rand.NewPCG(1, 9))
	a, b := made("noise", 200, rng), made("noise", 200, rng)
	for name, c := range map[string]struct {
		outlooks []*outlook
		low, top float64
	}{
		"no shared times is the prior": {observed(a[:1], b[:1]), priorCorrelation, priorCorrelation},
		"independent":                  {observed(a, b), 0, 0.15},
		"the same":                     {observed(a, a), 0.8, mostCorrelation},
		"constant":                     {observed(slices.Repeat([]float64{1}, 200), a), 0, 0.1},
	} {
		if r := correlation(c.outlooks); r < c.low || r > c.top {
			t.Errorf("%s: correlation %v, want %v to %v", name, r, c.low, c.top)
		}
	}
}

func TestMilestoneSaysWhatHoldsItBack(t *testing.T) {
	m := fleet(3, 30, 8)
	m.Series[2].Criterion.Target /= 3
	f := joined(t, m, Options{})
	if f.Parts[0].Model != "model1" || f.Parts[0].Criterion.Metric != "p99" {
		t.Errorf("first part is %s of %s", f.Parts[0].Criterion.Metric, f.Parts[0].Model)
	}
	if !strings.Contains(f.Advice[0], "of model1 holds it back most") {
		t.Errorf("advice %q", f.Advice)
	}
	if f.ModelsTotal != 3 {
		t.Errorf("%d models", f.ModelsTotal)
	}
}

func TestMilestoneWithAnUnknownModelIsInsufficientData(t *testing.T) {
	m := fleet(2, 30, 8)
	m.Series = append(m.Series, Series{Model: "new", Criterion: latency})
	m.Share = 1
	if f := joined(t, m, Options{}); f.State != InsufficientData || f.Probability != nil || !strings.Contains(f.Summary, "unknown: 1 model that is needed has no result yet") {
		t.Errorf("state %s, probability %v, summary %q", f.State, f.Probability, f.Summary)
	}
	m.Series = m.Series[4:]
	m.Series = append(m.Series, m.Series[0])
	f, err := Joint(m, epoch, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if f.State != InsufficientData || f.Probability != nil {
		t.Errorf("nothing known: state %s, probability %v", f.State, f.Probability)
	}
}

// pair is one model with a latency and an accuracy deviation, measured in the
// same iterations.
func pair(latencies, deviations []float64) Milestone {
	accuracy := Criterion{Metric: "accuracy_deviation", Comparison: AtMost, Target: 0.005, Unit: units.Ratio}
	return Milestone{Name: "launch", Goal: Goal{Iterations: 10}, Series: []Series{
		{Model: "bert", Criterion: latency, Observations: daily(latencies...)},
		{Model: "bert", Criterion: accuracy, Observations: daily(deviations...)},
	}}
}

// together is the one model of a milestone.
func together(t *testing.T, m Milestone) *model {
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
	if !slices.Contains(f.Advice, "bert has met each criterion, but never all in one iteration.") {
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
		check := func(what string, better func(k int, share float64) Milestone) {
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
		check("easier target", func(k int, share float64) Milestone {
			b := m
			b.Series = slices.Clone(m.Series)
			b.Series[k].Criterion.Target *= math.Exp(2*share - 1)
			return b
		})
		check("better newest", func(k int, share float64) Milestone {
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
