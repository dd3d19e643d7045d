package standing

import (
	"cmp"
	"hash/maphash"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
)

// use is what the history of a model is evidence for: the forecast of a
// milestone as of now, or of a week ago.
type use struct {
	milestone string
	past      bool
}

// contribution is what a model contributes to the forecast of a milestone.
type contribution struct {
	since, known time.Time
	environment  string
	stale        bool   // something of the model changed since
	sum          uint64 // of the series: what is the same has the same
	// series has one for each criterion, prepared: without its observations, which take the
	// most memory. Those as of a week ago are not kept, since that forecast is rarely made.
	series []forecast.Series
	newest time.Time // when the newest observation was made
}

// outdate says that the contributions have to be made again.
func (m *tracked) outdate() {
	for _, c := range m.contributions {
		c.stale = true
	}
}

// foreseen is a forecast with what it was made from.
type foreseen struct {
	milestone  config.Milestone
	now, week  moment
	current    *forecast.Forecast
	weekBefore *float64 // its probability; nil when there was nothing to say
}

// moment is what a forecast was made from.
type moment struct {
	at   time.Time
	sums []uint64 // of the contributions
}

func (m moment) equal(o moment) bool { return m.at.Equal(o.at) && slices.Equal(m.sums, o.sums) }

// member is a model that counts for a milestone.
type member struct {
	name  string
	model *Model // nil when the repository lacks it
	held  *tracked
}

// members are the models that count for a milestone, by name.
func (s *State) members(m config.Milestone) []member {
	var out []member
	for _, x := range s.Models {
		if m.Selects(x.Name, x.Labels) {
			out = append(out, member{name: x.Name, model: x})
		}
	}
	for _, a := range s.Absences {
		if a.Kind == KindMilestone && a.Threshold == m.Name && a.Counts && a.Model != "" {
			out = append(out, member{name: a.Model})
		}
	}
	slices.SortFunc(out, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return out
}

// foresee adds the forecast of a milestone: the one that there is, unless something
// of its evidence changed.
func (t *Tracker) foresee(m *MilestoneState, s *State) error {
	members := s.members(m.Milestone)
	if len(members) == 0 {
		return nil // there is nothing to forecast yet
	}
	for i := range members {
		members[i].held = t.of(members[i].name)
	}
	f := t.forecasts[m.Name]
	if f == nil || !sameGoal(f.milestone, m.Milestone) {
		f = &foreseen{milestone: m.Milestone}
		if t.forecasts == nil {
			t.forecasts = map[string]*foreseen{}
		}
		t.forecasts[m.Name] = f
	}
	// The week before comes first: what it needs is freed before more is kept.
	f.foreseeWeek(members, s.Now.Add(-Week).Truncate(time.Hour))
	if err := f.foreseeNow(members, s.Now); err != nil {
		return err
	}
	m.Forecast, m.State = &Forecast{Forecast: *f.current}, f.current.State
	m.Forecast.WeekAgo = f.weekBefore
	return m.check()
}

func (f *foreseen) foreseeNow(members []member, now time.Time) error {
	is := moment{at: now.Truncate(time.Minute)}
	var all []forecast.Series
	for _, c := range each(members, func(x member) contribution { return x.contribution(f.milestone, now, false) }) {
		is.sums, all = append(is.sums, c.sum), append(all, c.series...)
		if c.newest.After(is.at) { // never before its newest evidence
			is.at = c.newest
		}
	}
	if f.current != nil && f.now.equal(is) {
		return nil
	}
	current, err := expect(f.milestone, all, is.at)
	if err == nil {
		f.current, f.now = current, is
	}
	return err
}

func (f *foreseen) foreseeWeek(members []member, at time.Time) {
	was := moment{at: at}
	made := each(members, func(x member) contribution { return x.contribution(f.milestone, at, true) })
	for _, c := range made {
		was.sums = append(was.sums, c.sum)
	}
	if f.week.equal(was) {
		return
	}
	f.week, f.weekBefore = was, nil
	var all []forecast.Series
	for i, c := range made {
		if c.series == nil { // it did not change, and was not kept
			c = members[i].contributed(f.milestone, at, true)
		}
		all = append(all, c.series...)
	}
	if before, err := expect(f.milestone, all, at); err == nil && before.Basis.Observations > 0 && before.Probability != nil {
		f.weekBefore = new(before.Probability.Value) // the rest may be large
	}
}

// each calls f for all of a list, on all cores: what is done for one is its own.
func each[T, R any](list []T, f func(T) R) []R {
	out := make([]R, len(list))
	var calls errgroup.Group
	calls.SetLimit(runtime.GOMAXPROCS(0))
	for i, x := range list {
		calls.Go(func() error {
			out[i] = f(x)
			return nil
		})
	}
	_ = calls.Wait()
	return out
}

func sameGoal(a, b config.Milestone) bool {
	return a.Name == b.Name && a.Share == b.Share && a.Deadline.Equal(b.Deadline) && a.Horizon == b.Horizon && a.Ready == b.Ready && a.Effort == b.Effort &&
		Threshold{Criteria: a.Criteria, Select: a.Select, Environment: a.Environment}.equal(Threshold{Criteria: b.Criteria, Select: b.Select, Environment: b.Environment})
}

// contribution is what a member contributes to a milestone, as known at a moment:
// what was kept, unless something of the model changed. past leaves out what finished
// later, and takes the environment of then.
func (x member) contribution(m config.Milestone, at time.Time, past bool) contribution {
	held, key := x.held, use{m.Name, past}
	old, ok := held.contributions[key]
	c := x.frame(m, at, past)
	if ok && !old.stale && old.since.Equal(c.since) && old.known.Equal(c.known) && old.environment == c.environment {
		return *old
	}
	c = x.contributed(m, at, past)
	if !past && ok && c.sum == old.sum {
		c.series = old.series // with what forecasts have worked out of it
	}
	if held.contributions == nil {
		held.contributions = map[use]*contribution{}
	}
	kept := c
	if past {
		kept.series = nil
	}
	held.contributions[key] = &kept
	return c
}

// frame is which part of a model's history a contribution is made from.
func (x member) frame(m config.Milestone, at time.Time, past bool) contribution {
	switch {
	case x.model == nil:
		return contribution{known: never, environment: m.Environment} // absent: nothing that it did counts
	case past:
		return contribution{known: at, since: lookBack(at), environment: m.Environment}
	}
	return contribution{known: never, since: lookBack(at), environment: cmp.Or(m.Environment, x.model.Series.Fingerprint)}
}

// contributed makes a contribution.
func (x member) contributed(m config.Milestone, at time.Time, past bool) contribution {
	c := x.frame(m, at, past)
	h, expected, pairs := history.Model{Name: x.name}, []engine.Precision(nil), comparing(nil)
	if x.model != nil {
		h, expected = x.held.history, x.model.Precisions
		if !past {
			pairs = x.held.comparison
		}
	}
	c.series = series(Threshold{KindMilestone, m.Name, m.Select, m.Criteria, m.Environment}, h, expected, c.environment, c.known, c.since, pairs)
	var sum maphash.Hash
	sum.SetSeed(seed)
	for _, one := range c.series {
		maphash.WriteComparable(&sum, len(one.Observations))
		maphash.WriteComparable(&sum, one.Environment)
		maphash.WriteComparable(&sum, one.Newest)
		if n := len(one.Observations); n > 0 && one.Observations[n-1].Time.After(c.newest) {
			c.newest = one.Observations[n-1].Time
		}
		for _, o := range one.Observations {
			maphash.WriteComparable(&sum, o)
		}
	}
	c.sum = sum.Sum64()
	for i := range c.series {
		c.series[i] = c.series[i].Prepared()
		c.series[i].Observations = nil
	}
	return c
}

var seed = maphash.MakeSeed()

// Histories are the very ones that the milestones of a state rest on, each once:
// what the method's own record is made from.
func (t *Tracker) Histories(s *State) []forecast.Series {
	type key struct{ model, metric, precision, environment string }
	known := map[key]bool{}
	var all []forecast.Series
	for _, m := range s.Milestones {
		for _, x := range s.Models {
			if !m.Selects(x.Name, x.Labels) {
				continue
			}
			for _, one := range (member{x.Name, x, t.of(x.Name)}).contribution(m.Milestone, s.Now, false).series {
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
