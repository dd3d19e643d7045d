package standing

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/history"
)

// Derive makes the state of the evidence. The state is whole even when a
// milestone has no forecast; the error joins those.
func Derive(e Evidence) (*State, error) {
	var t Tracker
	for _, r := range e.Records {
		t.Add(r)
	}
	return t.Derive(e)
}

// Tracker derives the state of a history that grows, again and again: what it
// derived of a model stays until something of that model changes, so that a new
// record costs the same in a long history as in a short one. Its zero value is
// an empty history. It is used by one goroutine at a time; its states may be
// read by any number.
type Tracker struct {
	models     map[string]*tracked
	thresholds []Threshold
	forecasts  map[string]*foreseen // by milestone
}

// tracked is what is known of one model.
type tracked struct {
	history history.Model
	growth  *history.Growth          // history with the entries that came since; nil without any
	added   []history.Record         // not in records yet
	records map[int64]history.Record // of what is shown; replaced, never changed
	totals  Totals
	last    int64 // newest entry that was loaded: it and those before are counted in totals
	kinds   kinds // of the candidates' changes
	whole   bool  // records has all that is shown of history

	model         *Model // nil when it has to be derived again
	contributions map[use]*contribution
}

func (t *Tracker) of(name string) *tracked {
	if t.models == nil {
		t.models = map[string]*tracked{}
	}
	m := t.models[name]
	if m == nil {
		m = &tracked{history: history.Model{Name: name}}
		t.models[name] = m
	}
	return m
}

// Forget drops what is known of a model, to be loaded again; "" is all models.
func (t *Tracker) Forget(model string) {
	if model == "" {
		t.models = nil
		return
	}
	delete(t.models, model)
}

// Add takes a record that was just made, unless it was loaded meanwhile. IDs
// ascend.
func (t *Tracker) Add(r history.Record) {
	m := t.of(r.Model)
	if m.last > 0 && r.ID <= m.last {
		return
	}
	m.totals.add(r)
	if r.Change != nil {
		m.trace(r.Version, r.Digest, r.Change.Kinds)
	}
	m.take(history.EntryOf(r))
	m.added = append(m.added, r)
}

// Replace takes all records of a model, in the place of what was known of it.
func (t *Tracker) Replace(model string, records []history.Record) {
	t.Forget(model)
	for _, r := range records {
		t.Add(r)
	}
	if m := t.models[model]; m != nil {
		m.grow() // a record is larger than its entry
	}
}

// Load takes an entry of a stored history: of a long one, those since LookBack and
// of what is older what says how each model stands. IDs ascend. The records that
// Lacks names have to follow with Supply, and the counts with Count.
func (t *Tracker) Load(e history.Entry) {
	m := t.of(e.Model)
	m.take(e)
	m.last = e.ID
}

func (m *tracked) take(e history.Entry) {
	if m.growth == nil {
		m.growth = history.NewGrowth(m.history)
	}
	m.growth.Add(e)
}

// Trace says what the change was that led to a candidate, whose entries may come
// before or after.
func (t *Tracker) Trace(c history.Traced) { t.of(c.Model).trace(c.Version, c.Digest, c.Change.Kinds) }

// Count says how many records a model had, of those that were loaded and of
// all others before.
func (t *Tracker) Count(model string, n Totals) { t.of(model).totals = n }

// Supply takes the full record of an entry that was loaded.
func (t *Tracker) Supply(r history.Record) {
	m := t.of(r.Model)
	m.added = append(m.added, r)
}

// Lacks are the IDs, ascending, of entries that are shown and whose records are
// not at hand.
func (t *Tracker) Lacks() []int64 {
	var out []int64
	for _, m := range t.models {
		m.grow()
		if m.whole {
			continue
		}
		n := len(out)
		for id := range shown(m.history) {
			if _, ok := m.records[id]; !ok {
				out = append(out, id)
			}
		}
		m.whole = len(out) == n
	}
	slices.Sort(out)
	return out
}

// Records are the full records at hand: of the newest candidate of each model in
// each environment, and the last good ones.
func (t *Tracker) Records() []history.Record {
	var out []history.Record
	for _, m := range t.models {
		m.grow()
		out = slices.AppendSeq(out, maps.Values(m.records))
	}
	slices.SortFunc(out, func(a, b history.Record) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Models are the names of the models in the history.
func (t *Tracker) Models() []string {
	var out []string
	for name, m := range t.models {
		if m.grow(); len(m.history.Series) > 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// grow takes what came into the history, and drops records that nobody is shown any
// more.
func (m *tracked) grow() {
	if m.growth == nil && len(m.added) == 0 {
		return
	}
	if m.growth != nil {
		m.history = m.growth.Model()
	}
	keep := shown(m.history)
	records := make(map[int64]history.Record, len(keep)) // states hold the earlier one
	for id, r := range m.records {
		if keep[id] {
			records[id] = r
		}
	}
	for _, r := range m.added {
		if keep[r.ID] {
			records[r.ID] = r
		}
	}
	*m = tracked{history: m.history, records: records, totals: m.totals, last: m.last, kinds: m.kinds, contributions: m.contributions}
	m.outdate()
}

// derive makes what is derived of the model alone, unless it is there.
func (m *tracked) derive(held Held, labels map[string]string, all []Threshold, changed bool) *Model {
	m.grow()
	if m.model == nil || changed || !m.model.Held.equal(held) || !maps.Equal(m.model.Labels, labels) {
		m.model = &Model{Held: held, Labels: labels, History: m.history, Totals: m.totals, records: m.records}
		m.model.derive(all)
		m.model.tried = m.model.observe(m.kinds)
		m.outdate()
	}
	return m.model
}

// LookBack is since when the entries of a stored history have to be loaded.
func LookBack(now time.Time) time.Time {
	return lookBack(now).Add(-Week - 24*time.Hour) // the week before looks back as well
}

// Derive makes the state of the evidence and of the records that were added;
// e.Records is not looked at. Forecasts are as of the last full minute, or of their
// newest evidence where that is later: between the two nothing changes.
func (t *Tracker) Derive(e Evidence) (*State, error) {
	s := &State{
		Now: e.Now.UTC(), Refused: e.Refused, Track: e.Track, Backend: e.Backend, Activity: e.Activity, By: e.By,
	}
	all := e.thresholds()
	changed := !slices.EqualFunc(all, t.thresholds, Threshold.equal)
	t.thresholds = all
	if changed {
		for _, m := range t.models {
			m.contributions = nil
		}
	}
	present := map[string]*tracked{}
	for _, held := range e.Models {
		present[held.Name] = t.of(held.Name)
	}
	s.Models = each(e.Models, func(held Held) *Model {
		return present[held.Name].derive(held, e.Labels[held.Name], all, changed)
	})
	slices.SortFunc(s.Models, func(a, b *Model) int { return strings.Compare(a.Name, b.Name) })
	for _, name := range slices.Sorted(maps.Keys(t.models)) {
		m := t.models[name]
		m.grow()
		if present[name] == nil && len(m.history.Series) > 0 {
			s.Gone = append(s.Gone, name)
		}
	}
	s.learn()
	if !e.Unread {
		s.Absences = e.absences(all, s.Gone)
	}
	var errs []error
	for _, c := range e.Milestones {
		m := milestone(c, s.members(c))
		errs = append(errs, t.foresee(&m, s))
		s.Milestones = append(s.Milestones, m)
	}
	return s, errors.Join(errs...)
}
