// Package pass is one pass from candidates to records: it scans the model
// repository, plans the jobs that have no result in this environment, runs
// each in a worker process, and appends what came of it to the history before
// anybody is notified. The schedule calls it, plancast run calls it, tests call it.
package pass

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/worker"
)

// Options are what a Runner works with; it closes none of them.
type Options struct {
	Config     config.Config
	Store      *history.Store
	Repository *candidate.Repository
	// Backends are the runtimes that this program has, the preferred first.
	Backends []string
	// Chosen remembers the backend from pass to pass; nil asks a worker each time.
	Chosen *Chosen
	// Again are the results to be measured once more in this pass.
	Again []Again

	surroundings surroundings // "" is "/"
	// Worker makes a worker for jobs of one candidate on one device.
	Worker func() Worker
	// Quiet waits, as long as the guard's patience, until other processes leave the
	// processors alone, and reports whether they do; nil takes them to be quiet.
	Quiet func(context.Context, bench.Guard) bool
	Now   func() time.Time
	Log   *slog.Logger
	// Observe is called as the pass goes on, one call at a time.
	Observe Observer
}

// Worker runs one request after the other in a process: in the same one where that
// is dear to start, otherwise in a new one each.
type Worker interface {
	Run(ctx context.Context, limits config.Worker, req worker.Request, progress func(engine.Progress)) (worker.Outcome, error)
	// Close ends the process that waits for another request.
	Close()
}

// Observer follows a pass as it happens.
type Observer interface {
	// Scanned comes after the repository was read and the jobs were planned.
	Scanned(Plan)
	// Started comes before a job, with the jobs that wait behind it.
	Started(job Job, waiting []Job)
	// Progressed comes while it runs.
	Progressed(job Job, p engine.Progress)
	// Recorded comes after its record is durable.
	Recorded(history.Record)
	// Dropped comes instead, when another plancast has recorded the job meanwhile.
	Dropped(job Job)
}

// Runner makes passes. It is used by one goroutine at a time.
type Runner struct {
	Options

	mu       sync.Mutex // guards the rest, and calls of Observe
	done     map[key]ending
	used     map[string]bool           // backends that have measured
	eras     map[string]eras           // by model
	previous map[lineage]built         // the newest of each
	took     map[lineage]time.Duration // the newest job of each, failed or not
	waiting  []Job                     // of the pass, in order
	scan     candidate.Scan            // of the pass
}

// lineage is the plans of a model and precision, whatever the environment.
type lineage struct {
	model, backend string
	precision      engine.Precision
}

// built is a plan that was measured. Its layers are in the history: they are read
// when the next one is compared with them.
type built struct {
	record  int64
	version string
}

// key identifies a job that has a record.
type key struct {
	model, digest string
	precision     engine.Precision
	fingerprint   string
}

// ending is how the newest record of a job ended.
type ending struct {
	kind   engine.Kind // "" when it was measured
	limits string      // that a failure happened under
}

// New makes a Runner. known are records so far, at least the newest of each model
// and precision; they decide what has a result already. Of a long history the
// others are read from the store when a job depends on them.
func New(o Options, known []history.Record) *Runner {
	r := &Runner{Options: o, done: map[key]ending{}, used: map[string]bool{}, eras: map[string]eras{}, previous: map[lineage]built{}, took: map[lineage]time.Duration{}}
	if r.Chosen == nil {
		r.Chosen = &Chosen{}
	}
	for _, rec := range known {
		r.note(rec)
	}
	return r
}

func (r *Runner) note(rec history.Record) {
	if rec.SupersededBy != 0 {
		return // another record says how the job ended
	}
	var e ending
	l := lineage{rec.Model, rec.Backend, rec.Precision}
	r.took[l] = max(0, rec.Finished.Sub(rec.Started))
	if rec.OK() {
		r.used[rec.Backend] = true
		if r.eras[rec.Model] == nil {
			r.eras[rec.Model] = eras{}
		}
		r.eras[rec.Model][rec.Fingerprint] = max(r.eras[rec.Model][rec.Fingerprint], rec.ID)
		b := built{rec.ID, rec.Version}
		if !b.before(r.previous[l]) {
			r.previous[l] = b
		}
	} else {
		e = ending{rec.Failure.Kind, rec.Failure.Limits}
	}
	r.done[key{rec.Model, rec.Digest, rec.Precision, rec.Fingerprint}] = e
}

// Scan scans the repository and plans nothing: it needs no backend.
func (r *Runner) Scan(ctx context.Context) error {
	scan, err := r.Repository.Scan(ctx, r.Config.Repository.Backlog)
	if err != nil {
		return err
	}
	r.Observe.Scanned(Plan{Scan: scan})
	return errors.Join(scan.Unread...)
}

// Once makes one pass over the models that only selects; nil selects all. It
// returns why it could not go on, if so; what was measured until then is kept.
// What a candidate does wrong is a record, not an error. A candidate that cannot
// be brought to a worker keeps no other waiting, nor does a model that cannot be
// listed; their errors come at the end.
//
// Each device measures one job at a time. The jobs of a candidate share its staged
// copy and are spread over the devices.
func (r *Runner) Once(ctx context.Context, only func(model string) bool) error {
	plan, err := r.Plan(ctx, only)
	if err != nil {
		return err
	}
	r.waiting, r.scan = slices.Clone(plan.Jobs), plan.Scan
	r.Observe.Scanned(plan)
	free := make(chan int, len(plan.Backend.Devices))
	for _, device := range plan.Backend.Devices {
		free <- device
	}
	measuring, within := errgroup.WithContext(ctx)
	// A model's candidates come one after the other, in order: what counts as its
	// next iteration depends on it.
	busy := map[string]bool{}
	groups := byCandidate(plan.Jobs)
	ended := make(chan string, len(groups))
	left := append(r.unheard(plan), plan.Scan.Unread...) // and of candidates that never came to a worker; r.mu guards it
	for len(groups) > 0 && within.Err() == nil {
		next := slices.IndexFunc(groups, func(g []Job) bool { return !busy[g[0].Candidate.Model] })
		if next < 0 || len(busy) == len(plan.Backend.Devices) {
			delete(busy, <-ended)
			continue
		}
		group, model := groups[next], groups[next][0].Candidate.Model
		groups = slices.Delete(groups, next, next+1)
		busy[model] = true
		measuring.Go(func() error {
			defer func() { ended <- model }()
			err := r.measure(within, plan.Backend, group, free)
			var unstaged *stageError
			switch {
			case errors.Is(err, candidate.ErrChanged):
				r.Log.Warn("Candidate left for the next pass", "model", model, "version", group[0].Candidate.Version, "err", err)
				return nil
			case errors.As(err, &unstaged) && within.Err() == nil:
				r.mu.Lock()
				defer r.mu.Unlock()
				left = append(left, fmt.Errorf("%w: the next pass tries it again", err))
				return nil
			}
			return err
		})
	}
	err = cmp.Or(measuring.Wait(), ctx.Err())
	if err == nil && only == nil {
		left = append(left, r.prune(ctx, plan.Scan))
	}
	return errors.Join(append([]error{err}, left...)...)
}
