// Package tensorrt builds and measures candidates with NVIDIA TensorRT, through
// the binding in package trt. It compiles everywhere; without the build tag
// tensorrt, or without the libraries or a GPU, everything fails with
// KindUnavailable and says what is missing.
//
// Plans, the ranges found by calibration and the builder's timing cache are kept
// in the folders of engine.Kept, so that nothing is done twice: an unchanged
// candidate costs no build at all.
package tensorrt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/trt"
)

// Name is the backend's name in configuration and labels.
const Name = "tensorrt"

// Options are how to reach TensorRT; the zero value searches and takes the
// first GPU.
type Options struct {
	Libraries []string    // folders to look in before all others
	Device    int         // CUDA's index, after CUDA_VISIBLE_DEVICES
	Require   trt.Require // versions without which nothing is measured
}

// Backend implements engine.Backend on one GPU.
type Backend struct {
	opts    Options
	lib     *trt.Library
	device  trt.Device
	builder *trt.Builder // of the first build, for the later ones: it takes seconds to make
}

var (
	_ engine.Backend  = (*Backend)(nil)
	_ engine.Lister   = (*Backend)(nil)
	_ engine.Reusable = (*Backend)(nil)
	_ engine.Placed   = (*Backend)(nil)
)

// New makes a backend. It loads nothing: Environment, Build and Load do, and
// say so with KindUnavailable when TensorRT cannot be used.
func New(opts Options) *Backend { return &Backend{opts: opts} }

// Places are the folders in which TensorRT is searched first, and what the driver
// opens: the devices, memory shared with its own processes, and the folder of its
// multi-process service.
func (b *Backend) Places() engine.Places {
	out := engine.Places{
		Libraries: slices.Concat(b.opts.Libraries, filepath.SplitList(os.Getenv(trt.LibraryPathVariable))),
		Devices:   []string{"/dev/nvidia*", "/dev/nv[hmg]*", "/dev/dri", "/dev/dxg", "/dev/shm", "/tmp/nvidia-mps"},
	}
	for _, name := range []string{"CUDA_HOME", "CUDA_PATH"} {
		if dir := os.Getenv(name); dir != "" {
			out.Libraries = append(out.Libraries, dir)
		}
	}
	if dir := os.Getenv("CUDA_MPS_PIPE_DIRECTORY"); dir != "" {
		out.Devices = append(out.Devices, dir)
	}
	return out
}

// Name returns "tensorrt".
func (b *Backend) Name() string { return Name }

// Reusable is always true: a job that failed ends its process anyway. Memory figures
// are differences to what was in use before the engine was loaded, all but the
// kernels that an earlier job has loaded already.
func (b *Backend) Reusable() bool { return true }

// Close frees the builder. The libraries stay loaded for the life of the process.
func (b *Backend) Close() error {
	if b.builder != nil {
		b.builder.Close()
		b.builder = nil
	}
	return nil
}

const opUse = "use TensorRT"

// devices loads the libraries, holds their versions against what is required, and
// lists the GPUs.
func (b *Backend) devices() (*trt.Library, []trt.Device, error) {
	refuse := func(err error, hint string) (*trt.Library, []trt.Device, error) {
		e := engine.Errorf(engine.KindUnavailable, opUse, "", "%s", words(err))
		e.Hint = hint
		return nil, nil, e
	}
	lib, err := trt.Open(trt.Options{LibraryPath: b.opts.Libraries})
	if err != nil {
		return refuse(err, "docs/gpu.md says what the machine needs")
	}
	if err := b.opts.Require.Check(lib.Versions()); err != nil {
		return refuse(err, "install the versions that tensorrt.require in the configuration demands, or change it: results of other versions make a new series")
	}
	devices, err := lib.Devices()
	if err != nil {
		return refuse(err, "check nvidia-smi and CUDA_VISIBLE_DEVICES")
	}
	return lib, devices, nil
}

// open takes the device.
func (b *Backend) open() error {
	if b.lib != nil {
		return nil
	}
	lib, devices, err := b.devices()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(devices, func(d trt.Device) bool { return d.Index == b.opts.Device })
	if i < 0 {
		names := make([]string, len(devices))
		for k, d := range devices {
			names[k] = fmt.Sprintf("%d %s", d.Index, d.Name)
		}
		e := engine.Errorf(engine.KindUnavailable, opUse, fmt.Sprintf("on GPU %d", b.opts.Device), "CUDA sees only %s", strings.Join(names, ", "))
		e.Hint = "correct tensorrt.devices, or CUDA_VISIBLE_DEVICES"
		return e
	}
	b.lib, b.device = lib, devices[i]
	return nil
}

// Environment reports the GPU and the versions that a result depends on.
func (b *Backend) Environment(ctx context.Context) (engine.Environment, error) {
	if err := ctx.Err(); err != nil {
		return engine.Environment{}, err
	}
	if err := b.open(); err != nil {
		return engine.Environment{}, err
	}
	return environment(b.lib.Versions(), b.device), nil
}

func environment(v trt.Versions, d trt.Device) engine.Environment {
	return engine.Environment{
		Backend: Name, BackendVersion: v.TensorRT, Device: d.Name, Driver: v.Driver, CUDA: v.CUDA,
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
}

// Environments reports every GPU that CUDA sees.
func (b *Backend) Environments(ctx context.Context) ([]engine.Environment, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	lib, devices, err := b.devices()
	if err != nil {
		return nil, err
	}
	out := make([]engine.Environment, len(devices))
	for i, d := range devices {
		out[i] = environment(lib.Versions(), d)
	}
	return out, nil
}

// Device says which GPU the backend uses, so that telemetry watches that one.
func (b *Backend) Device() (trt.Device, error) {
	if err := b.open(); err != nil {
		return trt.Device{}, err
	}
	return b.device, nil
}

// failure makes an *engine.Error of what trt says. kind is for what has no kind of
// its own. What is an *engine.Error already, and the context's own error, come back
// as they are.
func failure(ctx context.Context, kind engine.Kind, op, subject string, err error) error {
	var e *engine.Error
	if errors.As(err, &e) {
		return e
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	e = engine.Errorf(kind, op, subject, "%s", words(err))
	var native *trt.Error
	if errors.As(err, &native) {
		e.Node = native.Node
	}
	var refused *trt.ParseError
	switch {
	case errors.As(err, &refused):
		parseFailure(e, refused)
	case errors.Is(err, trt.ErrOutOfMemory):
		e.Kind, e.Hint = engine.KindOutOfMemory, "free memory of the GPU, lower the batch sizes, or lower tensorrt.workspace"
	case errors.Is(err, trt.ErrNoImplementation):
		e.Hint = "raise tensorrt.workspace: no kernel for this layer fits into it"
	case errors.Is(err, trt.ErrUnavailable), errors.Is(err, trt.ErrNoDevice):
		e.Kind, e.Hint = engine.KindUnavailable, "check nvidia-smi and CUDA_VISIBLE_DEVICES; docs/gpu.md says what the machine needs"
	case errors.Is(err, trt.ErrIncompatiblePlan), errors.Is(err, trt.ErrCorruptPlan):
		e.Hint = "the next pass builds the plan again"
	case errors.Is(err, trt.ErrInvalid):
		e.Kind = engine.KindInvalidInput
	}
	return e
}

// words are those of trt without its name, which the backend's own words have.
func words(err error) string { return strings.TrimPrefix(err.Error(), "tensorrt: ") }

// mostComplaints is how many of a parser's complaints a failure quotes.
const mostComplaints = 8

// parseFailure reports all that the parser complained of, and names the operator
// that it does not know.
func parseFailure(e *engine.Error, refused *trt.ParseError) {
	e.Kind = engine.KindInvalidModel
	if len(refused.Errors) == 0 {
		return
	}
	var words []string
	for i, p := range refused.Errors {
		if i == mostComplaints {
			words = append(words, fmt.Sprintf("and %d more", len(refused.Errors)-i))
			break
		}
		words = append(words, p.String())
	}
	e.Message = strings.Join(words, "; ")
	first := refused.Errors[0]
	if i := slices.IndexFunc(refused.Errors, unknownOperator); i >= 0 {
		first = refused.Errors[i]
		e.Kind = engine.KindUnsupportedOperator
		e.Hint = "express it in operators that TensorRT's ONNX parser knows, or build the operator as a plugin"
	}
	e.Node, e.Operator = first.NodeName, first.Operator
	if e.Node == "" && first.NodeIndex >= 0 {
		e.Node = fmt.Sprintf("#%d", first.NodeIndex)
	}
}

func unknownOperator(p trt.ParserError) bool {
	if p.Operator == "" {
		return false
	}
	switch p.Code {
	case trt.ParserUnsupportedNode, trt.ParserUnsupportedNodeAttribute, trt.ParserUnsupportedNodeInput,
		trt.ParserUnsupportedNodeDataType, trt.ParserUnsupportedNodeDynamic, trt.ParserUnsupportedNodeShape:
		return true
	}
	return strings.Contains(p.Message, "lugin not found") || strings.Contains(p.Message, "No importer registered")
}

// dtypes pairs the element types of both sides. TensorRT has no others that
// plancast moves.
var dtypes = []struct {
	trt    trt.DType
	engine engine.DType
}{
	{trt.Float32, engine.Float32}, {trt.Float16, engine.Float16}, {trt.BFloat16, engine.BFloat16},
	{trt.Int8, engine.Int8}, {trt.Uint8, engine.Uint8}, {trt.Bool, engine.Bool},
	{trt.Int32, engine.Int32}, {trt.Int64, engine.Int64},
}

func fromDType(d trt.DType) (engine.DType, bool) {
	for _, x := range dtypes {
		if x.trt == d {
			return x.engine, true
		}
	}
	return engine.DType(d.String()), false
}

func toDType(d engine.DType) (trt.DType, bool) {
	for _, x := range dtypes {
		if x.engine == d {
			return x.trt, true
		}
	}
	return 0, false
}
