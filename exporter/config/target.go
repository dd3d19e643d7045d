package config

import (
	"path"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/forecast"
)

// Select names models by pattern and says which of a candidate's engines counts.
type Select struct {
	Models []string // names or shell patterns ("resnet*"); empty selects all

	// Precision is the engine that counts: one precision, or Best.
	Precision string
}

// Best selects, for each criterion of a candidate, the engine that meets all
// criteria, or else the one nearest to doing so.
const Best = "best"

// Matches reports whether the model named is selected.
func (s Select) Matches(model string) bool {
	if len(s.Models) == 0 {
		return true
	}
	for _, p := range s.Models {
		// Patterns were checked when the configuration was read.
		if ok, _ := path.Match(p, model); ok {
			return true
		}
	}
	return false
}

// Counts reports whether an engine of precision p is looked at.
func (s Select) Counts(p engine.Precision) bool {
	return s.Precision == Best || s.Precision == string(p)
}

// Target is what each new candidate must fulfil: plancast run exits with 1
// when one is missed.
type Target struct {
	Name string
	Select
	Criteria []forecast.Criterion // all must hold, for one and the same engine
}

// Milestone is a condition on many models, with a time.
type Milestone struct {
	Name        string
	Description string
	Select
	Criteria []forecast.Criterion
	// Share of the selected models that must meet all criteria, a ratio in (0,1].
	Share float64
	// Deadline is when the milestone is due; zero for none.
	Deadline time.Time
	// Horizon is how many further iterations are looked ahead; 0 for none.
	Horizon int
	// Ready is the probability at which the milestone counts as ready, a ratio in (0,1).
	Ready float64
	// Environment is the fingerprint whose history counts; "" is the newest one.
	Environment string
}
