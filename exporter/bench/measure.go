package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx"
)

// Measure does one job from build to layers and returns all it found out.
// progress, which may be nil, hears of every step; with may be Watched and On. A
// failure is an *engine.Error, except that the context's own error comes back
// as it is. The work folder is left to the caller.
func Measure(ctx context.Context, backend engine.Backend, job Job, progress func(engine.Progress), with ...func(*run)) (Measurement, error) {
	if progress == nil {
		progress = func(engine.Progress) {}
	}
	r := &run{backend: backend, job: job, progress: progress, efforts: efforts{}}
	for _, w := range with {
		w(r)
	}
	err := r.measure(ctx)
	if parting := r.part(); err == nil {
		err = parting
	}
	if r.engine != nil {
		if closing := r.engine.Close(); closing != nil && err == nil {
			err = closing
		}
	}
	switch {
	case err == nil:
		return r.m, nil
	case ctx.Err() != nil:
		return Measurement{}, ctx.Err()
	}
	return Measurement{}, r.explain(engine.AsError(err))
}

// run is one call of Measure.
type run struct {
	backend  engine.Backend
	job      Job
	progress func(engine.Progress)
	engine   engine.Engine
	m        Measurement

	sampler   Sampler       // nil without one
	host      Host          // nil without one
	throttled int           // windows discarded because the device was
	disturbed int           // windows discarded because of other work
	spent     time.Duration // of the patience
	idle      *Idle         // the last look at the idle device; nil before the first
	efforts   efforts       // of the candidate's engine
	partner   *partner      // nil without one
	warm      engine.Window // of the warm-up
	points    []round       // of the sweep
	laps      []round       // whose turns show the change of the throughput

	inputs   []engine.TensorInfo
	declared struct{ inputs, outputs []engine.TensorInfo } // by the model, where it can be read
	profiles map[string]int                                // of the build, by workload
	npz      []engine.Tensor                               // inputs.npz, nil without
	arrays   []engine.Tensor                               // its samples of the first shape
	groups   [][]engine.Tensor                             // its samples of each shape
	outputs  []engine.Tensor                               // on the evaluation inputs, all samples; nil before accuracy
	samples  int                                           // that outputs holds
	dims     map[string]int64
	batches  []int // that the model can do; the first is the latency's
}

func (r *run) warn(format string, args ...any) {
	if w := clip(fmt.Sprintf(format, args...), mostMessage); !slices.Contains(r.m.Warnings, w) {
		r.m.Warnings = append(r.m.Warnings, w)
	}
}

func (r *run) measure(ctx context.Context) error {
	if err := r.job.Options.Validate(); err != nil {
		return engine.Errorf(engine.KindInternal, "measure", r.job.Model, "invalid options: %v", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	for _, step := range []func(context.Context) error{r.build, r.load, r.warmUp, r.sweep, r.memory, r.meet, r.latency, r.accuracy, r.calibration, r.layers, r.workloads} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) build(ctx context.Context) error {
	var err error
	if r.npz, err = r.evaluationArrays(); err != nil {
		return err
	}
	r.arrays = r.npz
	req, err := r.buildRequest(r.job.ModelPath)
	if err != nil {
		return err
	}
	plan, err := r.backend.Build(ctx, req)
	if err != nil {
		return err
	}
	r.m.Plan = plan
	r.m.Plan.Warnings = nil
	r.m.Warnings = append(r.m.Warnings, plan.Warnings...)
	if !plan.Reused {
		r.progress(engine.Progress{Stage: "build", Done: 1, Total: 1, Message: fmt.Sprintf("built in %v", plan.Duration.Round(time.Millisecond))})
	}
	return nil
}

// buildRequest is how a model is built for this job.
func (r *run) buildRequest(path string) (engine.BuildRequest, error) {
	req := engine.BuildRequest{
		ModelPath: path, Precision: r.job.Precision, WorkDir: r.job.WorkDir, Settings: r.job.Settings,
		CalibrationPath: r.job.CalibrationPath, Digest: r.job.Digest, Kept: r.job.Kept, Progress: r.progress,
	}
	if r.job.Precision == engine.AsBuilt {
		return req, nil // no model tells its shapes
	}
	// A model that is not readable here is the backend's to refuse: it knows
	// its own formats. A readable one can be refused before a long build.
	model, err := onnx.ReadFile(path)
	if err != nil {
		return req, nil
	}
	req.Native, req.Quantized = model.Precision, model.Quantized
	if r.engine == nil { // the candidate's own, planned again on what the engine says
		defer func(before []string) { r.m.Warnings = before }(r.m.Warnings)
		r.declared.inputs, r.declared.outputs = model.Inputs, model.Outputs
		if err := r.plan(model.Inputs); err != nil {
			return req, err
		}
	}
	if req.Profiles, err = r.ranges(); err == nil && len(req.Profiles) > 0 {
		req.MoreProfiles = r.trafficRanges(req.Profiles)
	}
	return req, err
}

func (r *run) load(ctx context.Context) error {
	r.progress(engine.Progress{Stage: "load"})
	e, err := r.backend.Load(ctx, r.m.Plan, r.loadOptions())
	if err != nil {
		return err
	}
	r.engine = e
	return r.plan(e.Inputs())
}

// lanes is how many requests may be in flight at once.
func (r *run) lanes() int {
	lanes := slices.Max(append([]int{1}, r.job.Options.Concurrency...))
	for _, w := range r.job.Options.Workloads {
		lanes = max(lanes, w.Concurrency)
	}
	return lanes
}

// memory is read before the accuracy run, whose outputs are kept on purpose.
func (r *run) memory(context.Context) error {
	r.m.Memory = r.engine.Memory()
	return nil
}
