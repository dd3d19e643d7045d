package law

import (
	"math"
	"slices"
)

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

	// TrendPrior is the share of histories that keep improving along a damped
	// trend; TrendOrder is how much is added to its log odds when the stretches
	// of a history improve in perfect order. Persistence is how far the steps
	// of one future count as separate chances, from 0 to 1.
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
	c     Coefficients
	n     int
	best  float64
	steps float64 // intercept of the record law for this history

	weights     [experts]float64 // for bands, newest result judged
	trendWeight float64
	level       []float64 // expected path, steps 1.., newest result not judged
	trend       []float64 // the same of the damped trends alone
	trendMiddle []float64 // where the best of the steps until then is as likely below as above, on the trend
	trendScale  []float64 // and 1 over its scale
	scale       []float64 // distance of its 10 % point, newest result not judged
	deepest     deepest   // how far below the trend the best of the next steps falls
	centre      []float64 // of the bands
	errors      Errors    // behind the bands
	logStep     []float64 // logarithms of 1, 2, ...
}

// Law prepares answers for up to horizon steps ahead. The history must not be
// empty.
func (e *Engine) Law(c *Coefficients, horizon int, l *Law) {
	n := len(e.z)
	l.c, l.n, l.best = *c, n, e.Best()
	l.steps = c.Intercept + c.LogLength*math.Log(math.Max(float64(n), shortest)) + c.LogSpread*math.Log(e.spread()+spreadFloor)
	for _, x := range []*[]float64{&l.level, &l.trend, &l.trendMiddle, &l.trendScale, &l.scale, &l.centre} {
		*x = slices.Grow((*x)[:0], horizon)[:horizon]
	}
	for j := len(l.logStep); j < horizon; j++ {
		l.logStep = append(l.logStep, math.Log(float64(j+1)))
	}
	l.weights = e.rec.weights()
	w := e.before.weights()
	tw, sum := w, 0.0 // tw: the trends among themselves
	for t := range trends {
		sum += w[levels+medians+t]
	}
	for t := range trends {
		tw[levels+medians+t] /= sum
	}
	var still, stillBands float64
	for x := range levels + medians {
		still += w[x] * e.now.level[x]
		stillBands += l.weights[x] * e.now.level[x]
	}
	var d [trends]float64
	power := phi
	for j := range horizon {
		l.level[j], l.trend[j], l.centre[j] = still, 0, stillBands
		for t := range trends {
			d[t] += power[t]
			power[t] *= phi[t]
			x := levels + medians + t
			v := e.now.level[x] + e.now.slope[t]*d[t]
			l.level[j] += w[x] * v
			l.trend[j] += tw[x] * v
			l.centre[j] += l.weights[x] * v
		}
	}
	q := e.errors(&e.before, 1)
	c.lowSpreads(&q, l.logStep, l.scale)
	l.trendWeight = e.trendShare(c, l, &tw)
	l.errors = e.errors(&e.rec, 0)
	l.errors.Steady = l.trendWeight
	for j := range horizon {
		l.centre[j] += l.trendWeight * (l.trend[j] - l.centre[j])
		if l.trendWeight > 0 {
			m, s := l.deepest.law(j+1, l.logStep[j])
			l.trendMiddle[j], l.trendScale[j] = l.trend[j]+m, 1/s
		}
	}
}

// spread returns the interquartile range of the results before the newest,
// drawn towards that of a typical history while they are few.
func (e *Engine) spread() float64 {
	e.scratch = append(e.scratch[:0], e.z[:len(e.z)-1]...)
	m := float64(len(e.scratch))
	if m == 0 {
		return spreadPrior
	}
	q := quantile(e.scratch, 0.75)
	q -= quantile(e.scratch, 0.25)
	return (m*q + spreadMass*spreadPrior) / (m + spreadMass)
}

// Errors describes a history's own record of h-step errors, for the bands.
type Errors struct {
	N         float64             // results, at least shortest
	OneStep   float64             // log of the mean absolute error one step ahead
	Low, High [len(spans)]float64 // logs of its 10 and 90 % error quantiles at each span
	Known     bool                // Low and High hold something
	Steady    float64             // share to which the history's own errors are all that counts
}

// errors reads the record; drop is 1 to leave the newest result out as an
// outcome and 0 otherwise.
func (e *Engine) errors(r *record, drop int) (q Errors) {
	q.N = math.Max(float64(len(e.z)), shortest)
	oneStep := typicalError
	if r.mass[0] > 0 {
		w := r.weights()
		oneStep = 0
		for x := range w {
			oneStep += w[x] * r.loss[0][x] / r.mass[0]
		}
	}
	q.OneStep = math.Log(oneStep + errorFloor)
	for k, h := range spans {
		x := e.errs[k]
		if drop > 0 && len(e.z)-1-h >= warmUp {
			x = x[:len(x)-1]
		}
		switch {
		case len(x) >= 3:
			e.scratch = append(e.scratch[:0], x...)
			q.Low[k] = math.Log(math.Max(-quantile(e.scratch, 0.1), 0) + errorFloor)
			q.High[k] = math.Log(math.Max(quantile(e.scratch, 0.9), 0) + errorFloor)
			q.Known = true
		case k > 0:
			q.Low[k], q.High[k] = q.Low[k-1], q.High[k-1]
		}
	}
	return q
}

// lowSpreads fills low with the distances of the 10 % points, for steps 1 and
// on, whose logarithms are given.
func (c *Coefficients) lowSpreads(q *Errors, logStep, low []float64) {
	for j := range low {
		l, _ := c.logSpread(q, j+1, logStep[j])
		low[j] = math.Exp(l)
	}
}

// Spread returns the distances of the 10 % and 90 % points from the centre, h
// steps ahead.
func (c *Coefficients) Spread(q *Errors, h int) (low, high float64) {
	low, high = c.logSpread(q, h, math.Log(float64(h)))
	return math.Exp(low), math.Exp(high)
}

func (c *Coefficients) logSpread(q *Errors, h int, logStep float64) (low, high float64) {
	k, a := between(h, logStep)
	s := c.Error*q.OneStep + c.BandSteps*logStep + c.BandLength*math.Log(q.N/30)
	low, high = c.Low+s, c.High+s
	if q.Known {
		own := 1 - (1-math.Exp(-c.OwnAfter/q.N))*(1-q.Steady)
		low += own * (q.Low[k] + a*(q.Low[k+1]-q.Low[k]) + (1-q.Steady)*c.OwnShift - low)
		high += own * (q.High[k] + a*(q.High[k+1]-q.High[k]) + (1-q.Steady)*c.OwnShift - high)
	}
	return low, high
}

// between finds the spans around h steps: spans[k] and how far towards the
// next, on the scale of logarithms; beyond the last it stays there.
func between(h int, logStep float64) (k int, a float64) {
	for k+2 < len(spans) && h >= spans[k+1] {
		k++
	}
	return k, math.Min(1, (logStep-logSpans[k])/(logSpans[k+1]-logSpans[k]))
}

// Features of a history that the coefficients are fitted on: its length, best
// result, spread, errors, and the centre of its bands for up to horizon steps.
func (e *Engine) Features(horizon int) (n int, best, spread float64, q Errors, centre []float64) {
	var l Law
	learned := Default()
	e.Law(&learned, horizon, &l)
	return len(e.z), e.Best(), e.spread(), e.errors(&e.rec, 0), l.centre
}

// The questions on which the record law and the damped trends are compared at
// each past cut: does one of the next trialSteps results beat the best so far
// by a gain of trialGaps?
const (
	trialSteps = 5
	trialCuts  = 64   // at most, spread over the history
	fitCost    = 1.0  // in log likelihood, for the trend's laws being fitted to the same results
	untried    = 2.0  // the same while the history is too short for a trial
	evidence   = 2    // separate trials that a block of overlapping windows and nested gaps counts for
	dropped    = 0.25 // share of blocks set aside, the ones that speak most for a trend: one step is no trend
	leastTrend = 0.02 // a smaller share is none
	trialFirst = 8    // results before the first cut
)

var trialGaps = [4]float64{0.02, 0.05, 0.1, 0.2}

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

// trendShare returns the probability that this history follows its damped
// trend rather than the record law: Bayes' rule on a prior, which depends on
// how orderly the improvement has been, and on the walk-forward questions.
func (e *Engine) trendShare(c *Coefficients, l *Law, tw *[experts]float64) float64 {
	if len(e.z) < shortestTrend {
		return 0
	}
	order := math.Max(0, (e.order()-0.6)/0.4)
	logit := math.Log(c.TrendPrior/(1-c.TrendPrior)) + c.TrendOrder*order*order
	last := len(e.z) - 2 - trialSteps // last cut whose outcome is known without the newest result
	count := last - (trialFirst - 1) + 1
	l.deepest = e.deepest(tw)
	if !l.deepest.known {
		return 0
	}
	stride := max(1, (count+trialCuts-1)/trialCuts)
	var hazard [len(trialGaps)]float64
	for k, g := range trialGaps {
		hazard[k] = l.steps - c.LogLength*math.Log(math.Max(float64(l.n), shortest)) -
			c.LogGap*math.Log(g+gapFloor) - c.Gap*g + c.LogSteps*math.Log(trialSteps)
	}
	middle, scale := l.deepest.law(trialSteps, math.Log(trialSteps))
	perBlock := (trialSteps + stride - 1) / stride
	var blocks [trialCuts + 1]float64
	made, inBlock, llr := 0, 0, 0.0
	for cut := last; cut >= trialFirst-1; cut -= stride {
		best := e.best[cut]
		reached := slices.Min(e.z[cut+1 : cut+1+trialSteps])
		ln := c.LogLength * math.Log(float64(cut+1))
		centre := e.trend[cut].at(tw, &trialDamp)
		odds := 1.0
		for k, g := range trialGaps {
			rec := hazardChance(hazard[k] + ln)
			trd := logistic((best - g - centre - middle) / scale)
			if reached <= best-g {
				odds *= clip(trd) / clip(rec)
			} else {
				odds *= clip(1-trd) / clip(1-rec)
			}
		}
		llr += math.Log(odds)
		if inBlock++; inBlock == perBlock {
			blocks[made] = llr / float64(perBlock*len(trialGaps))
			made, inBlock, llr = made+1, 0, 0
		}
	}
	b := blocks[:made]
	slices.Sort(b)
	llr = 0
	for _, x := range b[:made-int(math.Ceil(float64(made)*dropped))] {
		llr += x
	}
	cost := fitCost
	if made == 0 {
		cost = untried
	}
	if w := 1 / (1 + math.Exp(-logit-evidence*llr+cost)); w >= leastTrend {
		return w
	}
	return 0
}

func clip(p float64) float64 { return math.Min(math.Max(p, 0.005), 0.995) }

var trialDamp = damp(trialSteps)

// at returns the weighted damped trend where d says how many slopes it moved.
func (s *trendState) at(w *[experts]float64, d *[trends]float64) (v float64) {
	for t := range trends {
		v += w[levels+medians+t] * (s.level[t] + s.slope[t]*d[t])
	}
	return v
}

// deepest describes the best of the next h results, relative to the damped
// trend h steps ahead, as seen so far: a logistic law for each span.
type deepest struct {
	known         bool
	middle, scale [len(spans)]float64
}

func (e *Engine) deepest(w *[experts]float64) (d deepest) {
	end := len(e.z) - 1 // the newest result is not an outcome
	for k, h := range spans {
		var n, sum, square float64
		for cut := warmUp; cut+h < end; cut++ {
			x := slices.Min(e.z[cut+1:cut+1+h]) - e.trend[cut].at(w, &spanDamp[k])
			n++
			sum += x
			square += x * x
		}
		if n < 3 {
			if k > 0 {
				d.middle[k], d.scale[k] = d.middle[k-1], d.scale[k-1]*1.3
			}
			continue
		}
		d.known = true
		m := sum / n
		apart := n / float64(h) // windows that do not overlap
		d.middle[k] = m
		d.scale[k] = math.Sqrt(3)/math.Pi*math.Sqrt(math.Max(square/n-m*m, 0)*(1+2/apart)) + 0.001
	}
	return d
}

// law returns middle and scale for the best of the next h results.
func (d *deepest) law(h int, logStep float64) (middle, scale float64) {
	k, a := between(h, logStep)
	return d.middle[k] + a*(d.middle[k+1]-d.middle[k]), d.scale[k] + a*(d.scale[k+1]-d.scale[k])
}

func logistic(u float64) float64 { return 1 / (1 + math.Exp(-u)) }

func softplus(u float64) float64 {
	switch {
	case u > 30:
		return u
	case u < -30:
		return math.Exp(u)
	}
	return math.Log1p(math.Exp(u))
}

// Reached fills p with the probabilities that one of the next 1, 2, ...,
// len(p) results is x or better (lower). len(p) is at most the horizon of Law.
func (l *Law) Reached(x float64, p []float64) {
	var path pathChance
	recorded := l.recorded(x)
	most := math.Inf(-1)
	for j := range p {
		rec := hazardChance(recorded + l.c.LogSteps*l.logStep[j])
		if x >= l.best {
			rec = math.Max(rec, path.add(l, x, j))
		}
		trd := 0.0
		if l.trendWeight > 0 { // once reached stays reached
			most = math.Max(most, (x-l.trendMiddle[j])*l.trendScale[j])
			trd = logistic(most)
		}
		p[j] = l.mix(rec, trd)
	}
}

// ReachedWithin is the last of the probabilities that Reached tells for h steps.
func (l *Law) ReachedWithin(x float64, h int) float64 {
	rec := hazardChance(l.recorded(x) + l.c.LogSteps*l.logStep[h-1])
	if x >= l.best {
		var path pathChance
		chance := 0.0
		for j := range h {
			chance = path.add(l, x, j)
		}
		rec = math.Max(rec, chance)
	}
	trd := 0.0
	if l.trendWeight > 0 {
		most := math.Inf(-1)
		for j := range h {
			most = math.Max(most, (x-l.trendMiddle[j])*l.trendScale[j])
		}
		trd = logistic(most)
	}
	return l.mix(rec, trd)
}

// recorded is the log of the record law's hazard in one step.
//
// The gap is that to the best so far; where even the expected next result lies
// far behind the best, as after an outlier or a regression, that distance less
// outOfReach is the gap.
func (l *Law) recorded(x float64) float64 {
	g := math.Max(math.Max(l.best, l.level[0]-outOfReach)-x, 0)
	return l.steps - l.c.LogGap*math.Log(g+gapFloor) - l.c.Gap*g
}

func hazardChance(logHazard float64) float64 { return -math.Expm1(-math.Exp(logHazard)) }

func (l *Law) mix(rec, trd float64) float64 {
	v := rec + l.trendWeight*(trd-rec)
	return math.Min(math.Max(v, 1-Surest), Surest)
}

// pathChance is the chance that one of the results so far on the expected path
// is x or better, where x has been seen before. Its survival lies between that
// of the likeliest step alone (steps that move together) and the product of
// all (steps on their own): Persistence says where.
type pathChance struct{ sum, most float64 }

func (c *pathChance) add(l *Law, x float64, j int) float64 {
	s := softplus(log9 * (x - l.level[j]) / l.scale[j])
	c.sum += s
	c.most = math.Max(c.most, s)
	return -math.Expm1(-(1-l.c.Persistence)*c.most - l.c.Persistence*c.sum)
}

// Band returns the 10, 50 and 90 % points of the value h steps ahead. Its good
// end never promises more than the probabilities: the chance that this one
// value lies beyond a point is at most the chance that one of all values until
// then does.
func (l *Law) Band(h int) (low, middle, high float64) {
	below, above := l.c.Spread(&l.errors, h)
	middle = l.centre[h-1]
	low, high = l.promised(0.1, middle-below, h), middle+above
	middle = l.promised(0.5, math.Max(middle, low), h)
	return low, middle, math.Max(high, middle)
}

// promised returns the least point from x up whose chance of being reached
// within h steps is at least p.
func (l *Law) promised(p, x float64, h int) float64 {
	if l.ReachedWithin(x, h) >= p {
		return x
	}
	if x < l.best && l.ReachedWithin(l.best, h) >= p {
		return l.bisect(p, x, l.best, h)
	}
	lo := math.Max(x, l.best)
	hi := math.Max(lo, l.level[h-1])
	for w := l.scale[h-1]; l.ReachedWithin(hi, h) < p; w *= 2 {
		lo, hi = hi, hi+w
	}
	return l.bisect(p, lo, hi, h)
}

// bisect finds where the chance of being reached passes p, between lo, where
// it does not, and hi, where it does: to a thousandth of a band's width.
func (l *Law) bisect(p, lo, hi float64, h int) float64 {
	for hi-lo > 1e-3*l.scale[h-1] {
		m := (lo + hi) / 2
		if m <= lo || m >= hi {
			break
		}
		if l.ReachedWithin(m, h) >= p {
			hi = m
		} else {
			lo = m
		}
	}
	return hi
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

// TrendShare is the probability that the history follows its damped trend.
func (l *Law) TrendShare() float64 { return l.trendWeight }
