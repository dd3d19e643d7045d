package law

import "math"

// Default returns the coefficients that the forecast uses. Those of the record
// law and the bands were fitted by command fit on 192 histories of benchmarks
// from 25 public repositories and rounded; OwnAfter and what follows were set
// by hand so that histories which steadily approach a limit are forecast well
// too (TestSynthetic) without losing on those. docs/forecasting.md has the
// scores on repositories left out of the fit.
func Default() Coefficients {
	return Coefficients{
		Intercept: -1.60, LogGap: 0.41, Gap: 1.82, LogSteps: 0.765, LogLength: -0.77, LogSpread: 0.21,
		Low: -0.61, High: -0.83, Error: 0.55, BandSteps: 0.12, BandLength: -0.38, OwnAfter: 60, OwnShift: 0.22,
		TrendPrior: 0.03, TrendOrder: 3, Persistence: 0.3,
		Doubt: 1, SteadyDoubt: 0.5,
	}
}

// RecordFeatures are the terms of the record law, for fitting it.
func RecordFeatures(gap float64, steps, n int, spread float64) [5]float64 {
	return [5]float64{math.Log(gap + gapFloor), gap, math.Log(float64(steps)), math.Log(max(float64(n), shortest)), math.Log(spread + spreadFloor)}
}

// BaseRate is the record law for a typical history of 30 results: what is
// known before looking at a history.
func (c *Coefficients) BaseRate(gap float64, steps int) float64 {
	f := RecordFeatures(max(gap, 0), steps, 30, spreadPrior)
	return chance(math.Exp(c.Intercept - c.LogGap*f[0] - c.Gap*f[1] + c.LogSteps*f[2] + c.LogLength*f[3] + c.LogSpread*f[4]))
}
