package history

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

// Model is what the history says of one model: a series for each environment it
// was measured in. A Model is not changed once it is made: With makes another.
type Model struct {
	Name   string
	Series []Series // ordered by their newest entry, the newest environment last
}

// Series is the history of one model in one environment: the only entries that
// may be compared with each other.
type Series struct {
	Model       string
	Fingerprint string

	Trials     []Trial // ascending Iteration, from 1
	OutOfOrder []Trial // Iteration 0, in order of their first entry

	First, Last time.Time // when its first and its newest entry finished
	Newest      Entry     // the entry of the highest ID
}

// ByModel sorts entries, given in ascending order of ID, into models and
// series, by name.
func ByModel(entries []Entry) []Model {
	by := map[string]*Growth{}
	for _, e := range entries {
		if by[e.Model] == nil {
			by[e.Model] = NewGrowth(Model{Name: e.Model})
		}
		by[e.Model].Add(e)
	}
	out := make([]Model, 0, len(by))
	for _, name := range slices.Sorted(maps.Keys(by)) {
		out = append(out, by[name].Model())
	}
	return out
}

// With is the model with further entries, in ascending order of ID; what is
// excluded or superseded counts for nothing. It shares with m what did not change.
func (m Model) With(entries ...Entry) Model {
	g := NewGrowth(m)
	for _, e := range entries {
		g.Add(e)
	}
	return g.Model()
}

// Growth makes a model of another and of further entries, one at a time: those of
// a long history need not be held twice.
type Growth struct {
	model  Model
	series map[string]*seriesGrowth // by fingerprint; those that grew
}

// seriesGrowth is a series on its way; its trials stay in order.
type seriesGrowth struct {
	Series
	before Series // whose entries are not its own
	of     *origin
	next   int // entries to expect in the next new trial: as many as in the last
}

// NewGrowth starts with what m has, which does not change.
func NewGrowth(m Model) *Growth { return &Growth{m, map[string]*seriesGrowth{}} }

// Add takes an entry; IDs ascend.
func (g *Growth) Add(e Entry) {
	if !e.Counts() {
		return
	}
	s := g.series[e.Fingerprint]
	if s == nil {
		old, ok := g.model.In(e.Fingerprint)
		if !ok {
			old = Series{Model: g.model.Name, Fingerprint: e.Fingerprint, First: e.Finished.Time()}
		}
		s = newSeriesGrowth(old)
		g.series[e.Fingerprint] = s
	}
	s.add(e)
}

// Model is the grown model. The Growth cannot be used after it.
func (g *Growth) Model() Model {
	m := g.model
	m.Series = slices.Clone(m.Series)
	for fingerprint, grown := range g.series {
		grown.Trials = slices.Concat(grown.Trials) // without the room to grow: a long history is held
		i := slices.IndexFunc(m.Series, func(s Series) bool { return s.Fingerprint == fingerprint })
		if i < 0 {
			i = len(m.Series)
			m.Series = append(m.Series, Series{})
		}
		m.Series[i] = grown.Series
	}
	slices.SortFunc(m.Series, func(a, b Series) int { return cmp.Compare(a.Newest.ID, b.Newest.ID) })
	return m
}

func newSeriesGrowth(s Series) *seriesGrowth {
	g := &seriesGrowth{Series: s, before: s, of: &origin{s.Model, s.Fingerprint}, next: 1}
	g.Trials, g.OutOfOrder = slices.Clone(s.Trials), slices.Clone(s.OutOfOrder)
	return g
}

func (g *seriesGrowth) add(e Entry) {
	list := g.among(e)
	at, ok := g.find(e)
	if !ok {
		*list = slices.Insert(*list, at, Trial{Iteration: max(e.Iteration, 0), of: g.of})
	}
	t := &(*list)[at]
	if len(t.kept) == 0 || g.shared(e, t) {
		t.own(g.next)
	}
	t.add(e)
	g.next = t.Len()
	if g.Newest.ID <= e.ID {
		g.Newest = e
	}
	g.Last = later(g.Last, e.Finished.Time())
}

// shared reports whether a trial still holds the entries of the series before.
func (g *seriesGrowth) shared(e Entry, t *Trial) bool {
	at, ok := g.before.find(e)
	return ok && &(*g.before.among(e))[at].kept[0] == &t.kept[0]
}

// among are the trials of which that of an entry is one.
func (s *Series) among(e Entry) *[]Trial {
	if e.Iteration > 0 {
		return &s.Trials
	}
	return &s.OutOfOrder
}

// find is where the trial of an entry is among them, or belongs: a trial is one by its
// iteration, or out of order by its file.
func (s *Series) find(e Entry) (at int, ok bool) {
	list := *s.among(e)
	n := len(list)
	switch {
	case e.Iteration <= 0:
		at = slices.IndexFunc(list, func(t Trial) bool { return t.Version == e.Version && t.Digest == e.Digest })
		if at < 0 {
			return n, false
		}
		return at, true
	case n == 0 || list[n-1].Iteration < e.Iteration:
		return n, false
	case list[n-1].Iteration == e.Iteration: // most often: another precision
		return n - 1, true
	}
	at = sort.Search(n, func(i int) bool { return list[i].Iteration >= e.Iteration })
	return at, list[at].Iteration == e.Iteration
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func rank(p engine.Precision) int {
	if i := slices.Index(engine.AllPrecisions, p); i >= 0 {
		return i
	}
	return len(engine.AllPrecisions)
}

// In returns the series of the environment with that fingerprint.
func (m Model) In(fingerprint string) (Series, bool) {
	for _, s := range m.Series {
		if s.Fingerprint == fingerprint {
			return s, true
		}
	}
	return Series{}, false
}

// Current is the newest trial: the one of the highest iteration, measured or
// failed. It is false when every candidate came out of order.
func (s Series) Current() (Trial, bool) {
	if len(s.Trials) == 0 {
		return Trial{}, false
	}
	return s.Trials[len(s.Trials)-1], true
}

// LastGood is the newest measured entry of precision p.
func (s Series) LastGood(p engine.Precision) (Entry, bool) { return s.Before(p, math.MaxInt) }

// Before is the newest measured entry of precision p in a trial of an earlier
// iteration.
func (s Series) Before(p engine.Precision, iteration int) (Entry, bool) {
	for _, t := range slices.Backward(s.Trials) {
		if t.Iteration < iteration {
			if e, ok := t.Entry(p); ok && e.OK() {
				return e, true
			}
		}
	}
	return Entry{}, false
}

// TrialBefore is the newest trial of an earlier iteration of which at least one
// engine was measured.
func (s Series) TrialBefore(iteration int) (Trial, bool) {
	return s.NewestWhere(func(t Trial) bool { return t.Iteration < iteration && t.Measured() })
}

// NewestWhere is the newest trial for which ok holds.
func (s Series) NewestWhere(ok func(Trial) bool) (Trial, bool) {
	for _, t := range slices.Backward(s.Trials) {
		if ok(t) {
			return t, true
		}
	}
	return Trial{}, false
}

// Precisions lists the precisions that appear in the series, most exact first.
func (s Series) Precisions() []engine.Precision {
	var out []engine.Precision
	for i := range s.Trials {
		for k := range s.Trials[i].kept {
			if p := s.Trials[i].kept[k].precision.precision(); !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	slices.SortFunc(out, func(a, b engine.Precision) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	return out
}
