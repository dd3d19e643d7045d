// Package engine is the small interface between plancast and an inference
// runtime: build a candidate into a plan, load the plan, run a timed loop,
// describe the layers, report the environment. TensorRT and ONNX Runtime are
// two implementations; package enginetest holds the contract each must pass.
//
// The package has no state. Everything here runs inside a worker process, so
// an implementation may crash: it costs that job alone.
package engine

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Precision is the arithmetic an engine is built for.
type Precision string

// The precisions plancast measures.
const (
	FP32 Precision = "fp32"
	FP16 Precision = "fp16"
	INT8 Precision = "int8"
)

// AsBuilt is the precision of a plan that a team built itself: what its builder chose
// for each layer.
const AsBuilt Precision = "as_built"

// Precisions lists every precision that plancast builds for, most exact first;
// AllPrecisions, every one that a result may have.
var (
	Precisions    = []Precision{FP32, FP16, INT8}
	AllPrecisions = append(slices.Clone(Precisions), AsBuilt)
)

// ParsePrecision reads "fp32", "fp16", "int8" or "as_built".
func ParsePrecision(s string) (Precision, error) {
	if p := Precision(s); slices.Contains(AllPrecisions, p) {
		return p, nil
	}
	return "", fmt.Errorf("%q is not a precision: use fp32, fp16, int8 or as_built", s)
}

// Backend builds and loads engines. Implementations are used from one
// goroutine at a time.
type Backend interface {
	// Name is the label value: "onnxruntime" or "tensorrt".
	Name() string

	// Environment says what the results depend on. It is cheap after the first
	// call and fails with KindUnavailable when the runtime cannot be used.
	Environment(ctx context.Context) (Environment, error)

	// Build turns the candidate at req.ModelPath into a plan under req.WorkDir.
	// It reports what it is doing through req.Progress and stops soon after ctx
	// ends. A precision the backend cannot give is an *Error with
	// KindUnsupportedPrecision; every other failure is an *Error as well.
	Build(ctx context.Context, req BuildRequest) (Plan, error)

	// Load makes a plan ready to run. The caller closes the engine.
	Load(ctx context.Context, plan Plan, opts LoadOptions) (Engine, error)

	// Close releases the runtime. No engine may be open.
	Close() error
}

// Reusable is a Backend that takes seconds to start: the process that did one job
// with it does the next of the same candidate, as long as nothing goes wrong.
type Reusable interface {
	// Reusable reports whether the jobs so far leave no trace in the next one.
	Reusable() bool
}

// Lister is a Backend that can serve several devices.
type Lister interface {
	// Environments has one entry for each device, in the order of their index:
	// what Environment says when that device is the one in use.
	Environments(ctx context.Context) ([]Environment, error)
}

// Placed is a Backend that needs more of the machine than the system's libraries and
// the files of its job.
type Placed interface {
	// Places are known before anything of the runtime is loaded.
	Places() Places
}

// Places are what a backend opens on the machine.
type Places struct {
	Libraries []string // files and folders, to read
	Devices   []string // patterns of files and folders, to read, write and control
}

// Engine is a loaded plan. It is not safe for concurrent use: concurrency
// inside Time is the engine's own affair.
type Engine interface {
	// Inputs and Outputs describe the tensors in the model's order. Symbolic
	// dimensions have Size -1.
	Inputs() []TensorInfo
	Outputs() []TensorInfo

	// Infer runs once and returns every output, in order; the caller owns them.
	// len(inputs) equals len(Inputs()) and each has a concrete shape.
	Infer(ctx context.Context, inputs []Tensor) ([]Tensor, error)

	// Time runs one window of timed inferences on the same inputs, in a native
	// loop as tight as the runtime allows, and returns the raw samples once.
	Time(ctx context.Context, inputs []Tensor, opts TimeOptions) (Window, error)

	// Serve answers requests in their order, opts.Concurrency at once, each when it is
	// due and an instance is free for it. A request runs the next step of the chain that it
	// names, for a call the only one; after the last step the first follows again, and
	// each instance has chains of its own. Every step is run before the window begins,
	// so that one which the engine rejects is an error that says which. Answers are at
	// the places of their requests; those beyond the longest duration are missing.
	Serve(ctx context.Context, chains []Chain, requests []Request, opts ServeOptions) ([]Answer, error)

	// Walk runs the steps of a chain once and returns the outputs of each that no link
	// takes, in the model's order; the caller owns them.
	Walk(ctx context.Context, c Chain) ([][]Tensor, error)

	// Layers describes the graph after fusion. A runtime that cannot say
	// returns ErrNoLayers.
	Layers(ctx context.Context) ([]Layer, error)

	// Memory says what the engine holds; unknown figures are absent.
	Memory() Memory

	// Close frees everything; it may be called twice.
	Close() error
}

// Ranged is an Engine that may have been built before plancast saw it.
type Ranged interface {
	// Ranges are the shapes that the plan allows each of its dynamic inputs; nil when it
	// was built for the shapes of its job.
	Ranges() map[string]Profile
}

// BuildRequest is what Build is asked.
type BuildRequest struct {
	ModelPath string    // the candidate's ONNX file, or its plan when Precision is AsBuilt
	Precision Precision // wanted
	Native    Precision // what the candidate is, read from the model
	Quantized bool      // the candidate carries its own quantization (Q/DQ or QLinear nodes)
	WorkDir   string    // for the plan; the caller owns and removes it
	Settings  Settings

	// Profiles gives the shapes each dynamic input is optimized for; MoreProfiles gives
	// further ones, which ServeOptions.Profile counts from 1.
	Profiles     map[string]Profile
	MoreProfiles []map[string]Profile

	// CalibrationPath is calibration.npz, or "" when there is none.
	CalibrationPath string

	// Digest identifies the candidate, its calibration data included.
	Digest string
	// Kept is where the backend keeps what later builds can use.
	Kept Kept

	// Progress receives what is going on; it is never nil.
	Progress func(Progress)
}

// Kept are folders that outlive the job. The backend names the files in them; ""
// keeps nothing. Several jobs may use one at the same time, on the same or on other
// devices: files are replaced as a whole.
type Kept struct {
	Plans        string `json:"plans,omitempty"`        // built plans of this model
	Calibrations string `json:"calibrations,omitempty"` // ranges found by calibration, of this model
	Timings      string `json:"timings,omitempty"`      // what the builder learnt of kernels, of all models
}

// Profile is the range of shapes of one input.
type Profile struct {
	Min []int64 `json:"min"`
	Opt []int64 `json:"opt"`
	Max []int64 `json:"max"`
}

// Progress is a step of a long job: what is done now and how much of it.
// Total 0 means that the end is not known.
type Progress struct {
	Stage   string  `json:"stage"` // "build", "load", "warm-up", "latency", "throughput", "accuracy", "calibration", "layers", "workload"
	Done    float64 `json:"done,omitempty"`
	Total   float64 `json:"total,omitempty"`
	Message string  `json:"message,omitempty"`
}

// Plan is a built engine on disk.
type Plan struct {
	Path      string        `json:"path"`
	Precision Precision     `json:"precision"`
	SizeBytes int64         `json:"size_bytes"`
	Duration  time.Duration `json:"duration"`         // of the build; 0 when reused
	Reused    bool          `json:"reused,omitempty"` // nothing was built: an earlier job did, or the team itself

	// TimingCacheHit reports whether the timing cache served the build; nil when the backend has none.
	TimingCacheHit *bool `json:"timing_cache_hit,omitempty"`

	// Calibration says how the ranges of an int8 plan were found; nil without calibration.
	Calibration *Calibration `json:"calibration,omitempty"`

	// Warnings are for the report: what the builder said that a reader should know.
	Warnings []string `json:"warnings,omitempty"`
}

// Calibration is how the ranges of an int8 plan's tensors were found.
type Calibration struct {
	Samples   int64 `json:"samples"`              // read from calibration.npz, now or when the ranges were found
	FromCache bool  `json:"from_cache,omitempty"` // the ranges of an earlier build were used
	Ranged    int   `json:"ranged"`               // tensors whose range was found
	Tensors   int   `json:"tensors"`              // tensors that need one
}

// LoadOptions are the run-time choices that are fixed when a plan is loaded.
type LoadOptions struct {
	Settings Settings
	// Concurrency is the highest concurrency Time will be asked for.
	Concurrency int
}

// TimeOptions describe one window.
type TimeOptions struct {
	Concurrency int           // parallel requests in flight, at least 1
	Queries     int           // at least this many ...
	Duration    time.Duration // ... and at least this long
	MaxDuration time.Duration // ... but no longer than this, whatever the count; 0 is no bound
	WarmUp      time.Duration // run untimed before the window
}

// Window holds the raw samples of one timed window. A query is one inference
// call of a whole batch.
type Window struct {
	Latencies []float64 // seconds per query, end to end, in order of start
	Elapsed   float64   // seconds from the first start to the last end
	// Phases are present where the runtime distinguishes them: seconds per query.
	Phases map[Phase][]float64
	// Overhead is what the measuring loop adds to each latency, in seconds; 0
	// when it runs in native code and adds nothing to speak of.
	Overhead float64
	// Warnings are for the report: how the window was run other than requested.
	Warnings []string
}

// Request is one of those that a window serves.
type Request struct {
	At    time.Duration // when it is due, after the window's origin; 0 for all is a closed loop
	Input int           // which of the chains
}

// Answer is when a request was served; all times are from the window's origin.
type Answer struct {
	Taken time.Duration // an instance was free, and waited for the request
	Start time.Duration // the call began: not before the request was due
	End   time.Duration // its outputs were there
}

// ServeOptions describe a window of requests.
type ServeOptions struct {
	Concurrency int           // instances that serve, at least 1
	MaxDuration time.Duration // no request but the first begins after it, and none that is due after it; 0 is no bound
	// Profile is the one of the build that the chains are for: 0 is BuildRequest.Profiles,
	// the others are MoreProfiles. Backends without profiles ignore it.
	Profile int
	// Note hears how a chain runs other than the settings ask for; nil for nobody.
	Note func(chain int, text string)
}

// Phase is a part of a query's time on an accelerator.
type Phase string

// The phases of a query, in the vocabulary of trtexec.
const (
	Enqueue Phase = "enqueue"
	H2D     Phase = "h2d"
	Compute Phase = "compute"
	D2H     Phase = "d2h"
)

// Settings are the explicit choices that a result depends on; they are part of
// the environment's fingerprint. Zero values mean "does not apply".
type Settings struct {
	Threads            int    `json:"threads,omitempty"`            // ONNX Runtime: intra-op threads
	GraphOptimization  string `json:"graph_optimization,omitempty"` // ONNX Runtime: disabled, basic, extended, all
	WorkspaceBytes     int64  `json:"workspace_bytes,omitempty"`    // TensorRT from here on
	OptimizationLevel  *int   `json:"optimization_level,omitempty"`
	TF32               bool   `json:"tf32,omitempty"`
	FP16Fallback       bool   `json:"fp16_fallback,omitempty"`
	CUDAGraph          bool   `json:"cuda_graph,omitempty"`
	SpinWait           bool   `json:"spin_wait,omitempty"`
	Transfers          bool   `json:"transfers,omitempty"`
	HardwareCompatible bool   `json:"hardware_compatible,omitempty"`
	// ProfileBatch is the range of batch sizes that an engine is built for.
	ProfileBatch *BatchRange `json:"profile_batch,omitempty"`
}

// BatchRange is the smallest, the tuned-for and the largest batch.
type BatchRange struct {
	Min int64 `json:"min"`
	Opt int64 `json:"opt"`
	Max int64 `json:"max"`
}

// Memory is what an engine holds. A nil field is unknown, not zero.
type Memory struct {
	WeightsBytes *int64 `json:"weights_bytes,omitempty"`
	ContextBytes *int64 `json:"context_bytes,omitempty"` // activations and scratch of one context
	PeakBytes    *int64 `json:"peak_bytes,omitempty"`    // device memory, or resident memory of the worker on a CPU
}

// Layer is one node of the built graph.
type Layer struct {
	Name      string    `json:"name"`
	Type      string    `json:"type"`
	Precision Precision `json:"precision,omitempty"` // "" when unknown or not arithmetic
	Origins   []string  `json:"origins,omitempty"`   // the ONNX nodes fused into it
	Tactic    string    `json:"tactic,omitempty"`
	// Quantizable says that quantization is for such layers: convolutions and matrix products.
	Quantizable bool `json:"quantizable,omitempty"`
}
