package daemon

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/pass"
	"github.com/plancast/plancast/exporter/standing"
)

// observer follows a pass: it implements pass.Observer.
type observer struct{ *Daemon }

// Scanned implements pass.Observer.
func (d observer) Scanned(p pass.Plan) {
	d.mu.Lock()
	var before candidate.Scan
	if d.evidence.plan != nil {
		before = d.evidence.plan.Scan
	}
	changed := d.evidence.plan == nil || !reflect.DeepEqual(p, *d.evidence.plan) // most passes find nothing new
	d.evidence.plan = &p
	d.mu.Unlock()
	d.note(p)
	d.logHeldUp(before, p.Scan)
	if err := d.trace(before, p); err != nil {
		d.log.Error("Cannot record the changes of candidates", "err", err)
	}
	if changed {
		d.log.Info("Repository scanned", "models", len(p.Scan.Models), "versions", p.Scan.Versions, "jobs", len(p.Jobs),
			"pending", len(p.Scan.Pending), "rejected", len(p.Scan.Refused), "backend", p.Backend.Name, "reason", p.Backend.Reason)
		d.refresh()
	}
	if err := d.endDeleted(p); err != nil {
		d.log.Error("Cannot update the results of deleted versions", "err", err)
	}
	d.advance(func(a *activity) { a.scanned, a.waiting = true, jobs(p.Jobs) })
	d.notify(0) // of what a predecessor recorded before it was killed
}

// logHeldUp names the versions that wait or are rejected, and the files that are
// not used, for a new reason.
func (d observer) logHeldUp(before, now candidate.Scan) {
	for _, x := range now.Refused {
		if !slices.Contains(before.Refused, x) {
			d.log.Warn("Candidate rejected", "path", x.Path, "reason", x.Reason)
		}
	}
	for _, x := range now.Notes {
		if !slices.Contains(before.Notes, x) {
			d.log.Warn("File ignored", "path", x.Path, "note", x.Text)
		}
	}
	for _, x := range now.Pending {
		if !slices.ContainsFunc(before.Pending, func(y candidate.Pending) bool {
			return x.Model == y.Model && x.Version == y.Version && x.Reason == y.Reason
		}) {
			d.log.Info("Candidate is waiting", "model", x.Model, "version", x.Version, "reason", x.Reason)
		}
	}
}

// Started implements pass.Observer.
func (d observer) Started(j pass.Job, waiting []pass.Job) {
	job := asJob(j)
	job.Started = d.now()
	d.advance(func(a *activity) {
		a.running, a.waiting, a.logged = append(slices.Clip(a.running), job), jobs(waiting), d.now()
	})
	d.log.Info("Job started", "model", job.Model, "version", job.Version, "precision", job.Precision, "waiting", len(waiting))
}

// logProgressEvery is how often the log mentions a running job; the report
// shows it all the time.
const logProgressEvery = 10 * time.Second

// Progressed implements pass.Observer.
func (d observer) Progressed(j pass.Job, p engine.Progress) {
	due := false
	d.advance(func(a *activity) {
		a.running = slices.Clone(a.running)
		for i := range a.running {
			if same(a.running[i], asJob(j)) {
				a.running[i].Progress = p
			}
		}
		if due = d.now().Sub(a.logged) >= logProgressEvery; due {
			a.logged = d.now()
		}
	})
	if due {
		d.log.Info("Job running", "model", j.Candidate.Model, "version", j.Candidate.Version, "precision", j.Precision, "stage", p.Stage, "note", p.Message)
	}
}

// Recorded implements pass.Observer.
func (d observer) Recorded(r history.Record) {
	d.mu.Lock()
	d.evidence.add(r)
	d.mu.Unlock()
	d.refresh()
	d.advance(func(a *activity) { a.end(standing.Job{Model: r.Model, Version: r.Version, Precision: r.Precision}) })
	d.notify(r.ID)
	log := d.log.With("model", r.Model, "version", r.Version, "precision", r.Precision, "iteration", r.Iteration, "took", r.Duration().Round(time.Millisecond))
	switch {
	case r.OK():
		if p99, ok := r.Measurement.Latency.At(0.99); ok { // too few queries have none
			log = log.With("p99", time.Duration(p99.Value*1e9).Round(time.Microsecond))
		}
		if d := r.Measurement.Disturbance; d != nil && (r.Measurement.Disturbed() || d.Discarded > 0) {
			log = log.With("disturbed", r.Measurement.Disturbed(), "cause", d.Cause, "share", fmt.Sprintf("%.3g", d.Share), "discarded", d.Discarded)
		}
		log.Info("Job measured", "throughput", fmt.Sprintf("%.4g/s", r.Measurement.Throughput), "stable", r.Measurement.Stable)
	case r.Unsupported():
		log.Info("Job not supported here", "reason", r.Failure.Message)
	default:
		log.Warn("Job failed", "kind", r.Failure.Kind, "err", r.Failure.Error.Error())
	}
}

// Dropped implements pass.Observer.
func (d observer) Dropped(j pass.Job) { d.advance(func(a *activity) { a.end(asJob(j)) }) }

// end takes a job from those that run.
func (a *activity) end(j standing.Job) {
	a.running = slices.DeleteFunc(slices.Clone(a.running), func(r standing.Job) bool { return same(r, j) })
}

func same(a, b standing.Job) bool {
	return a.Model == b.Model && a.Version == b.Version && a.Precision == b.Precision
}

func jobs(list []pass.Job) []standing.Job {
	out := make([]standing.Job, len(list))
	for i, j := range list {
		out[i] = asJob(j)
	}
	return out
}

func asJob(j pass.Job) standing.Job {
	return standing.Job{Model: j.Candidate.Model, Version: j.Candidate.Version, Precision: j.Precision}
}
