// Package cycle is one pass from candidates to records: it scans the model
// repository, plans the jobs that have no result in this environment, runs
// each in a worker process, and appends what came of it to the history before
// anybody is told. The cron calls it, plancast run calls it, tests call it.
package cycle

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/worker"
)

// Options are what a Runner works with; it owns none of it.
type Options struct {
	Config     config.Config
	Store      *history.Store
	Repository *candidate.Repository
	// Backends are the runtimes that this program has, the preferred first.
	Backends []string
	// Work runs one request in a worker process within the limits.
	Work func(ctx context.Context, limits config.Worker, req worker.Request, progress func(engine.Progress)) (worker.Outcome, error)
	Now  func() time.Time
	Log  *slog.Logger
	// Observe is told what happens, in order, from one goroutine.
	Observe Observer
}

// Observer hears of a pass as it happens.
type Observer interface {
	// Scanned comes after the repository was read and the jobs were planned.
	Scanned(Plan)
	// Started comes before a job, with the jobs that wait behind it.
	Started(job Job, waiting []Job)
	// Progressed comes while it runs.
	Progressed(job Job, p engine.Progress)
	// Recorded comes after its record is durable.
	Recorded(history.Record)
}

// Job is one candidate at one precision, to be measured.
type Job struct {
	Candidate   candidate.Candidate
	Precision   engine.Precision
	Fingerprint string
}

// String reads like "squeezenet version 3 int8".
func (j Job) String() string {
	return fmt.Sprintf("%s version %s %s", j.Candidate.Model, j.Candidate.Version, j.Precision)
}

// Backend is the runtime that was chosen, and why.
type Backend struct {
	Name        string
	Reason      string
	Environment engine.Environment
}

// Plan is what a pass would do.
type Plan struct {
	Scan    candidate.Scan
	Backend Backend
	Jobs    []Job // in order
}

// Runner makes passes. It is used by one goroutine at a time.
type Runner struct {
	Options
	done map[key]bool
}

// key identifies a job that has a result.
type key struct {
	model, digest string
	precision     engine.Precision
	fingerprint   string
}

// New makes a Runner. known are the records so far; they decide what has a
// result already.
func New(o Options, known []history.Record) *Runner {
	r := &Runner{Options: o, done: map[key]bool{}}
	for _, rec := range known {
		r.note(rec)
	}
	return r
}

func (r *Runner) note(rec history.Record) {
	r.done[key{rec.Model, rec.Digest, rec.Precision, rec.Fingerprint}] = true
}

// Plan scans the repository and says what a pass would do to the models that
// only selects; nil selects all.
func (r *Runner) Plan(ctx context.Context, only func(model string) bool) (Plan, error) {
	scan, err := r.Repository.Scan(ctx, r.Config.Repository.Backlog)
	if err != nil {
		return Plan{}, err
	}
	backend, err := r.choose(ctx)
	if err != nil {
		return Plan{Scan: scan}, err
	}
	p := Plan{Scan: scan, Backend: backend}
	var perModel [][]Job
	for _, name := range slices.Sorted(maps.Keys(scan.Models)) {
		if only != nil && !only(name) {
			continue
		}
		var jobs []Job
		for _, c := range scan.Models[name] {
			if c.Digest == "" {
				continue // older than the backlog reaches
			}
			fingerprint, err := engine.Fingerprint(backend.Environment, r.settings(backend), r.conditions(c))
			if err != nil {
				return p, fmt.Errorf("plan %s: %w", name, err)
			}
			for _, precision := range r.Config.Precisions {
				if !r.done[key{c.Model, c.Digest, precision, fingerprint}] && !slices.ContainsFunc(jobs, func(j Job) bool {
					return j.Candidate.Digest == c.Digest && j.Precision == precision
				}) {
					jobs = append(jobs, Job{Candidate: c, Precision: precision, Fingerprint: fingerprint})
				}
			}
		}
		perModel = append(perModel, jobs)
	}
	p.Jobs = interleave(perModel)
	return p, nil
}

// Look scans the repository and plans nothing: it needs no backend.
func (r *Runner) Look(ctx context.Context) error {
	scan, err := r.Repository.Scan(ctx, r.Config.Repository.Backlog)
	if err != nil {
		return err
	}
	r.Observe.Scanned(Plan{Scan: scan})
	return nil
}

// interleave takes the oldest waiting version of each model in turn, so that
// every model has its first result early.
func interleave(perModel [][]Job) []Job {
	var out []Job
	for {
		taken := false
		for i, jobs := range perModel {
			if len(jobs) == 0 {
				continue
			}
			n := slices.IndexFunc(jobs, func(j Job) bool { return j.Candidate.Version != jobs[0].Candidate.Version })
			if n < 0 {
				n = len(jobs)
			}
			out = append(out, jobs[:n]...)
			perModel[i], taken = jobs[n:], true
		}
		if !taken {
			return out
		}
	}
}

// choose takes the configured backend, or with auto the first that works, and
// says why.
func (r *Runner) choose(ctx context.Context) (Backend, error) {
	names := r.Backends
	if r.Config.Backend != "auto" {
		if !slices.Contains(names, r.Config.Backend) {
			return Backend{}, fmt.Errorf("backend %s: this plancast was built without it (it has %s): see docs/gpu.md", r.Config.Backend, strings.Join(names, ", "))
		}
		names = []string{r.Config.Backend}
	}
	var refused []string
	var errs []error
	for _, name := range names {
		o, err := r.Work(ctx, r.Config.Worker, worker.Request{Backend: name, Config: r.backendConfig()}, func(engine.Progress) {})
		switch {
		case err != nil:
			return Backend{}, err
		case o.Environment == nil || o.Failure != nil:
			refused = append(refused, fmt.Sprintf("%s cannot be used: %v", name, o.Failure))
			errs = append(errs, fmt.Errorf("backend %s: %w", name, o.Failure))
			continue
		}
		b := Backend{Name: name, Environment: *o.Environment}
		switch {
		case r.Config.Backend != "auto":
			b.Reason = "the configuration asks for it"
		case len(refused) > 0:
			b.Reason = strings.Join(refused, "; ")
		case len(r.Backends) == 1:
			b.Reason = "it is the only backend of this build"
		default:
			b.Reason = "it is the preferred backend and works here"
		}
		return b, nil
	}
	return Backend{}, errors.Join(errs...)
}

func (r *Runner) backendConfig() bench.BackendConfig {
	return bench.BackendConfig{ONNXRuntimeLibrary: r.Config.ONNXRuntime.Library}
}

func (r *Runner) settings(b Backend) engine.Settings {
	threads := r.Config.ONNXRuntime.Threads
	if threads == 0 {
		threads = b.Environment.Cores
	}
	return engine.Settings{Threads: threads, GraphOptimization: r.Config.ONNXRuntime.GraphOptimization}
}

// conditions is what else a result of c depends on.
type conditions struct {
	Options bench.Options `json:"options"`
	Inputs  inputs        `json:"inputs"`
}

// inputs decides which tensors go into an engine, and so which outputs may be
// compared.
type inputs struct {
	Data   string             `json:"data,omitempty"`
	Dims   map[string]int64   `json:"dims,omitempty"`
	Shapes map[string][]int64 `json:"shapes,omitempty"`
	Config candidate.Shapes   `json:"config"`
	Seed   uint64             `json:"seed"`
	Batch  int                `json:"batch"`
}

func (r *Runner) conditions(c candidate.Candidate) conditions {
	options := r.Config.BenchmarkFor(c.Model)
	options.MaxDeviation = 0 // a gate, not a condition
	return conditions{Options: options, Inputs: r.inputs(c)}
}

func (r *Runner) inputs(c candidate.Candidate) inputs {
	m := r.Config.ModelFor(c.Model)
	return inputs{
		Data: c.DataDigest, Dims: m.Dims, Shapes: m.Inputs, Config: c.Shapes,
		Seed: r.Config.Benchmark.Seed, Batch: slices.Min(r.Config.Benchmark.Batches),
	}
}

// Once makes one pass over the models that only selects; nil selects all. It
// returns why it could not go on, if so; what was measured until then is kept.
// What a candidate does wrong is a record, not an error.
func (r *Runner) Once(ctx context.Context, only func(model string) bool) error {
	plan, err := r.Plan(ctx, only)
	if err != nil {
		return err
	}
	r.Observe.Scanned(plan)
	for len(plan.Jobs) > 0 {
		// The jobs of one candidate share its staged copy.
		n := 1
		for n < len(plan.Jobs) && sameCandidate(plan.Jobs[n], plan.Jobs[0]) {
			n++
		}
		err := r.measure(ctx, plan.Backend, plan.Jobs[:n], plan.Jobs[n:])
		if errors.Is(err, candidate.ErrChanged) {
			r.Log.Warn("Candidate left for the next pass", "model", plan.Jobs[0].Candidate.Model, "version", plan.Jobs[0].Candidate.Version, "err", err)
		} else if err != nil {
			return err
		}
		plan.Jobs = plan.Jobs[n:]
	}
	return nil
}

func sameCandidate(a, b Job) bool {
	return a.Candidate.Model == b.Candidate.Model && a.Candidate.Version == b.Candidate.Version
}

// WorkDir is where jobs have their scratch space.
func WorkDir(state string) string { return filepath.Join(state, "work") }

// measure runs the jobs of one candidate.
func (r *Runner) measure(ctx context.Context, b Backend, jobs, behind []Job) error {
	if err := os.MkdirAll(WorkDir(r.Config.State), 0o755); err != nil {
		return fmt.Errorf("make room for work: %w", err)
	}
	dir, err := os.MkdirTemp(WorkDir(r.Config.State), "job-")
	if err != nil {
		return fmt.Errorf("make room for work: %w", err)
	}
	defer os.RemoveAll(dir)
	staged := filepath.Join(dir, "candidate")
	if err := os.Mkdir(staged, 0o755); err != nil {
		return fmt.Errorf("make room for work: %w", err)
	}
	if err := r.Repository.Stage(ctx, jobs[0].Candidate, staged); err != nil {
		return err
	}
	for i, job := range jobs {
		r.Observe.Started(job, slices.Concat(jobs[i+1:], behind))
		rec, err := r.run(ctx, b, job, staged, filepath.Join(dir, string(job.Precision)))
		if err != nil {
			return err
		}
		// What is measured is kept, even when plancast is asked to stop meanwhile.
		rec, err = r.Store.Append(context.WithoutCancel(ctx), rec)
		if errors.Is(err, history.ErrDuplicate) {
			r.Log.Warn("Another plancast measured this job meanwhile", "job", job.String())
			continue
		}
		if err != nil {
			return err
		}
		r.note(rec)
		r.Observe.Recorded(rec)
	}
	return nil
}

// run does one job in a worker and returns its record.
func (r *Runner) run(ctx context.Context, b Backend, job Job, staged, dir string) (history.Record, error) {
	c := job.Candidate
	if err := os.Mkdir(dir, 0o755); err != nil {
		return history.Record{}, fmt.Errorf("make room for work: %w", err)
	}
	beside := func(name string) string {
		if _, ok := c.Files[name]; !ok {
			return ""
		}
		return filepath.Join(staged, name)
	}
	m := r.Config.ModelFor(c.Model)
	req := worker.Request{Backend: b.Name, Config: r.backendConfig(), Job: &bench.Job{
		Backend: b.Name, BackendConfig: r.backendConfig(),
		Model: c.Model, Version: c.Version, Digest: c.Digest, ModelPath: filepath.Join(staged, candidate.ModelFile),
		Precision: job.Precision, Settings: r.settings(b), Options: r.Config.BenchmarkFor(c.Model),
		Dims: m.Dims, InputDims: cmpOr(m.Inputs, c.Shapes.Inputs), MaxBatch: c.Shapes.MaxBatch,
		InputsPath: beside(candidate.InputsFile), LabelsPath: beside(candidate.LabelsFile), CalibrationPath: beside(candidate.CalibrationFile),
		WorkDir: dir,
	}}
	ref, err := r.reference(c)
	if err != nil {
		return history.Record{}, err
	}
	switch path := beside(candidate.ReferenceFile); {
	case path != "":
		req.Job.ReferencePath, req.Job.ReferenceName = path, candidate.ReferenceFile
	case ref.path != "":
		req.Job.ReferencePath, req.Job.ReferenceName = ref.path, ref.name
	case job.Precision == engine.FP32:
		req.Job.OutputsPath = filepath.Join(dir, "outputs.npz")
	}
	started := r.Now().UTC()
	o, err := r.Work(ctx, r.Config.Worker, req, func(p engine.Progress) { r.Observe.Progressed(job, p) })
	if err != nil {
		return history.Record{}, fmt.Errorf("measure %s: %w", job, err)
	}
	if o.Failure != nil && o.Failure.Kind == engine.KindUnavailable {
		return history.Record{}, fmt.Errorf("measure %s: %w", job, o.Failure)
	}
	if o.Environment != nil && *o.Environment != b.Environment {
		return history.Record{}, fmt.Errorf("measure %s: the environment changed from %+v to %+v meanwhile: it is measured again in the next pass", job, b.Environment, *o.Environment)
	}
	rec := history.Record{
		Model: c.Model, Version: c.Version, Digest: c.Digest, Precision: job.Precision,
		Backend: b.Name, Device: b.Environment.Device, Environment: b.Environment, Settings: req.Job.Settings, Fingerprint: job.Fingerprint,
		CandidateTime: c.Modified, Started: started, Finished: r.Now().UTC(), Measurement: o.Measurement,
	}
	if o.Failure != nil {
		rec.Failure = &history.Failure{Error: *o.Failure, Log: o.Log}
		withoutScratch(rec.Failure, staged, dir)
	}
	if o.Measurement != nil && req.Job.OutputsPath != "" {
		if err := r.keepReference(c, job.Precision, req.Job.OutputsPath); err != nil {
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

func cmpOr[M ~map[K]V, K comparable, V any](a, b M) M {
	if len(a) > 0 {
		return a
	}
	return b
}

// referenceFile is a kept reference: the outputs of the first FP32 candidate.
type referenceFile struct{ path, name string }

// References are kept as <model>/<which inputs>@<version>-<precision>.npz: the
// file's name says whose outputs it holds.
func (r *Runner) referenceDir(c candidate.Candidate) (dir, stem string, err error) {
	stem, err = engine.Fingerprint(engine.Environment{}, engine.Settings{}, r.inputs(c))
	return filepath.Join(r.Config.State, "references", c.Model), stem, err
}

func (r *Runner) reference(c candidate.Candidate) (referenceFile, error) {
	dir, stem, err := r.referenceDir(c)
	if err != nil {
		return referenceFile{}, err
	}
	found, err := filepath.Glob(filepath.Join(globEscape(dir), stem+"@*.npz"))
	if err != nil || len(found) == 0 {
		return referenceFile{}, err
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	_, whose, _ := strings.Cut(strings.TrimSuffix(filepath.Base(found[0]), ".npz"), "@")
	version, precision, _ := strings.Cut(whose, "-")
	return referenceFile{path: found[0], name: "version " + version + " " + precision}, nil
}

func globEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

func (r *Runner) keepReference(c candidate.Candidate, p engine.Precision, outputs string) error {
	dir, stem, err := r.referenceDir(c)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.Rename(outputs, filepath.Join(dir, fmt.Sprintf("%s@%s-%s.npz", stem, c.Version, p)))
	}
	if err != nil {
		return fmt.Errorf("keep the outputs of %s version %s as reference: %w", c.Model, c.Version, err)
	}
	return nil
}
