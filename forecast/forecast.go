package forecast

import (
	"fmt"
	"time"

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
	if l, u := units.Percent(p.Lower), units.Percent(p.Upper); l == u && l == units.Percent(p.Value) {
		return l // "< 1 %"
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

// Basis is what a forecast rests on.
type Basis struct {
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

	Summary string   `json:"summary"`          // one sentence
	Advice  []string `json:"advice,omitempty"` // further sentences
	Basis   Basis    `json:"evidence"`
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
	// Others is such a record made ready, beside Siblings.
	Others Record
}
