package forecast

import (
	"math"
	"slices"
	"time"
)

// curve is the probability of having reached the target by now (index 0), and
// within 1, 2, ... further iterations; it never falls.
type curve []float64

// at reads between whole iterations: a share of an iteration gives that share
// of its chance.
func (f curve) at(x float64) float64 {
	if x <= 0 {
		return f[0]
	}
	i := int(x)
	if i >= len(f)-1 {
		return f[len(f)-1]
	}
	return f[i] + (x-float64(i))*(f[i+1]-f[i])
}

// shifted moves every chance that is neither 0 nor 1 by d in log odds; the
// answer uses the memory of g.
func (f curve) shifted(d float64, g curve) curve {
	g = slices.Grow(g[:0], len(f))[:len(f)]
	factor := math.Exp(-d)
	for i, p := range f {
		if g[i] = p; p > 0 && p < 1 {
			g[i] = p / (p + (1-p)*factor)
		}
	}
	return g
}

// by returns the chance until x iterations are expected, over the equally
// likely paces; no more than limit iterations count (0: no limit).
func (f curve) by(c *cadence, x float64, limit int) float64 {
	if x <= 0 {
		return f[0]
	}
	sum := 0.0
	for _, n := range c.paces(x) {
		if limit > 0 {
			n = min(n, float64(limit))
		}
		sum += f.at(n)
	}
	return sum / cadenceNodes
}

// when returns the moment by which the chance is p, if the curve gets there.
func (f curve) when(c *cadence, now time.Time, p float64) (time.Time, bool) {
	if f[0] >= p {
		return now.UTC(), true
	}
	lo, hi := 0.0, float64(len(f)-1)
	if f.by(c, hi, 0) < p {
		return time.Time{}, false
	}
	for hi-lo > 1e-6*hi {
		if m := (lo + hi) / 2; f.by(c, m, 0) >= p {
			hi = m
		} else {
			lo = m
		}
	}
	return c.date(now, hi), true
}
