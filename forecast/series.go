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
}

// Series is the history of one criterion on one model.
type Series struct {
	Model        string
	Criterion    Criterion
	Observations []Observation // in any order
	// Environment is the one whose results count; "" is that of the newest
	// result.
	Environment string
}

// history is a series made ready: sorted, of one environment, on one scale.
type history struct {
	criterion   Criterion
	scale       law.Scale
	environment string
	values      []float64   // one an iteration; a missed one repeats the last
	valid       []bool      // of each
	times       []time.Time // of each
	iterations  []time.Time // of all environments, distinct, for the cadence
	concern     string      // of the newest valid result
	missed      int
	ignored     int // results of other environments
	warnings    []string
}

// clean makes a series ready. It keeps the given slice as it is.
func clean(s Series) (*history, error) {
	if err := s.Criterion.Validate(); err != nil {
		return nil, err
	}
	h := &history{criterion: s.Criterion}
	obs := slices.Clone(s.Observations)
	slices.SortStableFunc(obs, func(a, b Observation) int { return a.Time.Compare(b.Time) })
	if !slices.IsSortedFunc(s.Observations, func(a, b Observation) int { return a.Time.Compare(b.Time) }) {
		h.warn("results came out of time order and were sorted")
	}
	whole := len(obs)
	obs = slices.CompactFunc(obs, func(a, b Observation) bool {
		same := a.Value == b.Value || (math.IsNaN(a.Value) && math.IsNaN(b.Value))
		return a.Time.Equal(b.Time) && same && a.Environment == b.Environment && a.Valid == b.Valid
	})
	if n := whole - len(obs); n > 0 {
		h.warn("%s counted once", plural(n, "repeated result was", "repeated results were"))
	}
	unusable := 0
	for i := range obs {
		if o := &obs[i]; o.Valid && (math.IsNaN(o.Value) || math.IsInf(o.Value, 0)) {
			o.Valid = false
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
	for _, o := range slices.Backward(obs) {
		if o.Valid && s.Environment == "" {
			h.environment = o.Environment
			break
		}
	}
	var last float64
	for _, o := range obs {
		switch {
		case o.Valid && o.Environment != h.environment:
			h.ignored++
			continue
		case !o.Valid && o.Environment != "" && o.Environment != h.environment:
			continue
		case !o.Valid && len(h.values) == 0:
			h.missed++
			continue // nothing yet to compare with
		case !o.Valid:
			h.missed++
		default:
			last, h.concern = o.Value, o.Concern
		}
		h.values = append(h.values, last)
		h.valid = append(h.valid, o.Valid)
		h.times = append(h.times, o.Time)
	}
	if h.ignored > 0 {
		h.warn("%s of another environment left out: a change of environment starts a new series", plural(h.ignored, "result", "results"))
	}
	return h, nil
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

// condense puts the history into the engine and returns the target on its scale.
func (h *history) condense(e *law.Engine) (target float64) {
	h.scale, _ = law.ScaleOf(h.values, h.criterion.Comparison.LowerIsBetter(), h.criterion.Target, nil)
	e.Reset()
	e.Grow(len(h.values))
	for _, v := range h.values {
		e.Append(h.scale.To(v))
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
	case math.IsNaN(g.Ready) || g.Ready < 0 || g.Ready >= 1:
		return fmt.Errorf("%w: ready probability %v, want more than 0 and less than 1", ErrGoal, g.Ready)
	}
	return nil
}

func (g Goal) ready() float64 { return cmp.Or(g.Ready, defaultReady) }
