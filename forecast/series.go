package forecast

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/plancast/plancast/forecast/internal/law"
	"github.com/plancast/plancast/units"
)

// Observation is the result of one iteration of one model: one point, however
// often it was scraped.
type Observation struct {
	Time  time.Time
	Value float64 // in the base unit of the criterion
	// Environment is the fingerprint of what the result was measured on.
	// Results of different environments are never compared.
	Environment string
	// Valid is false for a missed iteration, such as a failed build: an
	// iteration without gain. Its Value is ignored.
	Valid bool
	// Concern is what else about this iteration speaks against further gains,
	// such as "12 layers stayed unquantized"; most have none. It makes the
	// atypical check more alert.
	Concern string
	// Disturbed says that other work slowed the result down, which is good
	// enough all the same: its gain is not judged by the atypical check.
	Disturbed bool
}

// Series is the history of one criterion on one model.
type Series struct {
	Model        string
	Criterion    Criterion
	Observations []Observation // in any order
	// Environment is the one whose results count; "" is that of the newest
	// result.
	Environment string
	// Newest is how the newest result differs from the one before it; the zero Pair
	// where the two were not measured in turns.
	Newest Pair

	prepared *prepared // nil unless it comes from Prepared
}

// Pair is a ratio of two results that were measured in turns, so that the
// machine's drift is not in it. It lies between Low and High with confidence.
type Pair struct {
	Ratio, Low, High float64
	// Changed says that the interval clears the change that does not matter. A
	// difference that may be none is never taken for out of the ordinary.
	Changed bool
}

// history is a series made ready: sorted, of one environment, on one scale.
type history struct {
	criterion   Criterion
	scale       law.Scale
	environment string
	values      []float64   // one an iteration; a missed one repeats the last
	z           []float64   // the same on the scale, once condensed
	valid       []bool      // of each
	times       []time.Time // of each
	iterations  []time.Time // of all environments, distinct, for the cadence
	apart       []time.Time // memory of times where they are not the iterations
	concern     string      // of the newest valid result
	disturbed   bool        // the newest valid result is
	pair        Pair        // of the newest valid result
	missed      int
	ignored     int // results of other environments
	warnings    []string
	prepared    *prepared // that the memory belongs to; nil when it is the history's own
}

// clean makes a series ready, in memory that an earlier history used. It keeps the
// given slice as it is.
func (h *history) clean(s Series) error {
	if err := s.Criterion.Validate(); err != nil {
		return err
	}
	if h.prepared != nil {
		*h = history{}
	}
	*h = history{
		criterion: s.Criterion, pair: s.Newest, values: h.values[:0], z: h.z[:0], valid: h.valid[:0],
		iterations: h.iterations[:0], apart: h.apart[:0],
	}
	obs := s.Observations
	if !sorted(obs) {
		obs = slices.Clone(obs)
		slices.SortStableFunc(obs, func(a, b Observation) int { return a.Time.Compare(b.Time) })
		h.warn("results came out of time order and were sorted")
	}
	if n := repetitions(obs); n > 0 {
		obs = slices.CompactFunc(slices.Clone(obs), func(a, b Observation) bool { return repeats(&a, &b) })
		h.warn("%s counted once", plural(n, "repeated result was", "repeated results were"))
	}
	n := len(obs)
	h.iterations, h.values, h.valid = slices.Grow(h.iterations, n), slices.Grow(h.values, n), slices.Grow(h.valid, n)
	unusable := 0
	for i := range obs {
		if obs[i].Valid && !obs[i].usable() {
			unusable++
		}
		if n := len(h.iterations); n == 0 || h.iterations[n-1].Before(obs[i].Time) {
			h.iterations = append(h.iterations, obs[i].Time)
		}
	}
	if unusable > 0 {
		h.warn("%s not a finite number and counted as missed", plural(unusable, "result was", "results were"))
	}
	h.environment = s.Environment
	for i := n - 1; i >= 0 && s.Environment == ""; i-- {
		if obs[i].usable() {
			h.environment = obs[i].Environment
			break
		}
	}
	whole := len(h.iterations) == n // then both lists of times are one
	for i := range obs {
		whole = whole && obs[i].usable() && obs[i].Environment == h.environment
	}
	var last float64
	for i := range obs {
		o := &obs[i]
		valid := o.usable()
		switch {
		case valid && o.Environment != h.environment:
			h.ignored++
			continue
		case !valid && o.Environment != "" && o.Environment != h.environment:
			continue
		case !valid && len(h.values) == 0:
			h.missed++
			continue // nothing yet to compare with
		case !valid:
			h.missed++
		default:
			last, h.concern, h.disturbed = o.Value, o.Concern, o.Disturbed
		}
		h.values = append(h.values, last)
		h.valid = append(h.valid, valid)
		if !whole {
			h.apart = append(h.apart, o.Time)
		}
	}
	if h.times = h.apart; whole {
		h.times = h.iterations
	}
	if h.ignored > 0 {
		h.warn("%s of another environment omitted: a change of environment starts a new series", plural(h.ignored, "result", "results"))
	}
	return nil
}

// usable reports whether o has a result that can be counted.
func (o *Observation) usable() bool {
	return o.Valid && !math.IsNaN(o.Value) && !math.IsInf(o.Value, 0)
}

// repeats reports whether b is the same result as a, handed in again.
func repeats(a, b *Observation) bool {
	value := a.Value == b.Value || (math.IsNaN(a.Value) && math.IsNaN(b.Value))
	return value && a.Time.Equal(b.Time) && a.Environment == b.Environment && a.Valid == b.Valid
}

func sorted(obs []Observation) bool {
	for i := 1; i < len(obs); i++ {
		if obs[i].Time.Before(obs[i-1].Time) {
			return false
		}
	}
	return true
}

// repetitions counts the observations that repeat the one before.
func repetitions(obs []Observation) (n int) {
	for i := 1; i < len(obs); i++ {
		if repeats(&obs[i-1], &obs[i]) {
			n++
		}
	}
	return n
}

func (h *history) warn(format string, args ...any) {
	h.warnings = append(h.warnings, fmt.Sprintf(format, args...))
}

// results returns the number of valid results.
func (h *history) results() (n int) {
	for _, v := range h.valid {
		if v {
			n++
		}
	}
	return n
}

// condense puts the history into an engine and returns the target on its scale.
func (h *history) condense(e *law.History) (target float64) {
	if h.prepared == nil {
		h.scale, _ = law.ScaleOf(h.values, h.criterion.Comparison.LowerIsBetter(), nil)
		h.z = slices.Grow(h.z, len(h.values))
		for _, v := range h.values {
			h.z = append(h.z, h.scale.To(v))
		}
	}
	e.Reset()
	e.Grow(len(h.z))
	for _, z := range h.z {
		e.Append(z)
	}
	return h.scale.To(h.criterion.Target)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return units.Number(float64(n)) + " " + many
}

// Goal is until when, and how surely, something has to be reached.
type Goal struct {
	// Iterations is how many further iterations are allowed, counted as they
	// come; 0 is no bound.
	Iterations int
	// Deadline is the moment by which it has to be reached; the zero time is
	// no bound.
	Deadline time.Time
	// Ready is the probability from which the goal counts as on track; 0 is 0.9.
	Ready float64
	// Effort is what the team knows about the work on its models.
	Effort EffortLevel
}

const (
	defaultReady      = 0.9
	defaultIterations = 10 // looked at when a goal has neither bound
	maxIterations     = 1000
)

// ErrGoal is wrapped by every error about a goal or a share.
var ErrGoal = errors.New("goal")

func (g Goal) validate() error {
	switch {
	case g.Iterations < 0 || g.Iterations > maxIterations:
		return fmt.Errorf("%w: %d iterations, want 0 to %d", ErrGoal, g.Iterations, maxIterations)
	case !g.Effort.Valid():
		return fmt.Errorf("%w: effort %q, want active or maintenance, or none to infer it", ErrGoal, g.Effort)
	case math.IsNaN(g.Ready) || g.Ready < 0 || g.Ready >= 1:
		return fmt.Errorf("%w: ready probability %v, want more than 0 and less than 1", ErrGoal, g.Ready)
	}
	return nil
}

func (g Goal) ready() float64 { return cmp.Or(g.Ready, defaultReady) }
