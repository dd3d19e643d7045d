package law

import "math"

// Surest bounds every probability of something neither done nor impossible:
// nothing is surer than Surest or less sure than 1-Surest.
const Surest = 1 - 1e-5

// Law answers questions about the future of one history. It is made by
// History.Law, which reuses its memory.
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
	steps  float64 // log hazard of one step of the record law, but for the gap
	ranges ranges  // behind it

	behind float64 // what counts of the distance of the expected next result from the best
	newest float64 // how clearly the newest result is the best
	shift  float64 // of Context
	state  [states]float64
	worked float64 // probability that people work on the history
	work   work
	drift  float64 // gain to expect of one step, as far as people work on it

	weights     [experts]float64 // for bands, newest result judged
	trendWeight float64
	level       []float64 // expected path, steps 1.., newest result not judged
	tight       []float64 // log9 over the distance of its 10 % point, newest result not judged; as far as asked for
	trendMiddle []float64 // where the best of the steps until then is as likely below as above, on the approach to a limit
	trendScale  []float64 // and 1 over its scale
	around      []float64 // distance of the 10 and 90 % points from the path
	centre      []float64 // of the bands
	powers      *powers
	errors      Errors    // behind the bands
	without     Errors    // the same, newest result not judged
	logStep     []float64 // logarithms of 1, 2, ...
}

// Context is what is known about a history beside its results.
type Context struct {
	// Shift is what other series of the project showed: Tally.Shift.
	Shift float64
	// Effort is added to the log odds that people work on it.
	Effort float64
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

// powers are 1, 2, ... to the powers that the laws grow with.
type powers struct {
	record, work, reach, root []float64
	of                        [4]float64
}

func newPowers(c *Coefficients, logStep []float64) *powers {
	p := &powers{of: exponents(c)}
	for k, x := range []*[]float64{&p.record, &p.work, &p.reach, &p.root} {
		*x = make([]float64, len(logStep))
		for j, s := range logStep {
			(*x)[j] = math.Exp(p.of[k] * s)
		}
	}
	return p
}

func exponents(c *Coefficients) [4]float64 {
	return [4]float64{c.Record.LogSteps, c.Work.LogSteps, -2 * c.Work.Reach, 0.5}
}

var usualPowers = func() *powers {
	c := Default()
	return newPowers(&c, logs[:])
}()

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
		l.logStep, l.powers = logs[:], nil
		for j := len(logs); j < horizon; j++ {
			l.logStep = append(l.logStep, logOf(j+1))
		}
	}
	if l.powers == nil || l.powers.of != exponents(&l.c) || len(l.powers.record) < horizon {
		if l.powers = usualPowers; l.powers.of != exponents(&l.c) || horizon > len(logs) {
			l.powers = newPowers(&l.c, l.logStep)
		}
	}
}

// Law prepares answers for up to horizon steps ahead. The history must not be
// empty.
func (e *History) Law(c *Coefficients, around Context, horizon int, l *Law) {
	n := len(e.z)
	l.c, l.n, l.best = *c, n, e.Best()
	l.ranges = e.ranges(n - 1)
	r := &l.c.Record
	l.newest, l.shift = e.newestIsBest(), around.Shift
	l.steps = r.start(n, l.ranges) + r.Newest*l.newest + r.Siblings*l.shift
	e.work(&l.c.Work, l.shift, l.newest, &l.work)
	l.state = e.state(&l.work)
	l.worked = l.c.State.chance(&l.state, around.Effort)
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
	l.drift = l.worked * l.work.rate()
	for j := range l.centre {
		l.centre[j] -= workDrift * l.drift * l.powers.work[j]
	}
	l.behind = l.far(l.best)
	l.without, l.errors = e.errors(&w, &l.weights)
	l.trendWeight = 0
	if n >= shortestTrend {
		l.follow(e)
	}
	l.errors.Steady = l.trendWeight
}

// follow weighs the approach to a limit against the record law, and prepares it.
func (l *Law) follow(e *History) {
	a := e.approach()
	if l.trendWeight = l.c.Trend.weight(a.evidence, l.state[3], len(e.z)); l.trendWeight == 0 {
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

// weight is the probability of a trend. Three numbers are fitted, so it is
// capped while there are few results.
func (t *Trend) weight(evidence, order float64, n int) float64 {
	evidence = min(max(evidence, -surest), surest)
	order = max(0, (order-0.6)/0.4)
	odds := t.Intercept + t.Evidence*evidence + t.Decisive*max(0, evidence-decisive) + t.Order*order*order
	p := logistic(odds) * float64(n-fitted) / float64(n-fitted+1)
	return max(0, p-leastTrend) / (1 - leastTrend)
}

// leads is how far the approach to a limit leads the bands. They cannot be two
// things at once as probabilities can, so they follow it when it is likely.
func (l *Law) leads() float64 { return l.trendWeight }

// ranges returns those of the first m results, drawn towards those of a typical
// history while they are few.
func (e *History) ranges(m int) ranges {
	if m <= 0 {
		return typical
	}
	e.scratch = append(e.scratch[:0], e.z[:m]...)
	low, high := quantiles(e.scratch, 0.25, 0.75)
	n := float64(m)
	r := ranges{spread: (n*(high-low) + spreadMass*spreadPrior) / (n + spreadMass), noise: noisePrior}
	if m > 1 {
		e.scratch = e.scratch[:0]
		for i := max(1, m-noiseSteps); i < m; i++ {
			e.scratch = append(e.scratch, math.Abs(e.z[i]-e.z[i-1]))
		}
		n = float64(len(e.scratch))
		r.noise = (n*quantile(e.scratch, 0.5) + noiseMass*noisePrior) / (n + noiseMass)
	}
	return r
}

func logistic(u float64) float64 { return 1 / (1 + math.Exp(-u)) }

// Reached fills p with the probabilities that one of the next 1, 2, ...,
// len(p) results is x or better (lower). len(p) is at most the horizon of Law.
func (l *Law) Reached(x float64, p []float64) {
	path := pathChance{product: 1}
	if x >= l.best {
		l.tighten(len(p))
	}
	q := l.question(x)
	most, trd := math.Inf(-1), 0.0
	for j := range p {
		v := l.hazards(&q, j)
		if x >= l.best {
			path.add((x - l.level[j]) * l.tight[j])
			v = max(v, path.chance(l.c.Persistence))
		}
		if l.trendWeight > 0 { // once reached stays reached
			if u := (x - l.trendMiddle[j]) * l.trendScale[j]; u > most {
				most, trd = u, logistic(u)
			}
		}
		p[j] = l.mix(v, trd)
	}
}

// ReachedWithin is the last of the probabilities of Reached for h steps.
func (l *Law) ReachedWithin(x float64, h int) float64 { return l.reached(x, h, Surest) }

// reached is ReachedWithin, or less where that is at least enough already: the
// expected path, which takes longest, only adds to it.
func (l *Law) reached(x float64, h int, enough float64) float64 {
	q := l.question(x)
	v, trd := l.hazards(&q, h-1), 0.0
	if l.trendWeight > 0 {
		most := math.Inf(-1)
		for j, m := range l.trendMiddle[:h] {
			if u := (x - m) * l.trendScale[j]; u > most {
				most = u
			}
		}
		trd = logistic(most)
	}
	p := l.mix(v, trd)
	if x < l.best || p >= enough {
		return p
	}
	l.tighten(h)
	path := pathChance{product: 1}
	level, tight := l.level[:h], l.tight[:h]
	for j, at := range level {
		path.add((x - at) * tight[j])
	}
	return l.mix(max(v, path.chance(l.c.Persistence)), trd)
}

// question is what the laws of records and of work need to know of a target.
type question struct {
	record float64 // hazard of one step
	prior  float64 // of the work law
	square float64 // of the gap
	away   float64 // distance from the newest result, see pace
}

func (l *Law) question(x float64) question {
	g := l.gap(x)
	log := math.Log(g + gapFloor)
	return question{
		record: math.Exp(l.steps + l.c.Record.gap(g, log)),
		prior:  l.work.prior(&l.c.Work, g, log),
		square: g * g,
		away:   l.work.away(x),
	}
}

// gap is that to the best so far; where even the expected next result lies far
// behind the best, as after an outlier or a regression, farShare of the distance
// beyond outOfReach adds to it, setting in smoothly over reachEdge.
func (l *Law) gap(x float64) float64 {
	if x <= l.best {
		return l.best - x + l.behind
	}
	return l.far(x)
}

// far is what counts of the distance of the expected next result beyond x.
func (l *Law) far(x float64) float64 {
	return farShare * reachEdge * softplus((l.level[0]-outOfReach-x)/reachEdge)
}

// softplus is a smooth max(u, 0).
func softplus(u float64) float64 {
	if u > 30 {
		return u
	}
	return math.Log1p(math.Exp(u))
}

// hazards is the chance within j+1 steps: of a record where nobody works on the
// history, and of going on as before where people do.
func (l *Law) hazards(q *question, j int) float64 {
	rec := chance(q.record * l.powers.record[j])
	if l.worked == 0 {
		return rec
	}
	root := l.powers.root[j]
	pace := l.c.Work.Pace * l.work.beyond(q.away, root)
	w := chance(l.work.hazard(q.prior, q.square*l.powers.reach[j], l.powers.work[j]) * math.Exp(pace))
	return rec + l.worked*(w-rec)
}

// chance is that of an event with this cumulative hazard. It is exact to 1e-16
// of 1, which is all that a probability of at least 1-Surest needs.
func chance(hazard float64) float64 { return 1 - math.Exp(-hazard) }

func (l *Law) mix(v, trd float64) float64 {
	v += l.trendWeight * (trd - v)
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

// Worked is the probability that people work on the history.
func (l *Law) Worked() float64 { return l.worked }

// Best returns the best result so far.
func (l *Law) Best() float64 { return l.best }
