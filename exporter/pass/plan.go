package pass

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// Job is one candidate at one precision, to be measured.
type Job struct {
	Candidate   candidate.Candidate
	Precision   engine.Precision
	Fingerprint string
	// Expected is how long it takes by what the model's last job at this precision
	// took; 0 when there was none.
	Expected time.Duration
	// Again is who wants it measured once more; nil for a job without a result.
	Again *history.Author
	// Bridge says that the candidate has a result in the environment before, and is
	// measured again as the history of this one.
	Bridge bool

	against string // version that a job that is done again takes turns with; "" is the one before

	room int // iterations to leave free before the candidate, for those of a bridge
}

// String reads like "squeezenet version 3 int8".
func (j Job) String() string {
	return fmt.Sprintf("%s version %s %s", j.Candidate.Model, j.Candidate.Version, j.Precision)
}

// Plan is what a pass would do.
type Plan struct {
	Scan    candidate.Scan
	Backend Backend
	Jobs    []Job // in order
	// Failed are the jobs of wanted candidates that have failed and are not
	// tried again as things are.
	Failed []Job
	// Fingerprints say, of each model with a usable version, the environment in
	// which the newest one is measured by this configuration on this machine.
	Fingerprints map[string]string
	// References say, of each model whose configuration declares one, what the outputs
	// of its newest version are compared with: "version 7 fp32" or "labels".
	References map[string]string
}

// Plan scans the repository and says what a pass would do to the models that
// only selects; nil selects all.
func (r *Runner) Plan(ctx context.Context, only func(model string) bool) (Plan, error) {
	scan, err := r.scanned(ctx, nil)
	if err != nil {
		return Plan{}, err
	}
	backend, remembered, err := r.choose(ctx, false)
	if err != nil {
		return Plan{Scan: scan}, err
	}
	p, err := r.plan(ctx, scan, backend, only)
	if err != nil || !remembered || len(p.Jobs) == 0 {
		return p, err
	}
	// Before anything is measured, the backend is described again.
	fresh, _, err := r.choose(ctx, true)
	if err != nil {
		return Plan{Scan: scan}, err
	}
	return r.plan(ctx, scan, fresh, only)
}

func (r *Runner) plan(ctx context.Context, scan candidate.Scan, backend Backend, only func(model string) bool) (Plan, error) {
	scan = withoutPlans(scan, backend)
	p := Plan{Scan: scan, Backend: backend, Fingerprints: map[string]string{}, References: map[string]string{}}
	limits, err := r.limitsDigest(backend)
	if err != nil {
		return p, fmt.Errorf("plan: %w", err)
	}
	bridges, err := r.bridges(ctx, scan, backend, only)
	if err != nil {
		return p, err
	}
	if len(bridges) > 0 { // whose candidates are not identified yet
		if scan, err = r.scanned(ctx, bridges); err != nil {
			return p, err
		}
		scan = withoutPlans(scan, backend)
		p.Scan = scan
	}
	var perModel, bridged [][]Job
	for _, name := range slices.Sorted(maps.Keys(scan.Models)) {
		var jobs []Job
		for _, c := range scan.Models[name] {
			older := c.Digest == "" // than the backlog reaches: measured when somebody wants it again, or as history
			if older {
				var found bool
				if c, found = scan.Find(name, c.Version); !found {
					continue
				}
			}
			fingerprint, err := r.fingerprint(backend, c)
			if err != nil {
				return p, err
			}
			p.Fingerprints[name] = fingerprint // of the newest, which comes last
			if err := r.declare(ctx, &p, c); err != nil {
				return p, fmt.Errorf("plan %s: %w", name, err)
			}
			for _, precision := range r.precisions(c) {
				job, k := Job{Candidate: c, Precision: precision, Fingerprint: fingerprint, Expected: r.took[lineage{name, backend.Name, precision}]}, key{c.Model, c.Digest, precision, fingerprint}
				if err := r.recall(ctx, k); err != nil {
					return p, fmt.Errorf("plan %s: %w", name, err)
				}
				planned := slices.ContainsFunc(jobs, func(j Job) bool { return j.Candidate.Digest == c.Digest && j.Precision == precision })
				job.Again, job.against = r.wanting(c, precision, newest(scan.Models[name]))
				switch failure := r.done[k].kind; {
				case job.Again != nil && !planned:
					jobs = append(jobs, job)
				case older && !r.importing(name, fingerprint): // a partner
				case r.wanted(k, limits) && !planned:
					jobs = append(jobs, job)
				case failure != "" && failure != engine.KindUnsupportedPrecision && !planned:
					p.Failed = append(p.Failed, job)
				}
			}
		}
		if only == nil || only(name) {
			again, err := r.bridgeJobs(ctx, scan, backend, name, bridges[name], p.Fingerprints[name])
			if err != nil {
				return p, fmt.Errorf("plan %s: %w", name, err)
			}
			last, err := r.highest(ctx, name, p.Fingerprints[name], jobs)
			if err != nil {
				return p, fmt.Errorf("plan %s: %w", name, err)
			}
			leaveRoom(jobs, last, r.later(scan, name, p.Fingerprints[name], jobs, again))
			perModel, bridged = append(perModel, jobs), append(bridged, again)
		}
	}
	p.Jobs = append(inOrder(perModel), inOrder(bridged)...)
	return p, nil
}

// precisions are those that a candidate is measured at.
func (r *Runner) precisions(c candidate.Candidate) []engine.Precision {
	if c.File() == candidate.PlanFile {
		return []engine.Precision{engine.AsBuilt}
	}
	return r.Config.Precisions
}

// withoutPlans rejects the plans of a scan that the backend cannot run.
func withoutPlans(scan candidate.Scan, b Backend) candidate.Scan {
	if b.Name == config.OnTensorRT {
		return scan
	}
	models, refused := map[string][]candidate.Candidate{}, slices.Clone(scan.Refused)
	for name, versions := range scan.Models {
		for _, c := range versions {
			if c.File() != candidate.PlanFile {
				models[name] = append(models[name], c)
				continue
			}
			refused = append(refused, candidate.Refusal{
				Path: name + "/" + c.Version, Model: name, Version: c.Version,
				Reason: fmt.Sprintf("%s is a TensorRT plan, which needs a GPU of its kind with TensorRT, and this machine measures with %s: measure it there (docs/gpu.md), or push the model as %s as well", candidate.PlanFile, b.Name, candidate.ModelFile),
			})
		}
	}
	slices.SortFunc(refused, func(a, b candidate.Refusal) int { return cmp.Compare(a.Path, b.Path) })
	scan.Models, scan.Refused = models, refused
	return scan
}

// fingerprint is that of the environment in which a candidate is measured.
func (r *Runner) fingerprint(backend Backend, c candidate.Candidate) (string, error) {
	f, err := engine.Fingerprint(backend.Environment, r.Config.Settings(backend.Name, backend.Environment), r.conditions(c))
	if err != nil {
		return "", fmt.Errorf("plan %s: %w", c.Model, err)
	}
	return f, nil
}

// recall notes the records of a job that New was not given.
func (r *Runner) recall(ctx context.Context, k key) error {
	if _, done := r.done[k]; done || r.Store == nil {
		return nil
	}
	f := history.Filter{Model: k.model, Digest: k.digest, Precision: k.precision, Fingerprint: k.fingerprint}
	for rec, err := range history.Skip(r.Store.Records(ctx, f), func(error) {}) { // damage was named at the start
		if err != nil {
			return err
		}
		r.note(rec)
	}
	return nil
}

// wanted reports whether a job is to be done: it has no record, or failed under
// limits of the configuration that are not those of now. Whatever else the
// configuration can change about a failure is part of the fingerprint.
func (r *Runner) wanted(k key, limits string) bool {
	e, done := r.done[k]
	if !done {
		return true
	}
	switch e.kind {
	case engine.KindTimeout, engine.KindOutOfMemory, engine.KindAccuracy, engine.KindInvalidInput:
		return e.limits != "" && e.limits != limits
	}
	return false
}

// limitsDigest stands for what can make a job fail without being a condition of
// its result.
func (r *Runner) limitsDigest(b Backend) (string, error) {
	return engine.Fingerprint(engine.Environment{}, engine.Settings{}, struct {
		Worker       any
		MaxDeviation float64
		Calibration  bench.CalibrationLimits
	}{r.Config.Limits(b.Name), r.Config.Benchmark.MaxDeviation, r.Config.TensorRT.Calibration})
}

// inOrder puts the jobs of all models in order: those of a model stay as they are,
// and a candidate comes the later, the longer its model has then kept the machine in
// this pass. So every model has its first result early, in turns where all take the
// same, and one that takes minutes keeps none waiting that takes seconds. What a new
// model takes is not known: it counts as one in the middle.
func inOrder(perModel [][]Job) []Job {
	usual := median(slices.Concat(perModel...))
	type turn struct {
		jobs []Job
		kept time.Duration // the machine by the model, this turn included
	}
	var turns []turn
	for _, jobs := range perModel {
		var kept time.Duration
		for _, group := range byCandidate(jobs) {
			for _, j := range group {
				kept += cmp.Or(j.Expected, usual)
			}
			turns = append(turns, turn{group, kept})
		}
	}
	slices.SortStableFunc(turns, func(a, b turn) int { return cmp.Compare(a.kept, b.kept) })
	var out []Job
	for _, t := range turns {
		out = append(out, t.jobs...)
	}
	return out
}

// median is how long the jobs take of which that is known; a minute without any.
func median(jobs []Job) time.Duration {
	var known []time.Duration
	for _, j := range jobs {
		if j.Expected > 0 {
			known = append(known, j.Expected)
		}
	}
	if len(known) == 0 {
		return time.Minute
	}
	slices.Sort(known)
	return known[len(known)/2]
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
