package law

import (
	"math"
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
	// trend, before a history has shown anything. Persistence is how far the
	// steps of one future count as separate chances, from 0 to 1.
	TrendPrior, Persistence float64
}

const (
	gapFloor     = 0.02
	spreadFloor  = 0.05
	spreadPrior  = 0.08 // counts as spreadMass results
	spreadMass   = 3
	typicalError = 0.03              // one step ahead, before there is a record
	shortest     = 5                 // histories shorter than this are treated as this long
	log9         = 2.197224577336219 // logit of 0.9
)

// Surest bounds every probability of something neither done nor impossible:
// nothing is surer than Surest or less sure than 1-Surest.
const Surest = 1 - 1e-5

// Law answers questions about the future of one history. It is made by
// Engine.Law and shares the engine's memory: it is valid until the next call
// of Append, Reset or Law.
//
// The laws that probabilities obey hold by construction. Reached is a mixture,
// with a weight that does not depend on the question, of curves which each
// grow with the target x and with the horizon h. What depends on the newest
// result z (best so far, expected path) only ever falls with a better z; what
// could turn the other way (spread, weights, errors) is computed without the
// newest result.
type Law struct {
	c     *Coefficients
	n     int
	best  float64
	steps float64 // intercept of the record law for this history

	weights     [experts]float64 // for bands, newest result included
	trendWeight float64
	level       []float64 // expected path, steps 1.., newest result not judged
	trend       []float64 // the same of the damped trends alone
	scale       []float64 // distance of its 10 % point, newest result not judged
	centre      []float64 // bands
	low, high   []float64
}

// Law prepares answers for up to horizon steps ahead. The history must not be
// empty.
func (e *Engine) Law(c *Coefficients, horizon int, l *Law) {
	n := len(e.z)
	l.c, l.n, l.best = c, n, e.Best()
	l.steps = c.Intercept + c.LogLength*math.Log(math.Max(float64(n), shortest)) + c.LogSpread*math.Log(e.spread()+spreadFloor)
	resize := func(x *[]float64) {
		if cap(*x) < horizon {
			*x = make([]float64, horizon)
		}
		*x = (*x)[:horizon]
	}
	for _, x := range []*[]float64{&l.level, &l.trend, &l.scale, &l.centre, &l.low, &l.high} {
		resize(x)
	}
	l.weights = e.rec.weights()
	w := e.before.weights()
	tw := w
	sum := 0.0
	for t := range trends {
		sum += w[levels+medians+t]
	}
	for t := range trends {
		tw[levels+medians+t] /= sum
	}
	var d [trends]float64
	var power [trends]float64
	for t, p := range phi {
		power[t] = p
	}
	var still, stillBands float64
	for x := range levels + medians {
		still += w[x] * e.now.level[x]
		stillBands += l.weights[x] * e.now.level[x]
	}
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
	c.spreads(&q, l.scale, nil)
	q = e.errors(&e.rec, 0)
	c.spreads(&q, l.low, l.high)
	l.trendWeight = e.trendShare(c, l, &tw)
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

// spreads fills low (and high, unless nil) with the distances of the 10 % and
// 90 % points from the centre, for steps 1 and on.
func (c *Coefficients) spreads(q *Errors, low, high []float64) {
	for j := range low {
		low[j], _ = c.Spread(q, j+1)
		if high != nil {
			_, high[j] = c.Spread(q, j+1)
		}
	}
}

// Spread returns the distances of the 10 % and 90 % points from the centre, h
// steps ahead.
func (c *Coefficients) Spread(q *Errors, h int) (low, high float64) {
	k := 0
	for k+2 < len(spans) && h >= spans[k+1] {
		k++
	}
	lh := math.Log(float64(h))
	a := math.Min(1, (lh-logSpans[k])/(logSpans[k+1]-logSpans[k]))
	s := c.Error*q.OneStep + c.BandSteps*lh + c.BandLength*math.Log(q.N/30)
	low, high = c.Low+s, c.High+s
	if q.Known {
		own := math.Exp(-c.OwnAfter / q.N)
		low += own * (q.Low[k] + a*(q.Low[k+1]-q.Low[k]) + c.OwnShift - low)
		high += own * (q.High[k] + a*(q.High[k+1]-q.High[k]) + c.OwnShift - high)
	}
	return math.Exp(low), math.Exp(high)
}

// Features of a history that the coefficients are fitted on: its length, best
// result, spread, errors, and the centre of its bands for up to horizon steps.
func (e *Engine) Features(horizon int) (n int, best, spread float64, q Errors, centre []float64) {
	var l Law
	e.Law(&Coefficients{TrendPrior: 0.01}, horizon, &l)
	return len(e.z), e.Best(), e.spread(), e.errors(&e.rec, 0), l.centre
}

// The questions on which the record law and the damped trends are compared at
// each past cut: does one of the next trialSteps results beat the best so far
// by a gain of trialGaps?
const (
	trialSteps = 5
	trialCuts  = 64 // at most, spread over the history
	trialFirst = 8  // results before the first cut
)

var trialGaps = [4]float64{0.02, 0.05, 0.1, 0.2}

// trendShare returns the probability that this history follows its damped
// trend rather than the record law, by Bayes' rule from TrendPrior and the
// walk-forward questions. Windows overlap and gaps are nested, so the log
// likelihoods count for fewer than they are.
func (e *Engine) trendShare(c *Coefficients, l *Law, tw *[experts]float64) float64 {
	logit := math.Log(c.TrendPrior / (1 - c.TrendPrior))
	last := len(e.z) - 2 - trialSteps // last cut whose outcome is known without the newest result
	count := last - (trialFirst - 1) + 1
	if count <= 0 || len(l.scale) == 0 {
		return c.TrendPrior
	}
	stride := (count + trialCuts - 1) / trialCuts
	var hazard [len(trialGaps)]float64
	for k, g := range trialGaps {
		hazard[k] = l.steps - c.LogLength*math.Log(math.Max(float64(l.n), shortest)) -
			c.LogGap*math.Log(g+gapFloor) - c.Gap*g + c.LogSteps*math.Log(trialSteps)
	}
	share := 1.5 / float64(len(trialGaps)) * math.Min(1, float64(stride)/trialSteps)
	llr := 0.0
	for cut := last; cut >= trialFirst-1; cut -= stride {
		best := e.best[cut]
		reached := math.Inf(1)
		for _, z := range e.z[cut+1 : cut+1+trialSteps] {
			reached = math.Min(reached, z)
		}
		ln := c.LogLength * math.Log(float64(cut+1))
		ts := &e.trend[cut]
		var centre [trialSteps]float64
		var d, power [trends]float64
		power = phi
		for j := range centre {
			for t := range trends {
				d[t] += power[t]
				power[t] *= phi[t]
				centre[j] += tw[levels+medians+t] * (ts.level[t] + ts.slope[t]*d[t])
			}
		}
		for k, g := range trialGaps {
			rec := -math.Expm1(-math.Exp(hazard[k] + ln))
			sum := 0.0
			for j, m := range centre {
				sum += softplus(log9 * (best - g - m) / l.scale[min(j, len(l.scale)-1)])
			}
			trd := -math.Expm1(-c.Persistence * sum)
			if reached <= best-g {
				llr += math.Log(clip(trd) / clip(rec))
			} else {
				llr += math.Log(clip(1-trd) / clip(1-rec))
			}
		}
	}
	return 1 / (1 + math.Exp(-logit-share*llr))
}

func clip(p float64) float64 { return math.Min(math.Max(p, 0.005), 0.995) }

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
	g := l.best - x
	recorded := l.steps - l.c.LogGap*math.Log(math.Max(g, 0)+gapFloor) - l.c.Gap*math.Max(g, 0)
	var levelSum, trendSum float64
	for j := range p {
		rec := -math.Expm1(-math.Exp(recorded + l.c.LogSteps*math.Log(float64(j+1))))
		if g <= 0 { // seen before: the expected path can say more than the record law
			levelSum += softplus(log9 * (x - l.level[j]) / l.scale[j])
			rec = math.Max(rec, -math.Expm1(-l.c.Persistence*levelSum))
		}
		trendSum += softplus(log9 * (x - l.trend[j]) / l.scale[j])
		trd := -math.Expm1(-l.c.Persistence * trendSum)
		v := (1-l.trendWeight)*rec + l.trendWeight*trd
		p[j] = math.Min(math.Max(v, 1-Surest), Surest)
	}
}

// Band returns the 10, 50 and 90 % points of the value h steps ahead.
func (l *Law) Band(h int) (low, middle, high float64) {
	m := l.centre[h-1]
	return m - l.low[h-1], m, m + l.high[h-1]
}

// TrendShare is the probability that the history follows its damped trend.
func (l *Law) TrendShare() float64 { return l.trendWeight }
