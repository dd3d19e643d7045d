package tensorrt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx"
	"github.com/plancast/plancast/trt"
)

var precisions = map[engine.Precision]trt.Precision{engine.FP32: trt.FP32, engine.FP16: trt.FP16, engine.INT8: trt.INT8}

// Build makes a plan, or finds the one that an earlier job built from the same
// candidate with the same settings in the same environment.
func (b *Backend) Build(ctx context.Context, req engine.BuildRequest) (engine.Plan, error) {
	op := fmt.Sprintf("build %s engine", req.Precision)
	fail := func(kind engine.Kind, err error) (engine.Plan, error) {
		return engine.Plan{}, failure(ctx, kind, op, req.ModelPath, err)
	}
	env, err := b.Environment(ctx)
	if err != nil {
		return engine.Plan{}, err
	}
	if req.Precision == engine.AsBuilt {
		return b.adopt(ctx, req, env)
	}
	model, err := onnx.ReadFile(req.ModelPath)
	if err != nil {
		return fail(engine.KindInvalidModel, err)
	}
	if req.Native == "" {
		req.Native, req.Quantized = model.Precision, model.Quantized
	}
	if err := precisionError(op, req); err != nil {
		return engine.Plan{}, err
	}
	if err := model.CheckExternal(req.ModelPath); err != nil {
		return fail(engine.KindInvalidModel, err)
	}
	if err := unsupported(op, req.ModelPath, model); err != nil {
		return engine.Plan{}, err
	}
	name, err := planName(req, env)
	if err != nil {
		return fail(engine.KindInternal, err)
	}
	path, plan, kept, err := keptPlan(req, name)
	if err != nil {
		return fail(engine.KindInternal, err)
	}
	if kept {
		req.Progress(engine.Progress{Stage: "build", Done: 1, Total: 1, Message: "reusing the plan of an earlier build"})
		return plan, nil
	}

	if b.builder == nil {
		req.Progress(engine.Progress{Stage: "build", Message: "loading the builder's kernels"})
		if b.builder, err = b.lib.NewBuilder(b.device.Index); err != nil {
			return fail(engine.KindBuildFailed, err)
		}
	}
	req.Progress(engine.Progress{Stage: "build", Message: fmt.Sprintf("parsing %d nodes", model.Nodes)})
	network, prepared, err := b.parse(req, model)
	if err != nil {
		return fail(engine.KindInvalidModel, err)
	}
	defer network.Close()
	if err := ctx.Err(); err != nil {
		return engine.Plan{}, err
	}

	o := options(req)
	timings := newKept(req.Kept.Timings, timingsName(env))
	o.TimingCache = timings.read()
	calibration, err := b.calibration(req, model, network.Info(), env)
	if err != nil {
		return fail(engine.KindInvalidInput, err)
	}
	if calibration != nil {
		o.Calibration = &calibration.trt
	}
	built, err := network.Build(ctx, o)
	if err != nil {
		return fail(engine.KindBuildFailed, err)
	}

	meta := metadata{
		Key: name, Inputs: model.Inputs, Outputs: model.Outputs, Environment: env, Built: time.Now().UTC(),
		Plan: engine.Plan{
			Path: path, Precision: req.Precision, SizeBytes: int64(len(built.Plan)), Duration: built.Duration,
			Warnings: append(prepared, warnings(built)...),
		},
	}
	if req.Kept.Timings != "" {
		meta.Plan.TimingCacheHit = new(built.CacheUse.Hit())
		if !built.CacheUse.Hit() && built.CacheUse.After != 0 { // one without entries serves nobody
			err = timings.write(built.TimingCache)
		}
	}
	if calibration != nil && built.Calibration != nil {
		meta.Plan.Calibration = calibration.result(built.Calibration)
		err = errors.Join(err, calibration.kept.write(built.Calibration.Cache))
	}
	if err := errors.Join(err, write(path, built.Plan, meta)); err != nil {
		return fail(engine.KindInternal, fmt.Errorf("keep the plan: %w", err))
	}
	return meta.Plan, nil
}

// parse hands the model to the builder, prepared for it; what was prepared is reported in
// words. TensorRT holds dimensions of one name to be equal, and exporters write one
// name, such as "?", for several that they do not know: those that have different
// ranges get different names. It dequantizes no INT32, which is how quantizers write
// biases: those become the floats that they stand for.
func (b *Backend) parse(req engine.BuildRequest, model *onnx.Model) (*trt.Network, []string, error) {
	path, err := filepath.Abs(req.ModelPath)
	if err != nil {
		return nil, nil, err
	}
	names := dimNames(model.Inputs, profiles(req))
	if len(names) == 0 && !model.Quantized {
		network, err := b.builder.ParseFile(path)
		return network, nil, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	content, prepared, err := prepare(content, path, names, model.Quantized)
	if err != nil {
		return nil, nil, err
	}
	network, err := b.builder.ParseFrom(content, path)
	return network, prepared, err
}

// prepare makes of a candidate what TensorRT takes, and says what it changed.
func prepare(content []byte, path string, names map[dimension]string, quantized bool) (out []byte, prepared []string, err error) {
	if len(names) > 0 {
		content, err = onnx.RenameDims(content, func(input string, position int, name string) string {
			return cmp.Or(names[dimension{input, position}], name)
		})
		if err != nil {
			return nil, nil, err
		}
	}
	if !quantized {
		return content, nil, nil
	}
	content, folded, rest, err := onnx.FoldBiases(content, filepath.Dir(path))
	switch {
	case err != nil:
		return nil, nil, err
	case len(rest) > 0:
		return nil, nil, onnx.DequantizesInt32(path, rest)
	case folded > 0:
		prepared = []string{fmt.Sprintf("%d INT32 biases behind DequantizeLinear were folded into float biases, which TensorRT needs", folded)}
	}
	return content, prepared, nil
}

// profiles are all that a build is for; none where no input is dynamic.
func profiles(req engine.BuildRequest) []map[string]engine.Profile {
	if len(req.Profiles) == 0 {
		return nil
	}
	return append([]map[string]engine.Profile{req.Profiles}, req.MoreProfiles...)
}

// dimension is one of an input.
type dimension struct {
	input    string
	position int
}

// dimNames are new names for dimensions that share theirs with others of another
// range in some profile: those of the same ranges keep one name.
func dimNames(inputs []engine.TensorInfo, profiles []map[string]engine.Profile) map[dimension]string {
	ranges, names := map[string][]string{}, map[dimension]string{}
	for _, in := range inputs {
		for i, d := range in.Dims {
			s := ""
			for _, profile := range profiles {
				if p, ok := profile[in.Name]; ok {
					s += fmt.Sprintln(p.Min[i], p.Opt[i], p.Max[i])
				}
			}
			if d.Name == "" || s == "" {
				continue
			}
			at := slices.Index(ranges[d.Name], s)
			if at < 0 {
				at = len(ranges[d.Name])
				ranges[d.Name] = append(ranges[d.Name], s)
			}
			if at > 0 { // the first range keeps the name
				names[dimension{in.Name, i}] = fmt.Sprintf("%s#%d", d.Name, at+1)
			}
		}
	}
	return names
}

// unsupported refuses inputs and outputs that are no tensors of numbers.
func unsupported(op, path string, model *onnx.Model) error {
	for i, t := range slices.Concat(model.Inputs, model.Outputs) {
		what := "input"
		if i >= len(model.Inputs) {
			what = "output"
		}
		if t.Plain() || t.DType == "" && len(t.In) == 0 {
			continue // the parser knows the type, or refuses it
		}
		e := engine.Errorf(engine.KindUnsupportedInput, op, path, "%s %q is %s, which TensorRT does not have", what, t.Name, t.What())
		e.Hint = "remove it from the model (for a ZipMap, export with zipmap=False), or measure the model with ONNX Runtime"
		return e
	}
	return nil
}

func precisionError(op string, req engine.BuildRequest) error {
	var message, hint string
	switch {
	case req.Quantized && req.Precision != engine.INT8:
		message = "the candidate carries its own quantization, which TensorRT keeps in every precision"
		hint = "ship the model without quantization as well to have it measured as " + string(req.Precision)
	case req.Native == engine.FP16 && req.Precision == engine.FP32:
		message = "the candidate ships in float16"
		hint = "ship a float32 export as well to have it measured as fp32"
	case req.Precision == engine.INT8 && !req.Quantized && req.CalibrationPath == "":
		message = "INT8 needs calibration.npz or a model with Q/DQ nodes (QuantizeLinear and DequantizeLinear): without either, the ranges of its tensors are unknown"
		hint = "put calibration.npz beside the model, or ship it quantized"
	default:
		return nil
	}
	e := engine.Errorf(engine.KindUnsupportedPrecision, op, req.ModelPath, "%s", message)
	e.Hint = hint
	return e
}

// options are the explicit choices of a build; zero settings are TensorRT's
// defaults, which trt writes out.
func options(req engine.BuildRequest) trt.BuildOptions {
	s := req.Settings
	o := trt.BuildOptions{
		Precision: precisions[req.Precision], TF32: s.TF32, WorkspaceBytes: s.WorkspaceBytes,
		// A candidate in float16 has layers that nothing else can run.
		FP16Fallback: req.Precision == engine.INT8 && (s.FP16Fallback || req.Native == engine.FP16),
	}
	switch {
	case s.OptimizationLevel == nil:
	case *s.OptimizationLevel == 0:
		o.OptimizationLevel = -1 // how trt writes level 0
	default:
		o.OptimizationLevel = *s.OptimizationLevel
	}
	if s.HardwareCompatible {
		o.HardwareCompatibility = trt.AmperePlus
	}
	for _, p := range profiles(req) {
		ranges := map[string]trt.Range{}
		for name, p := range p {
			ranges[name] = trt.Range{Min: p.Min, Opt: p.Opt, Max: p.Max}
		}
		o.Profiles = append(o.Profiles, ranges)
	}
	o.Progress = func(p trt.Progress) {
		req.Progress(engine.Progress{Stage: "build", Done: p.Fraction, Total: 1, Message: p.Phase})
	}
	return o
}

// mostWarnings is how many kinds of the builder's warnings a report quotes.
const mostWarnings = 5

// particulars are the parts of a warning that differ between warnings of one kind:
// quoted text, numbers, and names of tensors and layers.
var particulars = regexp.MustCompile(`"[^"]*"|'[^']*'|\[[^\]]*\]|\{[^}]*\}|\S*[/:_.\d]\S*`)

// warnings groups what the builder warned of: one line for each kind, with the number
// of those like it.
func warnings(r *trt.BuildResult) []string {
	var out []string
	if u := r.CacheUse; u.Supplied && !u.Valid {
		out = append(out, "the timing cache was not used: "+u.Reason)
	}
	type group struct {
		first string
		texts map[string]bool
	}
	var groups []*group
	byKind := map[string]*group{}
	for _, l := range r.Warnings() {
		text := strings.Join(strings.Fields(l.Text), " ")
		if text == "" {
			continue
		}
		kind := particulars.ReplaceAllString(text, "…")
		g := byKind[kind]
		if g == nil {
			g = &group{first: text, texts: map[string]bool{}}
			byKind[kind] = g
			groups = append(groups, g)
		}
		g.texts[text] = true
	}
	slices.SortStableFunc(groups, func(a, b *group) int { return cmp.Compare(len(b.texts), len(a.texts)) })
	dropped := 0
	for i, g := range groups {
		switch n := len(g.texts); {
		case i >= mostWarnings:
			dropped += n
		case n > 1:
			out = append(out, fmt.Sprintf("TensorRT, %d times: %s (and similar ones)", n, g.first))
		default:
			out = append(out, "TensorRT: "+g.first)
		}
	}
	if dropped > 0 {
		out = append(out, fmt.Sprintf("and %d more warnings of the builder", dropped))
	}
	return out
}
