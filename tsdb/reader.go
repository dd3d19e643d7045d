package tsdb

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb/iterations"
	"github.com/plancast/plancast/tsdb/prom"
)

// Reader reads the results of every engine that a store knows, again and again. Once a
// day it reads everything, in parts; in between it asks which subjects changed and reads
// only those. It holds no history. It is used by one goroutine at a time.
type Reader struct {
	client *prom.Client
	query  Query
	// quantities are those of the engines, and of workloads those that were asked for.
	quantities []terms.Quantity
	known      map[string]Subject
	until      time.Time // how far known reaches; zero before the first complete reading
	whole      time.Time // when everything was read
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
	At       time.Time
	Subjects []Subject // by name
	Notes    []string  // what a reader should know
	Partial  bool      // parts of the store did not answer
	Requests int
}

// Subject is a model where it is measured.
type Subject struct {
	Name   string
	Labels map[string]string // of the series that counts its iterations now, or did last
	// Seen is when the store last had it: Reading.At while an exporter publishes it.
	Seen time.Time
	// Environment is the one that counts for its exporter, since when it does; "" where
	// none says so.
	Environment string
	Since       time.Time
	// Live are the precisions that are published now, or were until Seen.
	Live      map[string]Candidate
	published bool // now
}

// Candidate is which candidate an engine's metrics show; the zero value is unknown.
type Candidate struct{ Version, Digest string }

// Measured is a subject with its history.
type Measured struct {
	Subject
	Engines []Engine // the most exact first; Criteria in the order of Quantities
	// Quantities are those that were read.
	Quantities []terms.Quantity
	// Environments are described by fingerprint, as plancast_environment_info describes
	// those of the last day.
	Environments map[string]model.Metric
}

// Candidates are the iterations of a subject, in order of time; their steps are in
// the order of Engines, and their values in that of Quantities.
func (m Measured) Candidates() []iterations.Candidate {
	engines := make([]iterations.Engine, len(m.Engines))
	for i, e := range m.Engines {
		engines[i] = e.Engine
	}
	return iterations.Candidates(engines, len(m.Quantities))
}

const (
	// overlap is how much of the past is compared again: some stores show samples late.
	overlap = 10 * time.Minute
	// wholeEvery is the pause after which everything is read again: results that left the
	// look-back, or came into the past.
	wholeEvery = 24 * time.Hour
	// A whole reading asks for a state a day, and for one an hour of the last days. Where
	// that is too coarse the subject is read again.
	coarse, fine, lastDays = 24 * time.Hour, time.Hour, 7 * 24 * time.Hour
	// described is how long the description of an environment stays known.
	described = "1d"
)

// Read reads what the store knows at a moment. It passes to take the history of each
// subject that may have changed since the complete reading before, all of it. After an
// error, or a partial answer, the next reading takes them again; a partial answer's are
// taken only while there was no complete one.
func (r *Reader) Read(ctx context.Context, at time.Time, take func(Measured)) (*Reading, error) {
	plan, err := prom.NewPlan(at, r.query.History, r.query.Resolution, false)
	if err != nil {
		return nil, err
	}
	x := &reading{Reader: r, plans: []prom.Plan{plan}, out: &Reading{At: plan.End}, take: take, known: maps.Clone(r.known), whole: r.whole}
	if r.until.IsZero() || at.Sub(r.whole) >= min(r.query.History, wholeEvery) {
		err = x.everything(ctx)
	} else {
		err = x.changed(ctx, at.Sub(r.until)+overlap)
	}
	if err != nil {
		return nil, err
	}
	x.present()
	if !x.out.Partial { // what is missing shall be asked for again
		r.known, r.until, r.whole = x.known, x.out.At, x.whole
	}
	return x.out, nil
}
