package forecast

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

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
	looks := make([]*look, len(m.Series))
	errs := make([]error, len(m.Series))
	spread(len(m.Series), func(i int) { looks[i], errs[i] = see(m.Series[i], m.Goal, now, o) })
	for i, err := range errs {
		if err != nil {
			return fail(fmt.Errorf("%s: %w", m.Series[i].Model, err))
		}
	}
	j := newJoint(m, looks)
	var f Forecast
	if len(looks) == 1 {
		f = looks[0].forecast
	} else {
		f = j.forecast(m, now, o)
	}
	for i, s := range m.Series {
		f.Parts = append(f.Parts, Part{s.Model, s.Criterion, looks[i].forecast})
	}
	slices.SortStableFunc(f.Parts, func(a, b Part) int { return cmp.Compare(a.chance(), b.chance()) })
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

// chance orders parts by what holds back most; nothing known comes first.
func (p *Part) chance() float64 {
	switch {
	case p.Forecast.Met:
		return 2
	case p.Forecast.Probability == nil:
		return -1
	}
	return p.Forecast.Probability.Value
}

// joint is a milestone of several series.
type joint struct {
	looks  []*look
	models []*model
	need   int // models that have to be ready
}

func newJoint(m Milestone, looks []*look) *joint {
	j := &joint{looks: looks}
	index := map[string]*model{}
	for i, s := range m.Series {
		k, ok := index[s.Model]
		if !ok {
			k = &model{name: s.Model}
			index[s.Model] = k
			j.models = append(j.models, k)
		}
		k.series = append(k.series, i)
		k.looks = append(k.looks, looks[i])
	}
	for _, k := range j.models {
		k.combine()
	}
	// 0.8 of 5 models is 4 of them, whatever 0.8*5 is in binary.
	j.need = min(len(j.models), max(1, int(math.Ceil(cmp.Or(m.Share, 1)*float64(len(j.models))-1e-9))))
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
	looks        []*look
	met          bool  // by the newest iteration
	apart        bool  // every criterion was met at some time, but never all at once
	curve        curve // nil when nothing is known of a criterion
	lower, upper curve
}

func (m *model) combine() {
	if len(m.looks) == 1 {
		l := m.looks[0]
		m.met, m.curve, m.lower, m.upper = l.forecast.Met, l.curve, l.lower, l.upper
		return
	}
	steps, doubt := math.MaxInt, 0.0
	m.met = true
	for _, l := range m.looks {
		m.met = m.met && l.forecast.Met
		if l.curve == nil {
			return
		}
		steps = min(steps, len(l.curve))
		doubt = max(doubt, intervalWidth*l.law.Doubt())
	}
	gap, n, newest := m.nearest()
	m.met = m.met && newest
	m.curve = make(curve, steps)
	if m.met {
		for i := range m.curve {
			m.curve[i] = 1
		}
	} else {
		criteria := make([]law.Criterion, len(m.looks))
		m.apart = gap > 0
		for i, l := range m.looks {
			criteria[i] = law.Criterion{Law: &l.law, X: l.target}
			m.apart = m.apart && l.law.Best() <= l.target
		}
		law.Together(criteria, gap, n, m.curve[1:])
		for i, p := range m.curve {
			for _, l := range m.looks {
				p = min(p, l.curve[i])
			}
			m.curve[i] = p
		}
	}
	m.lower, m.upper = m.curve.shifted(-doubt), m.curve.shifted(doubt)
}

// nearest looks at the iterations that have a valid result for every criterion:
// how far the nearest of them was from meeting all, as a gain on the scale, how
// many there are, and whether the newest met all. Where no iteration has all,
// the criteria are taken one by one.
func (m *model) nearest() (gap float64, n int, newest bool) {
	gap, newest = math.Inf(1), true
	at := make([]int, len(m.looks))
	first := m.looks[0].history
	for i, t := range first.times {
		worst, whole, met := math.Inf(-1), true, true
		for k, l := range m.looks {
			h := l.history
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
	for _, l := range m.looks {
		gap = max(gap, l.law.Best()-l.target)
		n = min(n, len(l.history.values))
	}
	return gap, n, true
}

// arrivals are when the milestone is reached in each future: in iterations and
// in seconds from now, each sorted, and both together as drawn.
type arrivals struct {
	steps, seconds []float64
	both           [][2]float64
}

// within returns how many futures arrive within so many steps and seconds.
func (a *arrivals) within(steps, seconds float64) (n int) {
	for _, x := range a.both {
		if x[0] <= steps && x[1] <= seconds {
			n++
		}
	}
	return n
}

func (j *joint) forecast(m Milestone, now time.Time, o Options) Forecast {
	g := m.Goal
	f := Forecast{ModelsTotal: len(j.models)}
	var shares []float64
	known := false
	for _, k := range j.models {
		share := 0.0
		for _, l := range k.looks {
			if a := l.forecast.Attained; a != nil {
				share += *a / float64(len(k.looks))
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
	for _, l := range j.looks {
		e := &l.forecast.Evidence
		known = known || e.Observations > 0
		observations = min(observations, e.Observations)
		f.Evidence.Missed += e.Missed
		f.Evidence.Ignored += e.Ignored
		f.Evidence.PerIteration += e.PerIteration / float64(len(j.looks))
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
		f.Evidence.Correlation = correlation(j.looks)
		j.probabilities(&f, m, now, o)
	}
	f.State = j.state(&f, g)
	for i, l := range j.looks {
		for _, w := range l.forecast.Evidence.Warnings {
			f.Evidence.Warnings = append(f.Evidence.Warnings, fmt.Sprintf("%s, %s: %s", m.Series[i].Model, m.Series[i].Criterion.Metric, w))
		}
	}
	j.words(&f, m)
	return f
}

func (j *joint) probabilities(f *Forecast, m Milestone, now time.Time, o Options) {
	g := m.Goal
	futures := o.Futures
	if futures <= 0 {
		futures = defaultFutures
	}
	draws := j.draw(futures, f.Evidence.Correlation, o.Seed)
	clocks := make([]clock, len(j.looks))
	spread(len(j.looks), func(i int) { clocks[i].fill(j.looks[i], now) })
	var three [3]arrivals
	spread(len(three), func(i int) {
		three[i] = j.simulate(draws, futures, clocks, func(k *model) curve { return [...]curve{k.curve, k.lower, k.upper}[i] })
	})
	middle, lower, upper := three[0], three[1], three[2]
	read := func(of func(*arrivals) float64) Probability {
		return Probability{of(&middle), of(&lower), of(&upper)}
	}
	chance := func(steps, seconds float64) func(*arrivals) float64 {
		return func(a *arrivals) float64 {
			switch {
			case f.Met:
				return 1
			case seconds <= 0:
				return 0
			}
			// Half a future keeps a simulated share from being certain.
			return (float64(a.within(steps, seconds)) + 0.5) / (float64(futures) + 1)
		}
	}
	ever := math.Inf(1)
	for i := 1; i <= max(withinMin, g.Iterations); i++ {
		f.Within = append(f.Within, read(chance(float64(i), ever)))
	}
	n := g.Iterations
	if n == 0 {
		n = defaultIterations
	}
	p := f.Within[n-1]
	if !g.Deadline.IsZero() {
		left := g.Deadline.Sub(now).Seconds()
		by := read(chance(ever, left))
		f.ByDeadline = &by
		p = by
		if g.Iterations > 0 {
			p = read(chance(float64(g.Iterations), left))
		}
	}
	f.Probability = &p
	long := chance(LongRun, ever)(&middle)
	f.Limit = &Limit{Chance: long, Stalled: long < StalledBelow && f.Evidence.Observations >= FewResults}
	at := func(q float64) (time.Time, float64, bool) {
		if f.Met {
			return now.UTC(), 0, true
		}
		k := int(math.Ceil(q*float64(futures+1)-0.5)) - 1
		k = max(0, k)
		if k >= futures || math.IsInf(middle.seconds[k], 1) {
			return time.Time{}, 0, false
		}
		return now.Add(time.Duration(math.Min(middle.seconds[k], 9e9) * 1e9)).UTC(), middle.steps[k], true
	}
	for _, q := range []float64{0.1, 0.5, 0.9} {
		if t, n, ok := at(q); ok {
			f.When = append(f.When, Date{Quantile: q, Time: t, Iterations: n})
		}
	}
	if !f.Met {
		f.Needs = &Needs{}
		if t, _, ok := at(g.ready()); ok {
			f.Needs.Deadline = &t
		}
		n, left := middle.steps[(futures-1)/2], j.effective()
		if !math.IsInf(n, 1) && !math.IsInf(left, 1) {
			f.Effort = &Effort{Effective: left, Iterations: n, Confidence: chance(n, ever)(&middle)}
		}
	}
}

// effective is how many effective iterations the models still needed have
// ahead of them: those that are nearest count.
func (j *joint) effective() float64 {
	var left []float64
	for _, k := range j.models {
		most := 0.0
		for _, l := range k.looks {
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

// draw returns, for each future, a pace and one uniform number for each
// model, in that order. The shared component enters through a normal copula
// (Li 2000): u = Phi(sqrt(r) Z + sqrt(1-r) e).
func (j *joint) draw(futures int, r float64, seed uint64) []float64 {
	rng := rand.New(rand.NewPCG(seed, 0x706c616e63617374))
	out := make([]float64, 0, futures*(1+len(j.models)))
	a, b := math.Sqrt(r), math.Sqrt(1-r)
	for i := range futures {
		out = append(out, float64(i%cadenceNodes))
		shared := rng.NormFloat64()
		for range j.models {
			out = append(out, distuv.UnitNormal.CDF(a*shared+b*rng.NormFloat64()))
		}
	}
	return out
}

func (j *joint) simulate(draws []float64, futures int, clocks []clock, of func(*model) curve) arrivals {
	a := arrivals{make([]float64, futures), make([]float64, futures), make([][2]float64, futures)}
	steps, seconds := make([]float64, len(j.models)), make([]float64, len(j.models))
	for k := range futures {
		row := draws[k*(1+len(j.models)):]
		for i, m := range j.models {
			c := of(m)
			if c == nil { // nothing known: never within sight
				steps[i], seconds[i] = math.Inf(1), math.Inf(1)
				continue
			}
			n := c.first(row[1+i])
			steps[i], seconds[i] = math.Ceil(n), 0
			for _, s := range m.series {
				seconds[i] = math.Max(seconds[i], clocks[s].at(int(row[0]), n))
			}
		}
		slices.Sort(steps)
		slices.Sort(seconds)
		a.steps[k], a.seconds[k] = steps[j.need-1], seconds[j.need-1]
		a.both[k] = [2]float64{a.steps[k], a.seconds[k]}
	}
	slices.Sort(a.steps)
	slices.Sort(a.seconds)
	return a
}

// clock tells, for each pace, the seconds from now until iteration 0, 1, 2, ...
type clock [cadenceNodes][]float64

func (c *clock) fill(l *look, now time.Time) {
	if l.curve == nil {
		return
	}
	for k, z := range nodes {
		c[k] = make([]float64, len(l.curve))
		x := 1.0
		for i := 1; i < len(c[k]); i++ {
			x = l.cadence.unpace(float64(i), z, x)
			c[k][i] = l.cadence.date(now, x).Sub(now).Seconds()
		}
	}
}

func (c *clock) at(pace int, n float64) float64 {
	if math.IsInf(n, 1) {
		return n
	}
	t := c[pace]
	i := int(n)
	if i >= len(t)-1 {
		return t[len(t)-1]
	}
	return t[i] + (n-float64(i))*(t[i+1]-t[i])
}

func (j *joint) state(f *Forecast, g Goal) State {
	s := f.state(g)
	if s != IsStalled && s != OnTrack && s != AtRisk {
		return s
	}
	for _, l := range j.looks {
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
		for i, l := range j.looks {
			p := Part{Forecast: l.forecast}
			if c := p.chance(); slices.Contains(k.looks, l) && c < h.chance {
				h = hold{i, c}
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
		return
	}
	f.Summary = fmt.Sprintf("%d of %d models ready, %d needed; %s of the way; %s %s",
		f.ModelsReady, f.ModelsTotal, j.need, units.Percent(*f.Attained), f.Probability, m.Goal.until())
	if worst := j.binding(); worst >= 0 {
		s, p := &m.Series[worst], &j.looks[worst].forecast
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
	for i, l := range j.looks {
		if a := l.forecast.Atypical; a != nil && a.Is && !l.forecast.Met {
			f.Advice = append(f.Advice, m.Series[i].Model+": "+l.forecast.Advice[0])
		}
	}
	if f.Probability.Value < m.Goal.ready() {
		f.moves(m.Goal, func(format string, args ...any) { f.Advice = append(f.Advice, fmt.Sprintf(format, args...)) })
	}
}

// The correlation between series before any evidence, and how many pairs of
// gains it counts as.
const (
	priorCorrelation = 0.3
	correlationMass  = 30.0
	mostCorrelation  = 0.95
	mostPairs        = 2000 // that the estimate looks at
)

// correlation estimates the shared component of the series from the ranks of
// gains that pairs of them made between the same two times, drawn towards
// the prior. The newest gain of each is left out: a better newest result must
// not lower a milestone's probability.
func correlation(looks []*look) float64 {
	gains := make([]map[[2]int64]float64, len(looks))
	for i, l := range looks {
		h := l.history
		gains[i] = map[[2]int64]float64{}
		for t := 1; t < len(h.values)-1; t++ {
			if h.valid[t] && h.valid[t-1] {
				key := [2]int64{h.times[t-1].UnixNano(), h.times[t].UnixNano()}
				gains[i][key] = h.scale.To(h.values[t-1]) - h.scale.To(h.values[t])
			}
		}
	}
	sum, mass := priorCorrelation*correlationMass, correlationMass
	var a, b []float64
	// All pairs of few series; of many, each with its nearest neighbours, so
	// that the cost grows with the series and not with their square.
	near := max(1, mostPairs/max(len(looks), 1))
	if len(looks)*(len(looks)-1)/2 <= mostPairs {
		near = len(looks)
	}
	for i := range looks {
		for k := max(0, i-near); k < i; k++ {
			a, b = a[:0], b[:0]
			h := looks[i].history
			for t := 1; t < len(h.times); t++ { // in time order: sums must not depend on a map's
				key := [2]int64{h.times[t-1].UnixNano(), h.times[t].UnixNano()}
				x, okX := gains[i][key]
				y, okY := gains[k][key]
				if okX && okY {
					a, b = append(a, x), append(b, y)
				}
			}
			if n := len(a); n >= 4 {
				sum += float64(n) * spearman(a, b)
				mass += float64(n)
			}
		}
	}
	return math.Min(math.Max(sum/mass, 0), mostCorrelation)
}

// spearman returns the rank correlation of a and b, 0 when either is constant.
// Ties share their mean rank.
func spearman(a, b []float64) float64 {
	ra, rb := ranks(a), ranks(b)
	mean := float64(len(a)-1) / 2
	var xy, xx, yy float64
	for i := range ra {
		x, y := ra[i]-mean, rb[i]-mean
		xy += x * y
		xx += x * x
		yy += y * y
	}
	if xx == 0 || yy == 0 {
		return 0
	}
	return xy / math.Sqrt(xx*yy)
}

func ranks(x []float64) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, k int) int { return cmp.Compare(x[i], x[k]) })
	r := make([]float64, len(x))
	for i := 0; i < len(order); {
		k := i
		for k < len(order) && x[order[k]] == x[order[i]] {
			k++
		}
		for _, at := range order[i:k] {
			r[at] = float64(i+k-1) / 2
		}
		i = k
	}
	return r
}
