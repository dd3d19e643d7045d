package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// machine makes the latencies of n queries, one after the other.
type machine func(r *rand.Rand, n int) []float64

// drifting has latencies each of which follows the one before: a first-order
// autoregressive series of the logarithms.
func drifting(phi float64) machine {
	return func(r *rand.Rand, n int) []float64 {
		out := make([]float64, n)
		x := r.NormFloat64()
		for i := range out {
			x = phi*x + math.Sqrt(1-phi*phi)*r.NormFloat64()
			out[i] = math.Exp(0.1 * x)
		}
		return out
	}
}

// switching is in one of two states and changes between them with the given
// chances a query: bursts of other work, or two clocks.
func switching(enter, leave, slower, spread float64) machine {
	return func(r *rand.Rand, n int) []float64 {
		out := make([]float64, n)
		on := r.Float64() < enter/(enter+leave)
		for i := range out {
			if on {
				on = r.Float64() >= leave
			} else {
				on = r.Float64() < enter
			}
			out[i] = 1 + 0.02*math.Abs(r.NormFloat64())
			if on {
				out[i] *= slower * (1 + spread*r.Float64())
			}
		}
		return out
	}
}

// The interval of 90 % holds the true percentile in 85 to 95 % of the runs.
func TestIntervalsCoverWhatTheyPromise(t *testing.T) {
	const runs, queries = 200, 12_000
	// Two standard errors of a share that is counted in so many runs.
	const least, most = 0.85, 0.95 + 2*0.0154
	for name, c := range map[string]struct {
		machine machine
		of      []float64
	}{
		"independent queries":               {drifting(0), Percentiles},
		"a slow drift":                      {drifting(0.5), Percentiles},
		"a slower drift":                    {drifting(0.9), Percentiles},
		"a drift over 100 queries":          {drifting(0.95), Percentiles},
		"bursts of 20 queries, 2 % of all":  {switching(0.001, 0.05, 3, 0.2), []float64{0.5, 0.9, 0.99}},
		"bursts of 5 queries, 0.3 % of all": {switching(0.0006, 0.2, 3, 0.2), Percentiles},
		"two clocks, 100 queries each":      {switching(0.0043, 0.01, 1.1, 0), Percentiles},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, 2))
			long := c.machine(r, 2_000_000)
			slices.Sort(long)
			held := map[float64]int{}
			for range runs {
				samples := c.machine(r, queries)
				sorted := slices.Sorted(slices.Values(samples))
				for _, q := range c.of {
					low, high, ok := interval(samples, sorted, q)
					if !ok {
						t.Fatalf("no interval for P%v of %d queries", 100*q, queries)
					}
					if truth := NearestRank(long, q); low <= truth && truth <= high {
						held[q]++
					}
				}
			}
			for _, q := range c.of {
				if share := float64(held[q]) / runs; share < least || share > most {
					t.Errorf("P%v: %.1f %% of the intervals hold the true value; want %.0f to %.0f %%", 100*q, 100*share, 100*least, 100*most)
				}
			}
		})
	}
}

// A window or two of a slow model have few queries beyond P99, which alone do not
// show how they depend on each other: 70 to 84 % of such intervals would hold.
func TestIntervalsOfFewQueriesHold(t *testing.T) {
	const runs = 300
	const least = 0.85 - 2*0.0206 // two standard errors
	for name, c := range map[string]struct {
		machine machine
		queries int
	}{
		"independent queries":               {drifting(0), 700},
		"a drift, 70 times its length":      {drifting(0.9), 1324},
		"a drift, 35 times its length":      {drifting(0.95), 1324},
		"a drift, 27 times its length":      {drifting(0.96), 1324},
		"a longer drift, 27 times":          {drifting(0.98), 2648},
		"bursts of 5 queries, 0.3 % of all": {switching(0.0006, 0.2, 3, 0.2), 1324},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(5, 7))
			long := c.machine(r, 2_000_000)
			slices.Sort(long)
			for _, q := range []float64{0.9, 0.99} {
				held := 0
				for range runs {
					if low, high, _ := intervalOf(c.machine(r, c.queries), q); low <= NearestRank(long, q) && NearestRank(long, q) <= high {
						held++
					}
				}
				if share := float64(held) / runs; share < least {
					t.Errorf("P%v: %.1f %% of the intervals hold the true value", 100*q, 100*share)
				}
			}
		})
	}
}

// Spikes that come on their own are not taken for dependent because the queries below
// them are.
func TestADriftBelowThePercentileWidensNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	samples := drifting(0.98)(r, 2648)
	for i := range samples {
		samples[i] = math.Pow(samples[i], 0.1) // of 1 %
		if r.Float64() < 0.02 {
			samples[i] *= 1.4 + 0.2*r.Float64()
		}
	}
	low, high, ok := intervalOf(samples, 0.99)
	if !ok || low < 1.35 || high > 1.7 {
		t.Errorf("%v to %v, %t", low, high, ok)
	}
}

// Where few of the queries say anything new, the interval is wider than
// independent queries would allow, and may have no upper end.
func TestDependentQueriesWidenTheInterval(t *testing.T) {
	width := func(m machine) float64 {
		low, high, ok := intervalOf(m(rand.New(rand.NewPCG(3, 4)), 4000), 0.9)
		if !ok {
			t.Fatal("no interval")
		}
		return high - low
	}
	if a, b := width(drifting(0)), width(drifting(0.95)); b < 3*a {
		t.Errorf("width %v of independent queries, %v of dependent ones", a, b)
	}
	late := slices.Repeat([]float64{1}, 460)
	for i := range late[448:] {
		late[448+i] = 2 + float64(i) // the last twelve, all in one go
	}
	low, high, ok := intervalOf(late, 0.99)
	if !ok || !math.IsInf(high, 1) {
		t.Errorf("from %v to %v, %t; want no upper end", low, high, ok)
	}
	if _, _, ok := intervalOf(late[:458], 0.99); ok {
		t.Error("an interval of P99 from 458 queries")
	}
}

// Half of the queries at or below the point, and all of those first: of ten batches
// five hold nothing else, so that the variance of their means is 2.5/9.
func TestWhatDependentQueriesAreWorth(t *testing.T) {
	halves := func(n int) []float64 {
		return slices.Concat(slices.Repeat([]float64{1}, n/2), slices.Repeat([]float64{2}, n-n/2))
	}
	const normal, student9 = 1.6449, 1.8331 // tables' 95th percentiles
	want := 0.25 * normal * normal / (student9 * student9 * 2.5 / 9 / 10)
	if got := independent(halves(1000), 1, 0.5); math.Abs(got-want) > 0.005 {
		t.Errorf("1000 queries are worth %.3f, want %.3f", got, want)
	}
	// Batches of one query show no dependence.
	if got := independent(halves(12), 1, 0.5); math.Abs(got-12) > 1e-9 {
		t.Errorf("12 queries are worth %g", got)
	}
}

// intervalOf is interval of samples that are not sorted yet.
func intervalOf(samples []float64, q float64) (low, high float64, ok bool) {
	return interval(samples, slices.Sorted(slices.Values(samples)), q)
}
