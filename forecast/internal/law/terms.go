package law

import "math"

// Terms are what one question's probability is computed from, for fitting the
// coefficients.
type Terms struct {
	LogGap, Gap, LogSteps, LogLength, LogSpread, LogNoise float64
	Newest, Shift                                         float64
	Made, Steps, Quiet, Beyond                            float64 // of Work: weighted gains and steps, repetitions, and what Pace counts
	State                                                 [states]float64
	Trend, Chance                                         float64 // weight of the trend, and the chance on it
}

// Terms returns those of the chance that one of the next h results is x or
// better, where x is better than every result so far.
func (l *Law) Terms(x float64, h int) Terms {
	g := l.gap(x)
	spread, noise := l.ranges.logs()
	t := Terms{
		LogGap: math.Log(g + gapFloor), Gap: g, LogSteps: l.logStep[h-1],
		LogLength: math.Log(max(float64(l.n), shortest)), LogSpread: spread, LogNoise: noise,
		Newest: l.newest, Shift: l.shift, State: l.state,
		Made: l.work.made(g * g * l.powers.reach[h-1]), Steps: l.work.steps, Quiet: l.work.quiet, Beyond: l.work.beyond(l.work.away(x), l.powers.root[h-1]),
		Trend: l.trendWeight,
	}
	if l.trendWeight > 0 {
		most := math.Inf(-1)
		for j, m := range l.trendMiddle[:h] {
			most = max(most, (x-m)*l.trendScale[j])
		}
		t.Chance = logistic(most)
	}
	return t
}

// Errors returns the history's own record of errors, and Centre the middle of
// its bands, for fitting the bands.
func (l *Law) Errors() Errors {
	q := l.errors
	q.Steady = 0
	return q
}

// Centre returns the middle of the bands 1, 2, ... steps ahead.
func (l *Law) Centre() []float64 { return l.centre }
