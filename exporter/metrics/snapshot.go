package metrics

import (
	"errors"
	"fmt"
	"slices"

	"github.com/plancast/plancast/exporter/standing"
)

// Build says which plancast is running.
type Build struct {
	Version   string
	Revision  string
	GoVersion string
}

// Snapshot is what one scrape sees: immutable, safe for any number of
// scrapes at once.
type Snapshot struct {
	build Build
	parts []*part
	cache expositions
}

// Len is the number of metrics in the snapshot.
func (s *Snapshot) Len() (n int) {
	for _, p := range s.parts {
		n += p.size
	}
	return n
}

// NewSnapshot makes the metrics of a state, with at most that many series of models; 0
// is no limit. The snapshot is never nil: what is wrong with one series, as the error says,
// does not hold up the others.
func NewSnapshot(state *standing.State, build Build, most int) (*Snapshot, error) {
	return (&Snapshot{build: build}).Next(state, most)
}

// Next is NewSnapshot for a later state. What did not change of a model is neither
// made nor encoded again.
func (s *Snapshot) Next(state *standing.State, most int) (*Snapshot, error) {
	known := map[*standing.Model]*part{}
	for _, p := range s.parts {
		known[p.model] = p
	}
	var models []*part
	left := 0
	if state.By == nil { // the series of a fleet's models are their exporters'
		models, left = modelParts(state.Models, known, most)
	}
	build := s.build // and not s, which would keep each snapshot alive through the one after it
	next := &Snapshot{build: build, parts: append(models, newPart(nil, func(b *snapshotBuilder) { b.rest(state, build, left) }))}
	var errs []error
	for _, p := range next.parts {
		errs = append(errs, p.err)
	}
	if left > 0 {
		errs = append(errs, fmt.Errorf("%d of %d models have no series: together they have more than %d: remove folders that are not models from the repository, or raise metrics.max_series", left, len(state.Models), most))
	}
	return next, errors.Join(errs...)
}

// modelParts are the parts of models, in their order. When together they have more
// than most series, as many as there is room for are left, those with a result first;
// left is how many models have no series therefore.
func modelParts(list []*standing.Model, known map[*standing.Model]*part, most int) (parts []*part, left int) {
	if most > 0 {
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(x, y *standing.Model) int { return min(y.Totals.Measured, 1) - min(x.Totals.Measured, 1) })
	}
	size := 0
	for i, m := range list {
		p := known[m]
		if p == nil {
			p = modelPart(m)
		}
		if size += p.size; most > 0 && size > most {
			return parts, len(list) - i
		}
		parts = append(parts, p)
	}
	return parts, 0
}

// collector hands out the metrics of all parts.
func (s *Snapshot) collector() metricsCollector {
	var all metricsCollector
	for _, p := range s.parts {
		all = append(all, p.metrics()...)
	}
	return all
}
