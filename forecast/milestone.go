package forecast

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plancast/plancast/forecast/internal/law"
	"github.com/plancast/plancast/units"
)

// Milestone is a goal that several series have to reach together: a model is
// ready once one iteration of it has met all its criteria, the milestone once
// Share of the models are.
type Milestone struct {
	Name   string
	Series []Series
	// Share of the models that have to be ready, a ratio; 0 is all of them.
	Share float64
	Goal  Goal
}

const defaultFutures = 2000

// Needed is how many of n models have to be ready for a share of them, a ratio;
// 0 is all. 0.8 of 5 models is 4 of them, whatever 0.8*5 is in binary.
func Needed(share float64, n int) int {
	return min(n, max(1, int(math.Ceil(cmp.Or(share, 1)*float64(n)-1e-9))))
}

// Joint forecasts a milestone as seen at now. Futures are simulated: in each,
// every model becomes ready at an iteration drawn from its curve of
// probabilities, and the ready models are counted. The curve of a model with
// one criterion is that of its series; with several, all have to be met by the
// same iteration (see model). Models lean on a shared component, so that they
// may be early or late together; how strongly is estimated from the gains their
// series made at the same times, and drawn towards a documented prior while
// there are few.
//
// A model is taken to stay ready. Draws are the same for every horizon,
// deadline and target, so a milestone obeys the same laws as one series. A
// milestone of one series is exactly Single.
func Joint(m Milestone, now time.Time, o Options) (Forecast, error) {
	fail := func(err error) (Forecast, error) { return Forecast{}, fmt.Errorf("milestone %s: %w", m.Name, err) }
	if len(m.Series) == 0 {
		return fail(fmt.Errorf("%w: it has no series", ErrGoal))
	}
	if math.IsNaN(m.Share) || m.Share < 0 || m.Share > 1 {
		return fail(fmt.Errorf("%w: share of models %v, want 0 to 1", ErrGoal, m.Share))
	}
	criteria := map[string]int{} // of each model
	for _, s := range m.Series {
		criteria[s.Model]++
	}
	outlooks := make([]*outlook, len(m.Series))
	errs := make([]error, len(m.Series))
	shown := siblings(m.Series, now, o)
	spread(len(m.Series), func(i int) {
		d := workspaces.Get().(*workspace)
		defer workspaces.Put(d)
		l, la := &outlook{}, &d.law
		if criteria[m.Series[i].Model] > 1 {
			la = &law.Law{}
		}
		if errs[i] = l.fill(m.Series[i], m.Goal, now, o, shown[i], &d.engine, la); la == &d.law {
			l.law = nil // only criteria that have to be met together ask it again
		}
		outlooks[i] = l
	})
	for i, err := range errs {
		if err != nil {
			return fail(fmt.Errorf("%s: %w", m.Series[i].Model, err))
		}
	}
	j := newJoint(m, outlooks)
	var f Forecast
	if len(outlooks) == 1 {
		f = outlooks[0].forecast
	} else {
		f = j.forecast(m, now, o)
	}
	for i, s := range m.Series {
		f.Parts = append(f.Parts, Part{s.Model, s.Criterion, outlooks[i].forecast})
	}
	slices.SortStableFunc(f.Parts, func(a, b Part) int { return cmp.Compare(a.Forecast.chance(), b.Forecast.chance()) })
	return f, nil
}

// spread calls f for 0 to n-1 on all cores. Each call has a result of its own,
// so their order changes nothing.
func spread(n int, f func(int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// chance orders forecasts by what holds back most; nothing known comes first.
func (f *Forecast) chance() float64 {
	switch {
	case f.Met:
		return 2
	case f.Probability == nil:
		return -1
	}
	return f.Probability.Value
}

// joint is a milestone of several series.
type joint struct {
	outlooks []*outlook
	models   []*model
	need     int // models that have to be ready
}

func newJoint(m Milestone, outlooks []*outlook) *joint {
	j := &joint{outlooks: outlooks}
	index := map[string]*model{}
	for i, s := range m.Series {
		k, ok := index[s.Model]
		if !ok {
			k = &model{name: s.Model}
			index[s.Model] = k
			j.models = append(j.models, k)
		}
		k.series = append(k.series, i)
		k.outlooks = append(k.outlooks, outlooks[i])
	}
	for _, k := range j.models {
		k.combine()
	}
	j.need = Needed(m.Share, len(j.models))
	return j
}

// model is one model of a milestone: the criteria that one and the same
// iteration of it has to meet.
//
// Its curve is the least of the curves of its criteria, none of which can be
// met later than all, and of law.Together: the chance that they are met at
// once. Criteria that were met one after the other but never together (faster,
// but less accurate) are as far from ready as the iteration that came nearest.
// All parts keep the laws of one series, and so does the least of them.
type model struct {
	name         string
	series       []int // in the milestone
	outlooks     []*outlook
	met          bool  // by the newest iteration
	apart        bool  // every criterion was met at some time, but never all at once
	curve        curve // nil when nothing is known of a criterion
	lower, upper curve
}

func (m *model) combine() {
	if len(m.outlooks) == 1 {
		l := m.outlooks[0]
		m.met, m.curve, m.lower, m.upper = l.forecast.Met, l.curve, l.lower, l.upper
		return
	}
	steps, doubt := math.MaxInt, 0.0
	m.met = true
	for _, l := range m.outlooks {
		m.met = m.met && l.forecast.Met
		if len(l.curve) == 0 {
			return
		}
		steps = min(steps, len(l.curve))
		doubt = max(doubt, intervalWidth*l.law.Doubt())
	}
	gap, n, newest := m.nearest()
	m.met = m.met && newest
	if together, shared := m.together(); shared {
		m.met = together
	}
	m.curve = make(curve, steps)
	if m.met {
		for i := range m.curve {
			m.curve[i] = 1
		}
	} else {
		criteria := make([]law.Criterion, len(m.outlooks))
		m.apart = gap > 0
		for i, l := range m.outlooks {
			criteria[i] = law.Criterion{Law: l.law, X: l.target}
			m.apart = m.apart && l.law.Best() <= l.target
		}
		law.Together(criteria, gap, n, m.curve[1:])
		for i, p := range m.curve {
			for _, l := range m.outlooks {
				p = min(p, l.curve[i])
			}
			m.curve[i] = p
		}
	}
	m.lower, m.upper = m.curve.shifted(-doubt, nil), m.curve.shifted(doubt, nil)
}

// together reports whether the newest iteration that decides meets all criteria:
// one with a valid result for each, or with one that misses. shared is false
// where the series do not have their newest result at the same times, so that
// criteria can only be taken one by one.
func (m *model) together() (met, shared bool) {
	var newest time.Time
	for _, l := range m.outlooks {
		h := &l.history
		for i := len(h.times) - 1; i >= 0; i-- {
			if h.valid[i] {
				if h.times[i].After(newest) {
					newest = h.times[i]
				}
				break
			}
		}
	}
	at := make([]int, len(m.outlooks))
	for k, l := range m.outlooks {
		i, ok := slices.BinarySearchFunc(l.history.times, newest, time.Time.Compare)
		if !ok {
			return false, false
		}
		at[k] = i
	}
	for least := slices.Min(at); least >= 0; least-- {
		missed, whole := false, true
		t := m.outlooks[0].history.times[at[0]]
		for k, l := range m.outlooks {
			h := &l.history
			if !h.times[at[k]].Equal(t) {
				return false, false
			}
			whole = whole && h.valid[at[k]]
			missed = missed || h.valid[at[k]] && !h.criterion.Met(h.values[at[k]])
			at[k]--
		}
		if missed || whole {
			return !missed, true
		}
	}
	return false, true
}

// nearest looks at the iterations that have a valid result for every criterion:
// how far the nearest of them was from meeting all, as a gain on the scale, how
// many there are, and whether the newest met all. Where no iteration has all,
// the criteria are taken one by one.
func (m *model) nearest() (gap float64, n int, newest bool) {
	gap, newest = math.Inf(1), true
	at := make([]int, len(m.outlooks))
	first := &m.outlooks[0].history
	for i, t := range first.times {
		worst, whole, met := math.Inf(-1), true, true
		for k, l := range m.outlooks {
			h := &l.history
			for at[k] < len(h.times) && h.times[at[k]].Before(t) {
				at[k]++
			}
			if k == 0 {
				at[k] = i
			}
			if whole = at[k] < len(h.times) && h.times[at[k]].Equal(t) && h.valid[at[k]]; !whole {
				break
			}
			worst = max(worst, h.z[at[k]]-l.target)
			met = met && h.criterion.Met(h.values[at[k]])
		}
		if met {
			worst = 0
		}
		if whole {
			n++
			gap = min(gap, max(worst, 0))
			newest = met
		}
	}
	if n > 0 {
		return gap, n, newest
	}
	gap, n = 0, math.MaxInt
	for _, l := range m.outlooks {
		gap = max(gap, l.law.Best()-l.target)
		n = min(n, len(l.history.values))
	}
	return gap, n, true
}

func (j *joint) forecast(m Milestone, now time.Time, o Options) Forecast {
	g := m.Goal
	f := Forecast{ModelsTotal: len(j.models)}
	var shares []float64
	known := false
	for _, k := range j.models {
		share := 0.0
		for _, l := range k.outlooks {
			if a := l.forecast.Attained; a != nil {
				share += *a / float64(len(k.outlooks))
			}
		}
		if k.met {
			f.ModelsReady++
		} else {
			share = min(share, nearlyThere)
		}
		shares = append(shares, share)
	}
	f.Met = f.ModelsReady >= j.need
	observations := math.MaxInt
	for _, l := range j.outlooks {
		e := &l.forecast.Evidence
		known = known || e.Observations > 0
		observations = min(observations, e.Observations)
		f.Evidence.Missed += e.Missed
		f.Evidence.Ignored += e.Ignored
		f.Evidence.PerIteration += e.PerIteration / float64(len(j.outlooks))
	}
	f.Evidence.Observations = observations
	if known {
		// The nearest models are those that the milestone needs.
		slices.Sort(shares)
		attained := 0.0
		for _, x := range shares[len(shares)-j.need:] {
			attained += x
		}
		share := attained / float64(j.need)
		if f.Met {
			share = 1
		}
		f.Attained = &share
		f.Evidence.Correlation = correlation(j.outlooks)
		if j.unknown() == 0 || f.Met {
			j.probabilities(&f, m, now, o)
		}
	}
	f.State = j.state(&f, g)
	if f.State == InsufficientData {
		f.Missing = j.missing()
	}
	for i, l := range j.outlooks {
		for _, w := range l.forecast.Evidence.Warnings {
			f.Evidence.Warnings = append(f.Evidence.Warnings, fmt.Sprintf("%s, %s: %s", m.Series[i].Model, m.Series[i].Criterion.Metric, w))
		}
	}
	j.words(&f, m)
	return f
}

// unknown is how many models that are needed have no result for a criterion.
func (j *joint) unknown() int {
	known := 0
	for _, k := range j.models {
		if k.met || len(k.curve) > 0 {
			known++
		}
	}
	return max(0, j.need-known)
}

// missing is that of the series that waits longest.
func (j *joint) missing() (most *Missing) {
	for _, l := range j.outlooks {
		if m := l.forecast.Missing; m != nil && (most == nil || m.Results > most.Results) {
			most = m
		}
	}
	return most
}

func (j *joint) probabilities(f *Forecast, m Milestone, now time.Time, o Options) {
	g := m.Goal
	n := o.Futures
	if n <= 0 {
		n = defaultFutures
	}
	sim := j.simulate(n, f.Evidence.Correlation, o.Seed)
	// Half a future keeps a simulated share from being certain.
	share := func(reached int) float64 {
		if f.Met {
			return 1
		}
		return (float64(reached) + 0.5) / (float64(n) + 1)
	}
	for i := 1; i <= max(withinMin, g.Iterations); i++ {
		in := func(which int) float64 { return share(sim.steps[which].within(i)) }
		f.Within = append(f.Within, Probability{in(middle), in(lower), in(upper)})
	}
	p := f.Within[cmp.Or(g.Iterations, defaultIterations)-1]
	if !g.Deadline.IsZero() {
		by := func(limit int) (p Probability) {
			switch {
			case f.Met:
				return Probability{1, 1, 1}
			case !g.Deadline.After(now):
				return p
			}
			all := func(which int) float64 { return share(sim.by(which, now, g.Deadline, limit)) }
			return Probability{all(middle), all(lower), all(upper)}
		}
		whenever := by(0)
		f.ByDeadline = &whenever
		if p = whenever; g.Iterations > 0 {
			p = by(g.Iterations)
		}
	}
	f.Probability = &p
	long := share(sim.steps[middle].within(LongRun))
	f.Limit = &Limit{Chance: long, Stalled: long < StalledBelow && f.Evidence.Observations >= FewResults}
	quantiles := [...]float64{0.1, 0.5, 0.9}
	if f.Met {
		for _, q := range quantiles {
			f.When = append(f.When, Date{Quantile: q, Time: now.UTC()})
		}
		return
	}
	// rank is how many futures have to be there for a probability.
	rank := func(p float64) int { return max(1, int(math.Ceil(p*float64(n+1)-0.5))) }
	needed := rank(g.ready())
	ranks := []int{needed}
	for _, q := range quantiles {
		ranks = append(ranks, rank(q))
	}
	dates := sim.when(now, ranks)
	for _, q := range quantiles {
		if t, ok := dates[rank(q)]; ok {
			f.When = append(f.When, Date{Quantile: q, Time: t, Iterations: sim.steps[middle].at(rank(q))})
		}
	}
	f.Needs = &Needs{}
	if t, ok := dates[needed]; ok {
		f.Needs.Deadline = &t
	}
	half, left := sim.steps[middle].at((n+1)/2), j.effective()
	if !math.IsInf(half, 1) && !math.IsInf(left, 1) {
		f.Effort = &Effort{Effective: left, Iterations: half, Confidence: share(sim.steps[middle].within(int(half)))}
	}
}

// effective is how many effective iterations the models still needed have
// ahead of them: those that are nearest count.
func (j *joint) effective() float64 {
	var left []float64
	for _, k := range j.models {
		most := 0.0
		for _, l := range k.outlooks {
			f := &l.forecast
			switch {
			case f.Met:
			case f.Effort == nil:
				most = math.Inf(1)
			default:
				most = math.Max(most, f.Effort.Effective)
			}
		}
		left = append(left, most)
	}
	slices.Sort(left)
	return left[j.need-1]
}

func (j *joint) state(f *Forecast, g Goal) State {
	s := f.state(g)
	if s != IsStalled && s != OnTrack && s != AtRisk {
		return s
	}
	for _, l := range j.outlooks {
		if a := l.forecast.Atypical; a != nil && a.Is && !l.forecast.Met {
			return IsAtypical
		}
	}
	return s
}

// binding is the index of the series that holds the milestone back most: the
// least likely one of the last model that the needed share has to wait for. It
// is -1 without series.
func (j *joint) binding() int {
	type hold struct {
		series int
		chance float64
	}
	var models []hold
	for _, k := range j.models {
		h := hold{-1, 2}
		for i, l := range k.outlooks {
			if c := l.forecast.chance(); c < h.chance {
				h = hold{k.series[i], c}
			}
		}
		if h.series >= 0 {
			models = append(models, h)
		}
	}
	if len(models) == 0 {
		return -1
	}
	slices.SortStableFunc(models, func(a, b hold) int { return cmp.Compare(b.chance, a.chance) })
	return models[min(j.need, len(models))-1].series
}

func (j *joint) words(f *Forecast, m Milestone) {
	switch {
	case f.Met:
		f.Summary = fmt.Sprintf("met: %d of %d models ready, %d needed", f.ModelsReady, f.ModelsTotal, j.need)
		return
	case f.Probability == nil:
		f.Summary = "no result yet"
		if n := j.unknown(); f.Attained != nil {
			f.Summary = fmt.Sprintf("%d of %d models ready, %d needed; unknown: %s no result yet", f.ModelsReady, f.ModelsTotal, j.need, plural(n, "model that is needed has", "models that are needed have"))
		}
		return
	}
	f.Summary = fmt.Sprintf("%d of %d models ready, %d needed; %s of the way; %s %s",
		f.ModelsReady, f.ModelsTotal, j.need, units.Percent(*f.Attained), f.Probability, m.Goal.until())
	if worst := j.binding(); worst >= 0 {
		s, p := &m.Series[worst], &j.outlooks[worst].forecast
		odds := "no result yet"
		if p.Probability != nil {
			odds = p.Probability.String()
		}
		f.Advice = append(f.Advice, fmt.Sprintf("%s of %s holds it back most: %s.", s.Criterion, s.Model, odds))
	}
	for _, k := range j.models {
		if k.apart {
			f.Advice = append(f.Advice, fmt.Sprintf("%s has met each criterion, but never all in one iteration.", k.name))
		}
	}
	for i, l := range j.outlooks {
		if a := l.forecast.Atypical; a != nil && a.Is && !l.forecast.Met {
			f.Advice = append(f.Advice, m.Series[i].Model+": "+l.forecast.Advice[0])
		}
	}
	if f.Probability.Value < m.Goal.ready() {
		f.moves(m.Goal, func(format string, args ...any) { f.Advice = append(f.Advice, fmt.Sprintf(format, args...)) })
	}
}
