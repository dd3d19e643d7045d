package law

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
	steady float64 // probability that it approaches a limit, as far as it shows that
	work   work

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
	l.expect(e, &w)
	l.behind = l.far(l.best)
	l.without, l.errors = e.errors(&w, &l.weights)
	l.steady, l.trendWeight = 0, 0
	if n >= shortestTrend {
		l.follow(e)
	}
	l.errors.Steady = l.steady
}

// expect fills in the paths on which the experts expect the next results: level
// with their weights before the newest result, centre with those after it.
func (l *Law) expect(e *History, before *[experts]float64) {
	var still, stillBands float64
	for x := range levels + medians {
		still += before[x] * e.now.level[x]
		stillBands += l.weights[x] * e.now.level[x]
	}
	var d [trends]float64
	power := phi
	for j := range l.level {
		level, centre := still, stillBands
		for t := range trends {
			d[t] += power[t]
			power[t] *= phi[t]
			x := levels + medians + t
			v := e.now.level[x] + e.now.slope[t]*d[t]
			level += before[x] * v
			centre += l.weights[x] * v
		}
		l.level[j], l.centre[j] = level, centre
	}
}

// Doubt is the standard deviation of the log odds of every probability.
func (l *Law) Doubt() float64 {
	return l.c.Doubt + l.steady*(l.c.SteadyDoubt-l.c.Doubt)
}

// ExpertWeights returns what each expert counts for the bands, by name.
func (l *Law) ExpertWeights() (names [experts]string, weights [experts]float64) {
	for x := range l.weights {
		weights[x] = (1 - l.steady) * l.weights[x]
	}
	sum := 0.0
	for _, w := range l.weights[levels+medians:] {
		sum += w
	}
	for x := levels + medians; x < experts; x++ {
		weights[x] += l.steady * l.weights[x] / sum
	}
	return expertNames, weights
}

// TrendShare is the probability that the history steadily approaches a limit, as
// far as it shows that.
func (l *Law) TrendShare() float64 { return l.steady }

// Worked is the probability that people work on the history.
func (l *Law) Worked() float64 { return l.worked }

// Best returns the best result so far.
func (l *Law) Best() float64 { return l.best }
