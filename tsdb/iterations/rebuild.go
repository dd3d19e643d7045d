package iterations

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/plancast/plancast/tsdb/prom"
	"github.com/plancast/plancast/units"
)

// Rebuild returns the iterations of a series of changes (or, by sample, of
// samples), in order of time, and what a reader should know about them.
func Rebuild(s prom.Series, e Joins) (out []Iteration, notes []string) {
	switch e.By {
	case BySample:
		out = bySample(s)
	case ByChange:
		out = byChange(s)
	default:
		var again []shownAgain
		out, again, notes = bySeries(s, e)
		e.environments(s, out)
		return withoutTakenBack(out, again), notes
	}
	e.environments(s, out)
	return out, notes
}

// shownAgain is an earlier result that took the place of a newer one.
type shownAgain struct {
	number float64
	at     int64
}

// withoutTakenBack leaves out the results after which an earlier one of the same
// environment was shown again: they were excluded. One that is shown again itself was
// restored.
func withoutTakenBack(its []Iteration, again []shownAgain) []Iteration {
	if len(again) == 0 {
		return its
	}
	taken := make([]bool, len(its))
	for _, a := range again {
		shown := -1
		for i, it := range its {
			if it.Number == a.number && it.Known.Before(at(a.at)) {
				shown = i
			}
		}
		if shown < 0 {
			continue
		}
		taken[shown] = false
		for i := shown + 1; i < len(its) && its[i].Known.Before(at(a.at)); i++ {
			taken[i] = taken[i] || its[i].Environment == its[shown].Environment && !its[i].Guessed
		}
	}
	out := its[:0:0]
	for i, it := range its {
		if !taken[i] {
			out = append(out, it)
		}
	}
	return out
}

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func usable(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func bySample(s prom.Series) []Iteration {
	out := make([]Iteration, 0, len(s.Points))
	for _, p := range s.Points {
		if !p.Gone {
			out = append(out, Iteration{Number: float64(len(out) + 1), Time: at(p.T), Known: at(p.T), Value: p.V, Valid: usable(p.V)})
		}
	}
	return out
}

// byChange takes every new value for an iteration. A gap, or a value that is
// not a number, is neither new nor old.
func byChange(s prom.Series) []Iteration {
	var out []Iteration
	for _, p := range s.Points {
		if p.Gone || !usable(p.V) || (len(out) > 0 && out[len(out)-1].Value == p.V) {
			continue
		}
		out = append(out, Iteration{Number: float64(len(out) + 1), Time: at(p.T), Known: at(p.T), Value: p.V, Valid: true})
	}
	return out
}

// span is the time in which a number holds, [from, to).
type span struct {
	number   float64
	from, to int64
	gone     int64 // when the number was first gone meanwhile; math.MaxInt64 when it never was
	lingers  int64 // until when a series that ended with the number before may be seen
}

// spans are those of a series of numbers; step is that of the history.
func spans(s prom.Series, step time.Duration) []span {
	lingers := (prom.Lookback(step) + step).Milliseconds()
	var out []span
	for _, p := range s.Points {
		n := len(out)
		switch {
		case p.Gone && n > 0:
			out[n-1].gone = min(out[n-1].gone, p.T)
		case p.Gone || !usable(p.V) || n > 0 && out[n-1].number == p.V: // a gap in which nothing changed
		default:
			if n > 0 {
				out[n-1].to = p.T
			}
			out = append(out, span{p.V, p.T, math.MaxInt64, math.MaxInt64, p.T + lingers})
		}
	}
	return out
}

// within returns the last usable value that s has in a span, looking at what holds when
// the span begins, too.
func within(s prom.Series, sp span) (v float64, ok bool) {
	p, ok := held(s, sp, usable)
	return p.V, ok
}

// result is within for the value of a result, which may be without end: +Inf.
func result(s prom.Series, sp span) (v float64, ok bool) {
	p, ok := held(s, sp, func(v float64) bool { return usable(v) || math.IsInf(v, 1) })
	return p.V, ok
}

// held is the last point in a span whose value counts.
func held(s prom.Series, sp span, counts func(float64) bool) (prom.Point, bool) {
	end, _ := slices.BinarySearchFunc(s.Points, sp.to, func(p prom.Point, t int64) int {
		if p.T < t {
			return -1
		}
		return 1
	})
	gone := int64(math.MaxInt64)
	for _, p := range slices.Backward(s.Points[:end]) {
		switch {
		case !p.Gone && counts(p.V):
			if p.T < sp.from && gone < sp.gone && gone <= sp.lingers {
				return prom.Point{}, false // it ended with the number before
			}
			return p, true
		case p.T <= sp.from:
			return prom.Point{}, false // it had ended, or was no number, when the span began
		case p.Gone:
			gone = p.T
		}
	}
	return prom.Point{}, false
}

func bySeries(s prom.Series, e Joins) (out []Iteration, again []shownAgain, notes []string) {
	number, many := pick(e.Numbers.Of(s.Labels))
	if many {
		notes = append(notes, "several iteration series match and count differently: using the one with the newest number; name labels in the expression to choose")
	}
	if len(number.Points) == 0 {
		return byChange(s), nil, append(notes, "no iteration series matches these labels: every new value counts as an iteration")
	}
	times, _ := pick(e.Times.Of(s.Labels))
	// What stayed unquantized speaks against the candidate, not the engine.
	unquantized, _ := pick(e.Unquantized.Of(allPrecisions(s.Labels)))
	disturbed, _ := pick(e.Disturbed.Of(s.Labels))
	effective, _ := pick(e.Effective.Of(s.Labels))
	paired := e.pairing(s.Labels)
	all := spans(number, e.Step)
	siblings := e.siblings(s.Labels)
	layers := 0.0

	type shown struct {
		value, stamp float64
	}
	out = make([]Iteration, 0, len(all)+1)
	epoch := make(map[float64]shown, len(all)) // the numbers since they last started again
	var newest float64
	restarts := 0
	for i, sp := range all {
		value, valid := result(s, sp)
		dated, stamped := held(times, sp, usable)
		stamp := dated.V
		r := shown{value, stamp}
		next := iteration(sp, value, valid)
		if stamped {
			next.date(dated, e.Step)
		}
		if math.IsInf(value, 1) {
			next.Value, next.Valid, next.Endless = 0, false, true
		}
		if f := finished(siblings, sp, stamp); stamped && f > stamp {
			next.Time = moment(f)
		}
		if n, ok := within(unquantized, sp); ok {
			if next.Unquantized = int(n); n > layers {
				next.Concern = units.Count(int(n), "layer") + " stayed unquantized"
				layers = n
			}
		}
		if d, ok := within(disturbed, sp); ok && d == 1 {
			next.Disturbed = true
		}
		if v, ok := within(effective, sp); ok && v == 0 {
			next.NoEffect = true
		}
		next.Pair = paired.within(sp)
		if before, ok := epoch[sp.number]; ok && before == r {
			if stamped { // else it may as well be the same value
				again = append(again, shownAgain{sp.number, sp.from})
			}
			continue
		}
		if sp.number < newest {
			restarts++
			clear(epoch)
		}
		if jump := sp.number - newest; jump > 1 && jump <= maxMissed+1 && i > 0 {
			out = append(out, missed(out[len(out)-1], next, int(jump)-1)...)
		}
		out = append(out, next)
		epoch[sp.number], newest = r, sp.number
	}
	if built, _ := pick(e.Built.Of(s.Labels)); len(out) > 0 && len(built.Points) > 0 {
		// The newest result is an earlier one: at least one iteration failed since.
		if p := built.Points[len(built.Points)-1]; !p.Gone && p.V == 0 && at(p.T).After(out[len(out)-1].Known) {
			out = append(out, Iteration{Number: newest + 1, Time: at(p.T), Known: at(p.T), Guessed: true})
		}
	}
	// One that has no value before the first with one says nothing.
	for len(out) > 0 && !out[0].Valid && !out[0].Endless {
		out = out[1:]
	}
	if restarts > 0 {
		notes = append(notes, fmt.Sprintf("iteration numbers restarted %d times in this history", restarts))
		if restarts == 1 {
			notes[len(notes)-1] = "iteration numbers restarted once in this history"
		}
	}
	return out, again, notes
}

// iteration is a result that is dated by when it was first known.
func iteration(sp span, value float64, valid bool) Iteration {
	return Iteration{Number: sp.number, Time: at(sp.from), Known: at(sp.from), Value: value, Valid: valid}
}

// date dates a result by its own time, when that can be: a candidate that was measured
// again has another from then on.
func (i *Iteration) date(own prom.Point, step time.Duration) {
	seen := i.Known
	if own.T > seen.UnixMilli() {
		seen = at(own.T)
	}
	if own.V <= 0 || own.V >= 1e11 {
		return
	}
	if t := moment(own.V); !t.After(seen.Add(step + 5*time.Minute)) {
		i.Time = t
	}
}

// moment is a time in seconds since the epoch, to the millisecond.
func moment(seconds float64) time.Time {
	whole, frac := math.Modf(seconds)
	return time.Unix(int64(whole), int64(math.Round(frac*1e3))*1e6).UTC()
}

// missed are the n iterations that came between two and gave no result.
func missed(before, after Iteration, n int) []Iteration {
	out := make([]Iteration, n)
	between := after.Time.Sub(before.Time) / time.Duration(n+1)
	for i := range out {
		// Known only once the next number is known.
		out[i] = Iteration{Number: before.Number + float64(i+1), Time: before.Time.Add(time.Duration(i+1) * between), Known: after.Known, Guessed: true}
	}
	return out
}
