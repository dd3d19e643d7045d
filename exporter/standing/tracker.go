package standing

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
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

	model  *Model // nil when it has to be derived anew
	series map[use]evidence
}

// use is what the history of a model is evidence for: the forecast of a
// milestone as of now, or of a week ago.
type use struct {
	milestone string
	past      bool
}

// evidence is what a model contributes to the forecast of a milestone.
type evidence struct {
	since, known time.Time
	environment  string
	stale        bool // something of the model changed since
	series       []forecast.Series
}

// foreseen is a forecast with what it was made from.
type foreseen struct {
	milestone  config.Milestone
	now, week  moment
	current    *forecast.Forecast
	weekBefore *forecast.Forecast
}

type moment struct {
	at     time.Time
	series [][]forecast.Series // by member
}

func (m moment) equal(o moment) bool {
	return m.at.Equal(o.at) && slices.EqualFunc(m.series, o.series, func(a, b []forecast.Series) bool {
		return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
	})
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
	m.take(history.EntryOf(r))
	m.added = append(m.added, r)
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
		for id := range shown(m.history) {
			if _, ok := m.records[id]; !ok {
				out = append(out, id)
			}
		}
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

// grow takes what came into the history, and lets go of records that nobody is
// shown any more.
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
	*m = tracked{history: m.history, records: records, totals: m.totals, last: m.last, series: m.series}
	m.outdate()
}

// outdate says that the evidence has to be made anew.
func (m *tracked) outdate() {
	for use, e := range m.series {
		e.stale = true
		m.series[use] = e
	}
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
		Now: e.Now.UTC(), Refused: e.Refused, Track: e.Track, Backend: e.Backend, Activity: e.Activity,
	}
	all := e.thresholds()
	changed := !slices.EqualFunc(all, t.thresholds, Threshold.equal)
	t.thresholds = all
	if changed {
		for _, m := range t.models {
			m.series = nil
		}
	}
	present := map[string]*Model{}
	for _, held := range e.Models {
		m := t.of(held.Name)
		m.grow()
		if m.model == nil || changed || !m.model.Held.equal(held) {
			m.model = &Model{Held: held, History: m.history, Totals: m.totals, records: m.records}
			m.model.derive(all)
			m.outdate()
		}
		present[held.Name] = m.model
		s.Models = append(s.Models, m.model)
	}
	slices.SortFunc(s.Models, func(a, b *Model) int { return strings.Compare(a.Name, b.Name) })
	for _, name := range slices.Sorted(maps.Keys(t.models)) {
		m := t.models[name]
		m.grow()
		if present[name] == nil && len(m.history.Series) > 0 {
			s.Gone = append(s.Gone, name)
		}
	}
	if !e.Unread {
		s.Absences = e.absences(all, s.Gone, func(name string) bool { return present[name] != nil })
	}
	var errs []error
	for _, m := range e.Milestones {
		x := t.milestone(m, s)
		errs = append(errs, x.err)
		s.Milestones = append(s.Milestones, x.Milestone)
	}
	return s, errors.Join(errs...)
}

type milestoneResult struct {
	Milestone
	err error
}

// milestone derives a milestone with its forecast.
func (t *Tracker) milestone(m config.Milestone, s *State) (out milestoneResult) {
	var members []member
	for _, x := range s.Models {
		if m.Matches(x.Name) {
			members = append(members, member{name: x.Name, model: x})
		}
	}
	for _, a := range s.Absences {
		if a.Kind == KindMilestone && a.Threshold == m.Name && a.Counts && a.Model != "" {
			members = append(members, member{name: a.Model})
		}
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	out.Milestone = milestone(m, members)
	if len(members) == 0 {
		return out // there is nothing to forecast yet
	}
	now := moment{at: s.Now.Truncate(time.Minute)}
	week := moment{at: s.Now.Add(-Week).Truncate(time.Hour)}
	for _, x := range members {
		now.series = append(now.series, t.series(m, x, s.Now, false))
		week.series = append(week.series, t.series(m, x, week.at, true))
	}
	for _, list := range now.series { // never before its newest evidence
		for _, one := range list[:min(len(list), 1)] {
			if n := len(one.Observations); n > 0 && one.Observations[n-1].Time.After(now.at) {
				now.at = one.Observations[n-1].Time
			}
		}
	}
	if t.forecasts == nil {
		t.forecasts = map[string]*foreseen{}
	}
	f := t.forecasts[m.Name]
	if f == nil || !sameGoal(f.milestone, m) {
		f = &foreseen{milestone: m}
		t.forecasts[m.Name] = f
	}
	if f.current == nil || !f.now.equal(now) {
		current, err := expect(m, slices.Concat(now.series...), now.at)
		if err != nil {
			out.err = err
			return out
		}
		f.current, f.now = current, now
	}
	if !f.week.equal(week) {
		f.week, f.weekBefore = week, nil
		if before, err := expect(m, slices.Concat(week.series...), week.at); err == nil && before.Evidence.Observations > 0 {
			f.weekBefore = before
		}
	}
	out.Forecast, out.State = &Forecast{Forecast: *f.current}, f.current.State
	if b := f.weekBefore; b != nil && b.Probability != nil {
		out.Forecast.WeekAgo = &b.Probability.Value
	}
	out.err = out.check()
	return out
}

func sameGoal(a, b config.Milestone) bool {
	return a.Name == b.Name && a.Share == b.Share && a.Deadline.Equal(b.Deadline) && a.Horizon == b.Horizon && a.Ready == b.Ready &&
		Threshold{Criteria: a.Criteria, Select: a.Select, Environment: a.Environment}.equal(Threshold{Criteria: b.Criteria, Select: b.Select, Environment: b.Environment})
}

// series is the evidence that a member contributes to a milestone, as known at a
// moment. past leaves out what finished later, and takes the environment of then.
func (t *Tracker) series(m config.Milestone, x member, at time.Time, past bool) []forecast.Series {
	held := t.of(x.name)
	e := evidence{since: lookBack(at), known: never}
	h, expected, environment, pairs := held.history, []engine.Precision(nil), m.Environment, comparing(nil)
	switch {
	case x.model == nil:
		h, e.since = history.Model{Name: x.name}, time.Time{} // absent: nothing that it did counts
	case past:
		e.known, expected = at, x.model.Precisions
	default:
		environment, expected, pairs = cmp.Or(m.Environment, x.model.Series.Fingerprint), x.model.Precisions, held.comparison
	}
	key := use{m.Name, past}
	e.environment = environment
	old := held.series[key]
	if !old.stale && old.series != nil && old.since.Equal(e.since) && old.known.Equal(e.known) && old.environment == environment {
		return old.series
	}
	e.series = series(Threshold{KindMilestone, m.Name, m.Select, m.Criteria, m.Environment}, h, expected, environment, e.known, e.since, pairs)
	if slices.EqualFunc(e.series, old.series, sameSeries) {
		e.series = old.series // so that it compares as the same
	}
	if held.series == nil {
		held.series = map[use]evidence{}
	}
	held.series[key] = e
	return e.series
}

func sameSeries(a, b forecast.Series) bool {
	return a.Model == b.Model && a.Criterion == b.Criterion && a.Environment == b.Environment && a.Newest == b.Newest && slices.Equal(a.Observations, b.Observations)
}

// Histories are the very ones that the milestones of a state rest on, each once:
// what the method's own record is made from.
func (t *Tracker) Histories(s *State) []forecast.Series {
	type key struct{ model, metric, precision, environment string }
	known := map[key]bool{}
	var all []forecast.Series
	for _, m := range s.Milestones {
		for _, x := range s.Models {
			if !m.Matches(x.Name) {
				continue
			}
			for _, one := range t.series(m.Milestone, member{name: x.Name, model: x}, s.Now, false) {
				k := key{one.Model, one.Criterion.Metric, m.Precision, one.Environment}
				if !known[k] {
					known[k] = true
					all = append(all, one)
				}
			}
		}
	}
	return all
}
