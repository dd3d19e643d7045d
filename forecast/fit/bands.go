package main

import (
	"math"

	"gonum.org/v1/gonum/optimize"

	"github.com/plancast/plancast/forecast/internal/law"
)

// pinball is the loss of an interval's ends, as a share of the last value.
func pinball(scale law.Scale, a *ahead, points [3]float64, lower bool) float64 {
	sum := 0.0
	for k, p := range []float64{0.1, 0.5, 0.9} {
		if !lower {
			p = 1 - p
		}
		d := a.value - scale.From(points[k])
		sum += math.Min(math.Max(p*d, (p-1)*d)/math.Abs(a.last), 10)
	}
	return sum / 3
}

func (s *sample) fitBands(c *law.Coefficients, use func(*cut) bool) {
	loss := func(x []float64) float64 {
		d := *c
		d.Bands.Low, d.Bands.High, d.Bands.Error, d.Bands.LogSteps, d.Bands.LogLength, d.Bands.OwnShift = x[0], x[1], x[2], x[3], x[4], x[5]
		f, n := 0.0, 0.0
		for _, ct := range s.cuts {
			if !use(ct) {
				continue
			}
			lower := ct.lower
			for k := range ct.ahead {
				a := &ct.ahead[k]
				lo, hi := d.Spread(&ct.errors, a.steps)
				m := ct.centre[a.steps-1]
				w := ct.weight
				f += w * pinball(ct.scale, a, [3]float64{m - lo, m, m + hi}, lower)
				n += w
			}
		}
		return 100*f/n + 0.02*x[5]*x[5]
	}
	d := law.Default().Bands
	res, err := optimize.Minimize(optimize.Problem{Func: loss},
		[]float64{d.Low, d.High, d.Error, d.LogSteps, d.LogLength, d.OwnShift},
		&optimize.Settings{FuncEvaluations: 600}, &optimize.NelderMead{SimplexSize: 0.2})
	if err != nil && res == nil {
		panic(err)
	}
	x := res.X
	b := &c.Bands
	b.Low, b.High, b.Error, b.LogSteps, b.LogLength, b.OwnShift = x[0], x[1], x[2], x[3], x[4], x[5]
}
