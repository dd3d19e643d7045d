package forecast

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/plancast/plancast/forecast/internal/law"
)

// The curve of probabilities looks ahead at least this far.
const (
	curveSteps = 200
	withinMin  = 20
)

// outlook is everything known about one series: the forecast, and
// the curve that milestones are simulated from.
type outlook struct {
	forecast     Forecast
	history      history
	cadence      cadence
	law          *law.Law
	target       float64 // on the scale
	curve        curve   // empty when nothing is known
	doubt        float64 // how far, in log odds, the ends of the interval lie from it
	lower, upper curve   // the ends; nil once the forecast is made, for a milestone
}

// workspace is memory that forecasts are made in, one after the other; what is
// left of one in it does not reach the next.
type workspace struct {
	outlook outlook // of Single, which keeps only the forecast
	sibling history
	engine  law.History
	law     law.Law
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// Single forecasts one series as seen at now. It errs only when the criterion
// or the goal is wrong; every history has an answer.
func Single(s Series, g Goal, now time.Time, o Options) (Forecast, error) {
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	l := &w.outlook
	if err := l.fill(s, g, now, o, o.shown(now, w), &w.engine, &w.law); err != nil {
		return Forecast{}, fmt.Errorf("%s: %w", strings.TrimRight("forecast "+s.Model, " "), err)
	}
	f := l.forecast
	l.forecast, l.history.warnings = Forecast{}, nil
	return f, nil
}

// fill forecasts into l, by way of e and la; l keeps la.
func (l *outlook) fill(s Series, g Goal, now time.Time, o Options, siblings law.Tally, e *law.History, la *law.Law) error {
	if err := g.validate(); err != nil {
		return err
	}
	if err := l.history.open(s); err != nil {
		return err
	}
	h := &l.history
	*l = outlook{history: *h, cadence: newCadence(h.iterations, now), law: la, curve: l.curve[:0], lower: l.lower[:0], upper: l.upper[:0]}
	f := &l.forecast
	f.ModelsTotal = 1
	f.Basis = Basis{
		Observations: h.results(), Missed: h.missed, Ignored: h.ignored, Environment: h.environment,
		PerIteration: l.cadence.gap.Seconds(),
	}
	if f.Basis.Observations > 0 {
		l.answer(g, now, siblings, e)
		if o.Score {
			r := Backtest([]Series{s}, BacktestOptions{})
			if r.Plancast.Questions > 0 {
				f.Basis.Score = &r.Plancast
				if r.Plancast.Skill < 0 {
					h.warn("on this history the method's own record is poorer than a base rate: rely on the interval more than on the number")
				}
			}
		}
	}
	f.State = f.state(g)
	if f.State == InsufficientData {
		f.Missing = l.missing(now)
	}
	l.notes(g, now)
	f.Basis.Warnings = h.warnings
	f.Summary, f.Advice = f.words(h, g)
	return nil
}

// keep leaves to another outlook the memory that a milestone does not need: it may have
// many series.
func (l *outlook) keep(next *outlook) {
	next.curve, next.lower, next.upper = nil, l.lower, l.upper
	l.lower, l.upper = nil, nil
	if l.forecast.Met {
		next.curve, l.curve = l.curve, reached[:len(l.curve)]
	}
}

// answer fills in the forecast of a history with at least one result.
func (l *outlook) answer(g Goal, now time.Time, siblings law.Tally, e *law.History) {
	h, f, la := &l.history, &l.forecast, l.law
	target := h.condense(e)
	steps := max(curveSteps, g.Iterations)
	learned := law.Default()
	around := law.Context{Shift: siblings.Shift(), Effort: g.Effort.odds()}
	e.Law(&learned, around, steps, la)

	current := h.values[len(h.values)-1]
	f.Met = h.criterion.Met(current)
	if f.Met {
		f.ModelsReady = 1
	}
	switch h.criterion.Comparison {
	case Below, Above: // to stay on the bound is not to pass it
		target -= strictly
	}
	l.target = target
	l.curve = slices.Grow(l.curve, steps+1)[:steps+1]
	l.curve[0] = 0
	if f.Met {
		for i := range l.curve {
			l.curve[i] = 1
		}
	} else {
		la.Reached(target, l.curve[1:])
	}
	l.doubt = intervalWidth * la.Doubt()
	l.lower, l.upper = l.curve.shifted(shiftBy(-l.doubt), l.lower), l.curve.shifted(shiftBy(l.doubt), l.upper)

	f.Basis.Steady, f.Basis.Worked = la.TrendShare(), la.Worked()
	f.Basis.Siblings, f.Basis.Shift = siblings.Series, around.Shift
	names, weights := la.ExpertWeights()
	f.Basis.Weights = make([]Weight, len(names))
	for i, n := range names {
		f.Basis.Weights[i] = Weight{n, weights[i]}
	}
	l.probabilities(g, now)
	f.Bands = bands(h, la, max(withinMin, g.Iterations))

	attained := h.attained(f.Met)
	f.Attained = &attained
	f.Atypical = atypical(h)
	f.Limit = limit(h, la, l.curve)
	if !f.Met {
		l.effort(target, g, now)
	}
}

// strictly is how far beyond its target, relatively, a strict criterion is
// aimed at.
const strictly = 1e-9

// intervalWidth is the normal quantile of an 80 % interval.
const intervalWidth = 1.2815515655446004

// probabilities reads all probabilities and dates off the curves.
func (l *outlook) probabilities(g Goal, now time.Time) {
	f := &l.forecast
	read := func(of func(curve) float64) Probability {
		return Probability{of(l.curve), of(l.lower), of(l.upper)}
	}
	f.Within = make([]Probability, 0, max(withinMin, g.Iterations))
	for i := 1; i <= cap(f.Within); i++ {
		f.Within = append(f.Within, read(func(c curve) float64 { return c[i] }))
	}
	if !g.Deadline.IsZero() {
		x := l.cadence.expect(now, g.Deadline)
		p := read(func(c curve) float64 { return c.by(&l.cadence, x, 0) })
		f.ByDeadline = &p
		both := read(func(c curve) float64 { return c.by(&l.cadence, x, g.Iterations) })
		f.Probability = &both
	} else {
		n := g.Iterations
		if n == 0 {
			n = defaultIterations
		}
		p := f.Within[n-1]
		f.Probability = &p
	}
	for _, q := range []float64{0.1, 0.5, 0.9} {
		if t, ok := l.curve.when(&l.cadence, now, q); ok {
			f.When = append(f.When, Date{Quantile: q, Time: t, Iterations: l.cadence.expect(now, t)})
		}
	}
}

// bands returns the bands of the next values, on the metric's own scale. What was never
// negative stays so, and where no size of a change is known a band holds all that was
// seen.
func bands(h *history, la *law.Law, steps int) []Band {
	least, most := slices.Min(h.values), slices.Max(h.values)
	out := make([]Band, steps)
	la.Bands(steps, func(i int, low, mid, high float64) {
		b := Band{h.scale.From(low), h.scale.From(mid), h.scale.From(high)}
		if !h.criterion.Comparison.LowerIsBetter() {
			b.Low, b.High = b.High, b.Low
		}
		if least >= 0 {
			b = Band{max(b.Low, 0), max(b.Median, 0), max(b.High, 0)}
		}
		if !h.scale.Sized() {
			b.Low, b.High = least, most
		}
		out[i-1] = b
	})
	return out
}

func limit(h *history, la *law.Law, c curve) *Limit {
	l := &Limit{Chance: c[LongRun], Stalled: c[LongRun] < StalledBelow && h.results() >= FewResults}
	low, mid, high := la.Band(LongRun)
	if la.TrendShare() >= identified && high-low <= identifiedWidth {
		value := h.scale.From(mid)
		l.Value = &value
	}
	return l
}

// A limit is named where the history more likely than not follows an approach
// to one, and the band around it is no wider than a factor of about 1.6 (half a
// unit of logarithms). Without these bounds, nonsense such as 1 ms from 50 ms
// was named.
const (
	identified      = 0.5
	identifiedWidth = 0.5
)

// state picks the state of a forecast whose numbers are known.
func (f *Forecast) state(g Goal) State {
	switch {
	case f.Met:
		return Met
	case f.Probability == nil || f.Basis.Observations < FewResults:
		return InsufficientData
	case f.Atypical != nil && f.Atypical.Is:
		return IsAtypical
	case f.Limit != nil && f.Limit.Stalled:
		return IsStalled
	case f.Probability.Value >= g.ready():
		return OnTrack
	default:
		return AtRisk
	}
}

// missing says what the series lacks for a forecast of its own.
func (l *outlook) missing(now time.Time) *Missing {
	n := l.forecast.Basis.Observations
	m := &Missing{Reason: "no result yet", Results: FewResults - n}
	if n > 0 {
		m.Reason = fmt.Sprintf("only %s of %d", plural(n, "result", "results"), FewResults)
	}
	if l.cadence.known {
		until := l.cadence.date(now, float64(m.Results))
		m.Until = &until
	}
	return m
}

// notes adds the warnings that go with the numbers.
func (l *outlook) notes(g Goal, now time.Time) {
	h, n := &l.history, l.forecast.Basis.Observations
	switch {
	case n == 0:
		h.warn("no valid result yet")
	case n < FewResults:
		h.warn("only %s: the probability is little more than a base rate", plural(n, "result", "results"))
	}
	if n > 1 && !h.scale.Sized() && h.values[n-1] != 0 {
		h.warn("every result before the newest is 0: how large changes are is not known, so the probability is that of any change")
	}
	if !l.cadence.known && n > 0 && !g.Deadline.IsZero() {
		h.warn("one iteration a day is assumed: the history does not show how often they come")
	}
	if l.cadence.paused {
		h.warn("no iteration since %s, far longer than usual", h.iterations[len(h.iterations)-1].UTC().Format(time.DateOnly))
	}
	if !g.Deadline.IsZero() && !g.Deadline.After(now) {
		h.warn("the deadline has passed")
	}
}
