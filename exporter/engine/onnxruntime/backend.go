// Package onnxruntime runs candidates with ONNX Runtime on the CPU: the
// backend of every machine without a GPU, and what continuous integration uses.
//
// The shared library is loaded when it is first needed. A plan is the model
// after ONNX Runtime's own graph optimization, so that loading it repeats
// nothing and its layers can be described from what really runs.
package onnxruntime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/ort"
	"github.com/plancast/plancast/exporter/onnx"
)

// Name is the backend's name in configuration and labels.
const Name = "onnxruntime"

// planName is the file of a plan, in the job's work folder. A plan of another
// name is a model as it was shipped.
const planName = "model.optimized.onnx"

// maxSerialized bounds the weights of a plan: protocol buffers end at 2 GiB,
// and constant folding may add to what the candidate has.
const maxSerialized = 1 << 30

// Options are how to reach the runtime; the zero value searches.
type Options struct {
	Library string // path of the shared library, "" searches
}

// Backend implements engine.Backend.
type Backend struct {
	opts Options
	// sources is the candidate of each plan built here, to describe its layers by.
	sources map[string]string
	peak    *os.File // see openPeak
}

var (
	_ engine.Backend = (*Backend)(nil)
	_ engine.Placed  = (*Backend)(nil)
)

// New makes a backend. It looks for the library, as long as the process may look
// anywhere, and loads nothing: Environment, Build and Load do, and say so with
// KindUnavailable when there is nothing to load.
func New(opts Options) *Backend {
	if path, err := FindLibrary(opts.Library); err == nil {
		opts.Library = path
	}
	return &Backend{opts: opts, sources: map[string]string{}, peak: openPeak()}
}

// Places is the folder of the library, and where a link to it leads.
func (b *Backend) Places() engine.Places {
	if b.opts.Library == "" {
		return engine.Places{} // loading it says why there is none
	}
	out := engine.Places{Libraries: []string{filepath.Dir(b.opts.Library)}}
	if real, err := filepath.EvalSymlinks(b.opts.Library); err == nil {
		out.Libraries = append(out.Libraries, filepath.Dir(real))
	}
	return out
}

// Name returns "onnxruntime".
func (b *Backend) Name() string { return Name }

// Close leaves the library loaded for the life of the process.
func (b *Backend) Close() error {
	if b.peak != nil {
		_ = b.peak.Close() // nothing is buffered
		b.peak = nil
	}
	return nil
}

// Environment reports the library's version and the CPU.
func (b *Backend) Environment(ctx context.Context) (engine.Environment, error) {
	if err := ctx.Err(); err != nil {
		return engine.Environment{}, err
	}
	if err := load(b.opts.Library); err != nil {
		return engine.Environment{}, err
	}
	const machine = root("/")
	return engine.Environment{
		Backend:        Name,
		BackendVersion: ort.Version(),
		Device:         machine.cpuModel(),
		Cores:          machine.cores(runtime.NumCPU()),
		Governor:       machine.governor(),
		Platform:       runtime.GOOS + "/" + runtime.GOARCH,
		Timing:         "native loop, alone",
	}, nil
}

// levels are ONNX Runtime's names for how far a graph is rewritten; "" is all.
var levels = map[string]ort.Level{"": ort.All, "all": ort.All, "extended": ort.Extended, "basic": ort.Basic, "disabled": ort.Disabled}

// sessionOptions makes the options of a session; optimized says that the file
// has been through the optimizer already.
func sessionOptions(s engine.Settings, optimized bool) (ort.Options, error) {
	level, ok := levels[s.GraphOptimization]
	if !ok {
		return ort.Options{}, fmt.Errorf("unknown graph optimization %q: use all, extended, basic or disabled", s.GraphOptimization)
	}
	if optimized {
		level = ort.Disabled
	}
	if s.Threads < 0 {
		return ort.Options{}, fmt.Errorf("%d threads: give 1 or more, or 0 for one a core", s.Threads)
	}
	return ort.Options{Level: level, Threads: s.Threads}, nil
}

// Build optimizes the candidate's graph and writes it as the plan. ONNX
// Runtime on a CPU computes in what the model was shipped as, so any other
// precision is refused with what to ship instead.
func (b *Backend) Build(ctx context.Context, req engine.BuildRequest) (engine.Plan, error) {
	op := fmt.Sprintf("build %s engine", req.Precision)
	var plan engine.Plan
	if err := ctx.Err(); err != nil {
		return plan, err
	}
	if err := load(b.opts.Library); err != nil {
		return plan, err
	}
	model, err := onnx.ReadFile(req.ModelPath)
	if err != nil {
		var e *engine.Error
		if errors.As(err, &e) {
			return plan, err
		}
		return plan, engine.Errorf(engine.KindInvalidModel, op, req.ModelPath, "%v", err)
	}
	native := req.Native
	if native == "" {
		native = model.Precision
	}
	if err := precisionError(op, req, native); err != nil {
		return plan, err
	}
	if err := unsupported(op, req.ModelPath, model); err != nil {
		return plan, err
	}
	if err := model.CheckExternal(req.ModelPath); err != nil {
		return plan, err
	}

	plan.Precision = req.Precision
	plan.Path = filepath.Join(req.WorkDir, planName)
	serialize := len(model.ExternalData) == 0 && model.TotalWeightBytes() <= maxSerialized
	if !serialize {
		plan.Path = req.ModelPath
		plan.Warnings = append(plan.Warnings, "the model is too large to be written after optimization, or keeps its weights in other files: it is optimized again at every load, and its layers are not described")
	}
	req.Progress(engine.Progress{Stage: "build", Message: fmt.Sprintf("optimizing %d nodes", model.Nodes)})
	start := time.Now()
	o, err := sessionOptions(req.Settings, false)
	if err != nil {
		return plan, engine.Errorf(engine.KindBuildFailed, op, req.ModelPath, "%v", err)
	}
	if serialize {
		o.Optimized = plan.Path
	}
	s, err := openSession(req.ModelPath, model, o)
	if err != nil {
		return plan, failure(engine.KindBuildFailed, op, req.ModelPath, err)
	}
	s.Close()
	if serialize {
		if err := onnx.PruneInputs(plan.Path, model.Inputs); err != nil {
			return plan, engine.Errorf(engine.KindBuildFailed, op, req.ModelPath, "write the plan: %v", err)
		}
	}
	plan.Duration = time.Since(start)
	info, err := os.Stat(plan.Path)
	if err != nil {
		return plan, engine.Errorf(engine.KindBuildFailed, op, req.ModelPath, "no plan was written: %v", err)
	}
	plan.SizeBytes = info.Size()
	if serialize {
		b.sources[plan.Path] = req.ModelPath
	} else {
		plan.SizeBytes += model.TotalWeightBytes()
	}
	return plan, ctx.Err()
}

func precisionError(op string, req engine.BuildRequest, native engine.Precision) error {
	if req.Precision == native {
		return nil
	}
	e := engine.Errorf(engine.KindUnsupportedPrecision, op, req.ModelPath,
		"ONNX Runtime on a CPU computes in the types of the model, and this candidate ships as %s", native)
	switch req.Precision {
	case engine.FP32:
		e.Hint = "ship a float32 export as well to have it measured"
	case engine.FP16:
		e.Hint = "ship a model converted to float16, or measure fp16 on a GPU with TensorRT"
	case engine.INT8:
		e.Hint = "ship a quantized model (QuantizeLinear and DequantizeLinear nodes, as onnxruntime.quantization writes them), or measure int8 on a GPU with TensorRT"
	}
	return e
}

// openSession opens a session on the model's own inputs and outputs.
func openSession(path string, model *onnx.Model, o ort.Options) (*ort.Session, error) {
	names := func(infos []engine.TensorInfo) []string {
		out := make([]string, len(infos))
		for i, t := range infos {
			out[i] = t.Name
		}
		return out
	}
	return ort.NewSession(path, names(model.Inputs), names(model.Outputs), o)
}

// Load opens a plan.
func (b *Backend) Load(ctx context.Context, plan engine.Plan, opts engine.LoadOptions) (engine.Engine, error) {
	const op = "load engine"
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := load(b.opts.Library); err != nil {
		return nil, err
	}
	model, err := onnx.ReadFile(plan.Path)
	if err != nil {
		var e *engine.Error
		if errors.As(err, &e) {
			return nil, err
		}
		return nil, engine.Errorf(engine.KindBuildFailed, op, plan.Path, "%v", err)
	}
	if source := b.sources[plan.Path]; source != "" {
		// What the candidate declares: ONNX Runtime writes some of it otherwise.
		if candidate, err := onnx.ReadFile(source); err == nil {
			declared(model.Inputs, candidate.Inputs)
			declared(model.Outputs, candidate.Outputs)
		}
	}
	if err := unsupported(op, plan.Path, model); err != nil {
		return nil, err
	}
	optimized := filepath.Base(plan.Path) == planName
	o, err := sessionOptions(opts.Settings, optimized)
	if err != nil {
		return nil, engine.Errorf(engine.KindBuildFailed, op, plan.Path, "%v", err)
	}
	b.resetPeak()
	s, err := openSession(plan.Path, model, o)
	if err != nil {
		return nil, failure(engine.KindRunFailed, op, plan.Path, err)
	}
	return &session{
		session: s, spins: o.Threads != 1, model: model, plan: plan, source: b.sources[plan.Path], optimized: optimized, learnt: map[string]learnt{},
	}, nil
}

// declared gives the inputs or outputs of a plan the descriptions of the candidate.
func declared(plan, candidate []engine.TensorInfo) {
	for i, t := range plan {
		if k := slices.IndexFunc(candidate, func(c engine.TensorInfo) bool { return c.Name == t.Name }); k >= 0 {
			plan[i] = candidate[k]
		}
	}
}

// unsupported refuses inputs and outputs that no value can be made of or read from.
func unsupported(op, path string, model *onnx.Model) error {
	for i, t := range slices.Concat(model.Inputs, model.Outputs) {
		_, known := codes[t.DType]
		strange := slices.Contains(t.In, engine.Sparse) || slices.Contains(t.In, engine.Opaque)
		if known && !strange || t.DType == "" && !strange && i >= len(model.Inputs) {
			continue
		}
		what := "input"
		if i >= len(model.Inputs) {
			what = "output"
		}
		e := engine.Errorf(engine.KindUnsupportedInput, op, path, "%s %q is %s, which cannot be measured", what, t.Name, t.What())
		e.Hint = "convert it inside the model to a tensor of numbers, or cut the model there"
		return e
	}
	return nil
}
