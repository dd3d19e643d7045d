package law

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestOrderStatisticsAreThoseOfSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	plain := func(x []float64, p float64) float64 {
		at := p * float64(len(x)-1)
		lo := int(at)
		if lo+1 == len(x) {
			return x[lo]
		}
		return x[lo] + (at-float64(lo))*(x[lo+1]-x[lo])
	}
	for range 3000 {
		x := make([]float64, 1+rng.IntN(60))
		for i := range x {
			x[i] = float64(rng.IntN(1 + rng.IntN(50))) // ties are common
		}
		sorted := slices.Clone(x)
		slices.Sort(sorted)
		p := rng.Float64() / 2
		q := p + rng.Float64()/2
		low, high := quantiles(slices.Clone(x), p, q)
		if low != plain(sorted, p) || high != plain(sorted, q) || quantile(slices.Clone(x), p) != low {
			t.Fatalf("quantiles %v and %v of %v: %v and %v", p, q, x, low, high)
		}
		e := History{z: x}
		if len(x) >= 7 {
			of3, of7 := e.medians()
			if of3 != median(x[len(x)-3:]) || of7 != median(x[len(x)-7:]) {
				t.Fatalf("medians of the end of %v: %v and %v", x, of3, of7)
			}
		}
	}
}

// The guess that one band hands to the next changes no bit of it.
func TestBandsAloneAndInTurnAreTheSame(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	c := Default()
	var l Law
	for range 200 {
		var e History
		e.Grow(80)
		level := 0.0
		for range 1 + rng.IntN(80) {
			if rng.Float64() < 0.2 {
				level -= 0.1 * rng.Float64()
			}
			e.Append(level + 0.03*rng.NormFloat64())
		}
		e.Law(&c, Context{}, 30, &l)
		l.Bands(30, func(h int, low, middle, high float64) {
			if a, b, c := l.Band(h); a != low || b != middle || c != high {
				t.Fatalf("band %d of %d results: %v %v %v alone, %v %v %v in turn", h, e.Len(), a, b, c, low, middle, high)
			}
		})
	}
}

func TestStraightLineAgainstLevel(t *testing.T) {
	for name, c := range map[string]struct {
		z              []float64
		least, largest float64
	}{
		"nothing":                       {nil, 0, 0},
		"one result":                    {[]float64{3}, 0, 0},
		"no change":                     {[]float64{3, 3, 3, 3}, 0, 0},
		"an exact line down":            {[]float64{0.4, 0.3, 0.2, 0.1, 0}, 1, 1},
		"an exact line up":              {[]float64{0, 0.1, 0.2, 0.3, 0.4}, -1, -1},
		"two results prove little":      {[]float64{0.1, 0}, 0.3, 0.5},
		"noise without direction":       {[]float64{0.1, 0, 0.1, 0, 0.1}, 0, 0},
		"a line and half as much noise": {[]float64{0.4, 0.2, 0.3, 0.1, 0.05}, 0.3, 0.7},
	} {
		if got := straight(c.z); got < c.least || got > c.largest {
			t.Errorf("%s: %v, want %v to %v", name, got, c.least, c.largest)
		}
	}
}

// Where people work, the value ahead is the best until then, so its points are
// those of the probabilities; where nobody does, it may fall back.
func TestBandsKeepGainsWherePeopleWork(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	c := Default()
	c.Trend.Intercept = -30
	var l Law
	for range 100 {
		var e History
		level := 0.0
		for range 2 + rng.IntN(30) {
			if rng.Float64() < 0.3 {
				level -= 0.1 * rng.Float64()
			}
			e.Append(level + 0.03*rng.NormFloat64())
		}
		for _, h := range []int{1, 4, 15} {
			e.Law(&c, Context{Effort: 30}, h, &l)
			low, middle, _ := l.Band(h)
			if middle >= l.Best() { // a step at the best so far, which has been reached
				continue
			}
			if p, q := l.ReachedWithin(low, h), l.ReachedWithin(middle, h); math.Abs(p-0.1) > 0.015 || math.Abs(q-0.5) > 0.015 {
				t.Errorf("%d steps after %v with work: the 10 and 50 %% points are reached with %.4f and %.4f", h, e.z, p, q)
			}
			e.Law(&c, Context{Effort: -30}, h, &l)
			if idle, _, _ := l.Band(h); l.ReachedWithin(idle, h) < 0.1 {
				t.Errorf("%d steps after %v without: the 10 %% point promises more than the probabilities", h, e.z)
			}
		}
	}
}

// Four results show one error, which may be small by luck.
func TestOneSmallErrorDoesNotMakeANarrowBand(t *testing.T) {
	c := Default()
	width := func(z ...float64) float64 {
		var e History
		for _, v := range z {
			e.Append(v)
		}
		var l Law
		e.Law(&c, Context{}, 1, &l)
		low, _, high := l.Band(1)
		return high - low
	}
	if lucky, usual := width(0, 0.1, 0.05, 0.05), width(0, 0.1, 0.05, 0.08); lucky < usual/3 {
		t.Errorf("a band is %.3f wide after a repeated result and %.3f after one that differs by 3 %%", lucky, usual)
	}
}

// An approach to a limit counts before it shows, ever less as results come that
// could show it.
func TestAnApproachCountsBeforeItShows(t *testing.T) {
	trend := Default().Trend
	last := 1.0
	for n := shortestTrend; n < 60; n++ {
		shown, counted := trend.weights(-surest, 0, n)
		if shown != 0 {
			t.Errorf("%d results that speak against an approach show one with %.3f", n, shown)
		}
		if more := n < longestEarly; more != (counted > 0) || counted > last || n > shortestTrend && last-counted > 0.03 {
			t.Errorf("%d results: it counts %.4f, after %.4f with one fewer", n, counted, last)
		}
		last = counted
	}
}
