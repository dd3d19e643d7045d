// Package workload describes the traffic that production sends to a model, and
// draws it: which shapes, in which shares, at which times. It also answers what a
// queue does with such traffic. It is pure: no clock, no engine, no I/O.
package workload

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/units"
)

// Phase is the half of a generative model's work that a workload is about; ""
// where a request is one call.
type Phase string

// The phases of a model with a key-value cache.
const (
	Prefill Phase = "prefill" // reads the prompt and fills the cache
	Decode  Phase = "decode"  // makes one token from the cache
)

// Phases lists them.
var Phases = []Phase{Prefill, Decode}

// PhasesOf are the phases that a quantity is for; those that are not named are for every
// workload.
var PhasesOf = map[string][]Phase{"ttft": {Prefill}, "tpot": {Decode}, "tokens": Phases}

// Workload is one kind of traffic. It is part of what a result depends on, and so
// of the fingerprint, except for Models.
type Workload struct {
	Name string `json:"name"`
	// Models are names or patterns of the models that get it; empty for all.
	Models []string `json:"-"`
	Phase  Phase    `json:"phase,omitempty"`
	// Shapes is the mix that requests are drawn from. It is empty only where Recorded says
	// that it is the one of the candidate's evaluation inputs, and those are not read yet.
	Shapes   []Shape `json:"shapes"`
	Recorded bool    `json:"recorded,omitempty"`
	// Rate is how many requests arrive in a second, on average. 0 is a closed loop:
	// each request follows the one before.
	Rate float64 `json:"rate_per_s,omitempty"`
	// Burstiness is the shape of the gamma distribution of the gaps between
	// arrivals. 1 is a Poisson process; the lower, the more arrivals come together.
	Burstiness float64 `json:"burstiness,omitempty"`
	// Replayed is how many requests a trace has that takes the place of drawn ones; its
	// Shapes and Rate are those of the trace. Trace are the requests themselves, which
	// results leave out.
	Replayed int      `json:"replayed,omitempty"`
	Trace    []Traced `json:"trace,omitempty"`
	// Concurrency is how many requests are served at once.
	Concurrency int `json:"concurrency"`
	// Within is the time in which an answer is of use: goodput counts those, and
	// the search for the highest rate holds its percentile to it. 0 is not stated.
	Within time.Duration `json:"within,omitempty"`
	// MaxRate is the percentile that has to stay below Within at the highest rate
	// that is searched for; 0 searches for none.
	MaxRate float64 `json:"max_rate,omitempty"`
}

// Shape is one of a mix: sizes by the names that models use, "input/position", or
// Batch.
type Shape struct {
	Weight float64          `json:"weight"` // its share of the requests, relative to the others
	Dims   map[string]int64 `json:"dims,omitempty"`
}

// Batch is the name of the batch among a shape's sizes.
const Batch = "batch"

// BatchOf is the shape's batch, and otherwise the one given.
func (s Shape) BatchOf(otherwise int) int {
	if n, ok := s.Dims[Batch]; ok {
		return int(n)
	}
	return otherwise
}

// Sizes are the shape's, all but the batch.
func (s Shape) Sizes() map[string]int64 {
	sizes := maps.Clone(s.Dims)
	delete(sizes, Batch)
	return sizes
}

// Shows reports whether a quantity can be known of the workload: those of a phase are
// of no other.
func (w Workload) Shows(quantity string) bool {
	phases, some := PhasesOf[quantity]
	return !some || slices.Contains(phases, w.Phase)
}

// Open reports whether requests arrive on their own, whatever became of those
// before.
func (w Workload) Open() bool { return w.Rate > 0 }

// Shares are what part of the requests each shape is.
func (w Workload) Shares() []float64 {
	sum := 0.0
	for _, s := range w.Shapes {
		sum += s.Weight
	}
	shares := make([]float64, len(w.Shapes))
	for i, s := range w.Shapes {
		shares[i] = s.Weight / sum
	}
	return shares
}

// String reads "70 % sequence 32, 25 % 128, 5 % 512, at 200 requests a second".
func (w Workload) String() string {
	parts := []string{w.mix()}
	if w.Phase != "" {
		parts[0] = string(w.Phase) + " of " + parts[0]
	}
	if w.Recorded {
		parts = append(parts, "as recorded")
	}
	if w.Replayed > 0 {
		parts = append(parts, units.Count(w.Replayed, "request")+" as recorded")
	}
	if w.Open() {
		at := "at " + units.Number(w.Rate) + " requests a second"
		if w.Rate == 1 {
			at = "at 1 request a second"
		}
		if w.Burstiness != 0 && w.Burstiness != 1 {
			at += fmt.Sprintf(" with a burstiness of %s", units.Number(w.Burstiness))
		}
		parts = append(parts, at)
	} else {
		parts = append(parts, "each request after the one before")
	}
	if w.Concurrency > 1 {
		parts = append(parts, fmt.Sprintf("%d at once", w.Concurrency))
	}
	return strings.Join(parts, ", ")
}

// mix reads "70 % sequence 32, 25 % 128, 5 % 512".
func (w Workload) mix() string {
	if len(w.Shapes) == 0 {
		return "the shapes of inputs.npz"
	}
	shares := w.Shares()
	words := make([]string, len(w.Shapes))
	var before []string
	for i, s := range w.Shapes {
		names := slices.Sorted(maps.Keys(s.Dims))
		words[i] = s.words(names, len(names) == 1 && slices.Equal(names, before))
		before = names
		if len(w.Shapes) > 1 {
			words[i] = units.Number(100*shares[i]) + " % " + words[i]
		}
	}
	return strings.Join(words, ", ")
}

// words reads "batch 4 × sequence 128", or "128" where the only name was said.
func (s Shape) words(names []string, said bool) string {
	if len(names) == 0 {
		return "the model's own shapes"
	}
	words := make([]string, len(names))
	for i, name := range names {
		words[i] = name + " " + strconv.FormatInt(s.Dims[name], 10)
		if said {
			words[i] = strconv.FormatInt(s.Dims[name], 10)
		}
	}
	return strings.Join(words, " × ")
}

// Words names the shape alone: "batch 4 × sequence 128".
func (s Shape) Words() string { return s.words(slices.Sorted(maps.Keys(s.Dims)), false) }
