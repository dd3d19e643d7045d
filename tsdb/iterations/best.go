package iterations

import (
	"math"
	"slices"
	"time"

	"github.com/plancast/plancast/forecast"
)

// Engine is the history of one engine of a model, such as that of one
// precision: the iterations of each criterion, nil for a criterion that was
// never measured.
type Engine struct {
	Criteria [][]Iteration
}

// Best puts the engines of a model together the way plancast's exporter judges
// a candidate: for each iteration the one engine that forecast.Nearest chooses
// gives the values of all criteria, since one and the same must meet them. It
// returns the iterations of each criterion. Engines stand most exact first.
//
// An engine whose precision had no effect decides only where no other does, and
// gives no result where the milestone names its precision: named.
//
// A candidate is known once all its engines are through. The newest iteration
// is left out while an engine that took part in the one before it is missing
// and has not failed.
func Best(criteria []forecast.Criterion, engines []Engine, named bool) [][]Iteration {
	candidates := Candidates(engines, len(criteria))
	n := len(candidates)
	if n > 1 && candidates[n-1].awaits(candidates[n-2]) {
		n--
	}
	out := make([][]Iteration, len(criteria))
	for i, c := range candidates[:n] {
		it := c.Iteration()
		switch {
		case i == n-1:
			for _, s := range c.Steps { // what failed last is known from when it failed
				if s != nil {
					it.Known = later(it.Known, s.Known)
				}
			}
		case i > 0 && c.awaits(candidates[i-1]):
			it.Known = later(it.Known, candidates[i+1].Iteration().Known)
		}
		var results [][]float64
		var measured []*Step
		var engineOf []int
		effective := slices.ContainsFunc(c.Steps, func(s *Step) bool { return s != nil && !s.Guessed && !s.NoEffect })
		for e, s := range c.Steps {
			if s != nil && !s.Guessed && (!s.NoEffect || !named && !effective) {
				results, measured, engineOf = append(results, s.Values), append(measured, s), append(engineOf, e)
			}
		}
		it.Disturbed, it.NoEffect, it.Endless, it.Pair = false, false, false, nil
		best := forecast.Nearest(criteria, results)
		var counts []bool
		if best >= 0 {
			counts = measured[best].counts(criteria)
		}
		for k := range criteria {
			one := it
			if best >= 0 && counts[k] {
				one.Engine, one.Disturbed = engineOf[best], measured[best].Disturbed[k] && criteria[k].Timed()
				if v := results[best][k]; math.IsInf(v, 1) {
					one.Endless = true
				} else {
					one.Value, one.Valid, one.Pair = v, true, measured[best].Pairs[k]
				}
			}
			out[k] = append(out[k], one)
		}
	}
	return out
}

// Step is one iteration of one engine, with a value for each criterion, NaN
// where there is none and +Inf for one without end, whether other work disturbed it, and
// how it changed, nil where that was not timed in turns.
type Step struct {
	Iteration
	Values    []float64
	Disturbed []bool
	Pairs     []*Pair
}

// counts says which criteria the step is a result for. A time or throughput
// that a disturbed one misses is undecided, and a step of which nothing else is
// missed or unknown is no result at all then: as plancast's exporter has it.
func (s Step) counts(criteria []forecast.Criterion) []bool {
	out := make([]bool, len(criteria))
	undecided, other := false, false
	for k, c := range criteria {
		v := s.Values[k]
		switch {
		case math.IsNaN(v):
			other = true
		case c.Met(v):
			out[k] = true
		case s.Disturbed[k] && c.Timed():
			undecided = true
		default:
			out[k], other = true, true
		}
	}
	if undecided && !other {
		clear(out)
	}
	return out
}

// steps brings the criteria of an engine together: they were rebuilt from the
// same numbers, so that an iteration is known at one time in all of them.
func (e Engine) steps(criteria int) []Step {
	type key struct {
		known  int64
		number float64
	}
	index := map[key]int{}
	var out []Step
	for k, its := range e.Criteria {
		for _, it := range its {
			at := key{it.Known.UnixNano(), it.Number}
			i, ok := index[at]
			if !ok {
				i = len(out)
				index[at] = i
				out = append(out, Step{it, slices.Repeat([]float64{math.NaN()}, criteria), make([]bool, criteria), make([]*Pair, criteria)})
			}
			out[i].Disturbed[k] = it.Disturbed
			switch {
			case it.Valid:
				out[i].Values[k], out[i].Pairs[k] = it.Value, it.Pair
			case it.Endless:
				out[i].Values[k] = math.Inf(1)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Step) int {
		if c := a.Known.Compare(b.Known); c != 0 {
			return c
		}
		return a.Time.Compare(b.Time)
	})
	return out
}

// Candidate is one iteration of a model: the step of each engine, nil where it
// has none.
type Candidate struct{ Steps []*Step }

// Candidates puts the steps of a model's engines together, in order of time:
// those of the same environment and number are one candidate. criteria is how
// many each engine has.
func Candidates(engines []Engine, criteria int) []Candidate {
	all := make([][]Step, len(engines))
	for i, e := range engines {
		all[i] = e.steps(criteria)
	}
	return align(all)
}

// awaits reports whether an engine of the candidate before is still to come.
func (c Candidate) awaits(before Candidate) bool {
	for i, s := range c.Steps {
		if s == nil && before.Steps[i] != nil && before.Iteration().Environment == c.Iteration().Environment {
			return true
		}
	}
	return false
}

// Iteration is the candidate without a value: finished and known when the last
// of its measured engines was.
func (c Candidate) Iteration() (out Iteration) {
	first := true
	for _, guessed := range []bool{false, true} {
		for _, s := range c.Steps {
			switch {
			case s == nil || s.Guessed != guessed:
			case first:
				out, first = s.Iteration, false
			case guessed == out.Guessed:
				out.Time, out.Known = later(out.Time, s.Time), later(out.Known, s.Known)
			}
			if s != nil && out.Concern == "" {
				out.Concern = s.Concern
			}
		}
	}
	out.Value, out.Valid = 0, false
	return out
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// align finds the steps of the engines that belong to one candidate: those of
// the same environment and number. A number that comes again, since a count
// started over, is another candidate.
func align(engines [][]Step) []Candidate {
	type key struct {
		environment string
		number      float64
		again       int
	}
	index := map[key]int{}
	var out []Candidate
	for e, steps := range engines {
		times := map[key]int{}
		for i := range steps {
			s := &steps[i]
			k := key{environment: s.Environment, number: s.Number}
			times[k]++
			k.again = times[k]
			at, ok := index[k]
			if !ok {
				at = len(out)
				index[k] = at
				out = append(out, Candidate{make([]*Step, len(engines))})
			}
			out[at].Steps[e] = s
		}
	}
	slices.SortStableFunc(out, func(a, b Candidate) int {
		x, y := a.Iteration(), b.Iteration()
		if c := x.Time.Compare(y.Time); c != 0 {
			return c
		}
		return x.Known.Compare(y.Known)
	})
	return out
}
