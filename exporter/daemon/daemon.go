// Package daemon is plancast at work: it owns the history, the lock on the state
// folder and what everybody is shown, makes passes over the model repository on
// schedule and on request, and serves the report and the metrics.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/gpu"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/notify"
	"github.com/plancast/plancast/exporter/pass"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
)

// Options are what a Daemon works with.
type Options struct {
	Config config.Config
	// ConfigFile is what Reload reads.
	ConfigFile string
	Build      metrics.Build
	// Worker is the command that starts a worker.
	Worker []string
	// Backends are the runtimes that a worker has, the preferred first.
	Backends []string
	Now      func() time.Time
	Log      *slog.Logger
	// Only selects the models that the report shows; nil selects all.
	Only func(model string) bool
	// Unmeasured makes passes scan the repository and measure nothing.
	Unmeasured bool
	// Unnotified marks what is recorded as known: nobody is notified of it.
	Unnotified bool
	// Lifecycle enables reload and passes on request over HTTP.
	Lifecycle bool
}

// ErrBusy says that another plancast measures with the same state folder.
var ErrBusy = errors.New("another plancast is measuring with this state folder: wait for it, stop it, or set another folder as state")

// lockPatience is how long a predecessor may still hold the lock that was killed
// while it started a worker: the worker holds it, too, until it runs its program.
const lockPatience = time.Second

// Daemon is plancast at work. Passes run one at a time; everything else may be
// called at any time, from any goroutine.
type Daemon struct {
	Options
	store *history.Store
	lock  *flock.Flock

	passing    sync.Mutex            // held during a pass; guards the three below
	repository *candidate.Repository // nil before the first pass
	opened     config.Repository     // what repository was opened with
	chosen     pass.Chosen

	refreshing sync.Mutex // held while the state and the metrics are made anew; guards the tracker
	tracker    standing.Tracker

	mu         sync.Mutex // guards the rest, and Options.Config
	records    []history.Record
	plan       pass.Plan
	scanned    bool
	running    []standing.Job // one on each device
	waiting    []standing.Job
	logged     time.Time // when progress of the running job was last logged
	lastPass   *standing.Pass
	passErr    error  // of the last pass; nil when it went through
	waitingFor string // whose answer the running pass waits for; "" for nobody's
	reloadErr  error
	reloaded   time.Time
	renewed    chan struct{} // closed by the next reload
	nextPass   func() time.Time
	state      *standing.State // as of the last refresh
	track      *forecast.Score
	tracked    int // records that track rests on

	metrics  *metrics.Collector
	notifier *notify.Notifier
	requests *requests
}

// New takes the state folder for itself and reads the history. Close the Daemon.
func New(o Options) (*Daemon, error) {
	if err := os.MkdirAll(o.Config.State, 0o755); err != nil {
		return nil, fmt.Errorf("open state folder: %w", err)
	}
	d := &Daemon{Options: o, reloaded: o.Now(), renewed: make(chan struct{}), requests: newRequests()}
	d.lock = flock.New(filepath.Join(o.Config.State, "lock"))
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	switch locked, err := d.lock.TryLockContext(ctx, 20*time.Millisecond); {
	case err != nil && ctx.Err() == nil:
		return nil, fmt.Errorf("lock state folder %s: %w", o.Config.State, err)
	case !locked:
		return nil, fmt.Errorf("lock state folder %s: %w", o.Config.State, ErrBusy)
	}
	if err := d.open(context.Background()); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Daemon) open(ctx context.Context) error {
	var err error
	progress := func(done, total int64) { d.Log.Info("The history is being upgraded", "records", done, "of", total) }
	if d.store, err = history.OpenWith(HistoryFile(d.Config), history.Options{Progress: seldom(d.Now, progress)}); err != nil {
		return err
	}
	// What a killed predecessor left of its jobs is of no use to anybody.
	if err := os.RemoveAll(pass.WorkDir(d.Config.State)); err != nil {
		return fmt.Errorf("clear left-over work: %w", err)
	}
	damaged := func(err error) { d.Log.Error("A record is left out", "err", err) }
	for r, err := range history.Skip(d.store.Records(ctx, history.Filter{}), damaged) {
		if err != nil {
			return err
		}
		d.add(r)
		d.tracker.Add(r)
	}
	d.refresh()
	return d.openNotifier(ctx)
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
	var errs []error
	if d.repository != nil {
		errs = append(errs, d.repository.Close())
	}
	if d.store != nil {
		errs = append(errs, d.store.Close())
	}
	errs = append(errs, d.lock.Unlock())
	return errors.Join(errs...)
}

// Run makes passes on schedule and on request, sends notifications and samples
// the GPUs, until ctx ends. A running job then ends without a result.
func (d *Daemon) Run(ctx context.Context) {
	gpus := gpu.NewMonitor(gpu.Options{Log: d.Log})
	d.metrics.SetGPUs(gpus.States)
	var working sync.WaitGroup
	working.Go(func() { d.schedule(ctx) })
	working.Go(func() { d.notifier.Run(ctx) })
	working.Go(func() { gpus.Run(ctx) })
	working.Wait()
}
