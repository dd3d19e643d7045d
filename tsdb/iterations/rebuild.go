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
		out, notes = bySeries(s, e)
	}
	e.environments(s, out)
	return out, notes
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
}

func spans(s prom.Series) []span {
	var out []span
	for _, p := range s.Points {
		if p.Gone || !usable(p.V) {
			continue
		}
		if n := len(out); n > 0 {
			if out[n-1].number == p.V {
				continue // a gap in which nothing changed
			}
			out[n-1].to = p.T
		}
		out = append(out, span{p.V, p.T, math.MaxInt64})
	}
	return out
}

// within returns the last usable value that s has in [from, to), looking at
// what holds when the span begins, too.
func within(s prom.Series, from, to int64) (v float64, ok bool) { return last(s, from, to, usable) }

// result is within for the value of a result, which may be without end: +Inf.
func result(s prom.Series, from, to int64) (v float64, ok bool) {
	return last(s, from, to, func(v float64) bool { return usable(v) || math.IsInf(v, 1) })
}

func last(s prom.Series, from, to int64, counts func(float64) bool) (v float64, ok bool) {
	end, _ := slices.BinarySearchFunc(s.Points, to, func(p prom.Point, t int64) int {
		if p.T < t {
			return -1
		}
		return 1
	})
	for i := end - 1; i >= 0; i-- {
		p := s.Points[i]
		if !p.Gone && counts(p.V) {
			return p.V, true
		}
		if p.T <= from {
			return 0, false // it had ended, or was no number, when the span began
		}
	}
	return 0, false
}

func bySeries(s prom.Series, e Joins) (out []Iteration, notes []string) {
	number, many := pick(e.Numbers.Of(s.Labels))
	if many {
		notes = append(notes, "several iteration series match and count differently: using the one with the newest number; name labels in the expression to choose")
	}
	if len(number.Points) == 0 {
		return byChange(s), append(notes, "no iteration series matches these labels: every new value counts as an iteration")
	}
	times, _ := pick(e.Times.Of(s.Labels))
	// What stayed unquantized speaks against the candidate, not the engine.
	unquantized, _ := pick(e.Unquantized.Of(allPrecisions(s.Labels)))
	disturbed, _ := pick(e.Disturbed.Of(s.Labels))
	effective, _ := pick(e.Effective.Of(s.Labels))
	paired := e.pairing(s.Labels)
	all := spans(number)
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
		value, valid := result(s, sp.from, sp.to)
		stamp, stamped := within(times, sp.from, sp.to)
		r := shown{value, stamp}
		next := iteration(sp, value, valid, stamp, stamped, e.Step)
		if math.IsInf(value, 1) {
			next.Value, next.Valid, next.Endless = 0, false, true
		}
		if f := finished(siblings, sp, stamp); stamped && f > stamp {
			next.Time = moment(f)
		}
		if n, ok := within(unquantized, sp.from, sp.to); ok {
			if next.Unquantized = int(n); n > layers {
				next.Concern = units.Count(int(n), "layer") + " stayed unquantized"
				layers = n
			}
		}
		if d, ok := within(disturbed, sp.from, sp.to); ok && d == 1 {
			next.Disturbed = true
		}
		if v, ok := within(effective, sp.from, sp.to); ok && v == 0 {
			next.NoEffect = true
		}
		next.Pair = paired.within(sp)
		if before, ok := epoch[sp.number]; ok && before == r {
			continue // an earlier result shown again
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
	return out, notes
}

// iteration dates a result: by its own time when it has one that can be, else
// by when it was first known.
func iteration(sp span, value float64, valid bool, stamp float64, stamped bool, step time.Duration) Iteration {
	it := Iteration{Number: sp.number, Time: at(sp.from), Known: at(sp.from), Value: value, Valid: valid}
	if stamped && stamp > 0 && stamp < 1e11 {
		if t := moment(stamp); !t.After(it.Known.Add(step + 5*time.Minute)) {
			it.Time = t
		}
	}
	return it
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
