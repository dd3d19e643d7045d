package history

import (
	"cmp"
	"maps"
	"math"
	"slices"
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

// identity is what makes a trial one: its iteration, or out of order its file.
type identity struct {
	iteration       int
	version, digest string
}

func identityOf(e Entry) identity {
	if e.Iteration > 0 {
		return identity{iteration: e.Iteration}
	}
	return identity{version: e.Version, digest: e.Digest}
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

// seriesGrowth is a series on its way.
type seriesGrowth struct {
	Series
	index map[identity]place
	of    *origin
	next  int // entries to expect in the next new trial: as many as in the last
}

// place is where a trial is.
type place struct {
	at    int  // into Trials, and below zero into OutOfOrder
	owned bool // its entries are this series' own already
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

// Model is what became of it. The Growth is of no more use then.
func (g *Growth) Model() Model {
	m := g.model
	m.Series = slices.Clone(m.Series)
	for fingerprint, grown := range g.series {
		slices.SortStableFunc(grown.Trials, func(a, b Trial) int { return cmp.Compare(a.Iteration, b.Iteration) })
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
	s.Trials, s.OutOfOrder = slices.Clone(s.Trials), slices.Clone(s.OutOfOrder)
	g := &seriesGrowth{Series: s, index: make(map[identity]place, len(s.Trials)+len(s.OutOfOrder)), of: &origin{s.Model, s.Fingerprint}, next: 1}
	for i, t := range s.Trials {
		g.index[identity{iteration: t.Iteration}] = place{at: i}
	}
	for i, t := range s.OutOfOrder {
		g.index[identity{version: t.Version, digest: t.Digest}] = place{at: -1 - i}
	}
	return g
}

func (g *seriesGrowth) add(e Entry) {
	id := identityOf(e)
	p, ok := g.index[id]
	if !ok {
		t := Trial{Iteration: max(e.Iteration, 0), of: g.of}
		if t.Iteration > 0 {
			p.at = len(g.Trials)
			g.Trials = append(g.Trials, t)
		} else {
			p.at = -1 - len(g.OutOfOrder)
			g.OutOfOrder = append(g.OutOfOrder, t)
		}
	}
	var t *Trial
	if p.at >= 0 {
		t = &g.Trials[p.at]
	} else {
		t = &g.OutOfOrder[-1-p.at]
	}
	if !p.owned {
		t.own(g.next)
		g.index[id] = place{p.at, true}
	}
	t.add(e)
	g.next = t.Len()
	if g.Newest.ID <= e.ID {
		g.Newest = e
	}
	g.Last = later(g.Last, e.Finished.Time())
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func rank(p engine.Precision) int {
	if i := slices.Index(engine.Precisions, p); i >= 0 {
		return i
	}
	return len(engine.Precisions)
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
