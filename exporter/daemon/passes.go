package daemon

import (
	"context"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/notify"
	"github.com/plancast/plancast/exporter/onnx"
	"github.com/plancast/plancast/exporter/pass"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/exporter/worker"
)

// Pass makes one pass over the models that only selects; nil selects all. It
// returns why the pass could not go on; what was measured until then is kept.
func (d *Daemon) Pass(ctx context.Context, only func(model string) bool) error {
	d.passing.Lock()
	defer d.passing.Unlock()
	started := d.Now()
	d.mu.Lock()
	cfg, known := d.Config, slices.Clone(d.records)
	d.mu.Unlock()

	err := func() error {
		if err := d.openRepository(ctx, cfg); err != nil {
			return err
		}
		runner := d.newRunner(cfg, d.store, d.repository, observer{d}, &d.chosen, known)
		if d.Unmeasured {
			return runner.Scan(ctx)
		}
		return runner.Once(ctx, only)
	}()

	d.mu.Lock()
	d.running, d.waiting = nil, nil
	d.passErr = err
	if err == nil {
		d.lastPass = &standing.Pass{Finished: d.Now().UTC(), Duration: d.Now().Sub(started)}
	}
	d.mu.Unlock()
	d.act()
	return err
}

// openRepository opens the repository, or keeps the open one, which remembers
// what it saw of files whose times cannot be trusted.
func (d *Daemon) openRepository(ctx context.Context, cfg config.Config) error {
	if d.repository != nil && d.opened == cfg.Repository {
		return nil
	}
	repo, err := openRepository(ctx, cfg, d.store, d.Now, func(what string) {
		d.mu.Lock()
		d.waitingFor = what
		d.mu.Unlock()
		d.logWait(what)
	})
	if err != nil {
		return err
	}
	if d.repository != nil {
		if err := d.repository.Close(); err != nil {
			d.Log.Warn("Model repository does not close", "url", d.opened.URL, "err", err)
		}
	}
	d.repository, d.opened = repo, cfg.Repository
	return nil
}

// newRunner makes the runner of one pass; store and observer may be nil for one
// that only plans.
func (o Options) newRunner(cfg config.Config, store *history.Store, repo *candidate.Repository, observer pass.Observer, chosen *pass.Chosen, known []history.Record) *pass.Runner {
	return pass.New(pass.Options{
		Config: cfg, Store: store, Repository: repo, Backends: o.Backends, Chosen: chosen,
		Worker: func() pass.Worker {
			return &limited{command: o.Worker, env: notify.Environ(os.Environ(), cfg.Notifications)}
		},
		Now: o.Now, Log: o.Log, Observe: observer,
	}, known)
}

// limited implements pass.Worker.
type limited struct {
	worker.Worker
	command, env []string
}

func (w *limited) Run(ctx context.Context, limits config.Worker, req worker.Request, progress func(engine.Progress)) (worker.Outcome, error) {
	return w.Worker.Run(ctx, worker.Spec{
		Command: w.command, Env: w.env, Timeout: limits.Timeout, Memory: limits.Memory, Cores: limits.Cores, Progress: progress,
	}, req)
}

// logWait logs what a pass waits for, "" for nothing any more.
func (o Options) logWait(what string) {
	if what != "" {
		o.Log.Warn("Model repository is slow", "note", what)
		return
	}
	o.Log.Info("Model repository answers again")
}

func openRepository(ctx context.Context, cfg config.Config, memory candidate.Memory, now func() time.Time, waiting func(string)) (*candidate.Repository, error) {
	return candidate.Open(ctx, candidate.Options{
		URL: cfg.Repository.URL, Quiet: cfg.Repository.Quiet, MaxSize: cfg.Repository.MaxSize,
		Memory: memory, Now: now, Inspect: inspect, Waiting: waiting,
	})
}

// inspect reads what identifies a candidate and its inputs from an ONNX file.
func inspect(r io.ReaderAt, size int64) (candidate.Contents, error) {
	m, err := onnx.Read(r, size)
	if err != nil {
		return candidate.Contents{}, err
	}
	c := candidate.Contents{External: m.ExternalData, Inputs: map[string][]string{}}
	const most = 200 // inputs; it is remembered for each file
	for _, in := range m.Inputs[:min(len(m.Inputs), most)] {
		dims := make([]string, len(in.Dims))
		for i, d := range in.Dims {
			if dims[i] = d.Name; d.Size >= 0 {
				dims[i] = strconv.FormatInt(d.Size, 10)
			}
		}
		c.Inputs[in.Name] = dims
	}
	return c, nil
}

// Pending tells whether a version of the models that only selects is left alone
// because it may still be copied.
func (d *Daemon) Pending(only func(model string) bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.plan.Scan.Pending, func(p candidate.Pending) bool { return only == nil || only(p.Model) })
}
