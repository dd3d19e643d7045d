package daemon

import (
	"cmp"
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

// evidence is all that the state is derived from, besides the configuration.
type evidence struct {
	records []history.Record
	fresh   []history.Record     // that the tracker has not yet
	plan    *pass.Plan           // nil before the repository was read
	left    map[string]time.Time // since when models of the history are not in the repository; replaced, never changed
	track   *forecast.Score
	tracked int // records that track rests on
}

// add keeps a record in memory; the one it takes the place of needs its
// distribution no longer.
func (e *evidence) add(r history.Record) {
	for i := len(e.records) - 1; i >= 0; i-- {
		old := &e.records[i]
		if old.Model == r.Model && old.Precision == r.Precision && old.OK() && r.OK() {
			if old.Measurement.Latency.Buckets == nil {
				break
			}
			slim := *old.Measurement
			slim.Latency.Buckets, slim.Sweep, slim.Phases, slim.Warnings = nil, nil, nil, nil
			slim.Plan.Path, slim.Plan.Warnings = "", nil
			if slim.Layers != nil {
				counts := *slim.Layers
				counts.Layers = nil
				slim.Layers = &counts
			}
			old.Measurement = &slim
			break
		}
	}
	e.records, e.fresh = append(e.records, r), append(e.fresh, r)
}

// known is the evidence so far, for a reader who takes his time.
func (d *Daemon) known() evidence {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.evidence
	e.records = slices.Clone(e.records) // add changes elements in place
	return e
}

// derive makes the state under a configuration, and its metrics. It publishes
// nothing; d.deriving is held.
func (d *Daemon) derive(cfg config.Config) (*standing.State, *metrics.Snapshot) {
	d.mu.Lock()
	known, fresh := d.evidence, d.evidence.fresh
	d.evidence.fresh = nil
	d.mu.Unlock()
	for _, r := range fresh {
		d.tracker.Add(r)
	}
	e := standing.Evidence{Now: d.now(), Targets: cfg.Targets, Milestones: cfg.Milestones, Track: known.track, Unread: known.plan == nil, Left: known.left}
	if p := known.plan; p != nil {
		e.Backend = standing.Backend{Name: p.Backend.Name, Version: p.Backend.Environment.BackendVersion, Reason: p.Backend.Reason}
		e.Models, e.Refused = held(cfg, *p)
	}
	s, err := d.tracker.Derive(e)
	if err != nil {
		d.log.Error("A milestone has no forecast", "err", err)
	}
	m, err := metrics.NewSnapshot(s, d.options.Build)
	if err != nil {
		d.log.Error("Some metrics are left out", "err", err)
	}
	return s, m
}

// publish shows what was derived; d.deriving is held.
func (d *Daemon) publish(s *standing.State, m *metrics.Snapshot) {
	d.metrics.Set(m) // encodes it first: no scrape waits for that
	d.derived.Store(s)
}

// refresh derives the state and the metrics anew. Progress within a job does
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

// Renew derives anew, between jobs, what depends on the time of day and what
// is too costly to do after every record: the forecast's own record.
func (d *Daemon) Renew() {
	if len(d.activity.Load().running) > 0 {
		return
	}
	d.mu.Lock()
	known, tracked := len(d.evidence.records), d.evidence.tracked
	d.mu.Unlock()
	if known != tracked {
		d.deriving.Lock()
		score := d.tracker.Backtest(d.derived.Load())
		d.deriving.Unlock()
		d.mu.Lock()
		d.evidence.track, d.evidence.tracked = &score, known
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
func (d *Daemon) View() report.View {
	v := report.Build(d.state())
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
	passErr    error // of the last pass; nil when it went through
	reloadErr  error // of the last reload; nil when it went through
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
		ReloadFailed: a.reloadErr != nil, Reloaded: a.reloaded,
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
