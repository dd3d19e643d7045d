package forecast

import (
	"math"
	"slices"
	"time"
)

// curve is the probability of having reached the target by now (index 0), and
// within 1, 2, ... further iterations; it never falls.
type curve []float64

// reached is the curve of what is there already, for as many steps as a goal may have.
var reached = slices.Repeat(curve{1}, maxIterations+1)

// at reads between whole iterations: a share of an iteration gives that share
// of its chance.
func (f curve) at(x float64) float64 { return f.atShifted(x, unshifted) }

// atShifted is at for a curve that is shifted.
func (f curve) atShifted(x float64, by shift) float64 {
	if x <= 0 {
		return by.of(f[0])
	}
	i := int(x)
	if i >= len(f)-1 {
		return by.of(f[len(f)-1])
	}
	from := by.of(f[i])
	return from + (x-float64(i))*(by.of(f[i+1])-from)
}

// shift moves a chance that is neither 0 nor 1: a factor of the odds against.
type shift float64

// unshifted leaves a chance as it is.
const unshifted shift = 1

// shiftBy is a shift by d in log odds.
func shiftBy(d float64) shift { return shift(math.Exp(-d)) }

// of is a chance, moved.
func (s shift) of(p float64) float64 {
	if s == unshifted || p <= 0 || p >= 1 {
		return p
	}
	return p / (p + (1-p)*float64(s))
}

// back undoes a shift.
func (s shift) back() shift { return 1 / s }

// shifted moves every chance of a curve; the answer uses the memory of g.
func (f curve) shifted(by shift, g curve) curve {
	g = slices.Grow(g[:0], len(f))[:len(f)]
	for i, p := range f {
		g[i] = by.of(p)
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
