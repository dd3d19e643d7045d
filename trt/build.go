package trt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// Precision is the lowest precision the builder may choose for a layer.
type Precision int

// The precisions. With TensorRT 11 only FP32 leaves the builder's choice as it is:
// there the types in the ONNX model decide, FP16 is refused with ErrUnsupported,
// and INT8 needs a model with Q/DQ nodes.
const (
	FP32 Precision = iota
	FP16
	INT8
)

func (p Precision) String() string {
	switch p {
	case FP32:
		return "fp32"
	case FP16:
		return "fp16"
	case INT8:
		return "int8"
	}
	return fmt.Sprintf("precision(%d)", int(p))
}

// HardwareCompatibility trades speed for plans that run on more GPUs.
type HardwareCompatibility int

// The levels.
const (
	SameHardware HardwareCompatibility = iota // the building GPU's kind only
	AmperePlus                                // Ampere and newer
)

// Defaults of BuildOptions.
const (
	DefaultWorkspaceBytes   = 1 << 30
	DefaultTimingIterations = 8
)

// DefaultBatch is the batch range of a profile that the caller leaves open.
var DefaultBatch = BatchRange{Min: 1, Opt: 8, Max: 8}

// BatchRange is the range of an input's first dimension.
type BatchRange struct{ Min, Opt, Max int64 }

// BuildOptions say how to build. The zero value builds FP32 without TF32.
type BuildOptions struct {
	Precision Precision
	// FP16Fallback lets a layer that has no fast INT8 kernel run in FP16 rather
	// than FP32. INT8 only.
	FP16Fallback bool
	// TF32 lets FP32 convolutions and matrix products round their inputs to 10 bits
	// of mantissa, on Ampere and newer. TensorRT itself allows it by default; here
	// it is asked for.
	TF32 bool
	// WorkspaceBytes limits the scratch memory of a layer; 0: DefaultWorkspaceBytes.
	WorkspaceBytes int64
	// Batch is used for each input whose first dimension alone is open and that
	// has no range in Profiles; zero: DefaultBatch.
	Batch BatchRange
	// Profiles are the optimization profiles, each a range by input name. Empty:
	// one profile, made from Batch.
	Profiles []map[string]Range
	// OptimizationLevel is 1 to 5, more is a longer search; 0: TensorRT's default
	// (3); -1: TensorRT's level 0.
	OptimizationLevel int
	// TimingIterations is how often the builder times a kernel; 0: 8, as trtexec does.
	TimingIterations int
	// TimingCache is an earlier BuildResult.TimingCache, or empty. One that does not
	// fit (another GPU or TensorRT, damaged) is left out, see TimingCacheUse.
	TimingCache           []byte
	HardwareCompatibility HardwareCompatibility
	// Calibration gives INT8 its ranges. A model with Q/DQ nodes carries its own
	// and needs none.
	Calibration *Calibration
	// Progress, if not nil, is called as the build goes on: one call at a time, from
	// threads of the builder. It should return soon.
	Progress func(Progress)
}

// BuildResult is a built plan with what is known of its making.
type BuildResult struct {
	Plan        []byte
	Duration    time.Duration
	TimingCache []byte // for the next build on this GPU and TensorRT
	CacheUse    TimingCacheUse
	// Quantized: the model carries Q/DQ nodes.
	Quantized bool
	// Calibration is nil when none was done.
	Calibration *CalibrationResult
	Log         []LogLine // information, warnings and errors during the build
}

// Warnings are the lines of the log that are warnings or worse.
func (r *BuildResult) Warnings() []LogLine {
	var out []LogLine
	for _, l := range r.Log {
		if l.Severity <= SeverityWarning {
			out = append(out, l)
		}
	}
	return out
}

// TimingCacheUse says how BuildOptions.TimingCache was used. The numbers of
// entries come from TensorRT's log, the only place where version 10 gives them; -1
// when it does not.
type TimingCacheUse struct {
	Supplied bool
	// Valid: the supplied cache was taken. If not, Reason says why and the build
	// timed everything.
	Valid  bool
	Reason string
	// Before and After are the entries at the start and the end. After-Before
	// kernels had to be timed: the misses.
	Before, After int
}

// Hit reports whether the supplied cache answered everything.
func (u TimingCacheUse) Hit() bool {
	return u.Supplied && u.Valid && u.Before > 0 && u.Before == u.After
}

// Misses is the number of entries the build had to add; -1 when unknown.
func (u TimingCacheUse) Misses() int {
	if u.Before < 0 || u.After < 0 {
		return -1
	}
	return u.After - u.Before
}

// Builder parses ONNX models and builds plans on one device.
type Builder struct {
	guard
	n nativeBuilder
}

// Close frees the builder.
func (b *Builder) Close() { b.close(func() { b.n.close() }) }

// ParseFile reads an ONNX model. Weights kept in files beside it are found. A
// model that the parser refuses gives a *ParseError.
func (b *Builder) ParseFile(path string) (*Network, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	model, err := os.ReadFile(abs)
	if err != nil {
		return nil, fmt.Errorf("tensorrt: read model: %w", err)
	}
	return b.ParseFrom(model, abs)
}

// Parse reads an ONNX model from memory.
func (b *Builder) Parse(model []byte) (*Network, error) { return b.ParseFrom(model, "") }

// ParseFrom reads an ONNX model from memory that came from a file, at an absolute
// path. Weights kept in files beside that are found.
func (b *Builder) ParseFrom(model []byte, path string) (*Network, error) {
	if len(model) == 0 {
		return nil, invalidf("the model %s is empty", path)
	}
	unlock, err := b.alone()
	if err != nil {
		return nil, err
	}
	defer unlock()
	n, err := b.n.parse(model, path)
	if err != nil {
		return nil, err
	}
	return &Network{builder: b, n: n, info: n.info()}, nil
}

// NetworkInfo describes a parsed model.
type NetworkInfo struct {
	Inputs, Outputs []TensorInfo
	Layers          int // before fusion
	// QuantizeLayers counts quantize and dequantize layers: more than none means
	// explicit quantization.
	QuantizeLayers int
}

// Network is a parsed model.
type Network struct {
	guard
	builder *Builder
	n       nativeNetwork
	info    NetworkInfo
}

// Close frees the network.
func (n *Network) Close() { n.close(func() { n.n.close() }) }

// Info describes the model. It may be called after Close.
func (n *Network) Info() NetworkInfo { return n.info }

// buildJob is what BuildOptions come to for one network.
type buildJob struct {
	BuildOptions
	profiles    [][]inputRange
	calibration map[string]Shape // nil when no calibration is done
}

type inputRange struct {
	name string
	Range
}

// Build makes a plan. When ctx ends, the builder stops at its next step, within
// seconds as a rule, and the error wraps the cause of ctx.
func (n *Network) Build(ctx context.Context, o BuildOptions) (*BuildResult, error) {
	job, err := o.resolve(n.info)
	if err != nil {
		return nil, err
	}
	unlockBuilder, err := n.builder.alone()
	if err != nil {
		return nil, err
	}
	defer unlockBuilder()
	unlock, err := n.alone()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("tensorrt: build engine: %w", context.Cause(ctx))
	}
	return n.n.build(ctx, job)
}

// resolve checks the options against the network and fills in the defaults.
func (o BuildOptions) resolve(net NetworkInfo) (buildJob, error) {
	job := buildJob{BuildOptions: o}
	switch {
	case o.Precision < FP32 || o.Precision > INT8:
		return job, invalidf("%v", o.Precision)
	case o.FP16Fallback && o.Precision != INT8:
		return job, invalidf("FP16Fallback goes with INT8, not with %v", o.Precision)
	case o.OptimizationLevel < -1 || o.OptimizationLevel > 5:
		return job, invalidf("optimization level %d is not in 0..5", o.OptimizationLevel)
	case o.WorkspaceBytes < 0:
		return job, invalidf("workspace of %d bytes", o.WorkspaceBytes)
	case o.TimingIterations < 0:
		return job, invalidf("%d timing iterations", o.TimingIterations)
	case o.HardwareCompatibility < SameHardware || o.HardwareCompatibility > AmperePlus:
		return job, invalidf("hardware compatibility %d", int(o.HardwareCompatibility))
	case o.Calibration != nil && o.Precision != INT8:
		return job, invalidf("calibration goes with INT8, not with %v", o.Precision)
	case o.Precision == INT8 && net.QuantizeLayers == 0 && o.Calibration == nil:
		return job, invalidf("INT8 needs calibration data: the model has no Q/DQ nodes")
	}
	if o.WorkspaceBytes == 0 {
		job.WorkspaceBytes = DefaultWorkspaceBytes
	}
	if o.TimingIterations == 0 {
		job.TimingIterations = DefaultTimingIterations
	}
	if o.Batch == (BatchRange{}) {
		job.Batch = DefaultBatch
	}
	if b := job.Batch; b.Min < 1 || b.Opt < b.Min || b.Max < b.Opt {
		return job, invalidf("batch range %d/%d/%d must rise from 1", b.Min, b.Opt, b.Max)
	}
	profiles := o.Profiles
	if len(profiles) == 0 {
		profiles = []map[string]Range{nil}
	}
	for i, p := range profiles {
		ranges, err := resolveProfile(net.Inputs, p, job.Batch)
		if err != nil {
			return job, fmt.Errorf("optimization profile %d: %w", i, err)
		}
		job.profiles = append(job.profiles, ranges)
	}
	if len(job.profiles) > 0 && len(job.profiles[0]) == 0 {
		job.profiles = nil // nothing is open
	}
	if o.Calibration != nil && net.QuantizeLayers == 0 {
		shapes, err := o.Calibration.shapes(net.Inputs, job.profiles)
		if err != nil {
			return job, fmt.Errorf("calibration: %w", err)
		}
		job.calibration = shapes
	}
	return job, nil
}

// resolveProfile gives a range to each input with an open dimension.
func resolveProfile(inputs []TensorInfo, given map[string]Range, batch BatchRange) ([]inputRange, error) {
	known := map[string]bool{}
	var out []inputRange
	for _, in := range inputs {
		known[in.Name] = true
		r, ok := given[in.Name]
		if in.Host {
			return nil, fmt.Errorf("%w: input %q decides shapes; its values would have to be in the profile", ErrUnsupported, in.Name)
		}
		if !ok {
			if !in.Shape.Dynamic() {
				continue
			}
			if in.Shape[1:].Dynamic() {
				return nil, invalidf("input %q has shape %v: only the batch has a default, give the range of the other dimensions", in.Name, in.Shape)
			}
			with := func(b int64) Shape { return append(Shape{b}, in.Shape[1:]...) }
			r = Range{Min: with(batch.Min), Opt: with(batch.Opt), Max: with(batch.Max)}
		}
		if err := r.check(in); err != nil {
			return nil, err
		}
		if in.Shape.Dynamic() {
			out = append(out, inputRange{in.Name, r})
		}
	}
	for name := range given {
		if !known[name] {
			return nil, invalidf("the model has no input %q", name)
		}
	}
	return out, nil
}

func (r Range) check(in TensorInfo) error {
	for _, s := range []Shape{r.Min, r.Opt, r.Max} {
		if len(s) != len(in.Shape) {
			return invalidf("input %q has shape %v, the profile gives %v", in.Name, in.Shape, s)
		}
		for d, n := range s {
			if n < 0 || (in.Shape[d] >= 0 && in.Shape[d] != n) {
				return invalidf("input %q has shape %v, the profile gives %v", in.Name, in.Shape, s)
			}
		}
	}
	for d := range r.Min {
		if r.Min[d] > r.Opt[d] || r.Opt[d] > r.Max[d] {
			return invalidf("input %q: the profile %v/%v/%v does not rise", in.Name, r.Min, r.Opt, r.Max)
		}
	}
	return nil
}

// The phrase is that of TensorRT 10. The shim serializes a cache that was taken
// before the build as well, so the log holds the number twice.
var entriesSerialized = regexp.MustCompile(`Serialized (\d+) timing cache entries`)

func cacheUse(supplied, valid bool, reason string, log []LogLine) TimingCacheUse {
	u := TimingCacheUse{Supplied: supplied, Valid: valid, Reason: reason, Before: -1, After: -1}
	var counts []int
	for _, l := range log {
		if m := entriesSerialized.FindStringSubmatch(l.Text); m != nil {
			n, _ := strconv.Atoi(m[1])
			counts = append(counts, n)
		}
	}
	switch {
	case valid && len(counts) == 2:
		u.Before, u.After = counts[0], counts[1]
		if u.Before == 0 && u.After > 0 {
			// TensorRT silently takes bytes that are no cache as an empty one. A
			// build that times nothing leaves an empty one as well.
			u.Valid, u.Reason = false, "it holds no entry"
		}
	case !valid && len(counts) == 1:
		u.Before, u.After = 0, counts[0]
	}
	return u
}
