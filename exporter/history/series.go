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

// Trial is one candidate in one environment: what became of it at each precision.
type Trial struct {
	Version   string
	Digest    string
	Iteration int // 0: out of order

	// Entries holds the newest entry of each precision, most exact first.
	Entries []Entry
}

// ByModel sorts entries, given in ascending order of ID, into models and
// series, by name.
func ByModel(entries []Entry) []Model {
	by := map[string][]Entry{}
	for _, e := range entries {
		by[e.Model] = append(by[e.Model], e)
	}
	out := make([]Model, 0, len(by))
	for _, name := range slices.Sorted(maps.Keys(by)) {
		out = append(out, Model{Name: name}.With(by[name]...))
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
	m.Series = slices.Clone(m.Series)
	by := map[string][]Entry{}
	for _, e := range entries {
		if e.Counts() {
			by[e.Fingerprint] = append(by[e.Fingerprint], e)
		}
	}
	for fingerprint, list := range by {
		i := slices.IndexFunc(m.Series, func(s Series) bool { return s.Fingerprint == fingerprint })
		if i < 0 {
			i = len(m.Series)
			m.Series = append(m.Series, Series{Model: m.Name, Fingerprint: fingerprint, First: list[0].Finished.Time()})
		}
		m.Series[i] = m.Series[i].with(list)
	}
	slices.SortFunc(m.Series, func(a, b Series) int { return cmp.Compare(a.Newest.ID, b.Newest.ID) })
	return m
}

func (s Series) with(entries []Entry) Series {
	s.Trials, s.OutOfOrder = slices.Clone(s.Trials), slices.Clone(s.OutOfOrder)
	index := make(map[identity]int, len(s.Trials)+len(s.OutOfOrder)) // into Trials, and below zero into OutOfOrder
	for i, t := range s.Trials {
		index[identity{iteration: t.Iteration}] = i
	}
	for i, t := range s.OutOfOrder {
		index[identity{version: t.Version, digest: t.Digest}] = -1 - i
	}
	owned := map[identity]bool{} // trials whose entries are this series' own already
	for _, e := range entries {
		id := identityOf(e)
		at, ok := index[id]
		if !ok {
			t := Trial{Iteration: max(e.Iteration, 0)}
			if t.Iteration > 0 {
				at = len(s.Trials)
				s.Trials = append(s.Trials, t)
			} else {
				at = -1 - len(s.OutOfOrder)
				s.OutOfOrder = append(s.OutOfOrder, t)
			}
			index[id] = at
		}
		var t *Trial
		if at >= 0 {
			t = &s.Trials[at]
		} else {
			t = &s.OutOfOrder[-1-at]
		}
		if !owned[id] {
			t.Entries, owned[id] = slices.Clone(t.Entries), true
		}
		t.add(e)
		if s.Newest.ID <= e.ID {
			s.Newest = e
		}
		s.Last = later(s.Last, e.Finished.Time())
	}
	slices.SortStableFunc(s.Trials, func(a, b Trial) int { return cmp.Compare(a.Iteration, b.Iteration) })
	return s
}

// add takes an entry; it replaces one of the same precision, such as a failure
// that was tried again.
func (t *Trial) add(e Entry) {
	t.Version, t.Digest = e.Version, e.Digest
	if i := slices.IndexFunc(t.Entries, func(x Entry) bool { return x.Precision == e.Precision }); i >= 0 {
		t.Entries[i] = e
		return
	}
	// Exactly as long as it is: a long history holds many.
	t.Entries = append(make([]Entry, 0, len(t.Entries)+1), t.Entries...)
	t.Entries = append(t.Entries, e)
	slices.SortStableFunc(t.Entries, func(a, b Entry) int { return cmp.Compare(rank(a.Precision), rank(b.Precision)) })
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
	for _, t := range s.Trials {
		for _, e := range t.Entries {
			if !slices.Contains(out, e.Precision) {
				out = append(out, e.Precision)
			}
		}
	}
	slices.SortFunc(out, func(a, b engine.Precision) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
	return out
}

// Entry returns the trial's entry of precision p.
func (t Trial) Entry(p engine.Precision) (Entry, bool) {
	for _, e := range t.Entries {
		if e.Precision == p {
			return e, true
		}
	}
	return Entry{}, false
}

// Measured reports whether at least one engine of the candidate was measured.
func (t Trial) Measured() bool { return slices.ContainsFunc(t.Entries, Entry.OK) }

// Complete reports whether the trial has an entry, of whatever outcome, for
// each of the precisions.
func (t Trial) Complete(precisions []engine.Precision) bool {
	for _, p := range precisions {
		if _, ok := t.Entry(p); !ok {
			return false
		}
	}
	return true
}

// Finished is when the trial's newest entry finished.
func (t Trial) Finished() time.Time {
	var last Moment = math.MinInt64
	for _, e := range t.Entries {
		last = max(last, e.Finished)
	}
	if len(t.Entries) == 0 {
		return time.Time{}
	}
	return last.Time()
}
