package law

import "math"

// Coefficients are what was learned from other histories. Every probability
// and band is a function of one history and these few numbers.
type Coefficients struct {
	// The record law: the cumulative hazard of a gain g within h steps after n
	// results whose interquartile range is q is
	//
	//	exp(Intercept - LogGap*log(g+0.02) - Gap*g + LogSteps*log(h)
	//	    + LogLength*log(n) + LogSpread*log(q+0.05))
	//
	// with LogGap, Gap and LogSteps at least 0.
	Intercept, LogGap, Gap, LogSteps, LogLength, LogSpread float64

	// The bands: the 10 % and 90 % points h steps ahead lie exp(Low+s) below
	// and exp(High+s) above the centre, s = Error*log(e+0.002) +
	// BandSteps*log(h) + BandLength*log(n/30), where e is the mean absolute
	// error one step ahead; the history's own error quantiles count
	// exp(-OwnAfter/n) against that.
	Low, High, Error, BandSteps, BandLength, OwnAfter, OwnShift float64

	// TrendPrior is the share of histories that steadily approach a limit, and
	// TrendOrder what is added to its log odds when the stretches of a history
	// improve in perfect order. Persistence is how far the steps of one future
	// count as separate chances, from 0 to 1.
	TrendPrior, TrendOrder, Persistence float64

	// Doubt is the standard deviation, in log odds, by which the rate of one
	// project differs from its forecast; SteadyDoubt replaces it as far as a
	// history follows its trend.
	Doubt, SteadyDoubt float64
}

const (
	gapFloor      = 0.02
	spreadFloor   = 0.05
	outOfReach    = 1    // a factor of e
	spreadPrior   = 0.08 // counts as spreadMass results
	spreadMass    = 3
	typicalError  = 0.03              // one step ahead, before there is a record
	shortest      = 5                 // histories shorter than this are treated as this long
	shortestTrend = 7                 // results before a trend is thought of
	leastTrend    = 0.02              // a smaller weight is none
	bandWidth     = 1.13              // in standard deviations: less than the normal 1.28, since plateaus count in both parts of the variance
	log9          = 2.197224577336219 // logit of 0.9
)

// Surest bounds every probability of something neither done nor impossible:
// nothing is surer than Surest or less sure than 1-Surest.
const Surest = 1 - 1e-5

// Law answers questions about the future of one history. It is made by
// Engine.Law, which reuses its memory.
//
// The laws that probabilities obey hold by construction. Reached is a mixture,
// with a weight that does not depend on the question, of curves which each
// grow with the target x and with the horizon h. What depends on the newest
// result z (best so far, expected path) only ever falls with a better z; what
// could turn the other way (spread, weights, errors) is computed without the
// newest result.
type Law struct {
	c      Coefficients
	n      int
	best   float64
	steps  float64 // intercept of the record law for this history
	spread float64 // interquartile range behind it

	weights     [experts]float64 // for bands, newest result judged
	trendWeight float64
	level       []float64 // expected path, steps 1.., newest result not judged
	tight       []float64 // log9 over the distance of its 10 % point, newest result not judged; as far as asked for
	trendMiddle []float64 // where the best of the steps until then is as likely below as above, on the approach to a limit
	trendScale  []float64 // and 1 over its scale
	around      []float64 // distance of the 10 and 90 % points from the path
	centre      []float64 // of the bands
	growth      []float64 // of the record law's hazard from one step to 1, 2, ...
	grown       float64   // LogSteps behind it
	errors      Errors    // behind the bands
	without     Errors    // the same, newest result not judged
	logStep     []float64 // logarithms of 1, 2, ...
}

// logs are the logarithms of 1, 2, ...
var logs = func() (l [1000]float64) {
	for j := range l {
		l[j] = math.Log(float64(j + 1))
	}
	return l
}()

func logOf(n int) float64 {
	if n <= len(logs) {
		return logs[n-1]
	}
	return math.Log(float64(n))
}

// growth returns 1, 2, ... to a power.
func growth(power float64, logStep []float64) []float64 {
	g := make([]float64, len(logStep))
	for j, x := range logStep {
		g[j] = math.Exp(power * x)
	}
	return g
}

var usualGrowth = growth(Default().LogSteps, logs[:])

// room makes the law ready for a horizon; all its memory is one piece.
func (l *Law) room(horizon int) {
	if parts := []*[]float64{&l.level, &l.tight, &l.trendMiddle, &l.trendScale, &l.around, &l.centre}; cap(l.centre) < horizon {
		all := make([]float64, len(parts)*horizon)
		for i, x := range parts {
			*x = all[i*horizon : (i+1)*horizon : (i+1)*horizon]
		}
	} else {
		for _, x := range parts {
			*x = (*x)[:horizon]
		}
	}
	l.tight = l.tight[:0]
	if len(l.logStep) < horizon {
		l.logStep, l.growth = logs[:], nil
		for j := len(logs); j < horizon; j++ {
			l.logStep = append(l.logStep, logOf(j+1))
		}
	}
	if l.c.LogSteps != l.grown || len(l.growth) < horizon {
		l.grown = l.c.LogSteps
		if l.growth = usualGrowth; l.grown != Default().LogSteps || horizon > len(logs) {
			l.growth = growth(l.grown, l.logStep)
		}
	}
}

// Law prepares answers for up to horizon steps ahead. The history must not be
// empty.
func (e *Engine) Law(c *Coefficients, horizon int, l *Law) {
	n := len(e.z)
	l.c, l.n, l.best = *c, n, e.Best()
	l.spread = e.spread()
	l.steps = c.Intercept + c.LogLength*math.Log(max(float64(n), shortest)) + c.LogSpread*math.Log(l.spread+spreadFloor)
	l.room(horizon)
	l.weights = e.rec().weights()
	w := e.before().weights()
	var still, stillBands float64
	for x := range levels + medians {
		still += w[x] * e.now.level[x]
		stillBands += l.weights[x] * e.now.level[x]
	}
	var d [trends]float64
	power := phi
	for j := range horizon {
		level, centre := still, stillBands
		for t := range trends {
			d[t] += power[t]
			power[t] *= phi[t]
			x := levels + medians + t
			v := e.now.level[x] + e.now.slope[t]*d[t]
			level += w[x] * v
			centre += l.weights[x] * v
		}
		l.level[j], l.centre[j] = level, centre
	}
	l.without, l.errors = e.errors(&w, &l.weights)
	l.trendWeight = 0
	if n >= shortestTrend {
		l.follow(e)
	}
	l.errors.Steady = l.trendWeight
}

// follow weighs the approach to a limit against the record law, and prepares it.
func (l *Law) follow(e *Engine) {
	a := e.approach()
	order := max(0, (e.order()-0.6)/0.4)
	odds := math.Log(l.c.TrendPrior/(1-l.c.TrendPrior)) + l.c.TrendOrder*order*order + min(a.evidence, surest)
	if l.trendWeight = logistic(odds); l.trendWeight < leastTrend {
		l.trendWeight = 0
		return
	}
	x := fade
	for j := range l.centre {
		path, variance := a.ahead(&x)
		path += a.behind
		for k, f := range fade {
			x[k] *= f
		}
		m, v := a.best(j+1, l.logStep[j])
		l.centre[j] += l.leads() * (path - l.centre[j])
		l.around[j] = bandWidth * math.Sqrt(a.spread+variance)
		l.trendMiddle[j] = path + m
		l.trendScale[j] = 1 / (math.Sqrt(3)/math.Pi*math.Sqrt(v+variance) + 0.001)
	}
}

// leads is how far the approach to a limit leads the bands. They cannot be two
// things at once as probabilities can, so they follow it when it is likely.
func (l *Law) leads() float64 { return l.trendWeight * l.trendWeight }

// spread returns the interquartile range of the results before the newest,
// drawn towards that of a typical history while they are few.
func (e *Engine) spread() float64 {
	e.scratch = append(e.scratch[:0], e.z[:len(e.z)-1]...)
	m := float64(len(e.scratch))
	if m == 0 {
		return spreadPrior
	}
	low, high := quantiles(e.scratch, 0.25, 0.75)
	return (m*(high-low) + spreadMass*spreadPrior) / (m + spreadMass)
}

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
func (e *Engine) errors(w, v *[experts]float64) (without, with Errors) {
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

// oneStep is the log of the mean absolute error one step ahead.
func (r *record) oneStep(w *[experts]float64) float64 {
	mean := typicalError
	if mass := r.mass[0]; mass > 0 {
		mean = 0
		for x := range w {
			mean += w[x] * r.loss[0][x]
		}
		mean /= mass
	}
	return math.Log(mean + errorFloor)
}

// order is Kendall's rank correlation between time and the medians of six equal
// stretches of the history before the newest result: 1 when every stretch is
// better than all before it. Steps and plateaus seldom reach 0.9, a steady
// approach to a limit hardly ever stays below.
func (e *Engine) order() float64 {
	const stretches = 6
	z := e.z[:len(e.z)-1]
	var m [stretches]float64
	sum := 0.0
	for b := range m {
		e.scratch = append(e.scratch[:0], z[b*len(z)/stretches:(b+1)*len(z)/stretches]...)
		m[b] = quantile(e.scratch, 0.5)
		for _, earlier := range m[:b] {
			switch {
			case m[b] < earlier:
				sum++
			case m[b] > earlier:
				sum--
			}
		}
	}
	return sum / (stretches * (stretches - 1) / 2)
}

// Spread returns the distances of the 10 % and 90 % points from the centre, h
// steps ahead.
func (c *Coefficients) Spread(q *Errors, h int) (low, high float64) {
	s := c.spreads(q)
	low, high = s.at(h, logOf(h))
	return math.Exp(low), math.Exp(high)
}

// spreads are the logs of those distances as functions of the steps ahead.
type spreads struct {
	q               *Errors
	low, high, step float64 // learned: where they start, and their growth
	own, shift      float64 // how much the history's own errors count
}

func (c *Coefficients) spreads(q *Errors) spreads {
	level := c.Error*q.OneStep + c.BandLength*math.Log(q.N/30)
	s := spreads{q: q, low: c.Low + level, high: c.High + level, step: c.BandSteps}
	if q.Known {
		s.own = 1 - (1-math.Exp(-c.OwnAfter/q.N))*(1-q.Steady)
		s.shift = (1 - q.Steady) * c.OwnShift
	}
	return s
}

func (s *spreads) at(h int, logStep float64) (low, high float64) {
	low, high = s.low+s.step*logStep, s.high+s.step*logStep
	if s.own > 0 {
		k, a := between(h, logStep)
		q := s.q
		low += s.own * (q.Low[k] + a*(q.Low[k+1]-q.Low[k]) + s.shift - low)
		high += s.own * (q.High[k] + a*(q.High[k+1]-q.High[k]) + s.shift - high)
	}
	return low, high
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

// Features of a history that the coefficients are fitted on: its length, best
// result, spread, errors, and the centre of its bands for up to horizon steps.
func (e *Engine) Features(horizon int) (n int, best, spread float64, q Errors, centre []float64) {
	var l Law
	learned := Default()
	e.Law(&learned, horizon, &l)
	q = l.errors
	q.Steady = 0
	return len(e.z), e.Best(), e.spread(), q, l.centre
}

func logistic(u float64) float64 { return 1 / (1 + math.Exp(-u)) }

// Reached fills p with the probabilities that one of the next 1, 2, ...,
// len(p) results is x or better (lower). len(p) is at most the horizon of Law.
func (l *Law) Reached(x float64, p []float64) {
	path := pathChance{product: 1}
	if x >= l.best {
		l.look(len(p))
	}
	hazard := math.Exp(l.recorded(x))
	most, trd := math.Inf(-1), 0.0
	for j := range p {
		rec := chance(hazard * l.growth[j])
		if x >= l.best {
			path.add((x - l.level[j]) * l.tight[j])
			rec = max(rec, path.chance(l.c.Persistence))
		}
		if l.trendWeight > 0 { // once reached stays reached
			if u := (x - l.trendMiddle[j]) * l.trendScale[j]; u > most {
				most, trd = u, logistic(u)
			}
		}
		p[j] = l.mix(rec, trd)
	}
}

// ReachedWithin is the last of the probabilities that Reached tells for h steps.
func (l *Law) ReachedWithin(x float64, h int) float64 { return l.reached(x, h, Surest) }

// reached is ReachedWithin, or less where that is at least enough already: the
// expected path, which takes longest, only adds to it.
func (l *Law) reached(x float64, h int, enough float64) float64 {
	rec, trd := chance(math.Exp(l.recorded(x))*l.growth[h-1]), 0.0
	if l.trendWeight > 0 {
		most := math.Inf(-1)
		for j, m := range l.trendMiddle[:h] {
			if u := (x - m) * l.trendScale[j]; u > most {
				most = u
			}
		}
		trd = logistic(most)
	}
	p := l.mix(rec, trd)
	if x < l.best || p >= enough {
		return p
	}
	l.look(h)
	path := pathChance{product: 1}
	level, tight := l.level[:h], l.tight[:h]
	for j, v := range level {
		path.add((x - v) * tight[j])
	}
	return l.mix(max(rec, path.chance(l.c.Persistence)), trd)
}

// recorded is the log of the record law's hazard in one step.
//
// The gap is that to the best so far; where even the expected next result lies
// far behind the best, as after an outlier or a regression, that distance less
// outOfReach is the gap.
func (l *Law) recorded(x float64) float64 {
	g := max(l.best-x, l.level[0]-outOfReach-x, 0)
	return l.steps - l.c.LogGap*math.Log(g+gapFloor) - l.c.Gap*g
}

// chance is that of an event with this cumulative hazard. It is exact to 1e-16
// of 1, which is all that a probability of at least 1-Surest needs.
func chance(hazard float64) float64 { return 1 - math.Exp(-hazard) }

func (l *Law) mix(rec, trd float64) float64 {
	v := rec + l.trendWeight*(trd-rec)
	return min(max(v, 1-Surest), Surest)
}

// pathChance is the chance that one of the results so far on the expected path
// is x or better, where x has been seen before. The chance of one result is
// logistic, of odds exp(u). The survival of all lies between that of the
// likeliest alone (steps that move together) and the product of all (steps on
// their own): persistence says where.
type pathChance struct {
	sum     float64 // of -log of the survival of each
	product float64 // and of 1/survival, of those not in the sum yet
	most    float64 // greatest odds
	surest  float64 // greatest u of those that are nearly certain
}

// nearlyCertain is a u above which log(1+exp(u)) is u.
const nearlyCertain = 36

func (c *pathChance) add(u float64) {
	if u > nearlyCertain {
		c.sum += u
		c.surest = max(c.surest, u)
		return
	}
	odds := math.Exp(u)
	c.most = max(c.most, odds)
	if c.product *= 1 + odds; c.product > 1e280 {
		c.sum += math.Log(c.product)
		c.product = 1
	}
}

func (c *pathChance) chance(persistence float64) float64 {
	most := c.surest
	if most == 0 {
		most = math.Log(1 + c.most)
	}
	return chance((1-persistence)*most + persistence*(c.sum+math.Log(c.product)))
}

// Band returns the 10, 50 and 90 % points of the value h steps ahead. Its good
// end never promises more than the probabilities: the chance that this one
// value lies beyond a point is at most the chance that one of all values until
// then does.
func (l *Law) Band(h int) (low, middle, high float64) {
	s := l.c.spreads(&l.errors)
	return l.band(h, &s, &[2]near{})
}

// Bands calls each with every band for 1, 2, ..., steps ahead.
func (l *Law) Bands(steps int, each func(h int, low, middle, high float64)) {
	s := l.c.spreads(&l.errors)
	var at [2]near
	for h := 1; h <= steps; h++ {
		low, middle, high := l.band(h, &s, &at)
		each(h, low, middle, high)
	}
}

func (l *Law) band(h int, s *spreads, at *[2]near) (low, middle, high float64) {
	below, above := s.at(h, l.logStep[h-1])
	below, above = math.Exp(below), math.Exp(above)
	if l.trendWeight > 0 {
		below += l.leads() * (l.around[h-1] - below)
		above += l.leads() * (l.around[h-1] - above)
	}
	middle = l.centre[h-1]
	low, high = l.promised(0.1, middle-below, h, &at[0]), middle+above
	middle = l.promised(0.5, max(middle, low), h, &at[1])
	return low, middle, max(high, middle)
}

// promised returns the least point from x up whose chance of being reached
// within h steps is at least p.
func (l *Law) promised(p, x float64, h int, guess *near) float64 {
	at := l.reached(x, h, p)
	if at >= p {
		return x
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

// near is where the last root was and how steep the chance was there: a guess
// for the next one, which changes how soon it is found and not where.
type near struct{ x, slope float64 }

// root finds where the chance of being reached passes p, between lo, where it
// is from, below p, and hi, where it is at, not below p: it returns the end of
// the first of equal steps that gets there, each at most a thousandth of a
// band's width. Those are the steps that halving would end in; secants get
// there in half as many questions.
func (l *Law) root(p, lo, hi, from, at float64, h int, guess *near) float64 {
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
	l.look(h)
	return log9 / l.tight[h-1]
}

// look fills tight for h steps: few questions need all.
func (l *Law) look(h int) {
	if len(l.tight) >= h {
		return
	}
	s := l.c.spreads(&l.without)
	for j := len(l.tight); j < h; j++ {
		below, _ := s.at(j+1, l.logStep[j])
		l.tight = append(l.tight, log9/math.Exp(below))
	}
}

// Best returns the best result so far.
func (l *Law) Best() float64 { return l.best }

// Criterion is one of several that the results of one model have to meet in the
// same iteration.
type Criterion struct {
	Law *Law
	X   float64 // the target
}

// Together bounds, from above, the probabilities that one of the next 1, 2, ...,
// len(p) iterations meets all criteria at once. There are two ways to get there,
// and the bound is the chance that either does:
//
//   - a record of the worst margin. gap is how far the best of n iterations so
//     far was from meeting all (the least, over iterations, of the greatest
//     gain still missing); that it is bridged is a record like any other, in
//     the widest of the histories;
//   - what is expected: at each step the product of the chances that every
//     criterion is met there, on the expected path or the trend.
//
// It grows with every target and falls with no better newest result: gap does,
// and the rest depends on each criterion as Reached does.
func Together(criteria []Criterion, gap float64, n int, p []float64) {
	first := criteria[0].Law
	spread := 0.0
	for _, c := range criteria {
		spread = max(spread, c.Law.spread)
		c.Law.look(len(p))
	}
	f := RecordFeatures(max(gap, 0), 1, n, spread)
	c := &first.c
	hazard := math.Exp(c.Intercept - c.LogGap*f[0] - c.Gap*f[1] + c.LogLength*f[3] + c.LogSpread*f[4])
	path := pathChance{product: 1}
	for j := range p {
		all := 1.0
		for _, c := range criteria {
			all *= c.Law.expected(c.X, j)
		}
		path.add(math.Log(all / max(1-all, 1e-300)))
		rec := chance(hazard * first.growth[j])
		v := 1 - (1-rec)*(1-path.chance(c.Persistence))
		p[j] = min(max(v, 1-Surest), Surest)
	}
}

// expected is the chance that the result j+1 steps ahead is x or better.
func (l *Law) expected(x float64, j int) float64 {
	v := logistic((x - l.level[j]) * l.tight[j])
	if l.trendWeight > 0 {
		v += l.trendWeight * (logistic((x-l.trendMiddle[j])*l.trendScale[j]) - v)
	}
	return v
}

// Doubt is the standard deviation of the log odds of every probability.
func (l *Law) Doubt() float64 {
	return l.c.Doubt + l.trendWeight*(l.c.SteadyDoubt-l.c.Doubt)
}

// ExpertWeights returns what each expert counts for the bands, by name.
func (l *Law) ExpertWeights() (names [experts]string, weights [experts]float64) {
	for x := range l.weights {
		weights[x] = (1 - l.trendWeight) * l.weights[x]
	}
	sum := 0.0
	for _, w := range l.weights[levels+medians:] {
		sum += w
	}
	for x := levels + medians; x < experts; x++ {
		weights[x] += l.trendWeight * l.weights[x] / sum
	}
	return expertNames, weights
}

// TrendShare is the probability that the history steadily approaches a limit.
func (l *Law) TrendShare() float64 { return l.trendWeight }
