// Package fleet is plancast over many hosts: it measures nothing, reads what
// exporters measured from a Prometheus-compatible store, and shows the state of it
// as an exporter shows its own. All that it knows comes from the store, so a
// restart needs no state.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/exporter/web"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb"
	"github.com/plancast/plancast/tsdb/prom"
	"github.com/plancast/plancast/units"
)

// Options are what a Daemon works with.
type Options struct {
	Config     config.Config // with a source; until the first reload
	ConfigFile string        // what Reload reads
	Build      metrics.Build
	Now        func() time.Time
	Log        *slog.Logger
	// Web says how it is served; its source and metrics are the daemon's own.
	Web web.Options
}

// Daemon reads a store on schedule and shows what it knows. While the store does
// not answer, it shows what it knew last, and since when.
type Daemon struct {
	options Options
	log     *slog.Logger
	now     func() time.Time
	reloads *web.Reloads  // answered by Run
	wake    chan struct{} // for a reading outside the schedule

	// What readers see, never nil once New has returned.
	metrics *metrics.Collector
	shown   atomic.Pointer[shown]

	// Only Run and New use what follows.
	config   config.Config
	client   *prom.Client
	reader   *tsdb.Reader
	evidence evidence
	activity metrics.Activity
}

// shown is a state and how it came about: immutable.
type shown struct {
	state   *standing.State // nil before the first reading
	partial bool            // parts of the store did not answer
	err     error           // of the last reading; the state is of an earlier one then
}

// New makes a daemon; it reads nothing yet. Close it.
func New(o Options) (*Daemon, error) {
	d := &Daemon{options: o, log: o.Log, now: o.Now, reloads: web.NewReloads(), wake: make(chan struct{}, 1)}
	if err := d.use(o.Config); err != nil {
		return nil, err
	}
	empty, err := metrics.NewSnapshot(&standing.State{By: o.Config.Source.By}, o.Build, 0)
	if err != nil {
		return nil, err
	}
	d.metrics = metrics.NewCollector(empty)
	d.shown.Store(&shown{})
	d.activity = metrics.Activity{Reloaded: d.now(), Fleet: &metrics.Fleet{}}
	d.metrics.SetActivity(d.activity)
	return d, nil
}

// use takes a configuration, and connects to its store where that is another.
func (d *Daemon) use(cfg config.Config) error {
	if cfg.Source == nil {
		return errors.New("the configuration names no source: restart plancast to switch from fleet daemon to exporter")
	}
	client, err := connect(*cfg.Source)
	if err != nil {
		return err
	}
	if d.client != nil {
		d.client.Close()
	}
	d.config, d.client = cfg, client
	d.reader = newReader(client, cfg)
	d.evidence = evidence{} // labels that tell models apart may be others
	return nil
}

// newReader reads what the engines have, and what milestones say of workloads.
func newReader(client *prom.Client, cfg config.Config) *tsdb.Reader {
	o := tsdb.ReaderOptions{By: cfg.Source.By, LookBack: cfg.Source.LookBack, Resolution: cfg.Source.Resolution}
	for _, m := range cfg.Milestones {
		for _, c := range m.Criteria {
			o.Paired = append(o.Paired, c.Metric)
			if _, workload := terms.SplitWorkload(c.Metric); workload != "" {
				o.Workloads = append(o.Workloads, c.Metric)
			}
		}
	}
	return tsdb.NewReader(client, o)
}

// Close closes the connections to the store.
func (d *Daemon) Close() error {
	d.client.Close()
	return nil
}

// Run reads the store at once, on schedule and on request, until ctx ends. It runs once.
func (d *Daemon) Run(ctx context.Context) error {
	defer d.reloads.Close()
	for {
		d.Read(ctx)
		due := time.NewTimer(d.config.Source.Interval)
		select {
		case <-ctx.Done():
			due.Stop()
			return nil
		case <-due.C:
		case <-d.wake:
		case answer := <-d.reloads.Next():
			answer <- d.reload()
		}
		due.Stop()
	}
}

// Read reads the store once and shows what it knows. Run does it on schedule; it
// is called by one goroutine at a time.
func (d *Daemon) Read(ctx context.Context) {
	started := d.now()
	r, err := d.reader.Read(ctx, started, d.evidence.take)
	before := d.shown.Load()
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return // plancast is stopping
	case err != nil:
		d.log.Error("Cannot read the store; keeping earlier results", "err", err)
		d.show(&shown{before.state, before.partial, err}, 0)
		return
	case r.Partial && before.state != nil && !before.partial:
		err := errors.New("parts of the store do not answer")
		d.log.Warn("Store answered only in part; keeping earlier results", "notes", r.Notes)
		d.show(&shown{before.state, false, err}, 0)
		return
	}
	state, err := d.evidence.derive(r, d.config)
	if err != nil {
		d.log.Error("Milestone has no forecast", "err", err)
	}
	snapshot, err := metrics.NewSnapshot(state, d.options.Build, d.config.MaxSeries)
	if err != nil {
		d.log.Error("Some metrics are omitted", "err", err)
	}
	d.metrics.Set(snapshot)
	d.show(&shown{state: state, partial: r.Partial}, d.now().Sub(started))
	d.log.Debug("Store read", "models", len(state.Models), "requests", r.Requests, "notes", r.Notes)
	if d.evidence.untracked {
		score := forecast.Backtest(d.evidence.tracker.Histories(state), forecast.BacktestOptions{}).Plancast
		d.evidence.track, d.evidence.untracked = &score, false
	}
}

// show publishes the outcome of a reading; took is 0 for one that failed.
func (d *Daemon) show(s *shown, took time.Duration) {
	d.shown.Store(s)
	f := *d.activity.Fleet
	f.Failed, f.Partial = s.err != nil, s.partial
	if s.err == nil {
		f.Read, f.Duration = s.state.Now, took
	}
	d.activity.Fleet = &f
	d.metrics.SetActivity(d.activity)
}

// Reload implements web.Source: it reads the configuration again and waits until
// that is done. A bad one leaves the old one in force.
func (d *Daemon) Reload(ctx context.Context) error { return d.reloads.Request(ctx) }

func (d *Daemon) reload() error {
	cfg, err := config.Load(d.options.ConfigFile)
	if err == nil {
		err = d.use(cfg)
	}
	if d.activity.ReloadFailed = err != nil; err == nil {
		d.activity.Reloaded = d.now()
	}
	d.metrics.SetActivity(d.activity)
	if err != nil {
		d.log.Error("Reload failed; keeping the previous configuration", "err", err)
		return err
	}
	d.log.Info("Configuration reloaded", "file", d.options.ConfigFile)
	return nil
}

// Handler serves the report, the metrics and the daemon's lifecycle.
func (d *Daemon) Handler() http.Handler {
	o := d.options.Web
	o.Source, o.Metrics, o.Log = d, d.metrics, d.log
	return web.Handler(o)
}

// Part implements web.Source.
func (d *Daemon) Part(of report.Selection) report.View {
	s := d.shown.Load()
	state := s.state
	if state == nil {
		state = &standing.State{Now: d.now().UTC(), By: []string{}}
	}
	v := report.BuildPart(state, of)
	v.Version = d.options.Build.Version
	switch {
	case s.err != nil && s.state == nil:
		v.Partial = fmt.Sprintf("nothing is known yet: %v", s.err)
	case s.err != nil:
		v.Partial = fmt.Sprintf("all of this is %s old: %v", units.Span(d.now().Sub(s.state.Now)), s.err)
	case s.partial:
		v.Partial = "parts of the store do not answer, so models may be missing"
	}
	return v
}

// Healthy implements web.Source: a store that does not answer is no reason to
// restart.
func (d *Daemon) Healthy() error { return nil }

// Ready implements web.Source.
func (d *Daemon) Ready() (note string, err error) {
	switch s := d.shown.Load(); {
	case s.state != nil && s.err != nil:
		return fmt.Sprintf("but it shows what it knew at %s: %v", s.state.Now.Format(time.RFC3339), s.err), nil
	case s.state != nil:
		return "", nil
	case s.err != nil:
		return "", s.err
	default:
		return "", errors.New("it has not read the store yet")
	}
}

// Request implements web.Source: it asks for a reading.
func (d *Daemon) Request(q url.Values, _ string) error {
	if len(q) > 0 {
		return errors.New("a fleet daemon measures nothing: ask the model's exporter; without parameters the store is read at once")
	}
	select {
	case d.wake <- struct{}{}:
	default: // it is awake already
	}
	return nil
}

// Check reads the store once and writes which models of it each milestone selects.
func Check(ctx context.Context, w io.Writer, cfg config.Config) error {
	client, err := connect(*cfg.Source)
	if err != nil {
		return err
	}
	defer client.Close()
	r, err := newReader(client, cfg).Read(ctx, time.Now(), func(tsdb.Measured) {})
	if err != nil {
		return fmt.Errorf("read source.prometheus: %w", err)
	}
	fmt.Fprintf(w, "\nThe store has %s.\n", units.Count(len(r.Subjects), "model"))
	for _, m := range cfg.Milestones {
		n := 0
		for _, s := range r.Subjects {
			if m.Selects(s.Name, s.Labels) {
				n++
			}
		}
		fmt.Fprintf(w, "  %s selects %s\n", m.Name, units.Count(n, "model"))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(w, "Attention: %s.\n", note)
	}
	return nil
}
