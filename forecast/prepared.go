package forecast

import (
	"slices"
	"time"

	"github.com/plancast/plancast/forecast/internal/law"
)

// prepared is what every forecast of a series begins with, whatever its goal
// and its moment.
type prepared struct {
	history history   // condensed
	tally   law.Tally // after the newest result
	newest  time.Time // when that was; the zero time without any
}

// Prepared is s with the work done that all forecasts of it have in common, for
// whoever forecasts the same series again and again, such as each time that
// another series of a milestone gets a result. The forecasts are the same, bit by
// bit, and so are back-tests. The observations are not looked at any more, so they may be
// dropped. It may be used from any number of goroutines.
func (s Series) Prepared() Series {
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	p := &prepared{}
	t := tallied(s, &p.history, &w.engine)
	if n := len(t.times); n > 0 {
		p.tally, p.newest = t.totals[n-1], t.times[n-1]
	}
	p.history.prepared = p
	s.prepared = p
	return s
}

// shownBy is what a series had shown at a moment about how often gains come.
func (s *Series) shownBy(now time.Time, w *workspace) law.Tally {
	if p := s.prepared; p != nil && !p.newest.After(now) {
		return p.tally
	}
	t := tallied(*s, &w.sibling, &w.engine)
	return t.at(now)
}

// open makes a series ready: its own history when it is prepared, which nobody
// writes to.
func (h *history) open(s Series) error {
	if s.prepared == nil || s.Criterion.Validate() != nil {
		return h.clean(s)
	}
	*h = s.prepared.history
	h.warnings = slices.Clip(h.warnings) // which what is made of it adds to
	return nil
}
