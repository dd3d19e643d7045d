package daemon

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	processors "github.com/plancast/plancast/exporter/host"
	"github.com/plancast/plancast/exporter/notify"
	"github.com/plancast/plancast/exporter/pass"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/exporter/worker"
)

// scanPatience is how long a pass may show no progress beside a job, which ends
// by its own limit: while the repository is read and a candidate is copied.
const scanPatience = time.Hour

// Pass makes one pass over the models that only selects; nil selects all. What
// again asks for is measured once more. It returns why the pass could not go on;
// what was measured until then is kept.
func (d *Daemon) Pass(ctx context.Context, only func(model string) bool, again ...pass.Again) error {
	d.passing.Lock()
	defer d.passing.Unlock()
	started := d.now()
	limit, _ := d.inForce()
	d.advance(func(a *activity) { a.patience = limit.Worker.Timeout + scanPatience })
	err := func() error {
		if err := d.lock.check(); err != nil {
			return err
		}
		cfg, repo, err := d.begin(ctx)
		if err != nil {
			return err
		}
		runner := d.options.newRunner(cfg, d.store, repo, observer{d}, &d.chosen, d.known(), again...)
		if d.options.Unmeasured {
			return runner.Scan(ctx)
		}
		err = runner.Once(ctx, only)
		if cfg.Repository.WriteResults && ctx.Err() == nil {
			d.writeResults(ctx, repo)
		}
		return err
	}()
	d.act(func(a *activity) {
		a.running, a.waiting, a.passErr, a.stalls = nil, nil, err, time.Time{}
		if err == nil {
			a.lastPass = &standing.Pass{Finished: d.now().UTC(), Duration: d.now().Sub(started)}
		}
	})
	return err
}

// newRunner makes the runner of one pass; store and observer may be nil for one
// that only plans.
func (o Options) newRunner(cfg config.Config, store *history.Store, repo *candidate.Repository, observer pass.Observer, chosen *pass.Chosen, known []history.Record, again ...pass.Again) *pass.Runner {
	return pass.New(pass.Options{
		Config: cfg, Store: store, Repository: repo, Backends: o.Backends, Chosen: chosen, Again: again,
		Worker: func() pass.Worker {
			return &limited{
				command: o.Worker, scratch: scratch(cfg),
				env: notify.Environ(worker.Environ(os.Environ(), cfg.Worker.Env), cfg.Notifications),
			}
		},
		Quiet: func(ctx context.Context, g bench.Guard) bool {
			return processors.Of(cfg.Worker.Cores).Quiet(ctx, g.MaxDisturbance, g.Patience) < g.Patience
		},
		Now: o.Now, Log: o.Log, Observe: observer,
	}, known)
}

// limited implements pass.Worker.
type limited struct {
	worker.Worker
	command, env []string
	scratch      string
}

// scratch is where workers have their temporary folders: what a killed daemon leaves
// there is cleared by the next. plancast check makes no folder of its own.
func scratch(cfg config.Config) string {
	dir := pass.WorkDir(cfg.State)
	if _, err := os.Stat(dir); err != nil {
		return ""
	}
	return dir
}

func (w *limited) Run(ctx context.Context, limits config.Worker, req worker.Request, progress func(engine.Progress)) (worker.Outcome, error) {
	spec := w.spec(limits)
	spec.Progress = progress
	return w.Worker.Run(ctx, spec, req)
}

func (w *limited) spec(limits config.Worker) worker.Spec {
	return worker.Spec{Command: w.command, Env: w.env, Scratch: w.scratch, Timeout: limits.Timeout, Memory: limits.Memory, Cores: limits.Cores}
}

// logWait logs what a pass waits for, "" for nothing any more.
func (o Options) logWait(what string) {
	if what != "" {
		o.Log.Warn("Model repository is slow", "note", what)
		return
	}
	o.Log.Info("Model repository answered")
}

// Pending are the versions of the models that only selects that are left alone
// for now, because time will change them.
func (d *Daemon) Pending(only func(model string) bool) []candidate.Pending {
	p := d.plan()
	if p == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(p.Scan.Pending), func(p candidate.Pending) bool { return only != nil && !only(p.Model) })
}

// Scanned reports whether the repository has been read.
func (d *Daemon) Scanned() bool { return d.plan() != nil }

// plan is that of the last pass; nil before the first.
func (d *Daemon) plan() *pass.Plan {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.evidence.plan
}
