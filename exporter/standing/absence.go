package standing

import (
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/config"
)

// Keep is how long a milestone keeps counting, as not ready, a model that its
// pattern matched and that left the repository. After that the model no longer
// counts unless the milestone lists its name.
const Keep = 30 * 24 * time.Hour

// Absence is a model that a threshold is about and the repository lacks.
type Absence struct {
	Kind      Kind
	Threshold string
	Model     string    // "" when the threshold selects no model at all
	Listed    bool      // by its name, rather than matched by a pattern
	Since     time.Time // zero when it was never measured
	// Counts says that the milestone counts the model as not ready. It is false
	// for a pattern's model that left longer than Keep ago, and for a target's:
	// a target judges candidates, and there is none.
	Counts bool
}

// Absences finds what the thresholds of the evidence are about and its
// repository lacks, apart from models that only the history knows.
func Absences(e Evidence) []Absence {
	return e.absences(e.thresholds(), nil)
}

// absences finds what thresholds are about and the repository lacks.
func (e Evidence) absences(all []Threshold, gone []string) []Absence {
	present := make(map[string][]string, len(e.Models)) // where, by what they are called
	for _, m := range e.Models {
		called := config.ModelName(m.Name, e.Labels[m.Name])
		present[called] = append(present[called], m.Name)
	}
	var out []Absence
	for _, x := range all {
		selected := slices.ContainsFunc(e.Models, func(m Held) bool { return e.selects(x.Select, m.Name) })
		if !selected {
			out = append(out, Absence{Kind: x.Kind, Threshold: x.Name})
		}
		if !selected && x.Kind == KindTarget {
			continue // that says it all
		}
		for _, name := range listed([]Threshold{x}) {
			if !slices.ContainsFunc(present[name], func(at string) bool { return e.selects(x.Select, at) }) {
				out = append(out, Absence{Kind: x.Kind, Threshold: x.Name, Model: name, Listed: true, Since: e.Left[name], Counts: x.Kind == KindMilestone})
			}
		}
		for _, name := range gone {
			if x.Kind == KindMilestone && e.selects(x.Select, name) && !x.lists(config.ModelName(name, e.Labels[name])) {
				since, ok := e.Left[name]
				out = append(out, Absence{Kind: x.Kind, Threshold: x.Name, Model: name, Since: since, Counts: !ok || e.Now.Sub(since) < Keep})
			}
		}
	}
	return out
}
