// Package daemon is plancast at work: it owns the history, the lock on the state
// folder and what everybody is shown, makes passes over the model repository on
// schedule and on request, and serves the report and the metrics.
//
// What is shown is derived once, whenever the evidence changes, and published
// through atomic pointers: a page, a scrape and a probe load what is there and
// never wait for each other, for a pass or for a refresh.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/gpu"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/notify"
	"github.com/plancast/plancast/exporter/pass"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/exporter/web"
)

// Options are what a Daemon works with.
type Options struct {
	Config config.Config // until the first reload
	// ConfigFile is what Reload reads.
	ConfigFile string
	Build      metrics.Build
	// Worker is the command that starts a worker.
	Worker []string
	// Sender is the command that starts a process that sends a notification.
	Sender []string
	// Backends are the runtimes that a worker has, the preferred first.
	Backends []string
	Now      func() time.Time
	Log      *slog.Logger
	// Only selects the models that the report shows; nil selects all.
	Only func(model string) bool
	// Change completes what is known of the change of every candidate that a pass
	// measures.
	Change change.Change
	// Unmeasured makes passes scan the repository and measure nothing.
	Unmeasured bool
	// Unnotified marks what is recorded as known: nobody is notified of it.
	Unnotified bool
	// Later leaves what an upgrade of the history need not do at once to Run.
	Later bool
	// Web says how plancast is served; its source and metrics are the daemon's own.
	Web web.Options
}

// Daemon is plancast at work. Passes run one at a time; everything else may be
// called at any time, from any goroutine.
type Daemon struct {
	options  Options
	log      *slog.Logger
	now      func() time.Time
	load     func(file string) (config.Config, error)
	store    *history.Store
	lock     *lock
	notifier *notify.Notifier
	requests *requests
	reloads  *reloading

	// What readers see, each immutable and never nil once New has returned.
	derived  atomic.Pointer[standing.State]
	activity atomic.Pointer[activity]
	metrics  *metrics.Collector

	passing  sync.Mutex        // held during a pass
	chosen   pass.Chosen       // guarded by passing
	deriving sync.Mutex        // held while something new is derived and published, so that nothing older replaces it
	tracker  standing.Tracker  // guarded by deriving
	snapshot *metrics.Snapshot // the newest that was made; guarded by deriving

	audited int64 // newest line of the audit trail that is shown

	mu       sync.Mutex // guards the evidence: held to read or change it, never to derive from it
	setup    setup
	evidence evidence
}

// New takes the state folder for itself and reads the history. Close the Daemon.
func New(o Options) (*Daemon, error) {
	if err := os.MkdirAll(o.Config.State, 0o755); err != nil {
		return nil, fmt.Errorf("open state folder: %w", err)
	}
	l, err := takeLock(o.Config.State)
	if err != nil {
		return nil, err
	}
	d := &Daemon{
		options: o, log: o.Log, now: o.Now, load: config.Load, requests: newRequests(), lock: l, setup: newSetup(o.Config),
	}
	d.snapshot, err = metrics.NewSnapshot(&standing.State{}, o.Build, 0)
	if err := errors.Join(err, d.open(context.Background())); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Daemon) open(ctx context.Context) error {
	var err error
	progress := func(done, total int64) { d.log.Info("Upgrading the history", "records", done, "of", total) }
	if d.store, err = history.OpenWith(HistoryFile(d.options.Config), history.Options{Progress: seldom(d.now, progress), Later: d.options.Later}); err != nil {
		return err
	}
	// What a killed predecessor left of its jobs is of no use to anybody.
	if err := os.RemoveAll(pass.WorkDir(d.options.Config.State)); err != nil {
		return fmt.Errorf("remove leftover work: %w", err)
	}
	// It is there before the first worker has its temporary folder in it.
	if err := os.MkdirAll(pass.WorkDir(d.options.Config.State), 0o755); err != nil {
		return fmt.Errorf("create work folder: %w", err)
	}
	trail, err := d.store.Audit(ctx, 0)
	if err != nil {
		return err
	}
	if n := len(trail); n > 0 {
		d.audited = trail[n-1].ID
	}
	if err := d.readHistory(ctx, ""); err != nil {
		return err
	}
	if d.evidence.left, err = d.store.Left(ctx); err != nil {
		return err
	}
	s, m := d.derive(d.setup.config)
	d.metrics = metrics.NewCollector(m)
	d.metrics.SetHistory(d.store.Size)
	d.derived.Store(s)
	d.act(func(a *activity) { a.reloaded = d.now() })
	if err := d.openNotifier(ctx); err != nil {
		return err
	}
	d.reloads = d.startReloading()
	return nil
}

// seldom leaves out calls within ten seconds of one that it passed on.
func seldom(now func() time.Time, f func(done, total int64)) func(done, total int64) {
	last := now()
	return func(done, total int64) {
		if t := now(); t.Sub(last) >= logProgressEvery {
			last = t
			f(done, total)
		}
	}
}

// HistoryFile is where the history of a configuration lies.
func HistoryFile(cfg config.Config) string { return filepath.Join(cfg.State, "history.db") }

// Close gives the state folder back. Nothing else may run or be called then.
func (d *Daemon) Close() error {
	if d.reloads != nil {
		d.reloads.end()
	}
	errs := []error{d.setup.close()}
	if d.store != nil {
		errs = append(errs, d.store.Close())
	}
	errs = append(errs, d.lock.release())
	return errors.Join(errs...)
}

// Run makes passes on schedule and on request, sends notifications and samples
// the GPUs, until ctx ends; a running job then ends without a result. It returns
// early, with the reason, when the state is no longer its own.
func (d *Daemon) Run(ctx context.Context) error {
	gpus := gpu.NewMonitor(gpu.Options{Log: d.log})
	d.metrics.SetGPUs(gpus.States)
	running, ctx := errgroup.WithContext(ctx)
	running.Go(func() error { return d.schedule(ctx) })
	running.Go(func() error {
		d.every(ctx, correctionsEvery, "read corrections of the history", d.TakeCorrections)
		return nil
	})
	running.Go(func() error { d.every(ctx, tidyEvery, "tidy the history", d.Tidy); return nil })
	running.Go(func() error { d.notifier.Run(ctx); return nil })
	running.Go(func() error { gpus.Run(ctx); return nil })
	return running.Wait()
}
