package daemon

import "sync"

// requests collects requests for a pass outside the schedule. Those that come
// while a pass runs become one.
type requests struct {
	mu     sync.Mutex
	all    bool
	models map[string]bool
	wake   chan struct{}
}

func newRequests() *requests {
	return &requests{models: map[string]bool{}, wake: make(chan struct{}, 1)}
}

// add requests a pass over one model, or over all when model is "".
func (q *requests) add(model string) {
	q.mu.Lock()
	if model == "" {
		q.all = true
	} else {
		q.models[model] = true
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default: // it is awake already
	}
}

// take returns what was requested since the last time, as a selection of
// models; nil selects all.
func (q *requests) take() func(model string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	all, models := q.all, q.models
	q.all, q.models = false, map[string]bool{}
	if all {
		return nil
	}
	return func(model string) bool { return models[model] }
}
