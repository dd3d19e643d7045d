package daemon

import (
	"cmp"
	"maps"
	"path"
	"runtime/debug"
	"slices"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/milestone"
	"github.com/plancast/plancast/exporter/report"
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

// View is the report as of now.
func (d *Daemon) View() report.View {
	d.mu.Lock()
	defer d.mu.Unlock()
	return report.Build(d.input())
}

// refresh makes the forecasts and the metrics anew. Progress within a job does
// not: that would take time from what is measured.
func (d *Daemon) refresh() {
	// In order, so that an older state never takes the place of a newer one.
	d.refreshing.Lock()
	defer d.refreshing.Unlock()
	d.mu.Lock()
	in := d.input()
	in.Records = slices.Clone(in.Records) // add changes elements in place
	d.mu.Unlock()
	in.Histories = history.ByModel(in.Records)

	var err error
	if in.Forecasts, err = milestone.All(in); err != nil {
		d.Log.Error("A milestone has no forecast", "err", err)
	}
	s, err := metrics.NewSnapshot(in, d.Build)
	if err != nil {
		d.Log.Error("Metrics stay as they were", "err", err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forecasts = in.Forecasts
	if d.metrics == nil {
		d.metrics = metrics.NewCollector(s)
		return
	}
	d.metrics.Set(s)
}

// Renew derives anew, between jobs, what depends on the time of day and what
// is too costly to do after every record: the forecast's own record.
func (d *Daemon) Renew() {
	d.mu.Lock()
	in, busy, tracked := d.input(), len(d.running) > 0, d.tracked
	in.Records = slices.Clone(in.Records)
	d.mu.Unlock()
	if busy {
		return
	}
	if n := len(in.Records); n != tracked {
		score := milestone.Track(in)
		d.mu.Lock()
		d.track, d.tracked = &score, n
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

// input is what the report of the models that only selects is made of; d.mu is held.
func (d *Daemon) input() report.Input {
	in := d.everything()
	if d.Only != nil {
		in.Unmatched = nil
		in.Models = slices.DeleteFunc(in.Models, func(m report.ModelState) bool { return !d.Only(m.Name) })
		in.Records = slices.DeleteFunc(slices.Clone(in.Records), func(r history.Record) bool { return !d.Only(r.Model) })
	}
	return in
}

// everything is what the report of all models is made of; d.mu is held.
func (d *Daemon) everything() report.Input {
	in := report.Input{
		Now: d.Now().UTC(), Version: d.Build.Version, Records: d.records,
		Targets: d.Config.Targets, Milestones: d.Config.Milestones,
		Backend: report.Backend{Name: d.plan.Backend.Name, Version: d.plan.Backend.Environment.BackendVersion, Reason: d.plan.Backend.Reason},
		Running: d.running, Queue: d.waiting, LastPass: d.lastPass, Forecasts: d.forecasts, Track: d.track,
	}
	if d.nextPass != nil {
		in.NextPass = d.nextPass()
	}
	in.Models, in.Refused = modelStates(d.Config, d.plan.Scan)
	if d.scanned {
		in.Unmatched = Unmatched(d.Config, slices.Sorted(maps.Keys(d.plan.Scan.Models)))
	}
	return in
}

// modelStates tells the report what the repository holds.
func modelStates(cfg config.Config, scan candidate.Scan) ([]report.ModelState, []report.Refusal) {
	states := map[string]*report.ModelState{}
	state := func(name string) *report.ModelState {
		if states[name] == nil {
			states[name] = &report.ModelState{Name: name, Owner: cfg.ModelFor(name).Owner, Precisions: cfg.Precisions}
		}
		return states[name]
	}
	for name, versions := range scan.Models {
		for _, c := range versions {
			s := state(name)
			s.Versions = append(s.Versions, report.VersionState{Version: c.Version, Digest: c.Digest, State: report.Accepted})
		}
	}
	for _, p := range scan.Pending {
		s := state(p.Model)
		s.Versions = append(s.Versions, report.VersionState{Version: p.Version, State: report.Pending, Reason: p.Reason})
	}
	var refused []report.Refusal
	for _, x := range scan.Refused {
		if x.Model == "" {
			refused = append(refused, report.Refusal{Name: x.Path, Reason: x.Reason})
			continue
		}
		s := state(x.Model)
		s.Versions = append(s.Versions, report.VersionState{Version: cmp.Or(x.Version, path.Base(x.Path)), State: report.Refused, Reason: x.Reason})
	}
	var out []report.ModelState
	for _, name := range slices.Sorted(maps.Keys(states)) {
		out = append(out, *states[name])
	}
	return out, refused
}
