// Package bench measures one candidate on one engine backend: it builds, warms
// up, times windows until they agree, compares the outputs with a reference and
// returns one Measurement in which every number carries its evidence.
//
// It sees only the engine interface, has no clock of its own beyond the
// engine's timers, and keeps no state between calls.
package bench

import (
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/workload"
)

// Measurement is everything one job found out. Pointers are nil where a figure
// is unknown; unknown is never zero.
type Measurement struct {
	Plan       engine.Plan `json:"plan"`
	Latency    Latency     `json:"latency"`          // concurrency 1, the first batch size
	Sweep      []Point     `json:"sweep"`            // every batch size and concurrency, Latency's own included
	Throughput float64     `json:"throughput_per_s"` // inferences per second: the best point of the sweep
	// Stable says that the throughput of the accepted windows agreed, the percentile
	// that decides is known within its tolerance, and no window that counts was
	// disturbed, or throttled by heat or a power brake.
	Stable   bool          `json:"stable"`
	Windows  int           `json:"windows"`            // how many windows Latency took
	Timeline []TimedWindow `json:"timeline,omitempty"` // those windows, in their order
	Memory   engine.Memory `json:"memory"`             //
	Accuracy *Accuracy     `json:"accuracy,omitempty"` // nil without evaluation inputs or a reference
	Layers   *LayerSummary `json:"layers,omitempty"`   // nil when the runtime does not say
	// Calibration is nil unless the ranges of the plan's tensors were found by calibration.
	Calibration *Calibration   `json:"calibration,omitempty"`
	Overhead    float64        `json:"overhead_s,omitempty"` // seconds per query that the Go side adds inside a timed window
	Phases      []PhaseLatency `json:"phases,omitempty"`     // enqueue, h2d, compute, d2h where distinguished
	Telemetry   *Telemetry     `json:"telemetry,omitempty"`  // of the device during the accepted windows of Latency; nil when nobody watched
	// Disturbance is what else used the machine meanwhile; nil when nobody watched.
	Disturbance *Disturbance `json:"disturbance,omitempty"`
	// Comparison is with the candidate before, in turns; nil when there was none
	// to compare with, or when it could not be run.
	Comparison *Comparison `json:"comparison,omitempty"`
	// Rebuild is what building the same candidate twice changed, measured when the
	// model was first seen and carried on since; nil when it was not measured.
	Rebuild *Comparison `json:"rebuild,omitempty"`
	// Workloads are what the configured traffic showed, in the order of the options.
	Workloads []WorkloadResult `json:"workloads,omitempty"`
	Warnings  []string         `json:"warnings,omitempty"` // reasons not to trust a number, in words
}

// Latency summarizes the pooled queries of the accepted windows; times are in seconds per
// query (one call of a whole batch).
type Latency struct {
	Batch     int        `json:"batch"`
	Queries   int        `json:"queries"`
	Sum       float64    `json:"sum_s"`
	Mean      float64    `json:"mean_s"`
	Min       float64    `json:"min_s"`
	Max       float64    `json:"max_s"`
	StdDev    float64    `json:"stddev_s"`
	Quantiles []Quantile `json:"quantiles"`
	// Buckets are the counts of a Prometheus native histogram of schema
	// BucketSchema: bucket i holds (2^(2^-schema))^(i-1) < v <= (2^(2^-schema))^i.
	Buckets map[int]int64 `json:"buckets"`
}

// TimedWindow is what a single window of the latency showed.
type TimedWindow struct {
	Queries   int      `json:"queries"`
	Elapsed   float64  `json:"elapsed_s"` // timed, the other engine's turns not included
	P50       float64  `json:"p50_s"`
	P99       *float64 `json:"p99_s,omitempty"` // nil under 459 queries
	Disturbed bool     `json:"disturbed,omitempty"`
	// Accepted says that the latency rests on it.
	Accepted bool `json:"accepted"`
}

// BucketSchema is the resolution of Latency.Buckets: 2^5 buckets per factor of
// two, so that neighbors are 2.2 % apart.
const BucketSchema = 5

// Quantile is a percentile with its evidence.
type Quantile struct {
	Q     float64 `json:"q"`     // 0.5, 0.9, 0.95, 0.99
	Value float64 `json:"value"` // point estimate, seconds
	// Upper is MLPerf's early-stopping bound: with 99 % confidence the true
	// percentile is not above it. Nil when the queries do not suffice for one.
	Upper *float64 `json:"upper,omitempty"`
	// The true percentile lies between Low and High with 90 % confidence, even when
	// queries depend on each other: see Interval. High is nil when it may lie above
	// the slowest query.
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
}

// At returns the quantile q and whether it was measured. A P99 of fewer than
// 459 queries is refused, so it is absent.
func (l Latency) At(q float64) (Quantile, bool) {
	for _, x := range l.Quantiles {
		if x.Q == q {
			return x, true
		}
	}
	return Quantile{}, false
}

// PhaseLatency is the mean and P99 of one phase of a query, in seconds.
type PhaseLatency struct {
	Phase engine.Phase `json:"phase"`
	Mean  float64      `json:"mean_s"`
	P50   float64      `json:"p50_s"`
	P99   float64      `json:"p99_s"`
}

// Point is one setting of the throughput sweep.
type Point struct {
	Batch       int     `json:"batch"`
	Concurrency int     `json:"concurrency"`
	Queries     int     `json:"queries"`
	Throughput  float64 `json:"throughput_per_s"` // inferences per second
	P50         float64 `json:"p50_s"`
	P99         float64 `json:"p99_s,omitempty"` // 0 under 459 queries: refused
}

// Accuracy compares the outputs on the evaluation inputs with a reference.
type Accuracy struct {
	Samples   int     `json:"samples"`   // evaluation inputs
	Reference string  `json:"reference"` // what it was compared with: "reference.npz", "version 1 fp32", "itself", "labels"
	MaxAbs    float64 `json:"max_abs"`
	MeanAbs   float64 `json:"mean_abs"`
	RelL2     float64 `json:"rel_l2"` // ||y-r|| / ||r||
	Cosine    float64 `json:"cosine"`
	NaNs      int     `json:"nans"`
	Infs      int     `json:"infs"`

	// Output is the one that class scores were read from; "" when none is.
	Output        string   `json:"output,omitempty"`
	Top1Agreement *float64 `json:"top1_agreement,omitempty"` // nil when no output is a row of class scores
	Top1          *float64 `json:"top1,omitempty"`           // against labels.npy
	ReferenceTop1 *float64 `json:"reference_top1,omitempty"` // the reference's own

	// Deviation is the one number that milestones use, a ratio; docs/accuracy.md
	// defines it, and Measure says which definition applied.
	Deviation float64 `json:"deviation"`
	Measure   string  `json:"measure"` // "top1", "top1_agreement", "relative_l2" or "top1_error"
}

// LayerSummary counts the built graph.
type LayerSummary struct {
	Total       int                      `json:"total"`
	ByPrecision map[engine.Precision]int `json:"by_precision"`
	Fused       int                      `json:"fused"`                 // layers made of more than one node
	Unquantized []string                 `json:"unquantized,omitempty"` // in an int8 engine: arithmetic layers that are not int8
	// NoEffect says why the precision asked for had no effect: nothing of weight in
	// the engine computes in it. It is "" where the precision did something.
	NoEffect string         `json:"no_effect,omitempty"`
	Layers   []engine.Layer `json:"layers,omitempty"`  // at most mostLayers, with names of at most mostName bytes
	Changes  *LayerChanges  `json:"changes,omitempty"` // against the plan before; nil without one
}

// Nothing says in words that the precision asked for had no effect, and why.
func (s *LayerSummary) Nothing(asked engine.Precision) string {
	return strings.ToUpper(string(asked)) + " had no effect: " + s.NoEffect
}

// mostLayers and mostName bound what a record holds of an engine's graph: a model may
// have any number of nodes, with names of any length.
const (
	mostLayers  = 5000
	mostName    = 200
	mostOrigins = 64
)

// LayerChanges is what happened to the layers since the plan of an earlier version.
type LayerChanges struct {
	Against string                    `json:"against"` // the version compared with
	Counts  map[engine.ChangeKind]int `json:"counts"`  // only kinds that occur
	Lines   []string                  `json:"lines"`   // the changes in words, the weighty kinds first; at most mostChangeLines
}

// mostChangeLines is how many changes are written out.
const mostChangeLines = 20

// Job is one candidate at one precision: all that a worker needs to know. It
// crosses the process boundary as JSON.
type Job struct {
	Backend       string           `json:"backend"`
	BackendConfig BackendConfig    `json:"backend_config"`
	Model         string           `json:"model"`
	Version       string           `json:"version"`
	Digest        string           `json:"digest"`
	ModelPath     string           `json:"model_path"`
	Precision     engine.Precision `json:"precision"`
	Settings      engine.Settings  `json:"settings"`
	Options       Options          `json:"options"`
	Guard         Guard            `json:"guard"`

	// Dims resolves symbolic dimensions by name ("N", "sequence") or by
	// "input/position" ("tokens/1"); batch symbols come from Options.Batches.
	Dims map[string]int64 `json:"dims,omitempty"`
	// InputDims gives whole shapes by input name, batch dimension included or
	// not as config.pbtxt says; -1 leaves a dimension to Dims.
	InputDims map[string][]int64 `json:"input_dims,omitempty"`
	// MaxBatch is config.pbtxt's max_batch_size; 0 when unknown.
	MaxBatch int `json:"max_batch,omitempty"`

	// Profiles are the ranges of shapes to build for by input name, where Dims and
	// the settings' ProfileBatch do not say enough.
	Profiles map[string]engine.Profile `json:"profiles,omitempty"`

	InputsPath        string            `json:"inputs_path,omitempty"`      // inputs.npz
	LabelsPath        string            `json:"labels_path,omitempty"`      // labels.npy
	CalibrationPath   string            `json:"calibration_path,omitempty"` // calibration.npz
	CalibrationLimits CalibrationLimits `json:"calibration_limits"`
	Kept              engine.Kept       `json:"kept"`

	// PreviousLayers are those of the plan before, of PreviousVersion: what changed
	// since is reported.
	PreviousVersion string         `json:"previous_version,omitempty"`
	PreviousLayers  []engine.Layer `json:"previous_layers,omitempty"`

	// Partner is what the candidate is timed in turns with; nil for nothing.
	Partner *Partner `json:"partner,omitempty"`
	// Rebuild is what building twice changed, when that was measured before.
	Rebuild *Comparison `json:"rebuild,omitempty"`

	// ReferencePath is an .npz of reference outputs, ReferenceName says whose; both
	// are empty when this job has nothing to compare with. A name without a path is
	// of a reference that the configuration declares and nobody has.
	ReferencePath string `json:"reference_path,omitempty"`
	ReferenceName string `json:"reference_name,omitempty"`
	// ReferenceModel is the model whose FP32 engine makes the reference outputs; the
	// job then writes them to ReferencePath. It is nil when they are there.
	ReferenceModel *ReferenceModel `json:"reference_model,omitempty"`
	// OutputsPath is where the job writes its own outputs on the evaluation
	// inputs (.npz), so that they can become the reference; "" for nowhere.
	OutputsPath string `json:"outputs_path,omitempty"`

	// SamplesPath is where the job writes the latency of each query that the result
	// rests on, as WriteSamples does; "" for nowhere.
	SamplesPath string `json:"samples_path,omitempty"`

	WorkDir string `json:"work_dir"` // scratch, owned by the caller
}

// ReferenceModel is a candidate that others are compared with.
type ReferenceModel struct {
	ModelPath string `json:"model_path"`
	Digest    string `json:"digest"`
}

// BackendConfig is how to reach a runtime.
type BackendConfig struct {
	ONNXRuntimeLibrary string   `json:"onnxruntime_library,omitempty"` // path of libonnxruntime; "" searches
	TensorRTLibraries  []string `json:"tensorrt_libraries,omitempty"`  // folders to search before the system's
	Device             int      `json:"device,omitempty"`              // GPU index, as CUDA counts
	// Versions without which TensorRT is not used; "" demands nothing.
	RequireTensorRT string `json:"require_tensorrt,omitempty"`
	RequireCUDA     string `json:"require_cuda,omitempty"`
	RequireDriver   string `json:"require_driver,omitempty"`
}

// Options are the benchmark's bounds. They are part of what a result depends
// on, and so of the fingerprint.
type Options struct {
	WarmUp     time.Duration `json:"warm_up"`
	MinQueries int           `json:"min_queries"` // per window
	MinWindow  time.Duration `json:"min_window"`  // per window
	MaxWindow  time.Duration `json:"max_window"`  // a window ends then, with what it has
	MaxWindows int           `json:"max_windows"` // then stable=false
	// Two consecutive windows agree when throughput and P99 differ by no more
	// than these shares.
	ThroughputTolerance float64       `json:"throughput_tolerance"`
	P99Tolerance        float64       `json:"p99_tolerance"`
	Batches             []int         `json:"batches"`      // the first is the latency's
	Concurrency         []int         `json:"concurrency"`  // the sweep; 1 is always measured
	SweepWindow         time.Duration `json:"sweep_window"` // per point of the sweep
	// Deviation is how accuracy deviation is computed: "auto", "top1",
	// "top1_agreement" or "relative_l2".
	Deviation string `json:"deviation"`
	// Reference is what the deviation is measured against: ReferenceTrained,
	// ReferenceLabels, "version N", or "" for reference.npz, and without one
	// the model's first FP32 candidate.
	Reference string `json:"reference,omitempty"`
	// Output names the output that class scores are read from; "" chooses by evidence.
	Output string `json:"output,omitempty"`
	// MaxDeviation fails the job with KindAccuracy above it; 0 never does.
	MaxDeviation float64 `json:"max_deviation,omitempty"`
	Seed         uint64  `json:"seed"` // of generated inputs, and of what is drawn of workloads
	// Workloads are measured besides, each with a result of its own.
	Workloads []workload.Workload `json:"workloads,omitempty"`
}
