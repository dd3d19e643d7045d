package pass

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/worker"
)

// WorkDir is where jobs have their scratch space.
func WorkDir(state string) string { return filepath.Join(state, "work") }

// measure runs the jobs of one candidate. Each device that comes free works through
// them until none is left.
func (r *Runner) measure(ctx context.Context, b Backend, jobs []Job, free chan int) error {
	if err := os.MkdirAll(WorkDir(r.Config.State), 0o755); err != nil {
		return fmt.Errorf("create work folder: %w", err)
	}
	dir, err := os.MkdirTemp(WorkDir(r.Config.State), "job-")
	if err != nil {
		return fmt.Errorf("create work folder: %w", err)
	}
	defer os.RemoveAll(dir)
	staged, work := filepath.Join(dir, "candidate"), filepath.Join(dir, "work")
	for _, folder := range []string{staged, work} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return fmt.Errorf("create work folder: %w", err)
		}
	}
	confine, err := r.confinement(b, jobs[0].Candidate.Model, staged, work)
	if err != nil {
		return fmt.Errorf("create work folder: %w", err)
	}
	if err := r.Repository.Stage(ctx, jobs[0].Candidate, staged); err != nil {
		return &stageError{err}
	}
	queue := make(chan Job, len(jobs))
	for _, job := range jobs {
		queue <- job
	}
	close(queue)
	compared, taken := latch{c: make(chan struct{})}, latch{c: make(chan struct{})}
	if !r.makesReference(ctx, jobs[0], staged) {
		compared.open()
	}
	running, within := errgroup.WithContext(ctx)
	for {
		var device int
		select {
		case device = <-free:
		case <-taken.c:
			return running.Wait()
		case <-within.Done():
			return cmp.Or(running.Wait(), ctx.Err())
		}
		running.Go(func() error {
			defer func() { free <- device }()
			w := r.Worker()
			defer w.Close() // none of it is left when the device is free
			for job := range queue {
				if err := within.Err(); err != nil {
					return err
				}
				if len(queue) == 0 {
					taken.open()
				}
				if err := r.record(within, confined{w, confine}, b, job, device, staged, filepath.Join(work, string(job.Precision))); err != nil {
					return err
				}
				compared.open()
			}
			return nil
		})
		// The others are compared with what the first puts out.
		select {
		case <-compared.c:
		case <-within.Done():
		}
	}
}

// latch is a channel that is closed once.
type latch struct {
	once sync.Once
	c    chan struct{}
}

func (l *latch) open() { l.once.Do(func() { close(l.c) }) }

// makesReference reports whether the job makes the outputs that those after it are
// compared with.
func (r *Runner) makesReference(ctx context.Context, job Job, staged string) bool {
	ref, err := r.referenceFor(ctx, r.scan, job.Candidate, staged)
	return err == nil && ref.kept != "" && (ref.model != nil || job.Precision == engine.FP32)
}

// record does one job and makes its record durable.
func (r *Runner) record(ctx context.Context, w Worker, b Backend, job Job, device int, staged, dir string) error {
	r.mu.Lock()
	r.waiting = slices.DeleteFunc(r.waiting, func(j Job) bool { return sameCandidate(j, job) && j.Precision == job.Precision })
	r.Observe.Started(job, slices.Clone(r.waiting))
	r.mu.Unlock()
	rec, err := r.run(ctx, w, b, job, device, staged, dir)
	if err != nil {
		return err
	}
	folder := func(n int) string { return dir + strings.Repeat("-again", n) } // scratch space of each attempt
	all := r.repeat(ctx, b, job, rec, func(n int) (history.Record, error) {
		return r.run(ctx, w, b, job, device, staged, folder(n))
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	// What is measured is kept, even when plancast is asked to stop meanwhile.
	err = r.keepAll(context.WithoutCancel(ctx), job, all)
	if errors.Is(err, history.ErrDuplicate) {
		r.Log.Warn("Another plancast measured this job meanwhile", "job", job.String())
		r.Observe.Dropped(job)
		return nil
	}
	if err != nil {
		return err
	}
	for n, x := range all {
		if err := r.keepSamples(x.Record, samplesPath(folder(n))); err != nil {
			r.Log.Warn("Cannot keep the latencies of single queries", "job", job.String(), "err", err)
		}
		r.note(x.Record)
		r.Observe.Recorded(x.Record)
	}
	return nil
}

// keep makes the record of a job durable, in one transaction with what it means
// for an earlier result.
func (r *Runner) keep(ctx context.Context, job Job, rec history.Record) (history.Record, error) {
	if job.Again == nil {
		return r.Store.AppendAhead(ctx, rec, job.room)
	}
	by := *job.Again
	by.At = rec.Finished
	return r.Store.Supersede(ctx, rec, by)
}

// run does one job in a worker and returns its record.
func (r *Runner) run(ctx context.Context, w Worker, b Backend, job Job, device int, staged, dir string) (history.Record, error) {
	c := job.Candidate
	if err := os.Mkdir(dir, 0o755); err != nil {
		return history.Record{}, fmt.Errorf("create work folder: %w", err)
	}
	beside := func(name string) string {
		if _, ok := c.Files[name]; !ok {
			return ""
		}
		return filepath.Join(staged, name)
	}
	m := r.Config.ModelFor(c.Model)
	req := worker.Request{Backend: b.Name, Config: r.Config.BackendConfig(device), Job: &bench.Job{
		Backend: b.Name, BackendConfig: r.Config.BackendConfig(device),
		Model: c.Model, Version: c.Version, Digest: c.Digest, ModelPath: filepath.Join(staged, c.File()),
		Precision: job.Precision, Settings: r.Config.Settings(b.Name, b.Environment), Options: r.Config.BenchmarkFor(c.Model), Guard: r.Config.GuardFor(c.Model),
		Dims: m.Dims, InputDims: cmpOr(m.Inputs, c.Shapes.Inputs), MaxBatch: c.Shapes.MaxBatch,
		InputsPath: beside(candidate.InputsFile), LabelsPath: beside(candidate.LabelsFile), CalibrationPath: beside(candidate.CalibrationFile),
		Profiles: m.Profiles, CalibrationLimits: r.Config.TensorRT.Calibration, WorkDir: dir,
		SamplesPath: samplesPath(dir), Kept: r.kept(b, c.Model),
	}}
	before := r.before(ctx, job, b)
	if before != nil && before.Measurement.Layers != nil {
		req.Job.PreviousVersion, req.Job.PreviousLayers = before.Version, before.Measurement.Layers.Layers
	}
	req.Job.Partner, req.Job.Rebuild = r.partner(ctx, job, before, req.Job, dir)
	ref, err := r.referenceFor(ctx, r.scan, c, staged)
	if err != nil {
		return history.Record{}, err
	}
	made := r.refer(ctx, c, req.Job, ref, dir)
	started := r.Now().UTC()
	work := func() (worker.Outcome, error) {
		return w.Run(ctx, r.Config.Limits(b.Name), req, func(p engine.Progress) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.Observe.Progressed(job, p)
		})
	}
	o, err := work()
	if err == nil && o.Failure != nil && req.Job.Partner != nil && couldBePartner(o.Failure.Kind) {
		r.Log.Warn("Job failed beside the engine that it is compared with; repeating it without that engine", "job", job.String(), "partner", req.Job.Partner.Version, "err", o.Failure)
		req.Job.Partner = nil
		o, err = work()
	}
	if err != nil {
		return history.Record{}, fmt.Errorf("measure %s: %w", job, err)
	}
	if o.Failure != nil && o.Failure.Kind == engine.KindUnavailable {
		return history.Record{}, fmt.Errorf("measure %s: %w", job, o.Failure)
	}
	if o.Environment != nil && *o.Environment != b.Environment {
		return history.Record{}, fmt.Errorf("measure %s: the environment changed from %+v to %+v meanwhile: the next pass measures it again", job, b.Environment, *o.Environment)
	}
	rec := history.Record{
		Model: c.Model, Version: c.Version, Digest: c.Digest, Precision: job.Precision,
		Backend: b.Name, Device: b.Environment.Device, Environment: b.Environment, Settings: req.Job.Settings, Fingerprint: job.Fingerprint,
		CandidateTime: c.Modified, Started: started, Finished: r.Now().UTC(), Measurement: o.Measurement,
	}
	if o.Failure != nil {
		limits, err := r.limitsDigest(b)
		if err != nil {
			return history.Record{}, err
		}
		rec.Failure = &history.Failure{Error: *o.Failure, Log: o.Log, Limits: limits}
		withoutScratch(rec.Failure, staged, dir)
	}
	if o.Measurement != nil && made != "" {
		if err := keepReference(made, ref.kept); err != nil {
			return history.Record{}, err
		}
	}
	return rec, nil
}

// withoutScratch takes the folders that are gone by the time a failure is read
// out of its words: what remains is the file's name.
func withoutScratch(f *history.Failure, dirs ...string) {
	var pairs []string
	for _, dir := range dirs {
		pairs = append(pairs, dir+string(filepath.Separator), "")
	}
	r := strings.NewReplacer(pairs...)
	f.Subject, f.Message, f.Hint = r.Replace(f.Subject), r.Replace(f.Message), r.Replace(f.Hint)
	for i, line := range f.Log {
		f.Log[i] = r.Replace(line)
	}
}

// stageError says that a candidate could not be copied out of the repository.
type stageError struct{ error }

func (e *stageError) Unwrap() error { return e.error }

func cmpOr[M ~map[K]V, K comparable, V any](a, b M) M {
	if len(a) > 0 {
		return a
	}
	return b
}
