package bench

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/quick"
)

// exactOverLatency is the early-stopping criterion in exact rational numbers:
// an independent computation to hold overLatency against. percent is 100 q.
func exactOverLatency(n int, percent int64) int {
	p := big.NewRat(100-percent, 100)
	q := big.NewRat(percent, 100)
	one := big.NewInt(1)
	term := new(big.Rat).SetFrac(new(big.Int).Exp(q.Num(), big.NewInt(int64(n)), nil), new(big.Int).Exp(q.Denom(), big.NewInt(int64(n)), nil))
	ratio := new(big.Rat).Quo(p, q)
	sum := new(big.Rat)
	limit := big.NewRat(1, 100)
	for t := 0; ; t++ {
		if sum.Add(sum, term); sum.Cmp(limit) > 0 {
			return t - 1
		}
		// C(n,t+1) p^(t+1) q^(n-t-1) from C(n,t) p^t q^(n-t).
		step := new(big.Rat).SetFrac(big.NewInt(int64(n-t)), new(big.Int).Add(big.NewInt(int64(t)), one))
		term.Mul(term, step.Mul(step, ratio))
	}
}

func TestOverLatencyAgainstExactBinomial(t *testing.T) {
	for _, percent := range []int64{50, 90, 95, 99} {
		for _, n := range []int{1, 6, 7, 8, 43, 44, 63, 64, 65, 89, 90, 129, 130, 458, 459, 460, 661, 662, 663, 1000, 1324} {
			want := exactOverLatency(n, percent)
			if got := overLatency(n, float64(percent)/100); got != want {
				t.Errorf("P%d of %d queries: t = %d, exactly %d", percent, n, got, want)
			}
		}
	}
}

// The published minima of MLPerf's early stopping.
func TestPublishedMinima(t *testing.T) {
	for _, c := range []struct {
		q             float64
		atAll, bounds int
	}{{0.90, 44, 64}, {0.99, 459, 662}} {
		if a, b := MinQueries(c.q), minQueriesForBound(c.q); a != c.atAll || b != c.bounds {
			t.Errorf("P%g: %d and %d queries, want %d and %d", 100*c.q, a, b, c.atAll, c.bounds)
		}
	}
}

func ascending(n int) []float64 {
	s := make([]float64, n)
	for i := range s {
		s[i] = float64(i + 1)
	}
	return s
}

func TestPercentilesCarryTheirEvidence(t *testing.T) {
	for _, c := range []struct {
		n          int
		p99, upper float64 // 0 for none
	}{
		{458, 0, 0},
		{459, 455, 0},    // 0.99 * 459 = 454.41
		{661, 655, 0},    // 0.99 * 661 = 654.39
		{662, 656, 662},  // t = 1: the largest
		{1000, 990, 999}, // t = 2: the second largest
		{10000, 9900, 0}, // checked below
	} {
		l := Summarize(1, ascending(c.n))
		x, ok := l.At(0.99)
		if ok != (c.p99 > 0) || x.Value != c.p99 {
			t.Errorf("%d queries: P99 %v %t, want %v", c.n, x.Value, ok, c.p99)
		}
		if c.n == 10000 {
			continue
		}
		if (x.Upper != nil) != (c.upper > 0) {
			t.Errorf("%d queries: upper %v, want %v", c.n, x.Upper, c.upper)
		} else if x.Upper != nil && *x.Upper != c.upper {
			t.Errorf("%d queries: upper %v, want %v", c.n, *x.Upper, c.upper)
		}
	}
	if l := Summarize(1, ascending(5)); len(l.Quantiles) != 0 {
		t.Errorf("percentiles of five queries: %v", l.Quantiles)
	}
	if l := Summarize(1, nil); l.Queries != 0 || l.Mean != 0 {
		t.Errorf("nothing summarized is %+v", l)
	}
}

// The bound is what it says: over many runs with a known distribution, the true
// percentile lies above it in no more than one of a hundred.
func TestTheBoundHoldsAsOftenAsItSays(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const runs = 4000
	truth := -math.Log(1 - 0.99) // of the exponential distribution
	for _, n := range []int{662, 1324} {
		misses := 0
		for range runs {
			s := make([]float64, n)
			for i := range s {
				s[i] = r.ExpFloat64()
			}
			slices.Sort(s)
			if upper, ok := earlyStopping(s, 0.99); !ok || upper < truth {
				misses++
			}
		}
		if share := float64(misses) / runs; share > 0.01 {
			t.Errorf("%d queries: the true P99 is above the bound in %.2f %% of runs", n, 100*share)
		}
	}
}

func TestLawsOfASummary(t *testing.T) {
	law := func(seed uint64, size uint16) bool {
		r := rand.New(rand.NewPCG(seed, 1))
		s := make([]float64, int(size)%3000+1)
		for i := range s {
			s[i] = math.Exp(r.NormFloat64() - 7)
		}
		l := Summarize(4, s)
		inOrder := l.Min <= l.Mean && l.Mean <= l.Max && l.StdDev >= 0
		last := l.Min
		for _, q := range l.Quantiles {
			inOrder = inOrder && last <= q.Value && q.Value <= l.Max && (q.Upper == nil || (q.Value <= *q.Upper && *q.Upper <= l.Max))
			last = q.Value
		}
		var count int64
		for i, n := range l.Buckets {
			count += n
			inOrder = inOrder && bucketBound(i-1) < l.Max*1.0000001 && bucketBound(i) >= l.Min*0.9999999
		}
		shuffled := slices.Clone(s)
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		m := Summarize(4, shuffled)
		return inOrder && count == int64(len(s)) && l.Queries == len(s) && m.Mean == l.Mean && math.Abs(l.Sum-l.Mean*float64(len(s))) < 1e-12
	}
	if err := quick.Check(law, &quick.Config{MaxCount: 200, Rand: nil}); err != nil {
		t.Error(err)
	}
}

func TestBuckets(t *testing.T) {
	for _, c := range []struct {
		v float64
		i int
	}{
		{1, 0}, {math.Nextafter(1, 2), 1}, {2, 32}, {0.5, -32}, {math.Nextafter(0.5, 1), -31}, {0.001, -318}, {0, bucket(1e-9)},
	} {
		if got := bucket(c.v); got != c.i {
			t.Errorf("bucket(%v) = %d, want %d", c.v, got, c.i)
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 10000 {
		v := math.Exp(4 * r.NormFloat64())
		if i := bucket(v); !(bucketBound(i-1) < v && v <= bucketBound(i)) {
			t.Fatalf("%v in bucket %d, (%v, %v]", v, i, bucketBound(i-1), bucketBound(i))
		}
	}
}

func TestTheNearestRankIsOneOfTheObservations(t *testing.T) {
	sorted := ascending(4)
	for q, want := range map[float64]float64{0: sorted[0], 0.25: sorted[0], 0.26: sorted[1], 0.75: sorted[2], 1: sorted[3]} {
		if got := NearestRank(sorted, q); got != want {
			t.Errorf("rank %g of %v: %g, want %g", q, sorted, got, want)
		}
	}
}

func TestOneQueryHasNoSpread(t *testing.T) {
	if l := Summarize(1, []float64{0.5}); l.StdDev != 0 || l.Mean != 0.5 || l.Sum != 0.5 || len(l.Quantiles) != 0 {
		t.Errorf("%+v", l)
	}
}

// With the fewest queries of a P99 nothing bounds it from above.
func TestAnEndThatIsNotKnownIsLeftOut(t *testing.T) {
	n := MinQueries(0.99)
	if _, high, ok := intervalOf(ascending(n), 0.99); !ok || !math.IsInf(high, 1) {
		t.Errorf("of %d queries: up to %g, %t", n, high, ok)
	}
	if _, _, ok := intervalOf(ascending(n-1), 0.99); ok {
		t.Errorf("%d queries have an interval", n-1)
	}
	last := Summarize(1, ascending(n)).Quantiles
	if x := last[len(last)-1]; x.Q != 0.99 || x.Low == nil || x.High != nil {
		t.Errorf("%+v", x)
	}
}

// bucketBound is the upper bound of bucket i in seconds.
func bucketBound(i int) float64 {
	return math.Exp2(float64(i) / (1 << BucketSchema))
}
