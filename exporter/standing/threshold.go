package standing

import (
	"path"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/forecast"
)

// Kind distinguishes targets from milestones.
type Kind string

// The two kinds of thresholds.
const (
	KindTarget    Kind = "target"
	KindMilestone Kind = "milestone"
)

// Threshold is what targets and milestones have in common.
type Threshold struct {
	Kind Kind
	Name string
	config.Select
	Criteria    []forecast.Criterion
	Environment string // the fingerprint whose results count; "" is the one that counts for the model
}

// thresholds lists the targets, then the milestones.
func (e Evidence) thresholds() []Threshold {
	out := make([]Threshold, 0, len(e.Targets)+len(e.Milestones))
	for _, t := range e.Targets {
		if len(t.Criteria) == 0 {
			continue // it is about a baseline alone
		}
		out = append(out, Threshold{KindTarget, t.Name, t.Select, t.Criteria, ""})
	}
	for _, m := range e.Milestones {
		out = append(out, Threshold{KindMilestone, m.Name, m.Select, m.Criteria, m.Environment})
	}
	return out
}

func (t Threshold) equal(o Threshold) bool {
	return t.Kind == o.Kind && t.Name == o.Name && t.Environment == o.Environment && t.Precision == o.Precision &&
		t.Where.String() == o.Where.String() && slices.Equal(t.Models, o.Models) && slices.Equal(t.Criteria, o.Criteria)
}

// lists reports whether the threshold names the model, rather than matching it
// by a pattern.
func (t Threshold) lists(model string) bool {
	return slices.ContainsFunc(t.Models, func(p string) bool { return isName(p) && p == model })
}

// isName reports whether a pattern can match one name only.
func isName(pattern string) bool { return !strings.ContainsAny(pattern, `*?[\`) }

// listed are the names that thresholds list.
func listed(all []Threshold) []string {
	var out []string
	for _, t := range all {
		for _, p := range t.Models {
			if _, err := path.Match(p, ""); err == nil && isName(p) && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}
