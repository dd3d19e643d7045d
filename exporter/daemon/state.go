package daemon

import (
	"cmp"
	"maps"
	"path"
	"runtime/debug"
	"slices"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/pass"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/standing"
)

// add keeps a record in memory; the one it takes the place of needs its
// distribution no longer.
func (d *Daemon) add(r history.Record) {
	for i := len(d.records) - 1; i >= 0; i-- {
		old := &d.records[i]
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
	d.records = append(d.records, r)
}

// View is the report as of now, of the models that Only selects.
func (d *Daemon) View() report.View {
	d.mu.Lock()
	state := d.state.At(d.Now(), d.activity())
	d.mu.Unlock()
	v := report.Build(state)
	v.Version = d.Build.Version
	if d.Only != nil {
		v = v.Of(d.Only)
	}
	return v
}

// refresh derives the state and the metrics anew. Progress within a job does
// not: that would take time from what is measured.
func (d *Daemon) refresh() {
	// In order, so that an older state never takes the place of a newer one.
	d.refreshing.Lock()
	defer d.refreshing.Unlock()
	d.mu.Lock()
	e := d.evidence()
	d.mu.Unlock()
	state, err := d.tracker.Derive(e)
	if err != nil {
		d.Log.Error("A milestone has no forecast", "err", err)
	}
	s, err := metrics.NewSnapshot(state, d.Build)
	if err != nil {
		d.Log.Error("Metrics stay as they were", "err", err)
	}
	if d.metrics == nil {
		d.metrics = metrics.NewCollector(s)
	} else if s != nil {
		d.metrics.Set(s) // encodes it: not under d.mu, which a page and a scrape need
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = state
}

// Renew derives anew, between jobs, what depends on the time of day and what
// is too costly to do after every record: the forecast's own record.
func (d *Daemon) Renew() {
	d.mu.Lock()
	busy, known, tracked, state := len(d.running) > 0, len(d.records), d.tracked, d.state
	d.mu.Unlock()
	if busy {
		return
	}
	if known != tracked {
		d.refreshing.Lock()
		score := d.tracker.Backtest(state)
		d.refreshing.Unlock()
		d.mu.Lock()
		d.track, d.tracked = &score, known
		d.mu.Unlock()
	}
	d.refresh()
	debug.FreeOSMemory() // the forecasts needed more than an idle daemon holds
}

// act tells the metrics what the daemon does now.
func (d *Daemon) act() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.metrics.SetActivity(metrics.Activity{QueueLength: len(d.waiting), Running: d.running, LastPass: d.lastPass})
}

// activity is what the daemon does now; d.mu is held.
func (d *Daemon) activity() standing.Activity {
	a := standing.Activity{Running: d.running, Queue: d.waiting, LastPass: d.lastPass}
	if d.nextPass != nil {
		a.NextPass = d.nextPass()
	}
	return a
}

// evidence is what the state is derived from, besides the history; d.mu is held.
func (d *Daemon) evidence() standing.Evidence {
	e := standing.Evidence{
		Now: d.Now(), Targets: d.Config.Targets, Milestones: d.Config.Milestones,
		Backend:  standing.Backend{Name: d.plan.Backend.Name, Version: d.plan.Backend.Environment.BackendVersion, Reason: d.plan.Backend.Reason},
		Activity: d.activity(), Track: d.track, Unread: !d.scanned,
	}
	e.Models, e.Refused = held(d.Config, d.plan)
	return e
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
