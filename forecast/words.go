package forecast

import (
	"fmt"
	"math"
	"time"

	"github.com/plancast/plancast/units"
)

// words tells a forecast of one series in a sentence, and what to do about it
// in a few more.
func (f *Forecast) words(c Criterion, g Goal) (summary string, advice []string) {
	target := units.Format(c.Target, c.Unit)
	switch {
	case f.Met:
		return fmt.Sprintf("%s is met", c), f.advice(target, g)
	case f.Probability == nil:
		return fmt.Sprintf("no result yet for %s", c), nil
	}
	return fmt.Sprintf("%s of the way to %s; about %s; %s %s",
		units.Percent(*f.Attained), target, moreIterations(f.Effort.Effective), f.Probability, g.until()), f.advice(target, g)
}

func moreIterations(n float64) string {
	switch {
	case n > 99:
		return "more than 99 more effective iterations"
	case n < 0.05:
		return "less than 0.1 more effective iterations"
	case n >= 0.95 && n < 1.05:
		return "1 more effective iteration"
	}
	return fmt.Sprintf("%.1f more effective iterations", n)
}

// until reads "by 31 January", "within 5 iterations", or both.
func (g Goal) until() string {
	within := func(n int) string { return "within " + plural(n, "iteration", "iterations") }
	switch {
	case g.Deadline.IsZero() && g.Iterations == 0:
		return within(defaultIterations)
	case g.Deadline.IsZero():
		return within(g.Iterations)
	case g.Iterations == 0:
		return "by " + onDay(g.Deadline)
	}
	return "by " + onDay(g.Deadline) + " and " + within(g.Iterations)
}

// onDay names a day in the time zone that the time is given in.
func onDay(t time.Time) string { return t.Format("2 January 2006") }

func (f *Forecast) advice(target string, g Goal) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if a := f.Atypical; a != nil && a.Is {
		reason := ""
		if a.Concern != "" {
			reason = " and " + a.Concern
		}
		say("The newest gain, %s, is atypical: the five before it averaged %s%s. There may be little room left on this path; look at the algorithm.",
			gainWords(a.Gain), gainWords(a.Expected), reason)
	}
	if f.Met || f.Probability == nil {
		return out
	}
	if f.Limit != nil && f.Limit.Stalled {
		say("Improvement is stalling short of %s: %s to get there within %d further iterations. Another approach or another target is needed.",
			target, units.Percent(f.Limit.Chance), LongRun)
	}
	if f.State == IsStalled || f.State == AtRisk || f.State == IsAtypical {
		f.needs(g, say)
	}
	return out
}

// needs says what it would take.
func (f *Forecast) needs(g Goal, say func(string, ...any)) {
	n := f.Needs
	if n == nil {
		return
	}
	if n.GainPerIteration != nil && *n.GainPerIteration < 10 {
		say("In time it would take a gain of %s in every iteration.", gainWords(*n.GainPerIteration))
	}
	f.moves(g, say)
}

// moves says when the ready probability is reached, if that is too late.
func (f *Forecast) moves(g Goal, say func(string, ...any)) {
	if n := f.Needs; n != nil && n.Deadline != nil && !g.Deadline.IsZero() && n.Deadline.After(g.Deadline) {
		say("At the present pace the launch is expected to move to %s.", onDay(*n.Deadline))
	}
}

// gainWords writes a relative gain: "12 %", "-3.5 %".
func gainWords(g float64) string {
	if math.Abs(g) < 10 {
		g = math.Round(g*1000) / 1000
	}
	return units.Format(g, units.Ratio)
}
