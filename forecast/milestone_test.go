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
func fleet(n, results int, seed uint64) JointGoal {
	rng := rand.New(rand.NewPCG(seed, 1))
	m := JointGoal{Name: "launch", Share: 0.8, Goal: Goal{Iterations: 12, Deadline: after(results + 14)}}
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

func joined(t testing.TB, m JointGoal, o Options) Forecast {
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
	var m JointGoal
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
	if f.Basis.Correlation < 0.8 {
		t.Fatalf("correlation %v of equal histories", f.Basis.Correlation)
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
	if !strings.Contains(f.Advice[0], "Held back most by p99 < 12.8 ms of model1: ") {
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

func TestAnIntervalThatRoundsToOneNumberIsNotWritten(t *testing.T) {
	for want, p := range map[string]Probability{
		"< 1 %": {Value: 0.001, Lower: 0.0001, Upper: 0.004}, "> 99 %": {Value: 0.998, Lower: 0.996, Upper: 0.999},
		"< 1 % (< 1-2 %)": {Value: 0.004, Lower: 0.001, Upper: 0.02}, "32 % (11-63 %)": {Value: 0.32, Lower: 0.11, Upper: 0.63},
	} {
		if got := p.String(); got != want {
			t.Errorf("%+v is %q, want %q", p, got, want)
		}
	}
}

// "About" goes with a number alone.
func TestFewAndManyIterationsReadWell(t *testing.T) {
	day := time.Date(2026, 10, 5, 0, 0, 0, 0, time.UTC)
	s := Series{Criterion: Criterion{Metric: "p99", Comparison: Below, Unit: units.Seconds}}
	for i, v := range []float64{0.1, 0.09, 0.079, 0.07, 0.062, 0.06} {
		s.Observations = append(s.Observations, Observation{Time: day.AddDate(0, 0, 7*i), Value: v, Valid: true})
	}
	for target, want := range map[float64]string{
		0.0599999: "the way to 60 ms; less than 0.1 more effective iterations;", 0.05: "the way to 50 ms; about 1.9 more", 1e-9: "the way to 1 ns; more than 99 more",
	} {
		s.Criterion.Target = target
		f, err := Single(s, Goal{Iterations: 5}, day.AddDate(0, 0, 36), Options{})
		if err != nil || !strings.Contains(f.Summary, want) {
			t.Errorf("%v: %q, %v; want %q", target, f.Summary, err, want)
		}
	}
}
