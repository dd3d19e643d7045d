package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/milestone"
	"github.com/plancast/plancast/exporter/notify"
	"github.com/plancast/plancast/exporter/onnx"
	"github.com/plancast/plancast/exporter/pass"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/worker"
	"github.com/plancast/plancast/forecast"
)

// errBusy says that another plancast measures with the same state folder.
var errBusy = errors.New("another plancast is measuring with this state folder: wait for it, stop it, or set another folder as state")

// lockPatience is how long a predecessor may still hold the lock that was killed
// while it started a worker: the worker holds it, too, until it runs its program.
const lockPatience = time.Second

// app is plancast at work: it owns the history, the lock on the state folder
// and the view that everybody is shown. Passes run one at a time.
type app struct {
	log     *slog.Logger
	now     func() time.Time
	program program
	only    func(model string) bool // models that the view shows; nil is all
	looking bool                    // passes look at the repository and measure nothing
	store   *history.Store
	lock    *flock.Flock

	passing    sync.Mutex            // held during a pass; guards the two below
	repository *candidate.Repository // nil before the first pass
	opened     config.Repository     // what repository was opened with

	refreshing sync.Mutex // held while forecasts and metrics are made anew

	mu        sync.Mutex // guards the rest
	cfg       config.Config
	records   []history.Record
	plan      pass.Plan
	scanned   bool
	running   []report.Job // one on each device
	waiting   []report.Job
	told      time.Time // when the log last told of the running job
	lastPass  *report.Pass
	passErr   error // of the last pass; nil when it went through
	reloadErr error
	reloaded  time.Time
	renewed   chan struct{} // closed by the next reload
	nextPass  func() time.Time
	forecasts map[string]*report.Forecast
	track     *forecast.Score
	tracked   int // records that track rests on

	metrics *metrics.Collector
	news    *notify.Notifier
	quiet   bool // what is recorded now is no news
}

// openApp takes the state folder for itself and reads the history.
func openApp(cfg config.Config, p program) (*app, error) {
	if err := os.MkdirAll(cfg.State, 0o755); err != nil {
		return nil, fmt.Errorf("open state folder: %w", err)
	}
	a := &app{log: p.log, now: p.now, program: p, cfg: cfg, reloaded: p.now(), renewed: make(chan struct{})}
	a.lock = flock.New(filepath.Join(cfg.State, "lock"))
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	switch locked, err := a.lock.TryLockContext(ctx, 20*time.Millisecond); {
	case err != nil && ctx.Err() == nil:
		return nil, fmt.Errorf("lock state folder %s: %w", cfg.State, err)
	case !locked:
		return nil, fmt.Errorf("lock state folder %s: %w", cfg.State, errBusy)
	}
	if err := a.open(); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

func (a *app) open() error {
	var err error
	if a.store, err = history.Open(historyPath(a.cfg)); err != nil {
		return err
	}
	// What a killed predecessor left of its jobs is of no use to anybody.
	if err := os.RemoveAll(pass.WorkDir(a.cfg.State)); err != nil {
		return fmt.Errorf("clear left-over work: %w", err)
	}
	for r, err := range a.store.Records(context.Background(), history.Filter{}) {
		if err != nil {
			return err
		}
		a.add(r)
	}
	a.refresh()
	return a.openNews(context.Background())
}

func historyPath(cfg config.Config) string { return filepath.Join(cfg.State, "history.db") }

func (a *app) close() error {
	var errs []error
	if a.repository != nil {
		errs = append(errs, a.repository.Close())
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	errs = append(errs, a.lock.Unlock())
	return errors.Join(errs...)
}

// add keeps a record in memory; the one it takes the place of needs its
// distribution no longer.
func (a *app) add(r history.Record) {
	for i := len(a.records) - 1; i >= 0; i-- {
		old := &a.records[i]
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
	a.records = append(a.records, r)
}

// pass makes one pass over the models that only selects.
func (a *app) pass(ctx context.Context, only func(model string) bool) error {
	a.passing.Lock()
	defer a.passing.Unlock()
	started := a.now()
	a.mu.Lock()
	cfg, known := a.cfg, slices.Clone(a.records)
	a.mu.Unlock()

	err := func() error {
		if err := a.openRepository(ctx, cfg); err != nil {
			return err
		}
		runner := newRunner(cfg, a.program, a.store, a.repository, a, known)
		if a.looking {
			return runner.Look(ctx)
		}
		return runner.Once(ctx, only)
	}()

	a.mu.Lock()
	a.running, a.waiting = nil, nil
	a.passErr = err
	if err == nil {
		a.lastPass = &report.Pass{Finished: a.now().UTC(), Duration: a.now().Sub(started)}
	}
	a.mu.Unlock()
	a.act()
	return err
}

// openRepository opens the repository, or keeps the open one, which remembers
// what it saw of files whose times cannot be trusted.
func (a *app) openRepository(ctx context.Context, cfg config.Config) error {
	if a.repository != nil && a.opened == cfg.Repository {
		return nil
	}
	repo, err := openRepository(ctx, cfg, a.store, a.now)
	if err != nil {
		return err
	}
	if a.repository != nil {
		if err := a.repository.Close(); err != nil {
			a.log.Warn("Model repository does not close", "url", a.opened.URL, "err", err)
		}
	}
	a.repository, a.opened = repo, cfg.Repository
	return nil
}

// newRunner makes the runner of one pass; store and observer may be nil for one
// that only plans.
func newRunner(cfg config.Config, p program, store *history.Store, repo *candidate.Repository, observer pass.Observer, known []history.Record) *pass.Runner {
	return pass.New(pass.Options{
		Config: cfg, Store: store, Repository: repo, Backends: p.backends,
		Worker: func() pass.Worker {
			return &limited{command: p.worker, env: notify.Environ(os.Environ(), cfg.Notifications)}
		},
		Now: p.now, Log: p.log, Observe: observer,
	}, known)
}

// limited implements pass.Worker.
type limited struct {
	worker.Worker
	command, env []string
}

func (w *limited) Run(ctx context.Context, limits config.Worker, req worker.Request, progress func(engine.Progress)) (worker.Outcome, error) {
	return w.Worker.Run(ctx, worker.Spec{
		Command: w.command, Env: w.env, Timeout: limits.Timeout, Memory: limits.Memory, Progress: progress,
	}, req)
}

func openRepository(ctx context.Context, cfg config.Config, memory candidate.Memory, now func() time.Time) (*candidate.Repository, error) {
	return candidate.Open(ctx, candidate.Options{
		URL: cfg.Repository.URL, Quiet: cfg.Repository.Quiet, Memory: memory, Now: now, Whole: whole,
	})
}

// whole tells whether an ONNX file can be read to its end, and which files it
// keeps weights in.
func whole(r io.ReaderAt, size int64) ([]string, error) {
	m, err := onnx.Read(r, size)
	if err != nil {
		return nil, err
	}
	return m.ExternalData, nil
}

// Scanned implements pass.Observer.
func (a *app) Scanned(p pass.Plan) {
	a.mu.Lock()
	changed := !a.scanned || !reflect.DeepEqual(p, a.plan) // most passes find nothing new
	a.plan, a.scanned = p, true
	a.waiting = jobs(p.Jobs)
	a.mu.Unlock()
	if changed {
		a.log.Info("Repository scanned", "models", len(p.Scan.Models), "versions", p.Scan.Versions, "jobs", len(p.Jobs),
			"pending", len(p.Scan.Pending), "refused", len(p.Scan.Refused), "backend", p.Backend.Name, "reason", p.Backend.Reason)
		a.refresh()
	}
	a.act()
	a.tell(0) // what a predecessor recorded and did not live to tell
}

// Started implements pass.Observer.
func (a *app) Started(j pass.Job, waiting []pass.Job) {
	a.mu.Lock()
	job := asJob(j)
	job.Started = a.now()
	a.running, a.waiting, a.told = append(slices.Clip(a.running), job), jobs(waiting), a.now()
	a.mu.Unlock()
	a.log.Info("Job started", "model", job.Model, "version", job.Version, "precision", job.Precision, "waiting", len(waiting))
	a.act()
}

// logProgressEvery is how often a running job is told in the log; the report
// shows it all the time.
const logProgressEvery = 10 * time.Second

// Progressed implements pass.Observer.
func (a *app) Progressed(j pass.Job, p engine.Progress) {
	a.mu.Lock()
	a.running = slices.Clone(a.running) // views hold the old one
	for i := range a.running {
		if same(a.running[i], asJob(j)) {
			a.running[i].Progress = p
		}
	}
	tell := a.now().Sub(a.told) >= logProgressEvery
	if tell {
		a.told = a.now()
	}
	a.mu.Unlock()
	a.act()
	if tell {
		a.log.Info("Job at work", "model", j.Candidate.Model, "version", j.Candidate.Version, "precision", j.Precision, "stage", p.Stage, "note", p.Message)
	}
}

// Recorded implements pass.Observer.
func (a *app) Recorded(r history.Record) {
	a.mu.Lock()
	a.add(r)
	a.ended(report.Job{Model: r.Model, Version: r.Version, Precision: r.Precision})
	a.mu.Unlock()
	a.refresh()
	a.act()
	a.tell(r.ID)
	log := a.log.With("model", r.Model, "version", r.Version, "precision", r.Precision, "iteration", r.Iteration, "took", r.Duration().Round(time.Millisecond))
	switch {
	case r.OK():
		p99, _ := r.Measurement.Latency.At(0.99)
		log.Info("Job measured", "p99", time.Duration(p99.Value*1e9).Round(time.Microsecond), "throughput", fmt.Sprintf("%.4g/s", r.Measurement.Throughput), "stable", r.Measurement.Stable)
	case r.Unsupported():
		log.Info("Job not possible here", "reason", r.Failure.Message)
	default:
		log.Warn("Job failed", "kind", r.Failure.Kind, "err", r.Failure.Error.Error())
	}
}

// Dropped implements pass.Observer.
func (a *app) Dropped(j pass.Job) {
	a.mu.Lock()
	a.ended(asJob(j))
	a.mu.Unlock()
	a.act()
}

// ended takes a job from those that run; a.mu is held.
func (a *app) ended(j report.Job) {
	a.running = slices.DeleteFunc(slices.Clone(a.running), func(r report.Job) bool { return same(r, j) })
}

func same(a, b report.Job) bool {
	return a.Model == b.Model && a.Version == b.Version && a.Precision == b.Precision
}

func jobs(list []pass.Job) []report.Job {
	out := make([]report.Job, len(list))
	for i, j := range list {
		out[i] = asJob(j)
	}
	return out
}

func asJob(j pass.Job) report.Job {
	return report.Job{Model: j.Candidate.Model, Version: j.Candidate.Version, Precision: j.Precision}
}

// view is the report as of now.
func (a *app) view() report.View {
	a.mu.Lock()
	defer a.mu.Unlock()
	return report.Build(a.input())
}

// refresh makes the forecasts and the metrics anew. Progress within a job does
// not: that would take time from what is measured.
func (a *app) refresh() {
	// In order, so that an older state never takes the place of a newer one.
	a.refreshing.Lock()
	defer a.refreshing.Unlock()
	a.mu.Lock()
	in := a.input()
	in.Records = slices.Clone(in.Records) // add changes elements in place
	a.mu.Unlock()
	in.Histories = history.ByModel(in.Records)

	var err error
	if in.Forecasts, err = milestone.All(in); err != nil {
		a.log.Error("A milestone has no forecast", "err", err)
	}
	s, err := metrics.NewSnapshot(in, build())
	if err != nil {
		a.log.Error("Metrics stay as they were", "err", err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forecasts = in.Forecasts
	if a.metrics == nil {
		a.metrics = metrics.NewCollector(s)
		return
	}
	a.metrics.Set(s)
}

// asTimePasses renews, between jobs, what depends on the time of day and what
// is too costly to do after every record: the forecast's own record.
func (a *app) asTimePasses() {
	a.mu.Lock()
	in, busy, tracked := a.input(), len(a.running) > 0, a.tracked
	in.Records = slices.Clone(in.Records)
	a.mu.Unlock()
	if busy {
		return
	}
	if n := len(in.Records); n != tracked {
		score := milestone.Track(in)
		a.mu.Lock()
		a.track, a.tracked = &score, n
		a.mu.Unlock()
	}
	a.refresh()
	debug.FreeOSMemory() // the forecasts needed more than an idle daemon holds
}

// act tells the metrics what the daemon does now.
func (a *app) act() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.metrics.SetActivity(metrics.Activity{QueueLength: len(a.waiting), Running: a.running, LastPass: a.lastPass})
}

// input is what the report of the models that only selects is made of; a.mu is held.
func (a *app) input() report.Input {
	in := a.everything()
	if a.only != nil {
		in.Unmatched = nil
		in.Models = slices.DeleteFunc(in.Models, func(m report.ModelState) bool { return !a.only(m.Name) })
		in.Records = slices.DeleteFunc(slices.Clone(in.Records), func(r history.Record) bool { return !a.only(r.Model) })
	}
	return in
}

// everything is what the report of all models is made of; a.mu is held.
func (a *app) everything() report.Input {
	in := report.Input{
		Now: a.now().UTC(), Version: version(), Records: a.records,
		Targets: a.cfg.Targets, Milestones: a.cfg.Milestones,
		Backend: report.Backend{Name: a.plan.Backend.Name, Version: a.plan.Backend.Environment.BackendVersion, Reason: a.plan.Backend.Reason},
		Running: a.running, Queue: a.waiting, LastPass: a.lastPass, Forecasts: a.forecasts, Track: a.track,
	}
	if a.nextPass != nil {
		in.NextPass = a.nextPass()
	}
	in.Models, in.Refused = modelStates(a.cfg, a.plan.Scan)
	if a.scanned {
		in.Unmatched = unmatched(a.cfg, slices.Sorted(maps.Keys(a.plan.Scan.Models)))
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
		s.Versions = append(s.Versions, report.VersionState{Version: filepath.Base(x.Path), State: report.Refused, Reason: x.Reason})
	}
	var out []report.ModelState
	for _, name := range slices.Sorted(maps.Keys(states)) {
		out = append(out, *states[name])
	}
	return out, refused
}

// reload takes a new configuration; a bad one leaves the old in force.
func (a *app) reload(path string) error {
	cfg, err := config.Load(path)
	a.mu.Lock()
	if err == nil && cfg.State != a.cfg.State {
		err = fmt.Errorf("reload %s: state cannot change from %s to %s while plancast runs: restart it", path, a.cfg.State, cfg.State)
	}
	a.reloadErr = err
	if err == nil {
		a.cfg, a.reloaded = cfg, a.now()
		close(a.renewed)
		a.renewed = make(chan struct{})
	}
	a.mu.Unlock()
	a.refresh()
	if err == nil {
		a.news.Configure(cfg)
	}
	return err
}
