// Package evidence finds what a question rests on: it asks for the histories of
// all criteria at once, keeps them for a while, and rebuilds one observation
// for each iteration of each model.
package evidence

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"
	"unsafe"

	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/grafana-plugin/pkg/cache"
	"github.com/plancast/plancast/grafana-plugin/pkg/iterations"
	"github.com/plancast/plancast/grafana-plugin/pkg/models"
	"github.com/plancast/plancast/grafana-plugin/pkg/prom"
)

// Loader loads evidence for the queries of one data source instance.
type Loader struct {
	client   *prom.Client
	cache    *cache.Cache[prom.Answer] // what the API answered: criteria share it
	rebuilt  *cache.Cache[*History]    // what was made of it: questions share it
	settings models.Settings
	now      func() time.Time
}

// NewLoader makes a loader; now is the clock.
func NewLoader(c *prom.Client, s models.Settings, now func() time.Time) *Loader {
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
	Criterion  models.Criterion
	Iterations []iterations.Iteration
}

// History is everything a question rests on.
type History struct {
	Series   []Series // by criterion, then by labels
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

// Load loads the history of q as known at a moment. Identity tells users apart
// for whom the API may answer differently; it is part of the cache's keys.
func (l *Loader) Load(ctx context.Context, q models.Query, at time.Time, identity string) (*History, error) {
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
	// The question itself is no part of the key: its evidence is.
	key := strings.Join([]string{identity, fmt.Sprintf("%q %q %q %q %q %q %q %q", q.Criteria, q.Filters, q.By, q.IterationOf, q.TimeOf, q.Environment, q.Model, q.Models),
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
func (l *Loader) load(ctx context.Context, q models.Query, plan prom.Plan, ttl time.Duration, identity string) (*History, error) {
	h := &History{Plan: plan}
	ask := func(ctx context.Context, text string, filters []models.Filter, samples bool, to *prom.Answer) error {
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

	values := make([]prom.Answer, len(q.Criteria))
	var numbers, times, environments, unquantized, built prom.Answer
	g, gctx := errgroup.WithContext(ctx)
	for i, c := range q.Criteria {
		h.Executed = append(h.Executed, c.Expr)
		g.Go(func() error {
			return named(c, len(q.Criteria), ask(gctx, c.Expr, q.Filters, q.By == models.BySample, &values[i]))
		})
	}
	if q.By == models.BySeries {
		h.Executed = append(h.Executed, q.IterationOf)
		g.Go(func() error { return ask(gctx, q.IterationOf, nil, false, &numbers) })
		if q.TimeOf != "" {
			g.Go(func() error { return ask(gctx, q.TimeOf, nil, false, &times) })
		}
		if q.IterationOf == models.IterationSeries {
			g.Go(func() error { return ask(gctx, "plancast_engine_unquantized_layers", nil, false, &unquantized) })
			g.Go(func() error { return ask(gctx, "plancast_engine_last_build_success", nil, false, &built) })
		}
	}
	label := q.Environment
	if label == "" && q.By == models.BySeries {
		label = models.FingerprintLabel
		g.Go(func() error {
			return ask(gctx, "max by (model, precision, backend, device, "+label+") ("+models.EnvironmentSeries+")", nil, false, &environments)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, a := range append(slices.Clone(values), numbers, times, environments, unquantized, built) {
		h.Requests += a.Requests
		for _, w := range a.Warnings {
			h.note("the server warns: %s", w)
		}
	}
	e := iterations.Evidence{
		By: q.By, Numbers: iterations.NewJoin(numbers.Series), Times: iterations.NewJoin(times.Series),
		Environments: iterations.NewJoin(environments.Series), EnvironmentLabel: label, Step: plan.Step,
		Unquantized: iterations.NewJoin(unquantized.Series), Built: iterations.NewJoin(built.Series),
	}
	for i, c := range q.Criteria {
		if err := h.rebuild(q, c, values[i].Series, e); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// named says which of several criteria an error is about.
func named(c models.Criterion, of int, err error) error {
	if err == nil || of == 1 {
		return err
	}
	return fmt.Errorf("criterion %s: %w", c.Metric, err)
}

func (h *History) note(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	if !slices.Contains(h.Notes, s) {
		h.Notes = append(h.Notes, s)
	}
}

// rebuild adds the series of one criterion.
func (h *History) rebuild(q models.Query, c models.Criterion, all []prom.Series, e iterations.Evidence) error {
	var only *regexp.Regexp
	if q.Models != "" {
		re, err := regexp.Compile("^(?:" + q.Models + ")$")
		if err != nil {
			return &models.Invalid{Field: "models", Reason: err.Error()}
		}
		only = re
	}
	type group struct {
		series Series
		parts  [][]iterations.Iteration
	}
	groups := map[string]*group{}
	var order []string
	for _, s := range all {
		if only != nil && !only.MatchString(string(s.Labels[model.LabelName(q.Model)])) {
			continue
		}
		id := iterations.Identity(s.Labels)
		key := id.String()
		g := groups[key]
		if g == nil {
			g = &group{series: Series{Labels: id, Criterion: c}}
			groups[key] = g
			order = append(order, key)
		}
		its, notes := iterations.Rebuild(s, e)
		for _, n := range notes {
			h.note("%s", n)
		}
		g.parts = append(g.parts, its)
	}
	sort.Strings(order)
	for _, key := range order {
		g := groups[key]
		if len(g.parts) > 1 {
			h.note("series that differ only in who scraped them (instance, pod, replica) were put together")
		}
		g.series.Iterations = iterations.Merge(g.parts...)
		g.series.Model = modelOf(g.series.Labels, q.Model, c)
		h.Series = append(h.Series, g.series)
	}
	return nil
}

// modelOf names what a series is about.
func modelOf(labels model.Metric, label string, c models.Criterion) string {
	if v := labels[model.LabelName(label)]; v != "" {
		return string(v)
	}
	if len(labels) == 0 {
		return c.Metric
	}
	return labels.String()
}

func (h *History) notes(q models.Query) {
	if len(h.Series) == 0 {
		return
	}
	if h.Plan.Step > time.Minute && q.By != models.BySample {
		h.note("the history is read every %s: results that were replaced sooner are not seen", models.FormatDuration(h.Plan.Step))
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
// time is everything.
func (s Series) Forecast(fingerprint string, known time.Time) forecast.Series {
	return forecast.Series{
		Model: s.Model, Criterion: s.Criterion.Criterion, Environment: fingerprint,
		Observations: iterations.Observations(s.Iterations, known),
	}
}

// Milestone puts the series together as one.
func (h *History) Milestone(q models.Query, known time.Time) forecast.Milestone {
	m := forecast.Milestone{Name: q.Milestone, Share: q.Share, Goal: q.Goal()}
	for _, s := range h.Series {
		m.Series = append(m.Series, s.Forecast(q.Fingerprint, known))
	}
	return m
}
