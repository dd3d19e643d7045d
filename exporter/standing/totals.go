package standing

import (
	"maps"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// Totals counts the jobs of a model that ended, over its whole history.
type Totals struct {
	Measured    int
	Failed      map[engine.Kind]int
	LastSuccess time.Time // when the newest measured one finished; zero without any

	Cached    bool // a backend with a timing cache was used
	CacheHits int
}

func (t *Totals) add(r history.Record) {
	if r.Failure != nil {
		t.Failed = maps.Clone(t.Failed) // states hold the old one
		if t.Failed == nil {
			t.Failed = map[engine.Kind]int{}
		}
		t.fail(r.Failure.Kind, 1)
		return
	}
	if !r.OK() {
		return
	}
	t.Measured++
	if r.Finished.After(t.LastSuccess) {
		t.LastSuccess = r.Finished
	}
	if hit := r.Measurement.Plan.TimingCacheHit; hit != nil {
		t.Cached = true
		if *hit {
			t.CacheHits++
		}
	}
}

// TotalsOf are the totals that the store keeps of a model.
func TotalsOf(list []history.Totals) Totals {
	out := Totals{Failed: map[engine.Kind]int{}}
	for _, t := range list {
		if t.Failure == "" {
			out.Measured += t.Count
			out.LastSuccess = t.Newest
		} else {
			out.fail(t.Failure, t.Count)
		}
		out.Cached, out.CacheHits = out.Cached || t.CacheKnown > 0, out.CacheHits+t.CacheHits
	}
	return out
}

// fail counts failures of a kind.
func (t *Totals) fail(k engine.Kind, n int) {
	if !slices.Contains(engine.Kinds, k) {
		k = engine.KindInternal // of a newer or damaged record
	}
	t.Failed[k] += n
}
