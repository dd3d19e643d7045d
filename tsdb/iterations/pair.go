package iterations

import (
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/tsdb/prom"
)

// Pair is how the value of an iteration changed from that of an earlier one, timed in
// turns with it.
type Pair struct {
	forecast.Pair
	Against float64 // the number of the earlier one, in the same environment
}

// PairJoins are the series that pairs are rebuilt from: the ratio less 1, its interval, and
// whether the change is certain, 0 or 1.
type PairJoins struct{ Ratio, Lower, Upper, Changed *Join }

// pairing are the series of one engine.
type pairing struct{ against, ratio, lower, upper, changed prom.Series }

func (e Joins) pairing(labels model.Metric) (p pairing) {
	p.against, _ = pick(e.Compared.Of(labels))
	if len(p.against.Points) == 0 {
		return p
	}
	p.ratio, _ = pick(e.Pairs.Ratio.Of(labels))
	p.lower, _ = pick(e.Pairs.Lower.Of(labels))
	p.upper, _ = pick(e.Pairs.Upper.Of(labels))
	p.changed, _ = pick(e.Pairs.Changed.Of(labels))
	return p
}

// within is the pair of the iteration whose number holds for a time; nil without one.
func (p pairing) within(sp span) *Pair {
	var v [5]float64
	for i, s := range []prom.Series{p.against, p.ratio, p.lower, p.upper, p.changed} {
		var ok bool
		if v[i], ok = within(s, sp); !ok {
			return nil
		}
	}
	return &Pair{Against: v[0], Pair: forecast.Pair{Ratio: 1 + v[1], Low: 1 + v[2], High: 1 + v[3], Changed: v[4] == 1}}
}

// Change is the ratio of an iteration's value to that of an earlier one, less 1: the
// one that a pair of their engines showed or, when paired is false, the quotient. ok is
// false where the two cannot be compared.
func Change(before, now Iteration) (change float64, paired, ok bool) {
	switch {
	case !before.Valid || !now.Valid || before.Environment != now.Environment:
		return 0, false, false
	case now.comparedWith(before):
		return now.Pair.Ratio - 1, true, true
	case before.Value == 0:
		return 0, false, false
	}
	return now.Value/before.Value - 1, false, true
}

func (i Iteration) comparedWith(before Iteration) bool {
	return i.Pair != nil && i.Pair.Against == before.Number && i.Engine == before.Engine && i.Environment == before.Environment
}

// Newest is what a pair shows of the newest result in an environment, "" being that of
// the newest result, as known at a moment; the zero time is everything. It is the zero
// Pair where that result and the one before it were not timed in turns.
func Newest(its []Iteration, environment string, known time.Time) forecast.Pair {
	var now *Iteration
	for i := range slices.Backward(its) {
		it := &its[i]
		switch {
		case !it.Valid || !it.knownAt(known) || environment != "" && it.Environment != environment:
		case now == nil:
			now, environment = it, it.Environment
		case now.comparedWith(*it):
			return now.Pair.Pair
		default:
			return forecast.Pair{}
		}
	}
	return forecast.Pair{}
}
