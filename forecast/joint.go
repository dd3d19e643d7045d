package forecast

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/units"
)

// joint is a milestone of several series.
type joint struct {
	outlooks []*outlook
	models   []*model
	need     int // models that have to be ready
}

func newJoint(m JointGoal, outlooks []*outlook) *joint {
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

func (j *joint) forecast(m JointGoal, now time.Time, o Options) Forecast {
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
		e := &l.forecast.Basis
		known = known || e.Observations > 0
		observations = min(observations, e.Observations)
		f.Basis.Missed += e.Missed
		f.Basis.Ignored += e.Ignored
		f.Basis.PerIteration += e.PerIteration / float64(len(j.outlooks))
	}
	f.Basis.Observations = observations
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
		f.Basis.Correlation = correlation(j.outlooks)
		if j.unknown() == 0 || f.Met {
			j.probabilities(&f, m, now, o)
		}
	}
	f.State = j.state(&f, g)
	if f.State == InsufficientData {
		f.Missing = j.missing()
	}
	f.Basis.Warnings = append(f.Basis.Warnings, j.warnings(m)...)
	j.words(&f, m)
	return f
}

// warnings says each warning once for a model, with the criteria that it is about.
func (j *joint) warnings(m JointGoal) []string {
	type warning struct{ model, text string }
	var order []warning
	about := map[warning][]string{}
	for i, l := range j.outlooks {
		for _, w := range l.forecast.Basis.Warnings {
			key := warning{m.Series[i].Model, w}
			if about[key] == nil {
				order = append(order, key)
			}
			about[key] = append(about[key], m.Series[i].Criterion.Metric)
		}
	}
	var out []string
	for _, w := range order {
		out = append(out, fmt.Sprintf("%s (%s): %s", w.model, strings.Join(slices.Compact(about[w]), ", "), w.text))
	}
	return out
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

func (j *joint) probabilities(f *Forecast, m JointGoal, now time.Time, o Options) {
	g := m.Goal
	n := o.Futures
	if n <= 0 {
		n = defaultFutures
	}
	sim := j.simulate(n, f.Basis.Correlation, o.Seed)
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
	f.Limit = &Limit{Chance: long, Stalled: long < StalledBelow && f.Basis.Observations >= FewResults}
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

func (j *joint) words(f *Forecast, m JointGoal) {
	switch {
	case f.Met:
		f.Summary = "met"
		return
	case f.Probability == nil:
		f.Summary = "no result yet"
		if n := j.unknown(); f.Attained != nil {
			f.Summary = fmt.Sprintf("unknown: %s no result yet", plural(n, "model that is needed has", "models that are needed have"))
		}
		return
	}
	f.Summary = fmt.Sprintf("%s of the way; %s %s", units.Percent(*f.Attained), f.Probability, m.Goal.until())
	if worst := j.binding(); worst >= 0 {
		s, p := &m.Series[worst], &j.outlooks[worst].forecast
		odds := "no result yet"
		if p.Probability != nil {
			odds = p.Probability.String()
		}
		f.Advice = append(f.Advice, fmt.Sprintf("Held back most by %s of %s: %s.", s.Criterion, s.Model, odds))
	}
	for _, k := range j.models {
		if k.apart {
			f.Advice = append(f.Advice, fmt.Sprintf("Model %s has met each criterion, but never all in one iteration.", k.name))
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
