package main

import (
	"math"

	"gonum.org/v1/gonum/optimize"

	"github.com/plancast/plancast/forecast/internal/law"
)

// The parameters of the laws of records and of work and of the state between
// them, in one vector.
const (
	records = 9
	works   = 10
	states  = 9
	fitted  = records + works + states
)

func fields(c *law.Coefficients) [fitted]*float64 {
	r, w, s := &c.Record, &c.Work, &c.State
	return [fitted]*float64{
		&r.Intercept, &r.LogGap, &r.Gap, &r.LogSteps, &r.LogLength, &r.LogSpread, &r.LogNoise, &r.Newest, &r.Siblings,
		&w.LogMass, &w.Intercept, &w.LogGap, &w.Gap, &w.LogSteps, &w.Level, &w.Siblings, &w.Newest, &w.Quiet, &w.Pace,
		&s.Intercept, &s.Records, &s.Order, &s.Beaten, &s.Stretches, &s.LogLength, &s.Improving, &s.Quiet, &s.Line,
	}
}

func parameters(c *law.Coefficients) (x []float64) {
	for _, p := range fields(c) {
		x = append(x, *p)
	}
	return x
}

func coefficients(c law.Coefficients, x []float64) law.Coefficients {
	for i, p := range fields(&c) {
		*p = x[i]
	}
	return c
}

// start is where the search starts and what the ridge draws towards: the record
// law that was fitted on unattended histories alone, a work law that makes the
// usual gains, and a state in which every sign of work counts alike.
func start() []float64 {
	return []float64{
		-1.60, 0.41, 1.82, 0.765, -0.77, 0.21, 0, 0.1, 0.1,
		0, -2.2, 0.4, 1.8, 0.75, 0, 0.05, 0, 0, 0,
		-4.5, 2.2, 1.2, 1.7, 0.9, 0.4, 0, 0, 0,
	}
}

// ridges are on the scale of each parameter; 0 leaves it free.
func ridges() []float64 {
	const r = 0.003
	return []float64{
		r, r, r, r, r, r, r, r, r,
		0.002, r, r, r, 0, 0.01, r, r, r * 0.04, r,
		0, r * 0.05, r * 0.16, r * 0.08, r * 0.3, r, r * 0.03, r * 0.015, r * 0.03,
	}
}

// row is one question of the fit.
type row struct {
	t      *law.Terms
	shift  float64
	hit    bool
	weight float64
}

// fitLaws minimises the Brier score, with a little of the log loss (see
// logShare), of all questions but those of one repository, drawn towards start
// by a ridge. What is not fitted is c's.
func (s *sample) fitLaws(c law.Coefficients, from []float64, without string, iterations int) law.Coefficients {
	var rows []row
	total := 0.0
	for _, ct := range s.cuts {
		if ct.repo == without {
			continue
		}
		for i := range ct.questions {
			q := &ct.questions[i]
			for _, shift := range [2]float64{0, ct.siblings.Shift()} {
				rows = append(rows, row{&q.terms, shift, q.hit, ct.weight})
				total += ct.weight
			}
		}
	}
	centre, ridge := start(), ridges()
	loss := func(grad, x []float64) float64 {
		f := 0.0
		for i := range grad {
			grad[i] = 0
		}
		for i := range rows {
			f += rows[i].loss(x, grad)
		}
		f /= total
		for i := range x {
			f += ridge[i] * (x[i] - centre[i]) * (x[i] - centre[i])
			if grad != nil {
				grad[i] = grad[i]/total + 2*ridge[i]*(x[i]-centre[i])
			}
		}
		return f
	}
	res, err := optimize.Minimize(optimize.Problem{
		Func: func(x []float64) float64 { return loss(nil, x) },
		Grad: func(grad, x []float64) { loss(grad, x) },
	}, from, &optimize.Settings{MajorIterations: iterations}, &optimize.LBFGS{})
	if err != nil && res == nil {
		panic(err)
	}
	c = coefficients(c, res.X)
	if r, w := &c.Record, &c.Work; min(r.LogGap, r.Gap, r.LogSteps, r.Newest, r.Siblings, w.LogGap, w.Gap, w.LogSteps, w.Siblings, w.Newest, w.Pace) < 0 {
		panic("the laws are not monotone; use fewer coefficients")
	}
	return c
}

// The loss of a question is brierShare times its squared error, which is what
// the forecast is scored by, and logShare times its log loss, which keeps small
// probabilities honest.
const (
	brierShare = 3
	logShare   = 0.1
)

// loss is that of one question, with its gradient.
func (r *row) loss(x, grad []float64) float64 {
	t := r.t
	u := [records]float64{1, -t.LogGap, -t.Gap, t.LogSteps, t.LogLength, t.LogSpread, t.LogNoise, t.Newest, r.shift}
	eta := 0.0
	for i, v := range u {
		eta += x[i] * v
	}
	hazard := math.Exp(min(eta, 4))
	rec := -math.Expm1(-hazard)

	w := x[records:]
	mass := math.Exp(w[0])
	prior := mass * math.Exp(min(w[1]-w[2]*t.LogGap-w[3]*t.Gap, 4))
	rate := (t.Made + prior) / (t.Steps + mass)
	going := math.Exp(min(math.Log(rate)+w[4]*t.LogSteps+w[5]+w[6]*r.shift+w[7]*t.Newest+w[8]*t.Quiet+w[9]*t.Beyond, 4))
	work := -math.Expm1(-going)

	g := x[records+works:]
	odds := g[0]
	for i, v := range t.State {
		odds += g[i+1] * v
	}
	worked := 1 / (1 + math.Exp(-odds))

	p := rec + worked*(work-rec)
	p += t.Trend * (t.Chance - p)
	p = min(max(p, 1e-6), 1-1e-6)
	f, d := -math.Log(1-p), 1/(1-p)
	y := 0.0
	if r.hit {
		f, d, y = -math.Log(p), -1/p, 1
	}
	f = brierShare*(p-y)*(p-y) + logShare*f
	d = 2*brierShare*(p-y) + logShare*d
	if grad == nil {
		return r.weight * f
	}
	d *= r.weight * (1 - t.Trend)
	dRec := d * (1 - worked) * (1 - rec) * hazard
	for i, v := range u {
		grad[i] += dRec * v
	}
	dWork := d * worked * (1 - work) * going
	share := prior / (t.Made + prior)
	for i, v := range [works]float64{share - mass/(t.Steps+mass), share, -share * t.LogGap, -share * t.Gap, t.LogSteps, 1, r.shift, t.Newest, t.Quiet, t.Beyond} {
		grad[records+i] += dWork * v
	}
	dState := d * (work - rec) * worked * (1 - worked)
	grad[records+works] += dState
	for i, v := range t.State {
		grad[records+works+1+i] += dState * v
	}
	return r.weight * f
}
