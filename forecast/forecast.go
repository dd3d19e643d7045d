package forecast

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/plancast/plancast/forecast/internal/law"
	"github.com/plancast/plancast/units"
)

// State is the one word for how a milestone stands.
type State string

// The states; the first that applies, in this order.
const (
	Met              State = "met"
	InsufficientData State = "insufficient_data" // fewer than FewResults valid results
	IsAtypical       State = "atypical"
	IsStalled        State = "stalled"
	OnTrack          State = "on_track" // the probability has reached Goal.Ready
	AtRisk           State = "at_risk"
)

// States lists all states.
func States() []State {
	return []State{Met, InsufficientData, IsAtypical, IsStalled, OnTrack, AtRisk}
}

// FewResults is the number of valid results from which a forecast is more than
// the base rate.
const FewResults = 5

// Probability is a probability with its 80 % credible interval: between which
// bounds the rate of success lies for 8 of 10 projects with such a history.
type Probability struct {
	Value float64 `json:"value"`
	Lower float64 `json:"lower"`
	Upper float64 `json:"upper"`
}

// String reads "83 % (71-91 %)".
func (p Probability) String() string {
	if p.Lower == p.Upper {
		return units.Percent(p.Value)
	}
	trim := func(s string) string { return s[:len(s)-len(" %")] }
	return fmt.Sprintf("%s (%s-%s)", units.Percent(p.Value), trim(units.Percent(p.Lower)), units.Percent(p.Upper))
}

// Date is a moment by which the goal is reached with probability Quantile.
type Date struct {
	Quantile   float64   `json:"quantile"`
	Time       time.Time `json:"time"`
	Iterations float64   `json:"iterations"` // expected until then
}

// Band is the range of one coming value: 80 % of futures lie from Low to High.
type Band struct {
	Low    float64 `json:"low"`
	Median float64 `json:"median"`
	High   float64 `json:"high"`
}

// Effort is how much is left to do.
type Effort struct {
	// Effective is how many more improvements of the usual size close the gap.
	Effective float64 `json:"effective"`
	// Gain is the usual size of an improvement, a ratio of the value; absent
	// for a milestone of several series.
	Gain *float64 `json:"gain,omitempty"`
	// Iterations is how many iterations hold that many improvements, at the
	// rate of this history; Confidence is the probability to be there by then.
	Iterations float64 `json:"iterations"`
	Confidence float64 `json:"confidence"`
}

// Needs is what it would take to reach the goal with its ready probability.
type Needs struct {
	// GainPerIteration, a ratio, is the steady gain that closes the gap in the
	// iterations that are expected in time; absent when less than one is.
	GainPerIteration *float64 `json:"gain_per_iteration,omitempty"`
	// Deadline is the one at which the ready probability is reached; absent
	// when that is beyond what can be foreseen.
	Deadline *time.Time `json:"deadline,omitempty"`
}

// Atypical compares the newest gain with the five before it.
type Atypical struct {
	Is       bool    `json:"is"`
	Gain     float64 `json:"gain"`     // newest, a ratio; negative is a loss
	Expected float64 `json:"expected"` // mean of the five before
	Lowest   float64 `json:"lowest"`   // gains below this are atypical
	Chance   float64 `json:"chance"`   // of so small a gain, after five such gains
	Concern  string  `json:"concern,omitempty"`
}

// Limit is where the history leads in the long run.
type Limit struct {
	// Value is what is expected after LongRun further iterations; absent where
	// the history does not show it, and for a milestone of several series.
	Value   *float64 `json:"value,omitempty"`
	Chance  float64  `json:"chance"`  // of reaching the target within them
	Stalled bool     `json:"stalled"` // the chance is below StalledBelow
}

// A history has stalled when even LongRun further iterations reach the target
// with a probability below StalledBelow.
const (
	LongRun      = 50
	StalledBelow = 0.15
)

// Weight is how much a part of the method counts in one forecast.
type Weight struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"`
}

// Evidence is what a forecast rests on.
type Evidence struct {
	Observations int      `json:"observations"` // valid results used
	Missed       int      `json:"missed"`       // iterations without a result
	Ignored      int      `json:"ignored"`      // results of other environments
	Environment  string   `json:"environment,omitempty"`
	PerIteration float64  `json:"seconds_per_iteration"` // usual time between iterations
	Steady       float64  `json:"steady"`                // probability that the history follows a trend to a limit
	Worked       float64  `json:"worked"`                // probability that people work on it
	Siblings     int      `json:"siblings,omitempty"`    // other series that the forecast learned from
	Shift        float64  `json:"shift,omitempty"`       // of the log hazard by what they showed
	Weights      []Weight `json:"weights,omitempty"`     // of the experts behind the bands
	Correlation  float64  `json:"correlation,omitempty"` // between the series of a milestone
	Score        *Score   `json:"score,omitempty"`       // record of this method on this very history, if asked for
	Warnings     []string `json:"warnings,omitempty"`
}

// Forecast is what can be said about a goal. Parts that cannot be known are
// absent (nil), never zero.
type Forecast struct {
	State State `json:"state"`
	Met   bool  `json:"met"` // by the newest results
	// Probability to be ready in time: by the deadline and within the
	// iterations of the goal, whichever are given; within 10 iterations when
	// neither is.
	Probability *Probability `json:"probability,omitempty"`
	// Within holds the probability within 1, 2, ... further iterations.
	Within []Probability `json:"within,omitempty"`
	// ByDeadline is the probability by the deadline, whatever the iterations.
	ByDeadline *Probability `json:"by_deadline,omitempty"`
	// Attained is the share of the way from the first result to the target, or
	// back to it where the first result was there already.
	Attained *float64 `json:"attained,omitempty"`
	Effort   *Effort  `json:"effort,omitempty"`
	// When holds the dates at 10, 50 and 90 %, as far as they can be foreseen.
	When     []Date    `json:"when,omitempty"`
	Bands    []Band    `json:"bands,omitempty"` // of the values 1, 2, ... iterations ahead; one series only
	Needs    *Needs    `json:"needs,omitempty"`
	Atypical *Atypical `json:"atypical,omitempty"`
	Limit    *Limit    `json:"limit,omitempty"`

	// Of a milestone:
	ModelsReady int    `json:"models_ready"`
	ModelsTotal int    `json:"models_total"`
	Parts       []Part `json:"parts,omitempty"` // every series, what holds back most first

	// Missing is what a forecast in the state insufficient_data waits for.
	Missing *Missing `json:"missing,omitempty"`

	Summary  string   `json:"summary"`          // one sentence
	Advice   []string `json:"advice,omitempty"` // further sentences
	Evidence Evidence `json:"evidence"`
}

// Part is the forecast of one series of a milestone.
type Part struct {
	Model     string    `json:"model"`
	Criterion Criterion `json:"criterion"`
	Forecast  Forecast  `json:"forecast"`
}

// Missing is why there is too little for a forecast, and until when.
type Missing struct {
	Reason  string     `json:"reason"`
	Results int        `json:"results"`         // still to come
	Until   *time.Time `json:"until,omitempty"` // when they are expected; absent where the pace is unknown
}

// Options are details with useful zero values.
type Options struct {
	// Seed of the simulated futures; the same seed gives the same bits.
	Seed uint64
	// Futures is how many are simulated for a milestone of several series; 0
	// is 2,000.
	Futures int
	// Score adds the walk-forward score of the method on this very history.
	Score bool
	// Siblings are the other series of the same project or installation, as
	// known now: how often they made gains shifts the forecast. Joint adds the
	// series of the milestone itself.
	Siblings []Series
}

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
	lower, upper curve
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
	if err := l.fill(s, g, now, o, tallyOf(o.Siblings, now, w), &w.engine, &w.law); err != nil {
		return Forecast{}, fmt.Errorf("forecast %s: %w", s.Model, err)
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
	if err := l.history.clean(s); err != nil {
		return err
	}
	h := &l.history
	*l = outlook{history: *h, cadence: newCadence(h.iterations, now), law: la, curve: l.curve[:0], lower: l.lower[:0], upper: l.upper[:0]}
	f := &l.forecast
	f.ModelsTotal = 1
	f.Evidence = Evidence{
		Observations: h.results(), Missed: h.missed, Ignored: h.ignored, Environment: h.environment,
		PerIteration: l.cadence.gap.Seconds(),
	}
	if f.Evidence.Observations > 0 {
		l.answer(g, now, siblings, e)
		if o.Score {
			r := Backtest([]Series{s}, BacktestOptions{})
			if r.Plancast.Questions > 0 {
				f.Evidence.Score = &r.Plancast
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
	f.Evidence.Warnings = h.warnings
	f.Summary, f.Advice = f.words(h, g)
	return nil
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
	doubt := intervalWidth * la.Doubt()
	l.lower, l.upper = l.curve.shifted(-doubt, l.lower), l.curve.shifted(doubt, l.upper)

	f.Evidence.Steady, f.Evidence.Worked = la.TrendShare(), la.Worked()
	f.Evidence.Siblings, f.Evidence.Shift = siblings.Series, around.Shift
	names, weights := la.ExpertWeights()
	f.Evidence.Weights = make([]Weight, len(names))
	for i, n := range names {
		f.Evidence.Weights[i] = Weight{n, weights[i]}
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

// bands returns the bands of the next values, on the metric's own scale.
func bands(h *history, la *law.Law, steps int) []Band {
	out := make([]Band, steps)
	la.Bands(steps, func(i int, low, mid, high float64) {
		b := Band{h.scale.From(low), h.scale.From(mid), h.scale.From(high)}
		if !h.criterion.Comparison.LowerIsBetter() {
			b.Low, b.High = b.High, b.Low
		}
		out[i-1] = b
	})
	return out
}

// attained is the share of the way from the first result to the target. Where
// the first was there already, the way is the one back: from the worst result
// since the target was last met.
func (h *history) attained(met bool) float64 {
	if met {
		return 1
	}
	target, from, at := h.criterion.Target, h.values[0], h.values[len(h.values)-1]
	if h.criterion.Met(from) {
		from = at
		for i := len(h.values) - 1; !h.criterion.Met(h.values[i]); i-- {
			if v := h.values[i]; (v > from) == h.criterion.Comparison.LowerIsBetter() {
				from = v
			}
		}
	}
	// Halves keep the differences of huge values finite.
	share := (from/2 - at/2) / (from/2 - target/2)
	if math.IsNaN(share) {
		return 0
	}
	return math.Min(math.Max(share, 0), nearlyThere)
}

// nearlyThere is the most that is attained of what is not met.
const nearlyThere = 0.999

// The usual gain of a history is drawn towards a typical one's while it has
// shown few; so is the rate of iterations that gain.
const (
	leastGain     = 0.005 // a gain below 0.5 % is no improvement
	typicalGain   = 0.08
	gainMass      = 2.0
	typicalEvery  = 10.0 // iterations per improvement
	effectiveMass = 1.0
)

// effort counts what is left in improvements of the usual size, and says what
// it would take.
func (l *outlook) effort(target float64, g Goal, now time.Time) {
	f, h := &l.forecast, &l.history
	gap := h.z[len(h.z)-1] - target
	if gap <= 0 { // on the bound of a strict criterion
		gap = leastGain
	}
	best := h.z[0]
	sum, count := 0.0, 0.0
	for _, z := range h.z[1:] {
		if best-z >= leastGain {
			sum += best - z
			count++
			best = z
		}
	}
	gain := (sum + gainMass*typicalGain) / (count + gainMass)
	every := (float64(len(h.values)-1) + effectiveMass*typicalEvery) / (count + effectiveMass)
	usual := ratio(h, gain)
	eff := &Effort{Effective: gap / gain, Gain: &usual}
	eff.Iterations = eff.Effective * every
	eff.Confidence = l.curve.at(eff.Iterations)
	f.Effort = eff

	n := math.Inf(1)
	if g.Iterations > 0 {
		n = float64(g.Iterations)
	}
	if !g.Deadline.IsZero() {
		n = math.Min(n, l.cadence.expect(now, g.Deadline))
	}
	f.Needs = &Needs{}
	if math.IsInf(n, 1) {
		n = defaultIterations
	}
	if n >= 1 {
		per := ratio(h, gap/n)
		f.Needs.GainPerIteration = &per
	}
	if t, ok := l.curve.when(&l.cadence, now, g.ready()); ok {
		f.Needs.Deadline = &t
	}
}

// ratio turns a gain on the scale into a share of the value.
func ratio(h *history, gain float64) float64 {
	switch {
	case !h.scale.Log:
		return gain
	case h.criterion.Comparison.LowerIsBetter():
		return -math.Expm1(-gain)
	default:
		return math.Min(math.Expm1(gain), math.MaxFloat64)
	}
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
	case f.Probability == nil || f.Evidence.Observations < FewResults:
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
	n := l.forecast.Evidence.Observations
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
	h, n := &l.history, l.forecast.Evidence.Observations
	switch {
	case n == 0:
		h.warn("no valid result yet")
	case n < FewResults:
		h.warn("only %s: the probability is little more than a base rate", plural(n, "result", "results"))
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
