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
		k := r.Failure.Kind
		if !slices.Contains(engine.Kinds, k) {
			k = engine.KindInternal // of a newer or damaged record
		}
		t.Failed = maps.Clone(t.Failed) // states hold the old one
		if t.Failed == nil {
			t.Failed = map[engine.Kind]int{}
		}
		t.Failed[k]++
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

// with adds up two parts of a history.
func (t Totals) with(o Totals) Totals {
	t.Measured, t.CacheHits, t.Cached = t.Measured+o.Measured, t.CacheHits+o.CacheHits, t.Cached || o.Cached
	if o.LastSuccess.After(t.LastSuccess) {
		t.LastSuccess = o.LastSuccess
	}
	failed := maps.Clone(t.Failed)
	if failed == nil {
		failed = map[engine.Kind]int{}
	}
	for k, n := range o.Failed {
		failed[k] += n
	}
	t.Failed = failed
	return t
}
