package law

import (
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
