package history

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

// Model is what the history says of one model: one series for each environment
// it was measured in.
type Model struct {
	Name   string
	Series []Series // at least one; ordered by their newest record, the newest environment last
}

// Series is the history of one model in one environment: the only records that
// may be compared with each other.
type Series struct {
	Model       string
	Fingerprint string
	Backend     string
	Device      string
	Environment engine.Environment
	Settings    engine.Settings

	Candidates []Candidate // ascending Iteration, from 1
	OutOfOrder []Candidate // Iteration 0, in order of their first record

	First, Last time.Time // when its first and its newest record finished
}

// Candidate is one version of a model in one environment.
type Candidate struct {
	Version   string
	Digest    string
	Iteration int // 0: out of order
	Time      time.Time

	// Records holds the newest record of each precision, most exact first.
	Records []Record
}

// ByModel sorts records, given in ascending order of ID, into models and
// series, by name. The result shares the records' measurements.
func ByModel(records []Record) []Model {
	type place struct{ model, fingerprint string }
	type identity struct {
		iteration       int
		version, digest string
	}
	type open struct {
		Series
		newest     int64
		candidates map[identity]*Candidate
		order      []identity
	}
	all := map[place]*open{}
	for _, r := range records {
		at := place{r.Model, r.Fingerprint}
		s := all[at]
		if s == nil {
			s = &open{candidates: map[identity]*Candidate{}, Series: Series{
				Model: r.Model, Fingerprint: r.Fingerprint, Backend: r.Backend, Device: r.Device,
				Environment: r.Environment, Settings: r.Settings, First: r.Finished, Last: r.Finished,
			}}
			all[at] = s
		}
		s.newest, s.Last = max(s.newest, r.ID), later(s.Last, r.Finished)
		id := identity{iteration: r.Iteration}
		if r.Iteration <= 0 {
			id = identity{version: r.Version, digest: r.Digest}
		}
		c := s.candidates[id]
		if c == nil {
			c = &Candidate{Iteration: max(r.Iteration, 0)}
			s.candidates[id] = c
			s.order = append(s.order, id)
		}
		c.Version, c.Digest, c.Time = r.Version, r.Digest, r.CandidateTime
		if i := slices.IndexFunc(c.Records, func(x Record) bool { return x.Precision == r.Precision }); i >= 0 {
			c.Records[i] = r // a failure that was tried again
		} else {
			c.Records = append(c.Records, r)
		}
	}

	open2series := func(s *open) Series {
		for _, id := range s.order {
			c := s.candidates[id]
			slices.SortStableFunc(c.Records, func(a, b Record) int {
				return cmp.Compare(rank(a.Precision), rank(b.Precision))
			})
			if c.Iteration > 0 {
				s.Candidates = append(s.Candidates, *c)
			} else {
				s.OutOfOrder = append(s.OutOfOrder, *c)
			}
		}
		slices.SortStableFunc(s.Candidates, func(a, b Candidate) int { return cmp.Compare(a.Iteration, b.Iteration) })
		return s.Series
	}
	models := map[string]*Model{}
	for _, s := range slices.SortedFunc(maps.Values(all), func(a, b *open) int { return cmp.Compare(a.newest, b.newest) }) {
		m := models[s.Model]
		if m == nil {
			m = &Model{Name: s.Model}
			models[s.Model] = m
		}
		m.Series = append(m.Series, open2series(s))
	}
	out := make([]Model, 0, len(models))
	for _, name := range slices.Sorted(maps.Keys(models)) {
		out = append(out, *models[name])
	}
	return out
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

// Newest is the series of the newest environment: the one that the newest
// record belongs to.
func (m Model) Newest() Series { return m.Series[len(m.Series)-1] }

// In returns the series of the environment with that fingerprint; "" is the
// newest one.
func (m Model) In(fingerprint string) (Series, bool) {
	if fingerprint == "" {
		return m.Newest(), true
	}
	for _, s := range m.Series {
		if s.Fingerprint == fingerprint {
			return s, true
		}
	}
	return Series{}, false
}

// Current is the newest candidate: the one of the highest iteration, measured
// or failed. It is false when every candidate came out of order.
func (s Series) Current() (Candidate, bool) {
	if len(s.Candidates) == 0 {
		return Candidate{}, false
	}
	return s.Candidates[len(s.Candidates)-1], true
}

// LastGood is the newest measured record of precision p.
func (s Series) LastGood(p engine.Precision) (Record, bool) { return s.Before(p, math.MaxInt) }

// Before is the newest measured record of precision p in a candidate of an
// earlier iteration.
func (s Series) Before(p engine.Precision, iteration int) (Record, bool) {
	for _, c := range slices.Backward(s.Candidates) {
		if c.Iteration < iteration {
			if r, ok := c.Record(p); ok && r.OK() {
				return r, true
			}
		}
	}
	return Record{}, false
}

// CandidateBefore is the newest candidate of an earlier iteration of which
// at least one engine was measured.
func (s Series) CandidateBefore(iteration int) (Candidate, bool) {
	return s.NewestWhere(func(c Candidate) bool { return c.Iteration < iteration && c.Measured() })
}

// NewestWhere is the newest candidate for which ok holds.
func (s Series) NewestWhere(ok func(Candidate) bool) (Candidate, bool) {
	for _, c := range slices.Backward(s.Candidates) {
		if ok(c) {
			return c, true
		}
	}
	return Candidate{}, false
}

// Precisions lists the precisions that appear in the series, most exact first.
func (s Series) Precisions() []engine.Precision {
	seen := map[engine.Precision]bool{}
	for _, c := range s.Candidates {
		for _, r := range c.Records {
			seen[r.Precision] = true
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b engine.Precision) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b))
	})
}

// Record returns the candidate's record of precision p.
func (c Candidate) Record(p engine.Precision) (Record, bool) {
	for _, r := range c.Records {
		if r.Precision == p {
			return r, true
		}
	}
	return Record{}, false
}

// Measured tells whether at least one engine of the candidate was measured.
func (c Candidate) Measured() bool { return slices.ContainsFunc(c.Records, Record.OK) }

// Complete tells whether the candidate has a record, of whatever outcome, for
// each of the precisions.
func (c Candidate) Complete(precisions []engine.Precision) bool {
	for _, p := range precisions {
		if _, ok := c.Record(p); !ok {
			return false
		}
	}
	return true
}

// Finished is when the candidate's newest record finished.
func (c Candidate) Finished() time.Time {
	var t time.Time
	for _, r := range c.Records {
		t = later(t, r.Finished)
	}
	return t
}
