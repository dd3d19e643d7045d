package forecast

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/plancast/plancast/units"
)

// words puts a forecast of one series into a sentence, and what to do about it
// in a few more.
func (f *Forecast) words(h *history, g Goal) (summary string, advice []string) {
	c := h.criterion
	target := units.Format(c.Target, c.Unit)
	switch {
	case f.Met:
		return fmt.Sprintf("%s is met", c), f.advice(target, g)
	case f.Probability == nil:
		return fmt.Sprintf("no result yet for %s", c), nil
	case f.Missing != nil:
		if !g.Deadline.IsZero() && f.Missing.Until == nil {
			return fmt.Sprintf("%s: too few to forecast %s %s", f.Missing, c, g.until()), nil
		}
		return fmt.Sprintf("%s: too few to forecast %s; %s of such histories get there %s", f.Missing, c, f.Probability, g.until()), nil
	}
	return fmt.Sprintf("%s of the way to %s; %s; %s %s",
		units.Percent(*f.Attained), target, moreIterations(f.Effort.Effective), f.Probability, g.until()), f.advice(target, g)
}

func moreIterations(n float64) string {
	switch {
	case n > 99:
		return "more than 99 more effective iterations"
	case n < 0.05:
		return "less than 0.1 more effective iterations"
	case n >= 0.95 && n < 1.05:
		return "about 1 more effective iteration"
	}
	return fmt.Sprintf("about %.1f more effective iterations", n)
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
		say("%s", f.atypicalWords())
	}
	if f.Met || f.Probability == nil {
		return out
	}
	if f.Limit != nil && f.Limit.Stalled {
		say("Improvement is stalling: gains shrink towards a limit short of %s, so even %d further iterations reach it with a probability of only %s. Try another approach or another target.",
			target, LongRun, units.Percent(f.Limit.Chance))
	}
	if e := f.Effort; e != nil && f.State == AtRisk && e.Effective < 10 && e.Iterations > 2*e.Effective {
		say("At the pace of this history, %s would take about %.0f iterations.", strings.TrimPrefix(moreIterations(e.Effective), "about "), e.Iterations)
	}
	if f.State == IsStalled || f.State == AtRisk || f.State == IsAtypical {
		f.needs(g, say)
	}
	return out
}

// String reads "only 2 results of 5, the fifth about 12 January 2026".
func (m *Missing) String() string {
	if m.Until == nil {
		return m.Reason
	}
	return m.Reason + ", enough about " + onDay(*m.Until)
}

// atypicalWords names what is atypical, and what the probability makes of it.
func (f *Forecast) atypicalWords() string {
	a := f.Atypical
	reason := ""
	if a.Concern != "" {
		reason = ", and " + a.Concern
	}
	what := fmt.Sprintf("The newest gain, %s, is atypical: the five before it averaged %s%s.", gainWords(a.Gain), gainWords(a.Expected), reason)
	if a.Gain < 0 {
		what = fmt.Sprintf("The newest result is a regression: %s worse than the one before, after gains of %s on average%s.", gainWords(-a.Gain), gainWords(a.Expected), reason)
	}
	switch {
	case f.Met:
		return what
	case f.Probability != nil && f.Probability.Value >= 0.5:
		return what + " The probability still counts on gains like those before."
	case a.Gain < 0:
		return what + " Find out what changed."
	}
	return what + " There may be little room left on this path; look at the algorithm."
}

// needs says what it would take.
func (f *Forecast) needs(g Goal, say func(string, ...any)) {
	n := f.Needs
	if n == nil {
		return
	}
	if n.GainPerIteration != nil && *n.GainPerIteration < 10 {
		say("To be in time, every iteration must gain %s.", gainWords(*n.GainPerIteration))
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
