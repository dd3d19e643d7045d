// Package gains learns from many models what each kind of optimization brings,
// and says what it would likely bring to a model that has not had it. It is pure.
//
// The gain of a kind on a model is the logarithm of a ratio of latencies. Across
// models it is taken for normal with an unknown mean and spread, under the
// conjugate prior (normal-inverse-gamma; Gelman et al., Bayesian Data Analysis,
// 3rd edition, section 3.3): one pseudo-model without any effect, so that what few
// models showed is shrunk towards none. What another model would see is then a
// Student t.
package gains

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/engine"
)

// Kind is what was done: a change.Kind, or a step to a lower precision.
type Kind string

// Precision is the step from fp32 to p.
func Precision(p engine.Precision) Kind { return Kind(p) }

// IsPrecision reports whether the kind is a step to a precision, and which.
func (k Kind) IsPrecision() (engine.Precision, bool) {
	p := engine.Precision(k)
	return p, slices.Contains(engine.Precisions, p)
}

// Title is the kind as people read it.
func (k Kind) Title() string {
	if _, ok := k.IsPrecision(); ok {
		return strings.ToUpper(string(k))
	}
	return change.Kind(k).Title()
}

// Observation is what a kind did to one model: the geometric mean of its ratios.
type Observation struct {
	Model string
	Kind  Kind
	Ratio float64 // P99 with it over P99 without: 0.62 is 38 % faster
}

// Gain is what a kind did to the models that had it.
type Gain struct {
	Kind   Kind
	Models int // that had it
	Gained int // of them, those that became faster
	// Mean is the expected ratio of another model, shrunk towards 1.
	Mean float64
	// Best and Least are the smallest and the largest ratio of those that gained;
	// 0 when none did.
	Best, Least float64

	future distuv.StudentsT // of the log ratio of another model
}

// The prior of a kind, in logarithms of ratios.
const (
	priorModels = 1   // models without effect that stand for nothing being known
	priorShape  = 1   // of the inverse gamma of the variance
	priorSpread = 0.2 // that is thought usual between models: a fifth up or down
)

// Estimate learns the gains from observations, at most one for each model and
// kind. They come by what they bring, the best first.
func Estimate(observed []Observation) []Gain {
	by := map[Kind][]float64{}
	for _, o := range observed {
		if o.Ratio > 0 && !math.IsInf(o.Ratio, 0) {
			by[o.Kind] = append(by[o.Kind], math.Log(o.Ratio))
		}
	}
	out := make([]Gain, 0, len(by))
	for kind, logs := range by {
		slices.Sort(logs) // the same sum in the same order, whatever the models are called
		out = append(out, estimate(kind, logs))
	}
	slices.SortFunc(out, func(a, b Gain) int { return cmp.Or(cmp.Compare(a.Mean, b.Mean), cmp.Compare(a.Kind, b.Kind)) })
	return out
}

func estimate(kind Kind, logs []float64) Gain {
	e := Gain{Kind: kind, Models: len(logs)}
	n, sum := float64(len(logs)), 0.0
	for _, v := range logs {
		sum += v
		if v < 0 {
			e.Gained++
			ratio := math.Exp(v)
			if e.Best == 0 {
				e.Best = ratio
			}
			e.Least = ratio
		}
	}
	average := sum / n
	squares := 0.0
	for _, v := range logs {
		squares += (v - average) * (v - average)
	}
	weight := priorModels + n
	mean := sum / weight
	shape := priorShape + n/2
	scale := priorShape*priorSpread*priorSpread + squares/2 + priorModels*n*average*average/(2*weight)
	e.Mean = math.Exp(mean)
	e.future = distuv.StudentsT{Mu: mean, Sigma: math.Sqrt(scale * (weight + 1) / (shape * weight)), Nu: 2 * shape}
	return e
}

// Below is the probability that the ratio of another model is at most ratio.
func (g Gain) Below(ratio float64) float64 {
	switch {
	case ratio <= 0:
		return 0
	case math.IsInf(ratio, 1):
		return 1
	}
	return g.future.CDF(math.Log(ratio))
}

// Prospect is a kind that a model has not had.
type Prospect struct {
	Gain
	// Reaches is the probability that it alone reaches the threshold; nil where that
	// is not known.
	Reaches *float64
}

// fewestModels is how many models must have had a kind before anything is said of
// it: of one it is an anecdote.
const fewestModels = 2

// Known reports whether enough models had the kind.
func (g Gain) Known() bool { return g.Models >= fewestModels }

// Helps reports whether the kind is worth advising.
func (g Gain) Helps() bool { return g.Known() && g.Mean < 1 }

// Untried are the kinds that a model has not had and that made others faster, the
// best first. reaches gives the ratio that would reach the model's threshold by a
// kind, and false where that is not known.
func Untried(all []Gain, had func(Kind) bool, reaches func(Kind) (float64, bool)) []Prospect {
	var out []Prospect
	for _, e := range all {
		if !e.Helps() || had(e.Kind) {
			continue
		}
		p := Prospect{Gain: e}
		if ratio, ok := reaches(e.Kind); ok {
			p.Reaches = new(e.Below(ratio))
		}
		out = append(out, p)
	}
	return out
}
