package forecast

import (
	"slices"
	"time"

	"github.com/plancast/plancast/forecast/internal/law"
)

// Effort levels: whether people work on the models of a goal.
const (
	Inferred    EffortLevel = "" // from the history itself
	Active      EffortLevel = "active"
	Maintenance EffortLevel = "maintenance"
)

// EffortLevel says what a team knows about the work on its models.
type EffortLevel string

// effortOdds is how much the word of the team counts, in log odds that people
// work on a history: as much as about ten results of a clear history. Set by
// hand; at 0 the word would count for nothing, beyond 6 the history would.
const effortOdds = 3.0

// Valid says whether e is one of the levels above.
func (e EffortLevel) Valid() bool { return e == Inferred || e == Active || e == Maintenance }

func (e EffortLevel) odds() float64 {
	switch e {
	case Active:
		return effortOdds
	case Maintenance:
		return -effortOdds
	}
	return 0
}

// tallies are what each series of a project showed about how often gains come,
// after each of its results.
type tallies struct {
	times  []time.Time
	totals []law.Tally
}

// tallied resolves the past of one series, in memory that is free to use.
func tallied(s Series, h *history, e *law.History) tallies {
	if h.clean(s) != nil || len(h.values) == 0 {
		return tallies{}
	}
	h.condense(e)
	learned := law.Default()
	return tallies{slices.Clone(h.times), e.Tallies(&learned, nil)}
}

// at is what was known at a moment.
func (t *tallies) at(now time.Time) law.Tally {
	i, _ := slices.BinarySearchFunc(t.times, now, func(a, b time.Time) int {
		if a.After(b) {
			return 1
		}
		return -1
	})
	if i == 0 {
		return law.Tally{}
	}
	return t.totals[i-1]
}

// Record is what other series had shown at a moment about how often gains come.
type Record struct{ tally law.Tally }

// Records returns, for each series, the record of all others as of now, for
// Options.Others: in one go, where Siblings would look at each series as often
// as there are others.
func Records(series []Series, now time.Time) []Record {
	out := make([]Record, len(series))
	for i, t := range siblings(series, now, Options{}) {
		out[i].tally = t
	}
	return out
}

// shown is what the series that o names had shown at a moment.
func (o *Options) shown(now time.Time, w *workspace) law.Tally {
	sum := o.Others.tally
	for i := range o.Siblings {
		sum.Add(o.Siblings[i].shownBy(now, w))
	}
	return sum
}

// siblings sums up, for each series, what all others had shown at a moment.
func siblings(series []Series, now time.Time, o Options) []law.Tally {
	own := make([]law.Tally, len(series))
	spread(len(series), func(i int) {
		w := workspaces.Get().(*workspace)
		defer workspaces.Put(w)
		own[i] = series[i].shownBy(now, w)
	})
	w := workspaces.Get().(*workspace)
	defer workspaces.Put(w)
	all := o.shown(now, w)
	for _, t := range own {
		all.Add(t)
	}
	for i, t := range own {
		own[i] = all.Less(t)
	}
	return own
}

// timeline is what all series together had shown at each moment.
type timeline struct {
	own []tallies
	all tallies
}

func newTimeline(series []Series) timeline {
	t := timeline{own: make([]tallies, len(series))}
	if len(series) < 2 {
		return t
	}
	type change struct {
		at           time.Time
		before, then law.Tally
	}
	spread(len(series), func(i int) {
		w := workspaces.Get().(*workspace)
		defer workspaces.Put(w)
		t.own[i] = tallied(series[i], &w.sibling, &w.engine)
	})
	n := 0
	for _, o := range t.own {
		n += len(o.times)
	}
	changes := make([]change, 0, n)
	t.all = tallies{make([]time.Time, 0, n), make([]law.Tally, 0, n)}
	for _, o := range t.own {
		var before law.Tally
		for k, at := range o.times {
			changes = append(changes, change{at, before, o.totals[k]})
			before = o.totals[k]
		}
	}
	slices.SortStableFunc(changes, func(a, b change) int { return a.at.Compare(b.at) })
	var sum law.Tally
	for _, c := range changes {
		sum = sum.Less(c.before)
		sum.Add(c.then)
		t.all.times = append(t.all.times, c.at)
		t.all.totals = append(t.all.totals, sum)
	}
	return t
}

// others is what all series but one had shown at a moment.
func (t *timeline) others(series int, at time.Time) law.Tally {
	return t.all.at(at).Less(t.own[series].at(at))
}
