package daemon

import (
	"cmp"
	"context"
	"maps"
	"path"
	"runtime/debug"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/pass"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
)

// evidence is all that the state is derived from, besides the configuration and
// what the tracker has.
type evidence struct {
	fresh   []history.Record     // that the tracker has not yet
	plan    *pass.Plan           // nil before the repository was read
	left    map[string]time.Time // since when models of the history are not in the repository; replaced, never changed
	track   *forecast.Score
	tracked bool // track rests on all records
}

// add takes a record that was just made.
func (e *evidence) add(r history.Record) {
	e.fresh, e.tracked = append(e.fresh, r), false
}

// readHistory reads what the state of a model is derived from; "" is all models.
func (d *Daemon) readHistory(ctx context.Context, model string) error {
	damaged := func(err error) { d.log.Error("Record skipped", "err", err) }
	recent := history.Filter{Model: model, Since: standing.LookBack(d.now()), Standing: true}
	for e, err := range history.Skip(d.store.Entries(ctx, recent), damaged) {
		if err != nil {
			return err
		}
		d.tracker.Load(e)
	}
	if ids := d.tracker.Lacks(); len(ids) > 0 {
		for r, err := range history.Skip(d.store.Records(ctx, history.Filter{IDs: ids}), damaged) {
			if err != nil {
				return err
			}
			d.tracker.Supply(r)
		}
	}
	for c, err := range d.store.Changes(ctx, model) {
		if err != nil {
			return err
		}
		d.tracker.Trace(c)
	}
	totals, err := d.store.Totals(ctx)
	for name, list := range totals {
		if model == "" || name == model {
			d.tracker.Count(name, standing.TotalsOf(list))
		}
	}
	return err
}

// catchUp gives the tracker what came since; d.deriving is held.
func (d *Daemon) catchUp() {
	d.mu.Lock()
	fresh := d.evidence.fresh
	d.evidence.fresh = nil
	d.mu.Unlock()
	for _, r := range fresh {
		d.tracker.Add(r)
	}
}

// known are the records at hand.
func (d *Daemon) known() []history.Record {
	d.deriving.Lock()
	defer d.deriving.Unlock()
	d.catchUp()
	return d.tracker.Records()
}

// derive makes the state under a configuration, and its metrics. It publishes
// nothing; d.deriving is held.
func (d *Daemon) derive(cfg config.Config) (*standing.State, *metrics.Snapshot) {
	d.catchUp()
	d.mu.Lock()
	known := d.evidence
	d.mu.Unlock()
	e := standing.Evidence{Now: d.now(), Targets: cfg.Targets, Milestones: cfg.Milestones, Track: known.track, Unread: known.plan == nil, Left: known.left}
	if p := known.plan; p != nil {
		e.Backend = standing.Backend{Name: p.Backend.Name, Version: p.Backend.Environment.BackendVersion, Reason: p.Backend.Reason}
		e.Models, e.Refused = held(cfg, *p)
	}
	s, err := d.tracker.Derive(e)
	if err != nil {
		d.log.Error("Milestone has no forecast", "err", err)
	}
	m, err := d.snapshot.Next(s, cfg.MaxSeries)
	if err != nil {
		d.log.Error("Some metrics are omitted", "err", err)
	}
	d.snapshot = m
	return s, m
}

// publish shows what was derived; d.deriving is held.
func (d *Daemon) publish(s *standing.State, m *metrics.Snapshot) {
	d.metrics.Set(m) // encodes it first: no scrape waits for that
	d.derived.Store(s)
}

// refresh derives the state and the metrics again. Progress within a job does
// not: that would take time from what is measured.
func (d *Daemon) refresh() {
	d.deriving.Lock()
	defer d.deriving.Unlock()
	cfg, _ := d.inForce()
	d.publish(d.derive(cfg))
}

// inForce is the configuration, and what is closed when another takes its place.
func (d *Daemon) inForce() (cfg config.Config, renewed <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.setup.config, d.setup.renewed
}

// Renew derives again, between jobs, what depends on the time of day and what
// is too costly to do after every record: the forecast's own record.
func (d *Daemon) Renew() {
	if len(d.activity.Load().running) > 0 {
		return
	}
	d.mu.Lock()
	tracked := d.evidence.tracked
	d.evidence.tracked = true // what comes from here on makes it false again
	d.mu.Unlock()
	if !tracked {
		d.deriving.Lock()
		histories := d.tracker.Histories(d.derived.Load())
		d.deriving.Unlock()
		debug.FreeOSMemory()                                                       // of what came before: the record needs memory of its own
		score := forecast.Backtest(histories, forecast.BacktestOptions{}).Plancast // not under the lock: it takes its time
		d.mu.Lock()
		d.evidence.track = &score
		d.mu.Unlock()
	}
	d.refresh()
	debug.FreeOSMemory() // the forecasts needed more than an idle daemon holds
}

// state is the state as of now.
func (d *Daemon) state() *standing.State {
	a := d.activity.Load()
	return d.derived.Load().At(d.now(), standing.Activity{Running: a.running, Queue: a.waiting, LastPass: a.lastPass, NextPass: a.next.UTC()})
}

// View is the report as of now, of the models that Options.Only selects.
func (d *Daemon) View() report.View { return d.Part(report.Selection{}) }

// Newest are the measured records, with their layers, of the newest candidate of
// each model that Options.Only selects.
func (d *Daemon) Newest(ctx context.Context) (out []history.Record, err error) {
	for _, m := range d.derived.Load().Models {
		if m.Current == nil || d.options.Only != nil && !d.options.Only(m.Name) {
			continue
		}
		for e := range m.Current.Entries() {
			if !e.OK() {
				continue
			}
			r, err := d.store.Record(ctx, e.ID)
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// Part implements web.Source: a view that shows some models.
func (d *Daemon) Part(of report.Selection) report.View {
	v := report.BuildPart(d.state(), of)
	v.Version = d.options.Build.Version
	if d.options.Only != nil {
		v = v.Of(d.options.Only)
	}
	return v
}

// activity is what the daemon does now: immutable. It changes more often than
// the state.
type activity struct {
	running    []standing.Job // one on each device
	waiting    []standing.Job
	scanned    bool   // the repository was read
	waitingFor string // whose answer the running pass waits for; "" for nobody's
	lastPass   *standing.Pass
	passErr    error         // of the last pass; nil when it went through
	patience   time.Duration // of the running pass: how long it may show no progress
	stalls     time.Time     // when the running pass counts as stalled unless it progresses; zero while none runs
	reloadErr  error         // of the last reload; nil when it went through
	reloaded   time.Time
	next       time.Time // when the schedule makes the next pass; zero without one
	logged     time.Time // when the log last mentioned the running job
}

// act changes what the daemon does now. change must not change what the slices
// and pointers of the activity lead to: readers hold them.
func (d *Daemon) act(change func(*activity)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var a activity
	if old := d.activity.Load(); old != nil {
		a = *old
	}
	change(&a)
	d.activity.Store(&a)
	d.metrics.SetActivity(metrics.Activity{
		QueueLength: len(a.waiting), Running: a.running, LastPass: a.lastPass, PassFailed: a.passErr != nil,
		Stalls: a.stalls, ReloadFailed: a.reloadErr != nil, Reloaded: a.reloaded,
	})
}

// advance is act for what a pass does: it is a sign of progress.
func (d *Daemon) advance(change func(*activity)) {
	d.act(func(a *activity) {
		change(a)
		a.stalls = time.Now().Add(a.patience)
	})
}

// held is what the repository holds.
func held(cfg config.Config, plan pass.Plan) ([]standing.Held, []standing.Refusal) {
	scan := plan.Scan
	states := map[string]*standing.Held{}
	state := func(name string) *standing.Held {
		if states[name] == nil {
			states[name] = &standing.Held{Name: name, Owner: cfg.ModelFor(name).Owner, Precisions: cfg.Precisions}
		}
		return states[name]
	}
	for name, versions := range scan.Models {
		for _, c := range versions {
			s := state(name)
			s.Versions = append(s.Versions, standing.Version{Version: c.Version, Digest: c.Digest, State: standing.Accepted})
		}
	}
	for name, fingerprint := range plan.Fingerprints {
		if states[name] != nil {
			states[name].Fingerprint = fingerprint
		}
	}
	for _, p := range scan.Pending {
		s := state(p.Model)
		s.Versions = append(s.Versions, standing.Version{Version: p.Version, State: standing.Pending, Reason: p.Reason})
	}
	var refused []standing.Refusal
	for _, x := range scan.Refused {
		if x.Model == "" {
			refused = append(refused, standing.Refusal{Name: x.Path, Reason: x.Reason})
			continue
		}
		s := state(x.Model)
		s.Versions = append(s.Versions, standing.Version{Version: cmp.Or(x.Version, path.Base(x.Path)), State: standing.Refused, Reason: x.Reason})
	}
	var out []standing.Held
	for _, name := range slices.Sorted(maps.Keys(states)) {
		out = append(out, *states[name])
	}
	return out, refused
}
