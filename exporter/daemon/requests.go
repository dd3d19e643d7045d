package daemon

import (
	"maps"
	"slices"
	"sync"

	"github.com/plancast/plancast/exporter/pass"
)

// requests collects requests for a pass outside the schedule. Those that come
// while a pass runs become one.
type requests struct {
	mu     sync.Mutex
	all    bool
	models map[string]bool
	again  map[[3]string]pass.Again // by model, version and precision: who asks twice gets one
	wake   chan struct{}
}

func newRequests() *requests {
	return &requests{models: map[string]bool{}, again: map[[3]string]pass.Again{}, wake: make(chan struct{}, 1)}
}

// add requests a pass over one model, or over all when model is "", in which the
// results that again names are measured once more.
func (q *requests) add(model string, again ...pass.Again) {
	q.mu.Lock()
	if model == "" {
		q.all = true
	} else {
		q.models[model] = true
	}
	for _, a := range again {
		if model != "" {
			a.Models = func(name string) bool { return name == model }
		}
		q.again[[3]string{model, a.Version, string(a.Precision)}] = a
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default: // it is awake already
	}
}

// take returns what was requested since the last time: a selection of models,
// nil for all, and what is measured once more.
func (q *requests) take() (only func(model string) bool, again []pass.Again) {
	q.mu.Lock()
	defer q.mu.Unlock()
	all, models := q.all, q.models
	again = slices.Collect(maps.Values(q.again))
	q.all, q.models, q.again = false, map[string]bool{}, map[[3]string]pass.Again{}
	if all {
		return nil, again
	}
	return func(model string) bool { return models[model] }, again
}
