// Package tsdb reads results from a Prometheus-compatible time series database
// (Prometheus, Mimir, Thanos, VictoriaMetrics): it asks for the histories of
// all criteria at once, keeps them for a while, and rebuilds one observation
// for each iteration of each model.
package tsdb

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb/cache"
	"github.com/plancast/plancast/tsdb/iterations"
	"github.com/plancast/plancast/tsdb/prom"
)

// Loader loads evidence for the queries of one data source instance.
type Loader struct {
	client   *prom.Client
	cache    *cache.Cache[prom.Answer] // what the API answered: criteria share it
	rebuilt  *cache.Cache[*History]    // what was made of it: questions share it
	settings Settings
	now      func() time.Time
}

// NewLoader makes a loader; now is the clock.
func NewLoader(c *prom.Client, s Settings, now func() time.Time) *Loader {
	return &Loader{
		client: c, settings: s, now: now,
		cache:   cache.New(s.CacheBytes*3/8, prom.Answer.Bytes, now),
		rebuilt: cache.New(s.CacheBytes/2, (*History).bytes, now),
	}
}

// Series is the history of one criterion on one model.
type Series struct {
	Model      string
	Labels     model.Metric // without those that say who scraped
	Criterion  Criterion
	Iterations []iterations.Iteration
	// Counting are the environments that counted for it, as its exporter says; none
	// where no exporter does.
	Counting iterations.Environments
}

// History is everything a question rests on.
type History struct {
	Series   []Series // by criterion, then by labels; of a milestone by model, then by criterion
	Notes    []string // what a reader should know
	Executed []string // the expressions, for the query inspector
	Requests int      // made now; none when all was remembered
	Plan     prom.Plan
}

// Moment is the one that a query speaks of: the end of its time range, or now
// when that lies ahead.
func (l *Loader) Moment(to time.Time) time.Time {
	if now := l.now(); to.After(now) || to.IsZero() {
		return now.UTC()
	}
	return to.UTC()
}

// remembered is how long what is long past is kept.
const remembered = 10 * time.Minute

// Load loads the history of q as known at a moment. Identity distinguishes users
// for whom the API may answer differently; it is part of the cache's keys.
func (l *Loader) Load(ctx context.Context, q Query, at time.Time, identity string) (*History, error) {
	end := at
	ttl := remembered
	if l.now().Sub(at) < remembered {
		ttl = l.settings.Fresh
		end = at.Truncate(max(l.settings.Fresh, time.Second))
	}
	plan, err := prom.NewPlan(end, q.History, q.Resolution, q.Exact)
	if err != nil {
		return nil, err
	}
	// The question itself is no part of the key: its evidence is. Written as Go, every
	// field of it: as text a criterion leaves out its expression.
	key := strings.Join([]string{identity, fmt.Sprintf("%#v", []any{q.Milestone, q.Named, q.Criteria, q.Filters, q.By, q.IterationOf, q.TimeOf, q.Environment, q.Model, q.Subject, q.Models, q.Members}),
		fmt.Sprint(plan.Start.Unix(), plan.End.Unix(), plan.Step)}, "\x00")
	shared, err := l.rebuilt.Get(ctx, key, ttl, func(ctx context.Context) (*History, error) { return l.load(ctx, q, plan, ttl, identity) })
	if err != nil {
		return nil, err
	}
	h := *shared
	h.Notes = slices.Clone(shared.Notes)
	h.notes(q)
	return &h, nil
}

// bytes is about how much memory a history takes.
func (h *History) bytes() int64 {
	n := int64(1024)
	for _, s := range h.Series {
		n += 512 + int64(cap(s.Iterations))*int64(unsafe.Sizeof(iterations.Iteration{}))
	}
	return n
}

// load asks the API, or the cache of its answers, and rebuilds the iterations.
func (l *Loader) load(ctx context.Context, q Query, plan prom.Plan, ttl time.Duration, identity string) (*History, error) {
	h := &History{Plan: plan}
	ask := func(ctx context.Context, text string, filters []prom.Filter, samples bool, to *prom.Answer) error {
		e, err := prom.Parse(prom.Macros(text, plan, l.settings.Resolution))
		if err != nil {
			return err
		}
		if e, err = e.Filter(filters); err != nil {
			return err
		}
		key := strings.Join([]string{identity, e.String(), fmt.Sprint(samples, plan.Start.Unix(), plan.End.Unix(), plan.Step)}, "\x00")
		*to, err = l.cache.Get(ctx, key, ttl, func(ctx context.Context) (prom.Answer, error) {
			if samples {
				return l.client.Samples(ctx, e, plan)
			}
			return l.client.Changes(ctx, e, plan)
		})
		return err
	}
	q = q.paired()
	got := newAnswers(q)
	g, gctx := errgroup.WithContext(ctx)
	for _, x := range got.questions(q) {
		if x.shown {
			h.Executed = append(h.Executed, x.text)
		}
		g.Go(func() error { return x.named(ask(gctx, x.text, x.filters, x.samples, x.to)) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, a := range got.all() {
		h.Requests += a.Requests
		for _, w := range a.Warnings {
			h.note("the server warns: %s", w)
		}
	}
	joins := got.evidence(q, plan.Step)
	parts, err := h.rebuild(q, got, joins)
	if err != nil {
		return nil, err
	}
	if q.Milestone != "" {
		h.candidates(q, parts, got.countingFor(q))
	} else {
		h.engines(q, parts, joins.Counting)
	}
	return h, nil
}

func (h *History) note(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	if !slices.Contains(h.Notes, s) {
		h.Notes = append(h.Notes, s)
	}
}

// part is one rebuilt series of a criterion.
type part struct {
	criterion  int
	labels     model.Metric // without those that say who scraped
	iterations []iterations.Iteration
}

// rebuild finds the iterations of all series.
func (h *History) rebuild(q Query, got *answers, e iterations.Joins) ([]part, error) {
	only, err := q.only()
	if err != nil {
		return nil, err
	}
	// A workload is measured on its own, and so disturbed on its own.
	disturbed := map[bool]*iterations.Join{false: iterations.NewJoin(got.disturbed.Series), true: iterations.NewJoin(got.workloads.Series)}
	var out []part
	for i, c := range q.Criteria {
		e.Pairs, e.Disturbed = got.pairs[i].joins(), disturbed[c.ofWorkload()]
		for _, s := range got.values[i].Series {
			if !only.MatchString(string(s.Labels[model.LabelName(q.Model)])) {
				continue
			}
			its, notes := iterations.Rebuild(s, e)
			for _, n := range notes {
				h.note("%s", n)
			}
			out = append(out, part{i, q.identity(s.Labels), its})
		}
	}
	return out, nil
}

// merged puts together parts that differ only in who scraped them.
func (h *History) merged(parts [][]iterations.Iteration) []iterations.Iteration {
	if len(parts) > 1 {
		h.note("series that differ only in who scraped them (instance, pod, replica) were merged")
	}
	return iterations.Merge(parts...)
}

// engines adds a series for each criterion and label set.
func (h *History) engines(q Query, parts []part, counting *iterations.Join) {
	type key struct {
		criterion int
		labels    string
	}
	groups := map[key][]part{}
	for _, p := range parts {
		k := key{p.criterion, p.labels.String()}
		groups[k] = append(groups[k], p)
	}
	for _, k := range slices.SortedFunc(maps.Keys(groups), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.criterion, b.criterion), cmp.Compare(a.labels, b.labels))
	}) {
		var same [][]iterations.Iteration
		for _, p := range groups[k] {
			same = append(same, p.iterations)
		}
		c, labels := q.Criteria[k.criterion], groups[k][0].labels
		h.Series = append(h.Series, Series{Model: modelOf(labels, q.Model, c), Labels: labels, Criterion: c, Iterations: h.merged(same),
			Counting: iterations.NewEnvironments(counting.Of(labels), terms.FingerprintLabel)})
	}
}

// candidates adds a series for each member and criterion, in which one engine
// stands for each candidate, as for a milestone of the exporter: all its
// precisions, devices and environments are one history. It is empty where the member is
// not there or has no result.
func (h *History) candidates(q Query, parts []part, counting map[string]iterations.Environments) {
	criteria := make([]forecast.Criterion, len(q.Criteria))
	for i, c := range q.Criteria {
		criteria[i] = c.Criterion
	}
	byModel := h.byModel(q, parts)
	for _, m := range q.Members {
		var engines []iterations.Engine
		var environments iterations.Environments
		if m.Present {
			for _, e := range byModel[m.Name] {
				engines = append(engines, e.Engine)
			}
			environments = counting[m.Name]
		}
		if len(engines) == 0 && len(q.Filters) > 0 {
			continue // it may be what the filters leave out
		}
		for i, its := range iterations.Best(criteria, engines, q.Named) {
			h.Series = append(h.Series, Series{Model: m.Name, Labels: model.Metric{model.LabelName(q.Model): model.LabelValue(m.Name)}, Criterion: q.Criteria[i], Iterations: its,
				Counting: environments})
		}
	}
}

// Engine is the history of one engine of a model.
type Engine struct {
	Precision, Backend, Device string
	iterations.Engine
}

// byModel groups parts into the engines of each model, the most exact first.
func (h *History) byModel(q Query, parts []part) map[string][]Engine {
	type key struct{ model, precision, backend, device string }
	groups := map[key][][][]iterations.Iteration{}
	for _, p := range parts {
		l := p.labels
		k := key{q.subject(l), string(l[iterations.Precision]), string(l["backend"]), string(l["device"])}
		if groups[k] == nil {
			groups[k] = make([][][]iterations.Iteration, len(q.Criteria))
		}
		groups[k][p.criterion] = append(groups[k][p.criterion], p.iterations)
	}
	out := map[string][]Engine{}
	for _, k := range slices.SortedFunc(maps.Keys(groups), func(a, b key) int {
		return cmp.Or(cmp.Compare(terms.PrecisionRank(a.precision), terms.PrecisionRank(b.precision)), cmp.Compare(a.precision, b.precision),
			cmp.Compare(a.backend, b.backend), cmp.Compare(a.device, b.device))
	}) {
		e := Engine{Precision: k.precision, Backend: k.backend, Device: k.device}
		for _, same := range groups[k] {
			e.Criteria = append(e.Criteria, h.merged(same))
		}
		out[k.model] = append(out[k.model], e)
	}
	return out
}

// modelOf names what a series is about.
func modelOf(labels model.Metric, label string, c Criterion) string {
	if v := labels[model.LabelName(label)]; v != "" {
		return string(v)
	}
	if len(labels) == 0 {
		return c.Metric
	}
	return labels.String()
}

func (h *History) notes(q Query) {
	if len(h.Series) == 0 {
		return
	}
	if h.Plan.Step > time.Minute && q.By != iterations.BySample {
		h.note("the history is read every %s: results that were replaced sooner are not seen", terms.FormatDuration(h.Plan.Step))
	}
	if !q.Joint {
		return
	}
	count := map[string]int{}
	for _, s := range h.Series {
		count[s.Model+"\x00"+s.Criterion.String()]++
	}
	for _, s := range h.Series {
		if n := count[s.Model+"\x00"+s.Criterion.String()]; n > 1 {
			h.note("%s has %d series of %s, and all of them must meet the target: choose one with labels such as precision=\"int8\"", s.Model, n, s.Criterion.Metric)
			break
		}
	}
}

// Forecast is the series for package forecast, as known at a moment; the zero
// time is everything. Without a fingerprint the environment counts that its
// exporter says, also one that holds nothing but failures, or else the newest
// that was measured.
func (s Series) Forecast(fingerprint string, known time.Time) forecast.Series {
	if fingerprint == "" {
		fingerprint, _ = s.Counting.At(known)
	}
	return forecast.Series{
		Model: s.Model, Criterion: s.Criterion.Criterion, Environment: fingerprint,
		Observations: iterations.Observations(s.Iterations, known), Newest: iterations.Newest(s.Iterations, fingerprint, known),
	}
}

// Milestone puts the series together as one.
func (h *History) Milestone(q Query, known time.Time) forecast.JointGoal {
	m := forecast.JointGoal{Name: q.Milestone, Share: q.Share, Goal: q.Goal()}
	for _, s := range h.Series {
		m.Series = append(m.Series, s.Forecast(q.Fingerprint, known))
	}
	return m
}
