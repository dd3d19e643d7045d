package main

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/optimize"

	"github.com/plancast/plancast/forecast/internal/law"
)

// points are the chances of the values a band names, of a lower-is-better scale.
var points = [3]float64{0.1, 0.5, 0.9}

// pinball is the loss of an interval's ends, as a share of the last value.
func pinball(scale law.Scale, a *ahead, band [3]float64, lower bool) float64 {
	sum := 0.0
	for k, p := range points {
		if !lower {
			p = 1 - p
		}
		d := a.value - scale.From(band[k])
		sum += math.Min(math.Max(p*d, (p-1)*d)/math.Abs(a.last), 10)
	}
	return sum / 3
}

// usualChange is a distance from the newest result up to which a band's loss is
// about proportional, and logarithmic beyond: quantiles are the same on any
// scale, and on this one a single freak does not outweigh all other histories.
const usualChange = 0.1

func squeezed(z float64) float64 { return math.Asinh(z / usualChange) }

// bandLoss is the pinball loss on that scale.
func bandLoss(a *ahead, newest float64, band [3]float64) (sum float64) {
	z := squeezed(a.z - newest)
	for k, p := range points {
		d := z - squeezed(band[k]-newest)
		sum += math.Max(p*d, (p-1)*d)
	}
	return sum / 3
}

// fitBands fits the bands of a law that is fitted otherwise, on all histories
// but those of one repository.
func (s *sample) fitBands(c *law.Coefficients, without string, evaluations int) {
	type row struct {
		a              *ahead
		newest, weight float64
		terms          law.BandTerms
	}
	var rows []row
	total := 0.0
	var l law.Law
	for _, ct := range s.cuts {
		if ct.repo == without {
			continue
		}
		ct.history.Law(c, law.Context{}, slices.Max(steps), &l)
		for k := range ct.ahead {
			a := &ct.ahead[k]
			rows = append(rows, row{a, ct.scale.To(a.last), ct.weight, l.BandTerms(a.steps)})
			total += ct.weight
		}
	}
	loss := func(x []float64) float64 {
		d := *c
		for i, p := range bandFields(&d) {
			*p = x[i]
		}
		f := 0.0
		for i := range rows {
			r := &rows[i]
			low, middle, high := r.terms.Band(&d)
			f += r.weight * bandLoss(r.a, r.newest, [3]float64{low, middle, high})
		}
		return f / total
	}
	var from []float64
	for _, p := range bandFields(c) {
		from = append(from, *p)
	}
	res, err := optimize.Minimize(optimize.Problem{Func: loss}, from,
		&optimize.Settings{FuncEvaluations: evaluations}, &optimize.NelderMead{SimplexSize: 0.2})
	if err != nil && res == nil {
		panic(err)
	}
	for i, p := range bandFields(c) {
		*p = res.X[i]
	}
}

func bandFields(c *law.Coefficients) [5]*float64 {
	b := &c.Bands
	return [5]*float64{&b.Low, &b.High, &b.Error, &b.LogSteps, &b.LogLength}
}
