package law

import "math"

// Default is what the forecast uses.
var Default = Coefficients{
	Intercept: -2, LogGap: 0.4, Gap: 1.8, LogSteps: 0.76, LogLength: -0.73, LogSpread: 0.1,
	Low: -0.4, High: -0.6, Error: 0.6, BandSteps: 0.1, BandLength: -0.25, OwnAfter: 60, OwnShift: 0.2,
	TrendPrior: 0.03, Persistence: 0.3,
}

// RecordFeatures are the terms of the record law, for fitting it.
func RecordFeatures(gap float64, steps, n int, spread float64) [5]float64 {
	return [5]float64{math.Log(gap + gapFloor), gap, math.Log(float64(steps)), math.Log(math.Max(float64(n), shortest)), math.Log(spread + spreadFloor)}
}
