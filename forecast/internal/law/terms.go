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

// BandTerms are what one band is computed from beside its spread, for fitting
// Bands.
type BandTerms struct {
	steps                       int
	errors                      Errors
	centre, trend, around, kept float64
	tenth, half                 float64 // points that are reached with those probabilities
}

// BandTerms returns those of the band h steps ahead.
func (l *Law) BandTerms(h int) BandTerms {
	at := l.centre[h-1]
	return BandTerms{
		steps: h, errors: l.errors, centre: at, trend: l.steady, around: l.around[h-1],
		kept: l.kept(), tenth: l.reachable(0.1, at, h, &lastRoot{}), half: l.reachable(0.5, at, h, &lastRoot{}),
	}
}

// Band is Law.Band with these coefficients.
func (t *BandTerms) Band(c *Coefficients) (low, middle, high float64) {
	s := c.spreads(&t.errors)
	below, above := s.sides(t.steps, logOf(t.steps), t.trend, t.around)
	low = moved(t.centre-below, t.tenth, t.kept)
	middle = moved(max(t.centre, low), t.half, t.kept)
	return low, middle, max(t.centre+above, middle)
}
