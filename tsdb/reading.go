package tsdb

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb/iterations"
	"github.com/plancast/plancast/tsdb/prom"
)

// reading is one that is under way.
type reading struct {
	*Reader
	plans []prom.Plan // one after the other
	out   *Reading
	take  func(Measured)
	known map[string]Subject
	whole time.Time
	// passed are the subjects of which a result may have come and gone between two steps.
	passed []prom.Series
}

// start is how far back the reading goes.
func (x *reading) start() time.Time { return x.plans[0].Start }

// present lists the subjects, without those that lie too far back.
func (x *reading) present() {
	for _, name := range slices.Sorted(maps.Keys(x.known)) {
		s := x.known[name]
		if s.published {
			s.Seen = x.out.At
		}
		if s.Seen.Before(x.start()) {
			delete(x.known, name)
			continue
		}
		x.known[name] = s
		x.out.Subjects = append(x.out.Subjects, s)
	}
}

// everything reads all subjects.
func (x *reading) everything(ctx context.Context) error {
	parts, err := x.parts(ctx)
	if err != nil {
		return err
	}
	x.known, x.whole = map[string]Subject{}, x.out.At
	exact := x.plans
	if x.plans, err = x.coarser(); err != nil {
		return err
	}
	for _, filters := range parts {
		if err := x.read(ctx, filters, nil); err != nil {
			return err
		}
	}
	x.plans = exact
	return x.these(ctx, x.passed)
}

// coarser are plans of a whole reading.
func (x *reading) coarser() ([]prom.Plan, error) {
	plan := x.plans[0]
	if x.query.Resolution >= fine || plan.Length() < 2*lastDays {
		return x.plans, nil
	}
	late, err := prom.NewPlan(plan.End, lastDays, fine, true)
	if err != nil {
		return nil, err
	}
	early, err := prom.NewPlan(late.Start, late.Start.Sub(plan.Start), coarse, true)
	return []prom.Plan{early, late}, err
}

// passedOver reports whether the steps of a reading may be too long for a subject: a
// result came and went between two of them, as numbers of iterations are consecutive; or
// one held for less than two, for the first of which a value that the result before had
// may still be seen.
func (x *reading) passedOver(numbers []prom.Series) bool {
	for _, s := range numbers {
		last, since := 0.0, int64(math.MinInt64)
		for i, p := range s.Points {
			if p.Gone || p.V == last {
				continue
			}
			first := i == 0 && p.T <= x.start().UnixMilli() // of the look-back
			if p.V > last+1 && !first || p.V < last && p.V > 1 || !x.twoSteps(since, p.T) {
				return true
			}
			last, since = p.V, p.T
		}
		if !x.twoSteps(since, x.out.At.UnixMilli()) {
			return true
		}
	}
	return false
}

// twoSteps reports whether two steps lie between two moments.
func (x *reading) twoSteps(from, to int64) bool {
	step := x.plans[0].Step
	for _, p := range x.plans {
		if from > p.Start.UnixMilli() {
			step = p.Step
		}
	}
	return from < x.start().UnixMilli() || to-from >= 2*step.Milliseconds()
}

// changed reads the subjects that are not what they were some time ago.
func (x *reading) changed(ctx context.Context, since time.Duration) error {
	found, err := x.at(ctx, x.query.changedSince(since))
	if err != nil {
		return err
	}
	if len(found) > subjectsOfPart/10 && len(found) > len(x.known)/4 {
		return x.everything(ctx)
	}
	if err := x.these(ctx, found); err != nil {
		return err
	}
	// A store that lost its past shows no change.
	count, err := x.at(ctx, x.query.countPublished())
	if err != nil {
		return err
	}
	if 2*single(count) < x.published() {
		return x.everything(ctx)
	}
	return nil
}

// published is how many subjects are published now, as far as is known.
func (x *reading) published() (n int) {
	for _, s := range x.known {
		if s.published {
			n++
		}
	}
	return n
}

// single is the value of an answer with one series; 0 without any.
func single(series []prom.Series) int {
	if len(series) == 0 {
		return 0
	}
	return int(series[0].Points[0].V)
}

// these reads some subjects, which the labels of the series name.
func (x *reading) these(ctx context.Context, series []prom.Series) error {
	names := make(map[string]bool, len(series))
	for _, s := range series {
		names[x.query.subject(s.Labels)] = true
	}
	for _, filters := range selecting(series, x.query.Subject) {
		if err := x.read(ctx, filters, names); err != nil {
			return err
		}
	}
	return nil
}

// history asks for the changes of an expression.
func (x *reading) history(ctx context.Context, e prom.Expr) (out prom.Answer, err error) {
	ask := x.client.Changes
	if len(x.plans) > 1 { // coarser
		ask = x.client.States
	}
	for i, p := range x.plans {
		a, err := ask(ctx, e, p)
		switch {
		case err != nil:
			return out, err
		case i == 0:
			out = a
		default:
			out = out.Extend(a, p.Start)
		}
	}
	return out, nil
}

// at asks for the state at the moment of the reading.
func (x *reading) at(ctx context.Context, text string) ([]prom.Series, error) {
	a, err := x.client.At(ctx, text, x.out.At)
	x.out.heard(a)
	return a.Series, err
}

// filtered is an expression of which only what the filters select is asked for.
func filtered(text string, filters []prom.Filter) (prom.Expr, error) {
	e, err := prom.Parse(text)
	if err != nil {
		return e, err
	}
	return e.Filter(filters)
}

// heard notes what the store says of an answer.
func (r *Reading) heard(a prom.Answer) {
	r.Requests += a.Requests
	r.Partial = r.Partial || a.Partial || len(a.Warnings) > 0
	for _, w := range a.Warnings {
		r.note("the store warns: " + w)
	}
}

func (r *Reading) note(text string) {
	if !slices.Contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
	}
}

// read reads the histories of the subjects that the filters select, and of those only
// the ones named; nil are all of them.
func (x *reading) read(ctx context.Context, filters []prom.Filter, only map[string]bool) error {
	got := newAnswers(x.query)
	g, gctx := errgroup.WithContext(ctx)
	for _, q := range got.questions(x.query) {
		g.Go(func() error {
			e, err := filtered(q.text, filters)
			if err == nil {
				*q.to, err = x.history(gctx, e)
			}
			return q.named(err)
		})
	}
	var now present
	for text, to := range map[string]*prom.Answer{
		"last_over_time(" + terms.CountingSeries + "[" + described + "])": &now.environments,
		shownLast:              &now.candidates,
		x.query.publishedNow(): &now.published,
	} {
		g.Go(func() error {
			e, err := filtered(text, filters)
			if err == nil {
				*to, err = x.client.At(gctx, e.String(), x.out.At)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, a := range append(got.all(), &now.environments, &now.candidates, &now.published) {
		x.out.heard(*a)
	}
	if x.out.Partial && !x.until.IsZero() {
		return nil // what was read before is more
	}
	now.index(x.query)
	subjects := got.bySubject(x.query)
	for name := range only { // what the store has lost is not published
		if s, ok := x.known[name]; ok && subjects[name] == nil {
			s.published = false
			x.known[name] = s
		}
	}
	for _, name := range slices.Sorted(maps.Keys(subjects)) {
		if only != nil && !only[name] {
			continue
		}
		m, err := x.measured(name, subjects[name], &now)
		if err != nil {
			return err
		}
		switch {
		case m.Labels == nil: // nothing says where it is
		case len(x.plans) > 1 && x.passedOver(subjects[name].numbers.Series):
			x.passed = append(x.passed, prom.Series{Labels: subjects[name].numbers.Series[0].Labels})
		default:
			x.known[name] = m.Subject
			x.take(m)
		}
	}
	return nil
}

// shownLast says when each candidate was last published. The steps of the subquery lie
// at whole five minutes: what was published since the last of them is asked for as well.
const shownLast = "timestamp(" + terms.EnvironmentSeries + ") or max_over_time(timestamp(" + terms.EnvironmentSeries + ")[" + described + ":5m])"

// measured rebuilds the history of a subject.
func (x *reading) measured(name string, got *answers, now *present) (Measured, error) {
	m := Measured{Subject: Subject{Name: name, Live: map[string]Candidate{}}, Quantities: x.quantities, Environments: now.described}
	var h History
	parts, err := h.rebuild(x.query, got, got.evidence(x.query, x.plans[0].Step))
	if err != nil {
		return m, err
	}
	m.Engines = h.byModel(x.query, parts)[name]
	for _, n := range h.Notes {
		x.out.note(n)
	}
	m.Environment, m.Since = iterations.NewEnvironments(got.counting.Series, terms.FingerprintLabel).At(x.out.At)
	if m.see(got.numbers.Series, x.out.At, now); len(m.Engines) == 0 { // nothing was ever measured
		m.see(got.built.Series, x.out.At, now)
	}
	return m, nil
}

// see notes where the newest of some series are, and which candidates they show.
func (s *Subject) see(series []prom.Series, at time.Time, now *present) {
	labelled := s.Labels != nil // as the newest is
	for _, x := range series {
		if len(x.Points) == 0 {
			continue
		}
		published, seen := now.is[nameless(x.Labels)], at
		if last := x.Points[len(x.Points)-1]; !published && last.Gone {
			seen = time.UnixMilli(last.T).UTC()
		} else if !published { // it ended within the last step
			seen = at.Add(-now.lately)
		}
		newer := seen.Compare(s.Seen)
		if newer < 0 {
			continue
		}
		if newer > 0 {
			s.Seen, s.Live, s.published, labelled = seen, map[string]Candidate{}, published, false
		}
		p := string(x.Labels[iterations.Precision])
		s.Live[p] = now.shown[engineKey{s.Name, p}]
		if !labelled {
			s.Labels, labelled = where(x.Labels), true
		}
	}
}

// present is what a store knows at the moment of a reading.
type present struct {
	environments, candidates, published prom.Answer

	lately    time.Duration
	described map[string]model.Metric    // environments by fingerprint
	shown     map[engineKey]Candidate    // by each engine last
	is        map[model.Fingerprint]bool // which series are published
}

// engineKey tells the engines of all subjects apart.
type engineKey struct{ subject, precision string }

// index finds in the answers what a subject is described by.
func (p *present) index(q Query) {
	p.lately = q.lately()
	p.described, p.shown, p.is = map[string]model.Metric{}, map[engineKey]Candidate{}, map[model.Fingerprint]bool{}
	for _, s := range p.environments.Series {
		p.described[string(s.Labels[terms.FingerprintLabel])] = s.Labels
	}
	at := map[engineKey]float64{}
	for _, s := range p.candidates.Series {
		k := engineKey{q.subject(s.Labels), string(s.Labels[iterations.Precision])}
		if v := s.Points[0].V; v > at[k] {
			at[k], p.shown[k] = v, Candidate{string(s.Labels["version"]), string(s.Labels["digest"])}
		}
	}
	for _, s := range p.published.Series {
		p.is[nameless(s.Labels)] = true
	}
}

// nameless tells the series of one metric apart.
func nameless(labels model.Metric) model.Fingerprint {
	labels = labels.Clone()
	delete(labels, model.MetricNameLabel)
	return labels.Fingerprint()
}

// where are the labels of a series that say what is measured, and on which host.
func where(labels model.Metric) map[string]string {
	out := map[string]string{}
	for n, v := range labels {
		if n != model.MetricNameLabel && n != iterations.Precision {
			out[string(n)] = string(v)
		}
	}
	return out
}
