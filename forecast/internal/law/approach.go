package law

import "math"

// approach is a history as an exponential approach to a limit,
//
//	v = limit + gain*exp(-t/tau), gain >= 0, v = exp(z),
//
// by least squares of relative errors for each of a grid of time constants,
// which count by how well they fit. Everything but limits and gains is computed
// without the newest result. In those the newest pulls every coming path to its
// own side, since it has the greatest leverage: a better one never makes the
// path worse.
type approach struct {
	origin float64 // of z: v is 1 there
	share  [taus]float64
	now    [taus]line // through all results
	then   [taus]line // without the newest
	mass   float64    // sum of the weights behind then

	spread   float64                                               // variance of one result around the path
	behind   float64                                               // what stays of the distance of the last results from it
	evidence float64                                               // log likelihood ratio against one step
	coming   [1 + taus]struct{ now, then, linear, square float64 } // see prepare
	below    [len(spans)]moments                                   // best of the next results, relative to the path at their end
}

// line is v = limit + gain*x; mean and wide are of x: its mean, and the sum of
// squares around that.
type line struct{ limit, gain, mean, wide float64 }

type moments struct{ mean, variance float64 }

const (
	taus       = 21
	longestFit = 128  // the newest results that are fitted; older ones say nothing about what comes
	fitted     = 3    // numbers fitted: limit, gain, time constant
	settled    = 3    // the first 1/settled of the results fitted says nothing about the best of the next
	farthest   = 15   // v is followed to a factor of e^15 from the origin,
	deepest    = 0.02 // and the path down to this share of it
	shallowest = 0.1  // relative errors of the path are those of at least this
	surest     = 12   // most that the evidence counts, either way
	decisive   = 6    // evidence that outweighs what other histories did
)

// fade is exp(-1/tau) for time constants from 3 to 96 results, each 1.41 times
// the one before: with wider steps the two nearest mix to a bend of their own.
var fade = func() (f [taus]float64) {
	for k := range f {
		f[k] = math.Exp(-1 / (3 * math.Pow(2, float64(k)/4)))
	}
	return f
}()

// approach fits a history of at least shortestTrend results.
func (e *History) approach() (a approach) {
	m := len(e.z) - 1
	from := max(0, m-longestFit)
	z := e.z[from:m]
	n := float64(len(z))
	a.origin = e.best[m-1]
	var start [taus]float64 // x is 1 at the newest result and greater before
	for k, f := range fade {
		start[k] = math.Pow(f, -n)
	}
	x := start
	var all [taus]sums
	var y sums          // of v alone: x, xx are those of v
	e.path = e.path[:0] // holds v for now
	for i, z := range z {
		w, v := e.weight(from+i, a.origin), a.value(z)
		y.w += w
		y.add(w, v, 0)
		e.path = append(e.path, v)
		for k := range x {
			all[k].add(w, x[k], v)
			x[k] *= fade[k]
		}
	}
	a.mass = y.w
	newest, w := a.value(e.z[m]), e.weight(m, a.origin)
	var left [taus]float64
	for k := range all {
		s := &all[k]
		s.w = y.w
		var c float64
		a.then[k], c = s.line(y.x)
		left[k] = max(y.xx-y.x*y.x/y.w-a.then[k].gain*(2*c-a.then[k].gain*a.then[k].wide), 0)
		s.add(w, 1, newest)
		s.w += w
		a.now[k], _ = s.line(y.x + w*newest)
	}
	// How far results hang together (plateaus) says how many count as separate,
	// and that how sharply time constants are distinguished.
	k := 0
	for i, v := range left {
		if v < left[k] {
			k = i
		}
	}
	rho := hang(e.path, a.then[k], start[k], fade[k])
	separate := (1 - rho) / (1 + rho)
	a.weigh(&left, max((n-fitted)*separate, 1)/2, n)
	square := e.through(&a, z, start)
	a.spread = square / max(n-fitted, 1)
	a.behind = rho * (median(z[len(z)-3:]) - median(e.path[len(z)-3:]))
	a.prepare(a.spread / separate)
	floor := errorFloor * errorFloor * n
	a.evidence = n / 2 * separate * math.Log((oneStep(z)+floor)/(square+floor))
	e.depths(&a, z)
	return a
}

// value carries a point of the scale back to v.
func (a *approach) value(z float64) float64 {
	return math.Exp(min(max(z-a.origin, -farthest), farthest))
}

// weight makes squared errors of v relative to the level before result i.
func (e *History) weight(i int, origin float64) float64 {
	level := e.level[max(i-1, 0)]
	return math.Exp(-2 * min(max(level-origin, -farthest), farthest))
}

// sums are what a line is fitted from.
type sums struct{ w, x, xx, xy float64 }

func (s *sums) add(w, x, y float64) {
	wx := w * x
	s.x += wx
	s.xx += wx * x
	s.xy += wx * y
}

// line returns the fit, and the sum of products around the means.
func (s *sums) line(y float64) (l line, c float64) {
	l.mean = s.x / s.w
	l.wide = s.xx - s.x*l.mean
	c = s.xy - l.mean*y
	if l.wide > 1e-9*s.xx { // else the weights are all on one result
		l.gain = max(c/l.wide, 0)
	} else {
		l.wide = 1e-9 * s.xx
	}
	l.limit = y/s.w - l.gain*l.mean
	return l, c
}

// weigh turns what each time constant leaves into shares.
func (a *approach) weigh(left *[taus]float64, power, n float64) {
	floor := errorFloor * errorFloor * n / 4
	best, sum := math.Inf(1), 0.0
	for _, v := range left {
		best = min(best, v+floor)
	}
	for k, v := range left {
		a.share[k] = math.Pow(best/(v+floor), power)
		sum += a.share[k]
	}
	for k := range a.share {
		a.share[k] /= sum
	}
}

// hang is the correlation of neighbours among the relative errors of a line.
func hang(values []float64, l line, x, fade float64) float64 {
	var was, square, lag float64
	for _, v := range values {
		path := max(l.limit+l.gain*x, deepest)
		r := (v - path) / path
		square += r * r
		lag += r * was
		was = r
		x *= fade
	}
	if square == 0 {
		return 0
	}
	return min(max(lag/square, 0), 0.9)
}

// through fills path with the fit through the results before the newest, on the
// scale, and returns the sum of squares it leaves.
func (e *History) through(a *approach, z []float64, x [taus]float64) (square float64) {
	limit := 0.0
	for k, l := range a.then {
		limit += a.share[k] * l.limit
		x[k] *= a.share[k] * l.gain
	}
	for i, z := range z {
		v := limit
		for k, f := range fade {
			v += x[k]
			x[k] *= f
		}
		path := a.origin + math.Log(max(v, deepest))
		e.path[i] = path
		r := z - path
		square += r * r
	}
	return square
}

// oneStep is the sum of squares that two levels with one step between them
// leave, where they fit best: what a history that only jumped looks like.
func oneStep(z []float64) float64 {
	total, sum, square := 0.0, 0.0, 0.0
	for _, v := range z {
		total += v - z[0]
		square += (v - z[0]) * (v - z[0])
	}
	best := math.Inf(1)
	n := float64(len(z))
	for i, v := range z {
		sum += v - z[0]
		k := float64(i + 1)
		left := square - sum*sum/k
		if k < n {
			left -= (total - sum) * (total - sum) / (n - k)
		}
		best = min(best, left)
	}
	return max(best, 0)
}

// depths describes the best of the next results, relative to the path at their
// end, as seen in the results that were fitted.
func (e *History) depths(a *approach, z []float64) {
	least := append(e.scratch[:0], z...)
	e.scratch = least
	window := 1
	for k, h := range spans {
		for window < h { // least[i] is that of z[i:i+window]: one pass widens all
			step := min(window, h-window)
			for i := range max(0, len(least)-step) {
				least[i] = min(least[i], least[i+step])
			}
			window += step
		}
		var n, sum, square float64
		for i := len(z) / settled; i+h <= len(z); i++ {
			x := least[i] - e.path[i+h-1]
			n++
			sum += x
			square += x * x
		}
		if n < 3 {
			if k > 0 {
				a.below[k] = moments{a.below[k-1].mean, 1.2 * a.below[k-1].variance}
			}
			continue
		}
		mean := sum / n
		a.below[k] = moments{mean, max(square/n-mean*mean, 0) * float64(len(z)) / float64(len(z)-fitted)}
	}
}

// prepare sorts the coming path and the variance of its error by powers of x:
// that between the time constants, and that of each line, whose mean is known
// as well as drift over the mass says.
func (a *approach) prepare(drift float64) {
	c := &a.coming[taus] // what does not depend on x
	for k, share := range a.share {
		now, then := &a.now[k], &a.then[k]
		c.now += share * now.limit
		c.then += share * then.limit
		c.square += share * (then.limit*then.limit + drift*(1/a.mass+then.mean*then.mean/then.wide))
		a.coming[k].now = share * now.gain
		a.coming[k].then = share * then.gain
		a.coming[k].linear = 2 * share * (then.limit*then.gain - drift*then.mean/then.wide)
		a.coming[k].square = share * (then.gain*then.gain + drift/then.wide)
	}
}

// ahead returns the path where x is fade to the power of the steps, and the
// variance of its error.
func (a *approach) ahead(x *[taus]float64) (path, variance float64) {
	c := &a.coming[taus]
	v, mean, square := c.now, c.then, c.square
	for k, x := range x {
		c := &a.coming[k]
		v += c.now * x
		mean += c.then * x
		square += (c.linear + c.square*x) * x
	}
	variance = max(square-mean*mean, 0)
	mean = max(mean, shallowest)
	return a.origin + math.Log(max(v, deepest)), variance / (mean * mean)
}

// best returns mean and variance of the best of the next h results, relative to
// the path there.
func (a *approach) best(h int, logStep float64) (mean, variance float64) {
	k, s := between(h, logStep)
	p, q := a.below[k], a.below[k+1]
	return p.mean + s*(q.mean-p.mean), p.variance + s*(q.variance-p.variance)
}
