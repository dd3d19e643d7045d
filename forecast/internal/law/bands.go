package law

import "math"

// Constants of the bands, set by hand.
const (
	typicalError = 0.03              // one step ahead, before there is a record,
	typicalMass  = 0.5               // and how many errors it counts as afterwards
	leastKept    = 0.1               // a probability that gains are kept that counts as none, and from which it is counted
	leastWidth   = 0.002             // of each side of a band: no measurement is better than that
	log9         = 2.197224577336219 // logit of 0.9
)

// Errors describes a history's own record of h-step errors, for the bands.
type Errors struct {
	N         float64             // results, at least shortest
	OneStep   float64             // log of the mean absolute error one step ahead
	Low, High [len(spans)]float64 // logs of its 10 and 90 % error quantiles at each span
	Known     bool                // Low and High hold something
	Steady    float64             // share to which the history's own errors are all that counts
}

// errors reads the records without and with the newest result as an outcome,
// which give the weights w and v. Of the first the high end is not needed.
func (e *History) errors(w, v *[experts]float64) (without, with Errors) {
	with.N = max(float64(len(e.z)), shortest)
	without.N = with.N
	without.OneStep, with.OneStep = e.before().oneStep(w), e.rec().oneStep(v)
	for k := range spans {
		x := e.errs[k]
		if n := len(x) - 1; n >= 3 {
			e.scratch = append(e.scratch[:0], x[:n]...)
			without.Low[k] = tail(-quantile(e.scratch, 0.1))
			without.Known = true
			e.scratch = append(e.scratch, x[n])
		} else {
			e.scratch = append(e.scratch[:0], x...)
			if k > 0 {
				without.Low[k] = without.Low[k-1]
			}
		}
		switch {
		case len(x) >= 3:
			low, high := quantiles(e.scratch, 0.1, 0.9)
			with.Low[k], with.High[k] = tail(-low), tail(high)
			with.Known = true
		case k > 0:
			with.Low[k], with.High[k] = with.Low[k-1], with.High[k-1]
		}
	}
	return without, with
}

func tail(x float64) float64 { return math.Log(max(x, 0) + errorFloor) }

// oneStep is the log of the mean absolute error one step ahead, drawn towards
// the usual one: one or two small errors do not show how large the next will be.
func (r *record) oneStep(w *[experts]float64) float64 {
	sum := typicalMass * typicalError
	for x := range w {
		sum += w[x] * r.loss[0][x]
	}
	return math.Log(sum/(r.mass[0]+typicalMass) + errorFloor)
}

// spreads are the logs of those distances as functions of the steps ahead.
type spreads struct {
	q               *Errors
	low, high, step float64 // learned: where they start, and their growth
	own             float64 // how much the history's own errors count
}

func (c *Coefficients) spreads(q *Errors) spreads {
	level := c.Bands.Error*q.OneStep + c.Bands.LogLength*math.Log(q.N/30)
	s := spreads{q: q, low: c.Bands.Low + level, high: c.Bands.High + level, step: c.Bands.LogSteps}
	if q.Known {
		s.own = 1 - (1-math.Exp(-c.Bands.OwnAfter/q.N))*(1-q.Steady)
	}
	return s
}

func (s *spreads) at(h int, logStep float64) (low, high float64) {
	low, high = s.low+s.step*logStep, s.high+s.step*logStep
	if s.own > 0 {
		k, a := between(h, logStep)
		q := s.q
		low += s.own * (q.Low[k] + a*(q.Low[k+1]-q.Low[k]) - low)
		high += s.own * (q.High[k] + a*(q.High[k+1]-q.High[k]) - high)
	}
	return low, high
}

// sides are the distances of a band's ends from its centre. With a probability
// of trend the history follows a path to a limit, and they are around.
func (s *spreads) sides(h int, logStep, trend, around float64) (below, above float64) {
	below, above = s.at(h, logStep)
	below, above = math.Exp(below), math.Exp(above)
	if trend > 0 {
		below += trend * (around - below)
		above += trend * (around - above)
	}
	return max(below, leastWidth), max(above, leastWidth)
}

// spanShare is 1 over the distance from one span to the next in logarithms.
var spanShare = func() (s [len(spans)]float64) {
	for k := range len(spans) - 1 {
		s[k] = 1 / (logSpans[k+1] - logSpans[k])
	}
	return s
}()

// between finds the spans around h steps: spans[k] and how far towards the
// next, on the scale of logarithms; beyond the last it stays there.
func between(h int, logStep float64) (k int, a float64) {
	for k+2 < len(spans) && h >= spans[k+1] {
		k++
	}
	return k, min(1, (logStep-logSpans[k])*spanShare[k])
}

// Band returns the 10, 50 and 90 % points of the value h steps ahead. Its good
// end never promises more than the probabilities: the chance that this one
// value lies beyond a point is at most the chance that one of all values until
// then does. Where people work, gains are kept: the two chances are the same.
func (l *Law) Band(h int) (low, middle, high float64) {
	s := l.c.spreads(&l.errors)
	return l.band(h, &s, &[2]lastRoot{})
}

// Bands calls each with every band for 1, 2, ..., steps ahead.
func (l *Law) Bands(steps int, each func(h int, low, middle, high float64)) {
	s := l.c.spreads(&l.errors)
	var at [2]lastRoot
	for h := 1; h <= steps; h++ {
		low, middle, high := l.band(h, &s, &at)
		each(h, low, middle, high)
	}
}

func (l *Law) band(h int, s *spreads, at *[2]lastRoot) (low, middle, high float64) {
	below, above := s.sides(h, l.logStep[h-1], l.steady, l.around[h-1])
	centre := l.centre[h-1]
	low = l.promised(0.1, centre-below, h, &at[0])
	middle = l.promised(0.5, max(centre, low), h, &at[1])
	return low, middle, max(centre+above, middle)
}

// promised moves x, the point that one value h steps ahead lies beyond with
// probability p, to where the best of all values until then does: all the way
// where x promises more, and where it promises less as far as gains are kept.
func (l *Law) promised(p, x float64, h int, guess *lastRoot) float64 {
	kept := l.kept()
	if kept == 0 && l.reached(x, h, p) >= p {
		return x
	}
	return moved(x, l.reachable(p, x, h, guess), kept)
}

// moved is promised where that point is known.
func moved(x, to, kept float64) float64 {
	if x < to {
		return to
	}
	return x + kept*(to-x)
}

// kept is the probability that a value that is reached stays reached.
func (l *Law) kept() float64 {
	return max(0, l.worked*(1-l.steady)-leastKept) / (1 - leastKept)
}

// reachable returns the least point whose chance of being reached within h steps
// is at least p; it looks from x on.
func (l *Law) reachable(p, x float64, h int, guess *lastRoot) float64 {
	at := l.reached(x, h, p)
	if at >= p {
		return l.deeper(p, x, at, h, guess)
	}
	lo, from := x, at
	if x < l.best {
		lo = l.best
		if at = l.ReachedWithin(lo, h); at >= p {
			return l.root(p, x, lo, from, at, h, guess)
		}
		from = at
	}
	hi := lo
	if v := l.level[h-1]; v > lo {
		hi = v
		at = l.ReachedWithin(hi, h)
	}
	for w := l.width(h); at < p; w *= 2 {
		lo, from, hi = hi, at, hi+w
		at = l.ReachedWithin(hi, h)
	}
	return l.root(p, lo, hi, from, at, h, guess)
}

// deeper is reachable where it is not above x, whose chance is at.
func (l *Law) deeper(p, x, at float64, h int, guess *lastRoot) float64 {
	hi := x
	if x > l.best {
		from := l.ReachedWithin(l.best, h)
		if from < p {
			return l.root(p, l.best, x, from, at, h, guess)
		}
		hi, at = l.best, from
	}
	for w := l.width(h); ; w *= 2 {
		lo := hi - w
		from := l.ReachedWithin(lo, h)
		if from < p {
			return l.root(p, lo, hi, from, at, h, guess)
		}
		hi, at = lo, from
	}
}

// lastRoot is where the last root was and how steep the chance was there: a guess
// for the next one, which changes how soon it is found and not where.
type lastRoot struct{ x, slope float64 }

// root finds where the chance of being reached passes p, between lo, where it
// is from, below p, and hi, where it is at, not below p: it returns the end of
// the first of equal steps that gets there, each at most a thousandth of a
// band's width. Those are the steps that halving would end in; secants get
// there in half as many questions.
func (l *Law) root(p, lo, hi, from, at float64, h int, guess *lastRoot) float64 {
	steps, step := 1.0, hi-lo
	for least := 1e-3 * l.width(h); step > least && lo+step/2 > lo && hi-step/2 < hi; {
		step /= 2
		steps *= 2
	}
	a, b := 0.0, steps                        // the end is behind a and not behind b
	m, f, was, before := b, at-p, 0.0, from-p // the last two points asked about
	slope := guess.slope * step
	for turn := 1; b-a > 1; turn++ {
		next := m - f*(m-was)/(f-before)
		switch {
		case turn == 1 && slope > 0:
			next = (guess.x - lo) / step
		case turn == 2 && slope > 0:
			next = m - f/slope
		case turn > 8 && turn%2 == 0:
			next = (a + b) / 2
		}
		was, before = m, f
		if m = math.Round(next); !(m > a) {
			m = a + 1
		} else if m >= b {
			m = b - 1
		}
		if f = l.ReachedWithin(lo+m*step, h) - p; f >= 0 {
			b = m
		} else {
			a = m
		}
	}
	if s := (f - before) / (m - was) / step; s > 0 {
		guess.slope = s
	}
	guess.x = hi
	if b < steps {
		guess.x = lo + b*step
	}
	return guess.x
}

// width is the distance of the 10 % point from the expected path.
func (l *Law) width(h int) float64 {
	l.tighten(h)
	return log9 / l.tight[h-1]
}

// tighten fills tight for h steps: few questions need all.
func (l *Law) tighten(h int) {
	if len(l.tight) >= h {
		return
	}
	s := l.c.spreads(&l.without)
	for j := len(l.tight); j < h; j++ {
		below, _ := s.at(j+1, l.logStep[j])
		l.tight = append(l.tight, log9/math.Exp(below))
	}
}
