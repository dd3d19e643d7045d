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
	if h.open(s) != nil || len(h.values) == 0 {
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

// timeline is what all series together had shown at the moments of a back-test, and
// each at its own.
type timeline struct {
	own []tallies
	all tallies
}

// tallySlice is how many series are tallied at a time: what each showed after every
// one of its results is needed only until it is added up.
const tallySlice = 64

func newTimeline(series []Series, cuts int) timeline {
	t := timeline{own: make([]tallies, len(series))}
	if len(series) < 2 {
		return t
	}
	spread(len(series), func(i int) {
		w := workspaces.Get().(*workspace)
		defer workspaces.Put(w)
		if h := &w.sibling; h.open(series[i]) == nil {
			for _, n := range moments(len(h.values), cuts) {
				t.own[i].times = append(t.own[i].times, h.times[n-1])
			}
		}
	})
	for _, o := range t.own {
		t.all.times = append(t.all.times, o.times...)
	}
	slices.SortFunc(t.all.times, time.Time.Compare)
	t.all.times = slices.CompactFunc(t.all.times, time.Time.Equal)
	t.all.totals = make([]law.Tally, len(t.all.times))
	for from := 0; from < len(series); from += tallySlice {
		part := series[from:min(from+tallySlice, len(series))]
		shown := make([]tallies, len(part))
		spread(len(part), func(i int) {
			w := workspaces.Get().(*workspace)
			defer workspaces.Put(w)
			shown[i] = tallied(part[i], &w.sibling, &w.engine)
		})
		for i, s := range shown {
			t.all.add(s)
			own := &t.own[from+i]
			own.totals = make([]law.Tally, len(own.times))
			own.add(s)
		}
	}
	return t
}

// add adds what a series had shown at each of the times.
func (t *tallies) add(s tallies) {
	var now law.Tally
	next := 0
	for i, at := range t.times {
		for ; next < len(s.times) && !s.times[next].After(at); next++ {
			now = s.totals[next]
		}
		t.totals[i].Add(now)
	}
}

// others is what all series but one had shown at a moment.
func (t *timeline) others(series int, at time.Time) law.Tally {
	return t.all.at(at).Less(t.own[series].at(at))
}
