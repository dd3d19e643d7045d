// Package pass is one pass from candidates to records: it scans the model
// repository, plans the jobs that have no result in this environment, runs
// each in a worker process, and appends what came of it to the history before
// anybody is told. The cron calls it, plancast run calls it, tests call it.
package pass

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
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/tensorrt"
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
	// Worker makes a worker for jobs of one candidate on one device.
	Worker func() Worker
	Now    func() time.Time
	Log    *slog.Logger
	// Observe is told what happens, one call at a time.
	Observe Observer
}

// Worker runs one request after the other in a process: in the same one where that
// is dear to start, otherwise in a new one each.
type Worker interface {
	Run(ctx context.Context, limits config.Worker, req worker.Request, progress func(engine.Progress)) (worker.Outcome, error)
	// Close ends the process that waits for another request.
	Close()
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
	// Dropped comes instead, when another plancast has recorded the job meanwhile.
	Dropped(job Job)
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
	Environment engine.Environment // of each of Devices
	Devices     []int              // to measure on side by side
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

	mu       sync.Mutex // guards the rest, and calls of Observe
	done     map[key]bool
	used     map[string]bool            // backends that have measured
	previous map[lineage]history.Record // the newest result of each
	waiting  []Job                      // of the pass, in order
}

// lineage is the plans of a model and precision, whatever the environment.
type lineage struct {
	model, backend string
	precision      engine.Precision
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
	r := &Runner{Options: o, done: map[key]bool{}, used: map[string]bool{}, previous: map[lineage]history.Record{}}
	for _, rec := range known {
		r.note(rec)
	}
	return r
}

func (r *Runner) note(rec history.Record) {
	r.done[key{rec.Model, rec.Digest, rec.Precision, rec.Fingerprint}] = true
	if rec.OK() {
		r.used[rec.Backend] = true
		r.previous[lineage{rec.Model, rec.Backend, rec.Precision}] = rec
	}
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
	w := r.Worker()
	defer w.Close()
	for _, name := range names {
		o, err := w.Run(ctx, r.limits(name), worker.Request{Backend: name, Config: r.backendConfig(0)}, func(engine.Progress) {})
		switch {
		case err != nil:
			return Backend{}, err
		case len(o.Environments) == 0 && r.Config.Backend == "auto" && r.used[name]:
			// What measured until now must not be replaced in silence.
			return Backend{}, fmt.Errorf("backend auto: %s measured here before and cannot be used now: %w; mend it, or name another backend in the configuration", name, o.Failure)
		case len(o.Environments) == 0:
			refused = append(refused, fmt.Sprintf("%s cannot be used: %v", name, o.Failure))
			errs = append(errs, fmt.Errorf("backend %s: %w", name, o.Failure))
			continue
		}
		b := Backend{Name: name}
		apart, err := b.take(o.Environments, r.Config.TensorRT.Devices)
		if err != nil {
			return Backend{}, err
		}
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
		if apart != "" {
			b.Reason += "; " + apart
		}
		return b, nil
	}
	return Backend{}, errors.Join(errs...)
}

// take chooses devices of one kind: results of different ones cannot be
// compared. Of all devices it takes those like the first and says which are left
// apart; devices that were asked for by number have to be alike.
func (b *Backend) take(environments []engine.Environment, wanted []int) (apart string, err error) {
	asked := len(wanted) > 0 && b.Name == tensorrt.Name
	if !asked {
		wanted = nil
		for i := range environments {
			wanted = append(wanted, i)
		}
	}
	var others []string
	for _, i := range wanted {
		switch {
		case i >= len(environments):
			return "", fmt.Errorf("backend %s: tensorrt.devices names GPU %d and there are %d: correct it, or CUDA_VISIBLE_DEVICES", b.Name, i, len(environments))
		case len(b.Devices) == 0:
			b.Environment = environments[i]
		case environments[i] != b.Environment && asked:
			return "", fmt.Errorf("backend %s: tensorrt.devices names GPU %d (%s) and GPU %d (%s), whose results cannot be compared: measure on one kind, and on the other with a plancast of its own", b.Name, b.Devices[0], b.Environment.Device, i, environments[i].Device)
		case environments[i] != b.Environment:
			others = append(others, fmt.Sprintf("GPU %d (%s)", i, environments[i].Device))
			continue
		}
		b.Devices = append(b.Devices, i)
	}
	if len(others) > 0 {
		apart = fmt.Sprintf("%s left alone, not like GPU %d: give it a plancast of its own", strings.Join(others, ", "), b.Devices[0])
	}
	return apart, nil
}

func (r *Runner) backendConfig(device int) bench.BackendConfig {
	t := r.Config.TensorRT
	return bench.BackendConfig{
		ONNXRuntimeLibrary: r.Config.ONNXRuntime.Library, TensorRTLibraries: t.Libraries, Device: device,
		RequireTensorRT: t.Require.TensorRT, RequireCUDA: t.Require.CUDA, RequireDriver: t.Require.Driver,
	}
}

// limits are the configuration's. What it leaves open is enough for most models:
// TensorRT's builder alone holds some 7 GB.
func (r *Runner) limits(backend string) config.Worker {
	w := r.Config.Worker
	switch {
	case w.Memory != 0:
	case backend == tensorrt.Name:
		w.Memory = 24 << 30
	default:
		w.Memory = 8 << 30
	}
	return w
}

func (r *Runner) settings(b Backend) engine.Settings {
	if b.Name == tensorrt.Name {
		t := r.Config.TensorRT
		return engine.Settings{
			WorkspaceBytes: t.Workspace, OptimizationLevel: &t.OptimizationLevel, TF32: t.TF32, FP16Fallback: t.FP16Fallback,
			CUDAGraph: t.CUDAGraph, SpinWait: t.SpinWait, Transfers: t.Transfers, HardwareCompatible: t.HardwareCompatible,
			ProfileBatch: &t.Profile,
		}
	}
	threads := r.Config.ONNXRuntime.Threads
	if threads == 0 {
		threads = b.Environment.Cores
	}
	return engine.Settings{Threads: threads, GraphOptimization: r.Config.ONNXRuntime.GraphOptimization}
}

// conditions is what else a result of c depends on.
type conditions struct {
	Options  bench.Options             `json:"options"`
	Inputs   inputs                    `json:"inputs"`
	Profiles map[string]engine.Profile `json:"profiles,omitempty"`
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
	return conditions{Options: options, Inputs: r.inputs(c), Profiles: r.Config.ModelFor(c.Model).Profiles}
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
//
// Each device measures one job at a time. The jobs of a candidate share its staged
// copy and are spread over the devices.
func (r *Runner) Once(ctx context.Context, only func(model string) bool) error {
	plan, err := r.Plan(ctx, only)
	if err != nil {
		return err
	}
	r.waiting = slices.Clone(plan.Jobs)
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
			if errors.Is(err, candidate.ErrChanged) {
				r.Log.Warn("Candidate left for the next pass", "model", model, "version", group[0].Candidate.Version, "err", err)
				return nil
			}
			return err
		})
	}
	err = cmp.Or(measuring.Wait(), ctx.Err())
	return errors.Join(err, r.prune(plan.Jobs))
}

// byCandidate cuts jobs, in order, where the candidate changes.
func byCandidate(jobs []Job) [][]Job {
	var groups [][]Job
	for i, j := range jobs {
		if i == 0 || !sameCandidate(j, jobs[i-1]) {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], j)
	}
	return groups
}

func sameCandidate(a, b Job) bool {
	return a.Candidate.Model == b.Candidate.Model && a.Candidate.Version == b.Candidate.Version
}

const plansDir = "plans"

// prune removes the plans of the models of a pass but the newest few of each
// precision.
func (r *Runner) prune(jobs []Job) error {
	models := map[string]bool{}
	for _, j := range jobs {
		models[j.Candidate.Model] = true
	}
	var errs []error
	for model := range models {
		dir := filepath.Join(r.Config.State, plansDir, model)
		for _, precision := range engine.Precisions {
			found, err := filepath.Glob(filepath.Join(globEscape(dir), "*-"+string(precision)+"-*.plan"))
			errs = append(errs, err)
			age := map[string]time.Time{}
			for _, path := range found {
				if info, err := os.Stat(path); err == nil {
					age[path] = info.ModTime()
				}
			}
			slices.SortFunc(found, func(a, b string) int { return age[b].Compare(age[a]) })
			for _, path := range found[min(len(found), r.Config.TensorRT.KeepPlans):] {
				errs = append(errs, os.Remove(path), os.RemoveAll(path+".json"))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove old plans: %w", err)
	}
	return nil
}

// WorkDir is where jobs have their scratch space.
func WorkDir(state string) string { return filepath.Join(state, "work") }

// measure runs the jobs of one candidate. Each device that comes free works through
// them until none is left.
func (r *Runner) measure(ctx context.Context, b Backend, jobs []Job, free chan int) error {
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
	queue := make(chan Job, len(jobs))
	for _, job := range jobs {
		queue <- job
	}
	close(queue)
	compared, taken := latch{c: make(chan struct{})}, latch{c: make(chan struct{})}
	if !r.makesReference(jobs[0], staged) {
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
			defer w.Close() // nothing of it is left when the device is free
			for job := range queue {
				if err := within.Err(); err != nil {
					return err
				}
				if len(queue) == 0 {
					taken.open()
				}
				if err := r.record(within, w, b, job, device, staged, filepath.Join(dir, string(job.Precision))); err != nil {
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

// makesReference tells whether the job's outputs become the model's reference.
func (r *Runner) makesReference(job Job, staged string) bool {
	ref, err := r.referenceFor(job.Candidate, staged)
	return err == nil && ref.path == "" && job.Precision == engine.FP32
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
	r.mu.Lock()
	defer r.mu.Unlock()
	// What is measured is kept, even when plancast is asked to stop meanwhile.
	rec, err = r.Store.Append(context.WithoutCancel(ctx), rec)
	if errors.Is(err, history.ErrDuplicate) {
		r.Log.Warn("Another plancast measured this job meanwhile", "job", job.String())
		r.Observe.Dropped(job)
		return nil
	}
	if err != nil {
		return err
	}
	r.note(rec)
	r.Observe.Recorded(rec)
	return nil
}

// run does one job in a worker and returns its record.
func (r *Runner) run(ctx context.Context, w Worker, b Backend, job Job, device int, staged, dir string) (history.Record, error) {
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
	kept := func(what ...string) string { return filepath.Join(append([]string{r.Config.State}, what...)...) }
	req := worker.Request{Backend: b.Name, Config: r.backendConfig(device), Job: &bench.Job{
		Backend: b.Name, BackendConfig: r.backendConfig(device),
		Model: c.Model, Version: c.Version, Digest: c.Digest, ModelPath: filepath.Join(staged, candidate.ModelFile),
		Precision: job.Precision, Settings: r.settings(b), Options: r.Config.BenchmarkFor(c.Model), Guard: r.Config.GuardFor(c.Model),
		Dims: m.Dims, InputDims: cmpOr(m.Inputs, c.Shapes.Inputs), MaxBatch: c.Shapes.MaxBatch,
		InputsPath: beside(candidate.InputsFile), LabelsPath: beside(candidate.LabelsFile), CalibrationPath: beside(candidate.CalibrationFile),
		Profiles: m.Profiles, CalibrationLimits: r.Config.TensorRT.Calibration, WorkDir: dir,
		Kept: engine.Kept{Plans: kept(plansDir, c.Model), Calibrations: kept("calibrations", c.Model), Timings: kept("timings")},
	}}
	r.mu.Lock()
	before, ok := r.previous[lineage{c.Model, b.Name, job.Precision}]
	r.mu.Unlock()
	if ok && before.Measurement.Layers != nil {
		req.Job.PreviousVersion, req.Job.PreviousLayers = before.Version, before.Measurement.Layers.Layers
	}
	ref, err := r.referenceFor(c, staged)
	if err != nil {
		return history.Record{}, err
	}
	switch {
	case ref.path != "":
		req.Job.ReferencePath, req.Job.ReferenceName = ref.path, ref.name
	case job.Precision == engine.FP32:
		req.Job.OutputsPath = filepath.Join(dir, "outputs.npz")
	}
	started := r.Now().UTC()
	o, err := w.Run(ctx, r.limits(b.Name), req, func(p engine.Progress) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.Observe.Progressed(job, p)
	})
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

// referenceFor is what the outputs of c, staged in a folder, are compared with:
// what it brings along, or what was kept. Its path is "" when there is neither.
func (r *Runner) referenceFor(c candidate.Candidate, staged string) (referenceFile, error) {
	if _, ok := c.Files[candidate.ReferenceFile]; ok {
		return referenceFile{filepath.Join(staged, candidate.ReferenceFile), candidate.ReferenceFile}, nil
	}
	return r.reference(c)
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
