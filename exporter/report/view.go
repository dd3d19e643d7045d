package report

import (
	"time"

	"github.com/plancast/plancast/exporter/baseline"
	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

// SchemaVersion is that of the JSON form of View. It grows when a field
// changes its meaning or goes away; new fields may come without that.
const SchemaVersion = 1

// View is everything a report says, ready to be written in any form. Values
// are in base units (seconds, bytes, ratios, inferences per second) and are
// nil where unknown; text is one line, without control characters.
type View struct {
	SchemaVersion int                  `json:"schema_version"`
	Generated     time.Time            `json:"generated"`
	Version       string               `json:"plancast_version,omitempty"`
	Fleet         bool                 `json:"fleet,omitempty"`    // a fleet daemon's: of models on many hosts
	Partial       string               `json:"partial,omitempty"`  // why this is not all, or not of now; "" when it is
	Baseline      *baseline.Comparison `json:"baseline,omitempty"` // of a run that was compared with one
	Gates         []Gate               `json:"gates,omitempty"`    // milestones that a run was to hold to a probability
	Summary       Summary              `json:"summary"`
	Backend       standing.Backend     `json:"backend"`
	Running       []JobView            `json:"running"`
	Queue         []JobView            `json:"queue"`
	LastPass      *PassView            `json:"last_pass,omitempty"`
	NextPass      *time.Time           `json:"next_pass,omitempty"`
	Milestones    []MilestoneView      `json:"milestones"`
	Track         *forecast.Score      `json:"forecast_track,omitempty"` // the forecast's own record on this history
	Gains         []GainView           `json:"gains,omitempty"`          // what each kind of change brought, the best first
	Models        []ModelView          `json:"models"`                   // in the repository, by name
	Next          string               `json:"next_after,omitempty"`     // more models follow: ask for those after this name
	Gone          []string             `json:"gone"`                     // models of the history that the repository no longer holds
	Refused       []standing.Refusal   `json:"refused,omitempty"`        // model folders rejected by name
	Unmatched     []Unmatched          `json:"unmatched,omitempty"`      // targets and milestones without any model
	Absent        []Absent             `json:"absent,omitempty"`         // models that targets and milestones are about and the repository lacks
	Gaps          []Gap                `json:"gaps,omitempty"`           // models whose newest version has no result
}

// Summary counts models by status.
type Summary struct {
	Models   int `json:"models"`
	Measured int `json:"measured"`  // the newest candidate has a result
	Judged   int `json:"judged"`    // met or missed their thresholds
	Met      int `json:"met"`       //
	Missed   int `json:"missed"`    //
	Failed   int `json:"failed"`    // the newest candidate failed altogether
	NoResult int `json:"no_result"` // nothing measured yet
}

// JobView is a running or waiting job.
type JobView struct {
	Model     string           `json:"model"`
	Version   string           `json:"version"`
	Precision engine.Precision `json:"precision"`
	Stage     string           `json:"stage,omitempty"`
	Message   string           `json:"message,omitempty"`
	Progress  *float64         `json:"progress_ratio,omitempty"` // of the stage; nil when its end is not known
	Elapsed   float64          `json:"elapsed_s,omitempty"`
}

// PassView is the last finished pass over the repository.
type PassView struct {
	Finished time.Time `json:"finished"`
	Duration float64   `json:"duration_s"`
}

// ModelView is one model with its newest candidate in its newest environment.
type ModelView struct {
	Name  string `json:"name"`
	Owner string `json:"owner,omitempty"`
	// Labels are what the store of a fleet knows of where it is measured: its host
	// as "instance", its "device".
	Labels   map[string]string `json:"labels,omitempty"`
	Status   standing.Status   `json:"status"`
	Headline string            `json:"headline"` // the result in one sentence

	Environment *Environment       `json:"environment,omitempty"` // nil before the first job
	Changed     *EnvironmentChange `json:"environment_change,omitempty"`
	Candidate   *CandidateView     `json:"candidate,omitempty"` // the newest; nil before the first
	Best        engine.Precision   `json:"best,omitempty"`      // the row that the headline speaks of
	Rows        []Row              `json:"rows"`                // one for each precision, most exact first
	Verdicts    []VerdictView      `json:"verdicts"`            // targets first, then milestones

	// Room is what the model could still gain; nil unless it misses a P99. It is no
	// part of any probability.
	Room *RoomView `json:"room,omitempty"`

	Waiting    []VersionView   `json:"waiting,omitempty"` // pending and rejected versions, with the reason
	OutOfOrder []CandidateView `json:"out_of_order,omitempty"`
	History    []History       `json:"history"` // the series in the newest environment, by precision
	Truncated  bool            `json:"history_truncated,omitempty"`
	More       string          `json:"history_more,omitempty"` // where more of it is, relative to the address of the report; "" where the view has it
}

// Environment is where the results hold.
type Environment struct {
	engine.Environment
	Fingerprint string    `json:"fingerprint"`
	Text        string    `json:"text"` // for people
	Since       time.Time `json:"since"`
}

// EnvironmentChange says that earlier results exist that are not comparable.
type EnvironmentChange struct {
	At         time.Time `json:"at"`
	From       string    `json:"from"` // the earlier fingerprint
	What       string    `json:"what"` // "ONNX Runtime 1.31.0 became 1.32.0"
	Iterations int       `json:"iterations"`
	// Effect is what the change did to P99; nil where no candidate was measured in
	// both environments.
	Effect *EnvironmentEffect `json:"p99_effect,omitempty"`
	Text   string             `json:"text"`
}

// EnvironmentEffect is the geometric mean over candidates that were measured in both
// environments. Two environments cannot take turns, so the machine's drift is in it.
type EnvironmentEffect struct {
	Ratio      float64  `json:"ratio"`         // new/old - 1: -0.04 is 4 % faster
	Low        *float64 `json:"low,omitempty"` // it lies between Low and High with 90 % confidence; absent for one candidate
	High       *float64 `json:"high,omitempty"`
	Candidates int      `json:"candidates"`
	Text       string   `json:"text"` // "P99 down 4 % (3-5 %) over 5 candidates"
}

// CandidateMark says what has become of a candidate's version.
type CandidateMark string

// The marks of a candidate; empty when there is nothing to say.
const (
	MarkWithdrawn  CandidateMark = "withdrawn"    // the repository no longer holds it
	MarkReplaced   CandidateMark = "replaced"     // another file has its version now
	MarkRenamed    CandidateMark = "renamed"      // its file has another version now
	MarkOutOfOrder CandidateMark = "out_of_order" // came after a newer version: no iteration
)

// CandidateView is a version that was measured, or at least tried.
type CandidateView struct {
	Version   string        `json:"version"`
	Digest    string        `json:"digest"`
	Iteration int           `json:"iteration,omitempty"`
	Finished  time.Time     `json:"finished"`
	Mark      CandidateMark `json:"mark,omitempty"`
	Note      string        `json:"note,omitempty"` // the mark in words
	// Change is what is known of the change that led to the newest candidate.
	Change *change.Change `json:"change,omitempty"`
}

// VersionView is a version that is not measured.
type VersionView struct {
	Version string                `json:"version"`
	State   standing.VersionState `json:"state"`
	Reason  string                `json:"reason,omitempty"`
}

// StateText is the state as people read it, in the words of check and log.
func (v VersionView) StateText() string {
	if v.State == standing.Refused {
		return "rejected"
	}
	return string(v.State)
}

// RowState says what a row holds.
type RowState string

// The states of a row.
const (
	RowMeasured    RowState = "measured"
	RowFailed      RowState = "failed"
	RowUnsupported RowState = "unsupported" // the backend cannot give this precision
	RowWaiting     RowState = "waiting"     // not measured yet
)

// Row is one precision of the newest candidate.
type Row struct {
	Precision engine.Precision `json:"precision"`
	State     RowState         `json:"state"`
	Result    *Result          `json:"result,omitempty"`    // when measured
	Failure   *Failure         `json:"failure,omitempty"`   // when failed or unsupported
	LastGood  *Result          `json:"last_good,omitempty"` // of an earlier candidate, when this one has no result
	Verdicts  []RowVerdict     `json:"verdicts,omitempty"`  // of Result
}

// Shown is the row's own result, or else the last good one; nil without either.
func (r Row) Shown() *Result {
	if r.Result != nil {
		return r.Result
	}
	return r.LastGood
}

// Result is what was measured.
type Result struct {
	Version       string      `json:"version"`
	Iteration     int         `json:"iteration"`
	Finished      time.Time   `json:"finished"`
	Age           float64     `json:"age_s"`
	Mean          *float64    `json:"mean_s,omitempty"`
	StdDev        *float64    `json:"stddev_s,omitempty"`
	P50           *float64    `json:"p50_s,omitempty"`
	P50Low        *float64    `json:"p50_low_s,omitempty"` // the 90 % interval
	P50High       *float64    `json:"p50_high_s,omitempty"`
	P90           *float64    `json:"p90_s,omitempty"`
	P95           *float64    `json:"p95_s,omitempty"`
	P99           *Percentile `json:"p99,omitempty"` // nil under 459 queries
	Queries       int         `json:"queries"`
	Batch         int         `json:"batch"`
	Throughput    *float64    `json:"throughput_per_s,omitempty"`
	Top1          *float64    `json:"top1_ratio,omitempty"`
	Top1Agreement *float64    `json:"top1_agreement_ratio,omitempty"`
	Deviation     *float64    `json:"accuracy_deviation_ratio,omitempty"`
	Measure       string      `json:"accuracy_measure,omitempty"`
	Reference     string      `json:"accuracy_reference,omitempty"`
	PeakMemory    *float64    `json:"peak_memory_bytes,omitempty"`
	Size          *float64    `json:"size_bytes,omitempty"`
	Build         *float64    `json:"build_s,omitempty"` // nil when the engine was reused
	Stable        bool        `json:"stable"`
	// NoEffect says that nothing in the engine computes in its precision, and why:
	// "INT8 had no effect: ..."; "" where the precision has an effect.
	NoEffect string `json:"no_effect,omitempty"`
	// Disturbance is what else used the machine; nil where nobody watched it.
	Disturbance *Disturbance `json:"disturbance,omitempty"`
	Change      *Change      `json:"p99_change,omitempty"`
	// ThroughputChange is nil unless both engines' throughput was measured in turns.
	ThroughputChange *ThroughputChange `json:"throughput_change,omitempty"`
	Telemetry        *Telemetry        `json:"telemetry,omitempty"` // nil where no device was watched, as on a CPU
	Workloads        []WorkloadView    `json:"workloads,omitempty"` // in the order of the configuration
	Warnings         []string          `json:"warnings,omitempty"`
}

// Percentile is a percentile with its evidence.
type Percentile struct {
	Value   float64  `json:"value_s"`
	Upper   *float64 `json:"upper_s,omitempty"` // early-stopping bound, 99 % confidence
	Low     *float64 `json:"low_s,omitempty"`   // the 90 % interval; see docs/benchmark.md
	High    *float64 `json:"high_s,omitempty"`  // nil when it may lie above the slowest query
	Queries int      `json:"queries"`
}

// Disturbance is what else used the machine in the windows that the latency
// rests on.
type Disturbance struct {
	Disturbed bool    `json:"disturbed"` // more than may be: the times decide nothing
	Share     float64 `json:"share"`
	Cause     string  `json:"cause,omitempty"`   // "other processes took 93 % of a core"
	Discarded int     `json:"discarded_windows"` // of the whole measurement
}

// Telemetry is what the GPU did in the windows that the latency rests on.
type Telemetry struct {
	Utilization        *float64 `json:"utilization_ratio,omitempty"`
	SMClock            *float64 `json:"sm_clock_hertz,omitempty"`
	Power              *float64 `json:"power_watts,omitempty"`
	EnergyPerInference *float64 `json:"energy_per_inference_joules,omitempty"`
	Temperature        *float64 `json:"temperature_celsius,omitempty"` // highest
	Discarded          int      `json:"discarded_windows"`             // of the whole measurement, because of heat or a power brake
	Text               string   `json:"text"`                          // "GPU busy 93 % of the time, 512 W, ..."
}

// Change compares P99 with that of an earlier candidate in the same environment.
type Change struct {
	Ratio float64 `json:"ratio"`  // new/old - 1: -0.38 is 38 % faster
	From  float64 `json:"from_s"` // the earlier P99, as it was measured then
	// Paired says that both engines were timed in turns during one visit. Without
	// that it is the plain quotient of two results, which have no interval.
	Paired  bool          `json:"paired"`
	Low     *float64      `json:"low,omitempty"` // the ratio lies between Low and High with 90 % confidence
	High    *float64      `json:"high,omitempty"`
	Verdict bench.Verdict `json:"verdict,omitempty"` // of a pair
	// WithinRebuild says that building the same candidate twice changed as much.
	WithinRebuild bool             `json:"within_rebuild,omitempty"`
	Version       string           `json:"version"`
	Iteration     int              `json:"iteration"`
	Precision     engine.Precision `json:"precision"`
	Same          bool             `json:"same_precision"` // false: compared with the earlier candidate's best engine
	Text          string           `json:"text"`           // "down 38 % (36-40 %)"
}

// ThroughputChange is the throughput of both engines at the best point of the newer
// one, timed in turns.
type ThroughputChange struct {
	Ratio         float64       `json:"ratio"` // new/old - 1: 0.08 is 8 % more
	Low           float64       `json:"low"`   // it lies between Low and High with 90 % confidence
	High          float64       `json:"high"`
	Verdict       bench.Verdict `json:"verdict"`
	WithinRebuild bool          `json:"within_rebuild,omitempty"`
	Text          string        `json:"text"` // "up 8 % (7-9 %)"
}

// Failure says in plain words why there is no result.
type Failure struct {
	Kind     engine.Kind `json:"kind"`
	Title    string      `json:"title"` // the kind in words
	Op       string      `json:"op,omitempty"`
	Message  string      `json:"message"`
	Node     string      `json:"node,omitempty"`
	Operator string      `json:"operator,omitempty"`
	Hint     string      `json:"hint,omitempty"`
	Version  string      `json:"version"`
	Finished time.Time   `json:"finished"`
	Age      float64     `json:"age_s"`
	Log      []string    `json:"log,omitempty"`
}

// RowVerdict is the answer of a threshold for one engine.
type RowVerdict struct {
	Kind     standing.Kind    `json:"kind"`
	Name     string           `json:"name"`
	Outcome  standing.Outcome `json:"outcome"`
	Criteria []CriterionView  `json:"criteria"`
}

// CriterionView is a criterion and its answer.
type CriterionView struct {
	Text    string           `json:"text"`   // "p99 < 50 ms"
	Metric  string           `json:"metric"` // "p99"
	Title   string           `json:"title"`  // "P99 latency"
	Target  float64          `json:"target"`
	Unit    units.Unit       `json:"unit"`
	Outcome standing.Outcome `json:"outcome"`
	Value   *float64         `json:"value,omitempty"`
}

// VerdictView is the answer of a threshold for a model.
type VerdictView struct {
	Kind      standing.Kind    `json:"kind"`
	Name      string           `json:"name"`
	Outcome   standing.Outcome `json:"outcome"`
	Precision engine.Precision `json:"precision,omitempty"` // the engine that decides
	Version   string           `json:"version,omitempty"`   // the candidate judged
	Why       string           `json:"why,omitempty"`       // what is missed or unknown, in words
	P99Target *float64         `json:"p99_target_s,omitempty"`
}

// History is one precision's iterations in the newest environment.
type History struct {
	Precision engine.Precision `json:"precision"`
	Points    []Point          `json:"points"` // ascending iteration
}

// Point is one iteration of a History.
type Point struct {
	Iteration  int         `json:"iteration"`
	Version    string      `json:"version"`
	Finished   time.Time   `json:"finished"`
	P99        *float64    `json:"p99_s,omitempty"`
	Throughput *float64    `json:"throughput_per_s,omitempty"`
	Failure    engine.Kind `json:"failure,omitempty"`
}

// MilestoneView is where a milestone stands now.
type MilestoneView struct {
	Name        string         `json:"name"`
	Description string         `json:"description,omitempty"`
	Text        string         `json:"text"` // the condition in words
	Criteria    []string       `json:"criteria"`
	Precision   string         `json:"precision"` // one precision, or "best"
	Share       float64        `json:"share"`
	Total       int            `json:"models_total"`
	Ready       int            `json:"models_ready"`
	Needed      int            `json:"models_needed"`
	Met         bool           `json:"met"`
	State       forecast.State `json:"state"`
	Deadline    *time.Time     `json:"deadline,omitempty"`
	Remaining   *float64       `json:"remaining_s,omitempty"` // to the deadline; negative when it has passed
	Horizon     int            `json:"horizon_iterations,omitempty"`
	Threshold   float64        `json:"ready_probability,omitempty"`
	Missing     []Missing      `json:"missing"` // selected models that are not ready, the nearest first
	Forecast    *ForecastView  `json:"forecast,omitempty"`
}

// Missing is a model that a milestone waits for.
type Missing struct {
	Model   string           `json:"model"`
	Outcome standing.Outcome `json:"outcome"`
	Why     string           `json:"why"`
}
