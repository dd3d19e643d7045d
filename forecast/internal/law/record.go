package law

import "math"

// Constants of the record law, set by hand.
const (
	gapFloor    = 0.02 // of the gap in its logarithm, and of what follows likewise
	spreadFloor = 0.05
	noiseFloor  = 0.003
	spreadPrior = 0.08 // interquartile range of a typical history, which counts as spreadMass results
	spreadMass  = 3
	noisePrior  = 0.03 // noise of a typical history, which counts as noiseMass steps
	noiseMass   = 2
	noiseSteps  = 40   // the newest steps that show the noise
	shortest    = 5    // histories shorter than this are treated as this long
	newestEdge  = 2e-3 // how sharply the newest result counts as the best
)

// start is the log hazard of one step before the gap is known.
func (r *Record) start(n int, of ranges) float64 {
	spread, noise := of.logs()
	return r.Intercept + r.LogLength*math.Log(max(float64(n), shortest)) + r.LogSpread*spread + r.LogNoise*noise
}

// gap is what a gap adds to the log hazard; logGap is log(g + gapFloor).
func (r *Record) gap(g, logGap float64) float64 { return -r.LogGap*logGap - r.Gap*g }

// ranges says how far the results of a history lie apart: their interquartile
// range, and the usual distance of one from the next.
type ranges struct{ spread, noise float64 }

// typical are those of a typical history.
var typical = ranges{spreadPrior, noisePrior}

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

// logs returns the terms of Record.
func (r ranges) logs() (spread, noise float64) {
	return math.Log(r.spread + spreadFloor), math.Log((r.noise + noiseFloor) / (noisePrior + noiseFloor))
}

// newestIsBest is 1 where the newest result is clearly the best so far, 0 where
// it clearly is not, and grows with a better one.
func (e *History) newestIsBest() float64 {
	n := len(e.z)
	if n < 2 {
		return 0.5
	}
	return logistic((e.best[n-2] - e.z[n-1]) / newestEdge)
}

// BaseRate is the record law for a typical history of 30 results: what is
// known before looking at a history.
func (c *Coefficients) BaseRate(gap float64, steps int) float64 {
	r := &c.Record
	return chance(math.Exp(r.start(30, typical) + r.gap(max(gap, 0), math.Log(max(gap, 0)+gapFloor)) + r.LogSteps*math.Log(float64(steps))))
}
