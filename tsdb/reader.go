package tsdb

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb/iterations"
	"github.com/plancast/plancast/tsdb/prom"
)

// Reader reads the results of every engine that a store knows, again and again.
// After the first time it asks only for what is new. It is used by one goroutine
// at a time.
type Reader struct {
	client *prom.Client
	query  Query
	// quantities are those of the engines, and of workloads those that were asked for.
	quantities []terms.Quantity
	got        *answers  // nil before the first reading
	until      time.Time // how far it reaches
}

// ReaderOptions say what a Reader reads.
type ReaderOptions struct {
	// By are the labels whose values together name a model; "model" is the first.
	By         []string
	LookBack   time.Duration
	Resolution time.Duration // the finest step of a history
	// Paired are the quantities whose changes are read as pairs showed them.
	Paired []string
	// Workloads are quantities of workloads ("p99@chat") to read besides those of the
	// engines.
	Workloads []string
}

// NewReader makes a reader of all quantities; nothing is asked yet. Names that are no
// quantity of a workload are left out.
func NewReader(c *prom.Client, o ReaderOptions) *Reader {
	q := Query{
		Model: "model", Subject: o.By, By: iterations.BySeries, IterationOf: terms.IterationSeries, TimeOf: terms.TimestampSeries,
		History: o.LookBack, Resolution: o.Resolution,
	}
	quantities := terms.Quantities()
	for _, name := range o.Workloads {
		if x, err := terms.QuantityByName(name); err == nil && !slices.Contains(quantities, x) {
			quantities = append(quantities, x)
		}
	}
	for _, x := range quantities {
		c := Criterion{Expr: x.Expr, Criterion: forecast.Criterion{Metric: x.Name, Unit: x.Unit}}
		if slices.Contains(o.Paired, x.Name) {
			c.pair, _ = x.Pair()
		}
		q.Criteria = append(q.Criteria, c)
	}
	return &Reader{client: c, query: q, quantities: quantities}
}

// Reading is what a store knew at a moment.
type Reading struct {
	At           time.Time
	Subjects     []Subject               // by name
	Environments map[string]model.Metric // by fingerprint, as plancast_environment_info describes those of the last day
	Notes        []string                // what a reader should know
	Partial      bool                    // parts of the store did not answer
	Requests     int
}

// Subject is a model where it is measured.
type Subject struct {
	Name   string
	Labels map[string]string // of the series that counts its iterations now, or did last
	// Seen is when the store last had it: At while an exporter publishes it.
	Seen    time.Time
	Engines []Engine // the most exact first; Criteria in the order of Quantities
	// Quantities are those that were read.
	Quantities []terms.Quantity
	// Environment is the one that counts for its exporter, since when it does; "" where
	// none says so.
	Environment string
	Since       time.Time
	// Live are the precisions that are published now, or were until Seen.
	Live map[string]Candidate
}

// Candidate is which candidate an engine's metrics show; the zero value is unknown.
type Candidate struct{ Version, Digest string }

// Candidates are the iterations of a subject, in order of time; their steps are in
// the order of Engines, and their values in that of Quantities.
func (s Subject) Candidates() []iterations.Candidate {
	engines := make([]iterations.Engine, len(s.Engines))
	for i, e := range s.Engines {
		engines[i] = e.Engine
	}
	return iterations.Candidates(engines, len(s.Quantities))
}

const (
	// overlap is how much of the past is read again: some stores show samples late.
	overlap = 10 * time.Minute
	// staleAfter is the pause after which everything is read again.
	staleAfter = 7 * 24 * time.Hour
	// described is how long the description of an environment stays known.
	described = "1d"
)

// Read reads what the store knows at a moment. After an error the reader stands
// where it stood.
func (r *Reader) Read(ctx context.Context, at time.Time) (*Reading, error) {
	history := r.query.History
	from := r.until.Add(-overlap)
	if r.got != nil && at.Sub(from) < min(history, staleAfter) {
		history = max(at.Sub(from), overlap)
	}
	plan, err := prom.NewPlan(at, history, r.query.Resolution, false)
	if err != nil {
		return nil, err
	}
	out := &Reading{At: plan.End, Environments: map[string]model.Metric{}}
	var infos, shown model.Vector
	got := newAnswers(r.query)
	g, gctx := errgroup.WithContext(ctx)
	for _, x := range got.questions(r.query) {
		g.Go(func() error {
			e, err := prom.Parse(x.text)
			if err == nil {
				*x.to, err = r.client.Changes(gctx, e, plan)
			}
			return x.named(err)
		})
	}
	instant := func(to *model.Vector, expr string) {
		g.Go(func() (err error) {
			*to, err = r.client.Instant(gctx, expr, plan.End)
			return err
		})
	}
	instant(&infos, "last_over_time("+terms.CountingSeries+"["+described+"])")
	instant(&shown, "max_over_time(timestamp("+terms.EnvironmentSeries+")["+described+":5m])")
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, a := range got.all() {
		out.Requests += a.Requests
		out.Partial = out.Partial || a.Partial || len(a.Warnings) > 0
		for _, w := range a.Warnings {
			if note := "the store warns: " + w; !slices.Contains(out.Notes, note) {
				out.Notes = append(out.Notes, note)
			}
		}
	}
	if r.got != nil && history < r.query.History {
		got.extend(r.got, plan.Start)
	}
	for _, x := range infos {
		out.Environments[string(x.Metric[terms.FingerprintLabel])] = x.Metric
	}
	if err := r.subjects(out, got, newest(shown, r.query)); err != nil {
		return nil, err
	}
	if !out.Partial { // what is missing shall be asked for again
		r.got, r.until = got, plan.End
	}
	return out, nil
}

// extend puts what was answered before in front.
func (a *answers) extend(before *answers, from time.Time) {
	was := before.all()
	for i, now := range a.all() {
		*now = was[i].Extend(*now, from)
	}
}

// engineKey tells the engines of all subjects apart.
type engineKey struct{ subject, precision string }

// newest is the candidate that each engine showed last.
func newest(shown model.Vector, q Query) map[engineKey]Candidate {
	out, at := map[engineKey]Candidate{}, map[engineKey]model.SampleValue{}
	for _, x := range shown {
		k := engineKey{q.subject(x.Metric), string(x.Metric[iterations.Precision])}
		if x.Value > at[k] {
			at[k], out[k] = x.Value, Candidate{string(x.Metric["version"]), string(x.Metric["digest"])}
		}
	}
	return out
}

// subjects rebuilds the histories of all subjects.
func (r *Reader) subjects(out *Reading, got *answers, candidates map[engineKey]Candidate) error {
	var h History
	parts, err := h.rebuild(r.query, got, got.evidence(r.query, r.query.Resolution))
	if err != nil {
		return err
	}
	byName, counting := map[string]*Subject{}, got.countingFor(r.query)
	for name, engines := range h.byModel(r.query, parts) {
		if name != "" {
			x := &Subject{Name: name, Engines: engines, Quantities: r.quantities, Live: map[string]Candidate{}}
			x.Environment, x.Since = counting[name].At(out.At)
			byName[name] = x
		}
	}
	for name := range counting { // of which nothing was ever measured
		if name != "" && byName[name] == nil {
			x := &Subject{Name: name, Live: map[string]Candidate{}}
			x.Environment, x.Since = counting[name].At(out.At)
			byName[name] = x
		}
	}
	current := map[string]bool{} // whose labels are those of a series that is there
	see := func(x *Subject, s prom.Series) {
		if len(s.Points) == 0 {
			return
		}
		seen, last := out.At, s.Points[len(s.Points)-1]
		if last.Gone {
			seen = time.UnixMilli(last.T).UTC()
		}
		switch c := seen.Compare(x.Seen); {
		case c > 0:
			x.Seen, x.Live = seen, map[string]Candidate{}
			fallthrough
		case c == 0:
			p := string(s.Labels[iterations.Precision])
			x.Live[p] = candidates[engineKey{x.Name, p}]
			if !current[x.Name] || c > 0 {
				x.Labels, current[x.Name] = where(s.Labels), true
			}
		}
	}
	for _, s := range got.numbers.Series {
		if x := byName[r.query.subject(s.Labels)]; x != nil {
			see(x, s)
		}
	}
	for _, s := range got.built.Series {
		if x := byName[r.query.subject(s.Labels)]; x != nil && len(x.Engines) == 0 {
			see(x, s)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if x := byName[name]; x.Labels != nil {
			out.Subjects = append(out.Subjects, *x)
		}
	}
	out.Notes = append(out.Notes, h.Notes...)
	return nil
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
