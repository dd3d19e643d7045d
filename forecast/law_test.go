package forecast

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/plancast/plancast/units"
)

var (
	epoch   = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC) // a Monday
	latency = Criterion{Metric: "p99", Comparison: Below, Target: 0.050, Unit: units.Seconds}
)

// daily makes one valid result a day.
func daily(values ...float64) []Observation {
	o := make([]Observation, len(values))
	for i, v := range values {
		o[i] = Observation{Time: epoch.AddDate(0, 0, i), Value: v, Environment: "gpu", Valid: true}
	}
	return o
}

// after is the moment of the last of n daily results.
func after(n int) time.Time { return epoch.AddDate(0, 0, n-1) }

func single(t testing.TB, s Series, g Goal, now time.Time) Forecast {
	t.Helper()
	f, err := Single(s, g, now, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// kinds are the shapes of history that laws are tested on.
var kinds = []string{"noise", "approach", "steps", "flat", "walk", "worse", "spikes", "zeros"}

// made returns a history of a kind, n results, around 100 ms.
func made(kind string, n int, rng *rand.Rand) []float64 {
	v := make([]float64, n)
	level := 0.0
	noise := 0.002 * math.Exp(3*rng.Float64())
	tau := 4 + 20*rng.Float64()
	for i := range v {
		e := noise * rng.NormFloat64()
		switch kind {
		case "noise":
			level = 0
		case "approach":
			level = math.Exp(-float64(i)/tau) - 1
		case "steps":
			if rng.Float64() < 0.15 {
				level -= 0.2 * rng.ExpFloat64()
			}
		case "flat":
			e = 0
		case "walk":
			level += 0.05 * rng.NormFloat64()
		case "worse":
			level += 0.02
		case "spikes":
			if e = noise * rng.NormFloat64(); rng.Float64() < 0.1 {
				e += 1
			}
		case "zeros":
			if v[i] = math.Max(0, 0.05+0.05*rng.NormFloat64()); rng.Float64() < 0.3 {
				v[i] = 0
			}
			continue
		}
		v[i] = 0.1 * math.Exp(level+e)
	}
	return v
}

// everyHistory runs a law on every kind of history at several lengths and
// targets, in both directions.
func everyHistory(t *testing.T, law func(t *testing.T, s Series, rng *rand.Rand)) {
	for _, kind := range kinds {
		for _, higher := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/higher=%v", kind, higher), func(t *testing.T) {
				rng := rand.New(rand.NewPCG(7, uint64(len(kind))))
				for range 5 {
					n := 1 + rng.IntN(60)
					v := made(kind, n, rng)
					c := Criterion{Metric: "p99", Comparison: Below, Unit: units.Seconds}
					c.Target = slices.Min(v) * (0.5 + 0.6*rng.Float64())
					if higher {
						c = Criterion{Metric: "throughput", Comparison: AtLeast, Unit: units.PerSec}
						for i := range v {
							if v[i] > 0 {
								v[i] = 1 / v[i]
							}
						}
						c.Target = slices.Max(v) * (0.9 + rng.Float64())
					}
					law(t, Series{Model: "m", Criterion: c, Observations: daily(v...)}, rng)
				}
			})
		}
	}
}

func TestProbabilitiesAreNeverCertain(t *testing.T) {
	everyHistory(t, func(t *testing.T, s Series, rng *rand.Rand) {
		now := after(len(s.Observations))
		f := single(t, s, Goal{Iterations: 30, Deadline: now.AddDate(0, 0, 20)}, now)
		for i, p := range append(f.Within, *f.Probability, *f.ByDeadline) {
			ok := 0 < p.Lower && p.Lower <= p.Value && p.Value <= p.Upper && p.Upper < 1
			if f.Met {
				ok = p == Probability{1, 1, 1}
			}
			if !ok {
				t.Fatalf("met %v, probability %d is %+v", f.Met, i, p)
			}
		}
	})
}

func TestProbabilityGrowsWithHorizon(t *testing.T) {
	everyHistory(t, func(t *testing.T, s Series, rng *rand.Rand) {
		now := after(len(s.Observations))
		f := single(t, s, Goal{Iterations: 60}, now)
		for i := 1; i < len(f.Within); i++ {
			a, b := f.Within[i-1], f.Within[i]
			if b.Value < a.Value || b.Lower < a.Lower || b.Upper < a.Upper {
				t.Fatalf("within %d: %+v, within %d: %+v", i, a, i+1, b)
			}
		}
	})
}

func TestProbabilityGrowsWithDeadline(t *testing.T) {
	everyHistory(t, func(t *testing.T, s Series, rng *rand.Rand) {
		now := after(len(s.Observations)).Add(time.Duration(rng.IntN(200)) * time.Hour)
		last := Probability{}
		for _, hours := range []int{-5, 0, 1, 5, 24, 25, 100, 1000, 10_000, 200_000} {
			f := single(t, s, Goal{Deadline: now.Add(time.Duration(hours) * time.Hour)}, now)
			p := *f.ByDeadline
			if p.Value < last.Value || p.Lower < last.Lower || p.Upper < last.Upper {
				t.Fatalf("in %d h: %+v after %+v", hours, p, last)
			}
			if hours <= 0 && !f.Met && p.Value != 0 {
				t.Fatalf("deadline past, not met, and yet %+v", p)
			}
			last = p
		}
	})
}

func TestProbabilityGrowsWithAnEasierTarget(t *testing.T) {
	everyHistory(t, func(t *testing.T, s Series, rng *rand.Rand) {
		now := after(len(s.Observations))
		values := make([]float64, len(s.Observations))
		for i, o := range s.Observations {
			values[i] = o.Value
		}
		lo, hi := slices.Min(values), slices.Max(values)
		last := -1.0
		for k := range 60 {
			share := float64(k) / 59
			s.Criterion.Target = 0.3*lo + share*(1.2*hi-0.3*lo)
			if !s.Criterion.Comparison.LowerIsBetter() {
				s.Criterion.Target = 2*hi - share*(2*hi-0.8*lo)
			}
			p := single(t, s, Goal{Iterations: 7}, now).Probability.Value
			if p < last {
				t.Fatalf("target %v: %v after %v for a harder one", s.Criterion.Target, p, last)
			}
			last = p
		}
	})
}

func TestBetterNewestResultNeverLowersTheProbability(t *testing.T) {
	everyHistory(t, func(t *testing.T, s Series, rng *rand.Rand) {
		n := len(s.Observations)
		now := after(n)
		newest := &s.Observations[n-1]
		was := math.Max(newest.Value, 1e-3)
		lower := s.Criterion.Comparison.LowerIsBetter()
		g := Goal{Iterations: 1 + rng.IntN(30), Deadline: now.AddDate(0, 0, 1+rng.IntN(40))}
		last := -1.0
		for k := range 50 {
			newest.Value = was * math.Exp(3-6*float64(k)/49)
			if !lower {
				newest.Value = was * math.Exp(-3+6*float64(k)/49)
			}
			p := single(t, s, g, now).Probability.Value
			if p < last {
				t.Fatalf("%d results, newest %v: %v, after %v for a worse one", n, newest.Value, p, last)
			}
			last = p
		}
	})
}

func TestUnitsChangeNothing(t *testing.T) {
	everyHistory(t, func(t *testing.T, s Series, rng *rand.Rand) {
		now := after(len(s.Observations))
		g := Goal{Iterations: 12, Deadline: now.AddDate(0, 1, 0)}
		a := single(t, s, g, now)
		for _, factor := range []float64{1e-6, 1000, 1e9} {
			k := s
			k.Criterion.Target *= factor
			k.Observations = slices.Clone(s.Observations)
			for i := range k.Observations {
				k.Observations[i].Value *= factor
			}
			b := single(t, k, g, now)
			if math.Abs(a.Probability.Value-b.Probability.Value) > 1e-6 || a.Met != b.Met {
				t.Fatalf("probability %v, times %v: %v", a.Probability, factor, b.Probability)
			}
			for i := range a.Bands {
				x, y := a.Bands[i].Median*factor, b.Bands[i].Median
				if math.Abs(x-y) > 1e-5*math.Abs(x)+1e-12 {
					t.Fatalf("median %d: %v, want %v", i, y, x)
				}
			}
		}
	})
}

func TestTimeZonesChangeNothing(t *testing.T) {
	zone := time.FixedZone("UTC+11", 11*3600)
	everyHistory(t, func(t *testing.T, s Series, rng *rand.Rand) {
		now := after(len(s.Observations))
		g := Goal{Deadline: now.AddDate(0, 0, 9)}
		a := single(t, s, g, now)
		for i := range s.Observations {
			s.Observations[i].Time = s.Observations[i].Time.In(zone)
		}
		g.Deadline = g.Deadline.In(zone)
		b := single(t, s, g, now.In(zone))
		a.Summary, b.Summary, a.Advice, b.Advice = "", "", nil, nil // these name days in the given zone
		if got, want := asJSON(t, b), asJSON(t, a); got != want {
			t.Fatalf("in another zone\n%s\nwant\n%s", got, want)
		}
	})
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSameEvidenceSameBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var m JointGoal
	for i := range 6 {
		s := Series{Model: fmt.Sprint("m", i/2), Criterion: latency, Observations: daily(made(kinds[i], 30, rng)...)}
		m.Series = append(m.Series, s)
	}
	m.Goal = Goal{Iterations: 9, Deadline: after(50)}
	first, err := Joint(m, after(30), Options{Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for i := range m.Series { // the order in which results are handed in is no evidence
			o := m.Series[i].Observations
			rng.Shuffle(len(o), func(a, b int) { o[a], o[b] = o[b], o[a] })
		}
		again, err := Joint(m, after(30), Options{Seed: 5})
		if err != nil {
			t.Fatal(err)
		}
		again.Basis.Warnings, first.Basis.Warnings = nil, nil
		for i := range again.Parts {
			again.Parts[i].Forecast.Basis.Warnings, first.Parts[i].Forecast.Basis.Warnings = nil, nil
		}
		if got, want := asJSON(t, again), asJSON(t, first); got != want {
			t.Fatalf("again\n%s\nwant\n%s", got, want)
		}
	}
}

// What the bands, the probabilities and the dates say must be one thing.
func TestBandsDatesAndProbabilitiesAgree(t *testing.T) {
	everyHistory(t, func(t *testing.T, s Series, rng *rand.Rand) {
		now := after(len(s.Observations))
		f := single(t, s, Goal{}, now)
		for i, b := range f.Bands {
			if !(b.Low <= b.Median && b.Median <= b.High) {
				t.Fatalf("band %d is out of order: %+v", i+1, b)
			}
			// A hair on the easy side: the best so far is a step of the law.
			good := b.Low + 1e-6*math.Abs(b.Low) + 1e-9
			if !s.Criterion.Comparison.LowerIsBetter() {
				good = b.High - 1e-6*math.Abs(b.High) - 1e-9
			}
			at := s
			at.Criterion.Target = good
			if p := single(t, at, Goal{Iterations: i + 1}, now).Probability.Value; p < 0.1-1e-4 {
				t.Fatalf("a value beyond %v in %d iterations has 10 %%, one of all until then %v", good, i+1, p)
			}
		}
		for _, d := range f.When {
			p := single(t, s, Goal{Deadline: d.Time}, now).ByDeadline.Value
			if !f.Met && math.Abs(p-d.Quantile) > 1e-3 {
				t.Fatalf("by the %v date %v the probability is %v", d.Quantile, d.Time, p)
			}
		}
		if f.Needs != nil && f.Needs.Deadline != nil {
			if p := single(t, s, Goal{Deadline: *f.Needs.Deadline}, now).ByDeadline.Value; math.Abs(p-0.9) > 1e-3 {
				t.Fatalf("by the deadline it needs the probability is %v", p)
			}
		}
	})
}
