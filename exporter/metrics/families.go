// Package metrics publishes the newest results as Prometheus metrics.
//
// A Snapshot is made whenever the evidence changes; a scrape only hands its
// ready-made metrics out, so its cost depends on what is current and never on
// the length of the history, and a model that is gone stops being exported.
// The table in this file is the only place where a name, its labels and its
// help text are written down: docs/metrics.md is generated from it and the
// export of the history uses it, too.
package metrics

import (
	"slices"

	"github.com/plancast/plancast/exporter/gpu"
	"github.com/plancast/plancast/terms"
)

// Type is a Prometheus metric type.
type Type string

// The types in use.
const (
	Gauge     Type = "gauge"
	Counter   Type = "counter"
	Summary   Type = "summary"
	Histogram Type = "histogram"
)

// Family is one metric name.
type Family struct {
	Name   string
	Type   Type
	Labels []string
	Help   string
	Note   string // for docs/metrics.md: what a reader must know beyond the help text

	live bool // of the daemon's activity, not of a snapshot
}

// The labels that every metric of an engine has.
var engineLabels = []string{"model", "precision", "backend", "device"}

func withEngine(extra ...string) []string { return slices.Concat(engineLabels, extra) }

// The families, in the order of docs/metrics.md.
var (
	latency = Family{"plancast_engine_latency_seconds", Summary, engineLabels,
		"Latency of one query at concurrency 1 and the first batch size, in seconds.",
		"Quantiles 0.5, 0.9, 0.95 and 0.99 of the pooled queries of the accepted windows, with their sum and count. The 0.99 quantile is absent below 459 queries.", false}
	latencyHistogram = Family{"plancast_engine_latency_distribution_seconds", Histogram, engineLabels,
		"Latency of one query at concurrency 1 as a native histogram, in seconds.",
		"Schema 5: neighboring buckets are 2.2 % apart. Only the protobuf format carries the buckets; the text formats show sum and count.", false}
	latencyUpper = Family{"plancast_engine_latency_upper_seconds", Summary, engineLabels,
		"Early-stopping upper bounds of the latency quantiles at 99 % confidence, in seconds.",
		"MLPerf's bound: the true quantile is not above it with 99 % confidence. A quantile without enough queries for a bound is absent. Sum and count are those of plancast_engine_latency_seconds.", false}
	throughput = Family{"plancast_engine_throughput_inferences_per_second", Gauge, engineLabels,
		"Highest throughput of the sweep over batch sizes and concurrency, in inferences per second.", "", false}
	stable = Family{"plancast_engine_stable", Gauge, engineLabels,
		"Whether the latency is known well enough to rely on: 1 or 0.",
		"1 says that the throughput of the accepted windows agreed, that half of the 90 % interval of the percentile that decides is within its tolerance, and that no window that counts was disturbed or throttled.", false}
	latencyLow = Family{"plancast_engine_latency_interval_lower_seconds", Gauge, withEngine("percentile"),
		"Lower end of the 90 % interval of a latency percentile, in seconds.", "The interval holds when queries depend on each other (docs/benchmark.md).", false}
	latencyHigh = Family{"plancast_engine_latency_interval_upper_seconds", Gauge, withEngine("percentile"),
		"Upper end of the 90 % interval of a latency percentile, in seconds.", "Absent when the percentile may lie above the slowest query.", false}
	latencyChange = Family{"plancast_engine_latency_change_ratio", Gauge, withEngine("percentile"),
		"Change of a latency percentile from the candidate before, timed in turns with it: -0.38 is 38 % faster.",
		"percentile is p50, p90, p95, p99, or mean. Absent where the two were not timed in turns during one visit.", false}
	latencyChangeLower = Family{"plancast_engine_latency_change_lower_ratio", Gauge, withEngine("percentile"),
		"Lower end of the 90 % interval of plancast_engine_latency_change_ratio.", "", false}
	latencyChangeUpper = Family{"plancast_engine_latency_change_upper_ratio", Gauge, withEngine("percentile"),
		"Upper end of the 90 % interval of plancast_engine_latency_change_ratio.", "", false}
	throughputChange = Family{"plancast_engine_throughput_change_ratio", Gauge, engineLabels,
		"Change of the throughput from the candidate before, timed in turns with it: 0.08 is 8 % more.",
		"Of both engines at the best point of the newer one. Absent where the two were not timed there in turns.", false}
	throughputChangeLower = Family{"plancast_engine_throughput_change_lower_ratio", Gauge, engineLabels,
		"Lower end of the 90 % interval of plancast_engine_throughput_change_ratio.", "", false}
	throughputChangeUpper = Family{"plancast_engine_throughput_change_upper_ratio", Gauge, engineLabels,
		"Upper end of the 90 % interval of plancast_engine_throughput_change_ratio.", "", false}
	changed = Family{"plancast_engine_changed", Gauge, withEngine("quantity"),
		"Whether a figure changed for certain from the candidate before, timed in turns with it: 1 or 0.",
		"1 says that the 90 % interval of the change clears benchmark.margin. quantity is mean, p50, p90, p95, p99 or throughput.", false}
	comparedIteration = Family{terms.ComparedSeries, Gauge, engineLabels,
		"Iteration of the candidate that the engine was timed in turns with.", "Absent where that has no iteration in this environment.", false}
	disturbed = Family{"plancast_engine_disturbed", Gauge, engineLabels,
		"Whether other work disturbed the measurement so much that its times decide nothing: 1 or 0.",
		"A criterion on a time or throughput that would be missed is then undecided, and forecasts ignore the result. Absent if disturbance was not recorded.", false}
	effective = Family{"plancast_engine_precision_effective", Gauge, engineLabels,
		"Whether anything that counts in an int8 engine computes in 8 bits: 1 or 0.",
		"0 means that quantization had no effect: the engine is no result for a milestone or target that names int8, and decides one of the best precision only where no other engine counts. Only int8 engines with known layers have it.", false}
	windowDisturbed = Family{"plancast_engine_window_disturbed_ratio", Gauge, engineLabels,
		"Share of disturbance in the windows that the latency rests on.",
		"The share that matters most: of the cores in use that other processes took or the hypervisor gave to others, of the time that the timed threads waited for a core, of the queries that interruptions can have made late, or of the GPU that other processes kept at work. Of a disturbed result it is that of the disturbed windows.", false}
	windowDiscarded = Family{"plancast_engine_window_disturbed_discarded", Gauge, engineLabels,
		"Windows that were discarded because other work disturbed them.", "Of the whole job, the sweep included.", false}
	memory = Family{"plancast_engine_memory_bytes", Gauge, withEngine("kind"),
		"Memory that the engine holds, in bytes.", "kind is peak (device memory, or resident memory of the worker on a CPU), context or weights.", false}
	size     = Family{"plancast_engine_size_bytes", Gauge, engineLabels, "Size of the built engine on disk, in bytes.", "", false}
	accuracy = Family{"plancast_engine_accuracy_ratio", Gauge, withEngine("measure"),
		"Accuracy on the evaluation inputs, a ratio.",
		"measure is top1 (against labels.npy), top1_agreement (with the reference's own choice) or reference_top1 (the reference against labels.npy).", false}
	deviation = Family{"plancast_engine_accuracy_deviation_ratio", Gauge, engineLabels,
		"Accuracy deviation from the reference, a ratio.",
		"The one number that targets and milestones call accuracy_deviation. It is the loss of labeled top-1 accuracy against the reference if there are labels, otherwise the share of inputs on which top-1 disagrees with the reference, otherwise the relative L2 distance of the outputs.", false}
	layers = Family{"plancast_engine_layers", Gauge, withEngine("layer_precision"),
		"Layers of the built engine by the precision of their arithmetic.", "layer_precision is fp32, fp16, int8 or none (no arithmetic, or not known).", false}
	fusedLayers       = Family{"plancast_engine_fused_layers", Gauge, engineLabels, "Layers made of more than one node of the model.", "", false}
	unquantizedLayers = Family{"plancast_engine_unquantized_layers", Gauge, engineLabels, "Arithmetic layers of an int8 engine that are not int8.", "Only int8 engines have it.", false}
	calibration       = Family{"plancast_calibration_coverage_ratio", Gauge, engineLabels,
		"How well the calibration data of an int8 engine meet their limits, a ratio: 1 means all of them.",
		"The least of: samples over those wanted; the share of tensors whose range was found; the share of the evaluation inputs' values inside the range of the calibration data; the share of input channels so covered; the share of the classes predicted for evaluation inputs that are predicted for calibration data as well; each over its limit in tensorrt.calibration, at most 1. docs/gpu.md defines them. Absent without calibration.", false}
	layerChanges = Family{"plancast_engine_layer_changes", Gauge, withEngine("change"),
		"Layers that differ from the previous plan of the same model and precision.",
		"change is precision, fusion, added, removed or tactic (the same work by another kernel). Absent for the first plan.", false}
	targetMet = Family{"plancast_engine_target_met", Gauge, withEngine("milestone", "target", "criterion"),
		"Whether an engine meets a criterion of a milestone or a target: 1 or 0.",
		"Exactly one of milestone and target is set; the other is empty, which Prometheus treats as absent. criterion is the condition in words, such as \"p99 < 50 ms\". Only engines that count for the milestone or target have it, and it is absent where the figure was not measured. An engine whose precision had no effect has 0 where the milestone or target names that precision. One and the same engine must meet all criteria of a milestone: whether it does is in plancast_milestone_models_ready.", false}
	iteration = Family{"plancast_iteration", Gauge, engineLabels,
		"Iteration of the model in this environment that the engine's metrics show.",
		"Counts the candidates of the model in one environment from 1, shared by the precisions of a candidate. Together with the timestamp it makes one point of every result, however often it is scraped. It jumps when an iteration between failed, and starts again with a new environment.", false}
	iterationTimestamp = Family{"plancast_iteration_timestamp_seconds", Gauge, engineLabels,
		"When the result that the engine's metrics show was finished, in seconds since the epoch.",
		"time() minus this is the age of the result.", false}
	lastBuildSuccess = Family{"plancast_engine_last_build_success", Gauge, engineLabels,
		"Whether the newest job of this precision gave a result: 1 or 0.",
		"0 means that the other metrics of the engine show an earlier result. A precision that the backend does not support at all has none of these metrics.", false}
	buildDuration = Family{"plancast_build_duration_seconds", Gauge, engineLabels, "Time to build the engine, in seconds.", "Absent when the engine was reused.", false}
	candidateInfo = Family{"plancast_candidate_info", Gauge, withEngine("version", "digest", "fingerprint"),
		"The candidate that the engine's metrics show: always 1.", "digest is the SHA-256 of the candidate, fingerprint that of the environment.", false}

	candidateChange = Family{terms.ChangeSeries, Gauge, []string{"model", "version", "commit", "branch", "author", "link", "kinds"},
		"Iteration of a model's newest candidate; the labels describe the change behind it.",
		"One series for each model, and none where nothing is known of the change (change.yml, --meta). kinds has commas between several. The value joins it to plancast_iteration; a link longer than 200 bytes is left out.", false}

	gainRatio = Family{Name: "plancast_change_gain_ratio", Type: Gauge, Labels: []string{"kind"},
		Help: "Expected effect of a kind of change on the P99 of another model: -0.38 is 38 % faster.",
		Note: "kind is fp16 or int8 (a step from fp32), or a kind of change.yml. It is the mean over the models that had the kind, shrunk towards none while few had it (docs/report.md), and no part of any probability."}
	gainModels = Family{Name: "plancast_change_gain_models", Type: Gauge, Labels: []string{"kind"}, Help: "Models that plancast_change_gain_ratio is based on."}

	environmentInfo = Family{"plancast_environment_info", Gauge, []string{"model", "backend", "device", "fingerprint", "backend_version", "cores", "governor", "driver", "cuda", "platform"},
		"The environment of the model's results: always 1.", "Results of different fingerprints must not be compared.", false}
	modelInfo = Family{"plancast_model_info", Gauge, []string{"model", "owner"}, "A model of the repository and its owner: always 1.", "", false}
	builds    = Family{"plancast_builds_total", Counter, []string{"model", "result"},
		"Finished jobs by result, over the whole history.",
		"result is success or a failure kind. It is counted from the history, so a restart does not reset it; every result value exists from the first scrape of a model.", false}
	timingCacheHits = Family{"plancast_timing_cache_hits_total", Counter, []string{"model"},
		"Builds that the timing cache served, over the whole history.", "Only models that were built by a backend with a timing cache have it.", false}
	lastSuccess = Family{"plancast_last_success_timestamp_seconds", Gauge, []string{"model"},
		"When the model's newest result of any precision was finished, in seconds since the epoch.", "Over all environments; absent before the first result.", false}
	candidates = Family{"plancast_candidates", Gauge, []string{"model", "state"},
		"Versions in the repository by state.", "state is accepted, pending (waiting for now) or refused; each exists from the first scrape.", false}

	models       = Family{"plancast_models", Gauge, []string{"state"}, "Model folders in the repository by state.", "state is accepted, refused (by its name; the name itself is in the log and the report) or left_out (without series: metrics.max_series).", false}
	passDuration = Family{"plancast_pass_duration_seconds", Gauge, nil, "Duration of the last pass over the repository, in seconds.", "Absent before the first.", true}
	passTime     = Family{"plancast_pass_timestamp_seconds", Gauge, nil, "When the last pass over the repository ended, in seconds since the epoch.", "Absent before the first.", true}
	passOK       = Family{"plancast_pass_last_success", Gauge, nil, "Whether the last pass over the repository succeeded: 1 or 0.", "A failing candidate does not fail the pass.", true}
	passStalled  = Family{"plancast_pass_stalled", Gauge, nil, "Whether the running pass is stuck: 1 or 0.", "1 after worker.timeout and another hour without progress. /-/healthy then fails as well.", true}
	reloadOK     = Family{"plancast_config_last_reload_successful", Gauge, nil, "Whether the last reload of the configuration succeeded: 1 or 0.", "0 means that the previous configuration stays in force.", true}
	reloadTime   = Family{"plancast_config_last_reload_success_timestamp_seconds", Gauge, nil, "When the configuration in force was read, in seconds since the epoch.", "", true}
	jobProgress  = Family{"plancast_job_progress_ratio", Gauge, []string{"model", "precision", "stage"}, "Progress of the running stage of a running job, a ratio.",
		"stage is build, latency, throughput, accuracy or calibration. Absent while nothing runs and where the end of a stage is not known.", true}
	queueLength   = Family{"plancast_queue_length", Gauge, nil, "Jobs waiting to run.", "", true}
	notifications = Family{"plancast_notifications_total", Counter, []string{"receiver", "result"}, "Notifications and attempts to send them by result, since the start.",
		"result is sent, failed (an attempt; more follow), suppressed (the same failure again, which is only counted) or dropped (given up); each exists from the first scrape, for every receiver of the configuration.", true}
	historySize = Family{"plancast_history_size_bytes", Gauge, nil, "Size of the history on disk, its write-ahead log included, in bytes.", "plancast history prune --vacuum makes it smaller.", true}

	notificationQueue = Family{"plancast_notification_queue_length", Gauge, nil, "Notifications that wait to be sent.", "They survive a restart.", true}
	notificationAge   = Family{"plancast_notification_oldest_age_seconds", Gauge, nil, "Age of the oldest notification that waits to be sent, in seconds.", "0 when none waits. An age of minutes means that a receiver does not accept its messages.", true}
	fleetModels       = Family{"plancast_fleet_models", Gauge, nil, "Models that a fleet daemon's store had within the last day.", "Only a fleet daemon has it and the four that follow; it has none of its exporters' own metrics.", false}
	fleetOK           = Family{"plancast_fleet_last_read_success", Gauge, nil, "Whether the last reading of the store that ended succeeded: 1 or 0.", "At 0, everything shown is from an earlier reading. A reading under way changes nothing: the age is time() minus plancast_fleet_read_timestamp_seconds.", true}
	fleetTime         = Family{"plancast_fleet_read_timestamp_seconds", Gauge, nil, "When the store was last read, in seconds since the epoch.", "time() minus this is the age of everything that the fleet daemon shows. Absent before the first reading.", true}
	fleetDuration     = Family{"plancast_fleet_read_duration_seconds", Gauge, nil, "Duration of the last reading of the store, in seconds.", "", true}
	fleetPartial      = Family{"plancast_fleet_read_partial", Gauge, nil, "Whether parts of the store did not answer: 1 or 0.", "A partial answer does not replace earlier results; 1 means that there is no complete reading yet.", true}
	buildInfo         = Family{"plancast_build_info", Gauge, []string{"version", "revision", "goversion"}, "The running plancast: always 1.", "", false}

	modelsReady = Family{"plancast_milestone_models_ready", Gauge, []string{"milestone"},
		"Models that meet all criteria of the milestone.", "A model is judged by its newest candidate that is measured at every precision; one that failed does not replace it.", false}
	modelsNeeded   = Family{"plancast_milestone_models_needed", Gauge, []string{"milestone"}, "Models that must be ready: the milestone's share of those that it selects.", "", false}
	modelsSelected = Family{"plancast_milestone_models_selected", Gauge, []string{"milestone"}, "Models that the milestone selects.", "Those that it lists, and those that its patterns matched within 30 days before they left, count although the repository lacks them.", false}
	milestoneInfo  = Family{"plancast_milestone_info", Gauge, []string{"milestone", "precision", "effort", "by", "selector"}, "The precision that the milestone names, or best: always 1.",
		"effort is active or maintenance where the configuration says so. In a fleet, by holds the labels that distinguish its models, and selector the labels that the milestone selects by. Each is empty otherwise.", false}
	criterionInfo = Family{terms.CriterionSeries, Gauge, []string{"milestone", "criterion"}, "A criterion of the milestone in words, such as \"p99 < 50 ms\": always 1.", "", false}
	modelReady    = Family{terms.MemberSeries, Gauge, []string{"milestone", "model", "present"}, "Whether a model that counts for the milestone is ready: 1 or 0.",
		"Every model that counts has it, also one without a result. present is false for a model that the repository lacks.", false}
	share    = Family{"plancast_milestone_share_ratio", Gauge, []string{"milestone"}, "Share of the selected models that must meet all criteria, a ratio, from the configuration.", "", false}
	horizon  = Family{"plancast_milestone_horizon_iterations", Gauge, []string{"milestone"}, "Further iterations within which the milestone is to be met, from the configuration.", "Absent without such a limit.", false}
	deadline = Family{"plancast_milestone_deadline_timestamp_seconds", Gauge, []string{"milestone"}, "When the milestone is due, in seconds since the epoch.", "Absent without a deadline.", false}
)

// The forecast of a milestone. Probabilities come with the bounds of their
// 80 % credible interval.
var (
	probability = Family{Name: "plancast_milestone_probability", Type: Gauge, Labels: []string{"milestone"},
		Help: "Probability that the milestone is met in time: by its deadline and within its iterations, whichever are given.",
		Note: "1 once it is met. Absent without models."}
	probabilityLower       = Family{Name: "plancast_milestone_probability_lower", Type: Gauge, Labels: []string{"milestone"}, Help: "Lower bound of plancast_milestone_probability (80 % credible interval)."}
	probabilityUpper       = Family{Name: "plancast_milestone_probability_upper", Type: Gauge, Labels: []string{"milestone"}, Help: "Upper bound of plancast_milestone_probability (80 % credible interval)."}
	probabilityWithin      = Family{Name: "plancast_milestone_probability_within_iterations", Type: Gauge, Labels: []string{"milestone", "iterations"}, Help: "Probability that the milestone is met within that many further iterations, whatever the deadline.", Note: "iterations is 1, 2, 3, 5, 10 and the milestone's own horizon."}
	probabilityWithinLower = Family{Name: "plancast_milestone_probability_within_iterations_lower", Type: Gauge, Labels: []string{"milestone", "iterations"}, Help: "Lower bound of plancast_milestone_probability_within_iterations (80 % credible interval)."}
	probabilityWithinUpper = Family{Name: "plancast_milestone_probability_within_iterations_upper", Type: Gauge, Labels: []string{"milestone", "iterations"}, Help: "Upper bound of plancast_milestone_probability_within_iterations (80 % credible interval)."}
	readyProbability       = Family{Name: "plancast_milestone_ready_probability", Type: Gauge, Labels: []string{"milestone"}, Help: "Probability from which the milestone counts as on track, from the configuration."}
	attained               = Family{Name: "plancast_milestone_attained_ratio", Type: Gauge, Labels: []string{"milestone"}, Help: "Progress from the first results to the targets, a ratio."}
	expectedIterations     = Family{Name: "plancast_milestone_expected_iterations", Type: Gauge, Labels: []string{"milestone"}, Help: "Further effective iterations that close the gap: improvements of the size usual in this history."}
	eta                    = Family{Name: "plancast_milestone_eta_timestamp_seconds", Type: Gauge, Labels: []string{"milestone", "probability"}, Help: "Date by which the milestone is met with the given probability, in seconds since the epoch.", Note: "probability is 0.1, 0.5 or 0.9; one beyond the forecast's reach is absent."}
	criterionProbability   = Family{Name: "plancast_milestone_criterion_probability", Type: Gauge, Labels: []string{"milestone", "criterion", "model"}, Help: "Probability that one model meets one criterion in time. The lowest hold the milestone back.", Note: "1 for what is met."}
	state                  = Family{Name: "plancast_milestone_state", Type: Gauge, Labels: []string{"milestone", "state"}, Help: "State of the milestone: exactly one is 1.", Note: "state is met, insufficient_data, atypical, stalled, on_track or at_risk; the first that applies, in this order."}

	trackBrier       = Family{Name: "plancast_forecast_brier_score", Type: Gauge, Help: "Brier score of the forecast on this history, walked through from its beginning: 0 is perfect.", Note: "The four are absent until a question has an answer."}
	trackSkill       = Family{Name: "plancast_forecast_skill_score", Type: Gauge, Help: "Brier skill against the base rate: above 0 is better than quoting how often such questions come true."}
	trackCalibration = Family{Name: "plancast_forecast_calibration_error", Type: Gauge, Help: "Mean distance between forecast probabilities and the shares that came true."}
	trackQuestions   = Family{Name: "plancast_forecast_observations", Type: Gauge, Help: "Questions of the walk-forward back-test that the scores rest on."}
)

// What the device did during the accepted windows of the latency. None of it
// is known on a CPU.
var (
	windowUtilization = Family{Name: "plancast_engine_window_utilization_ratio", Type: Gauge, Labels: engineLabels, Help: "Mean share of the time in which a kernel ran during the accepted windows, a ratio.",
		Note: "As NVML samples it; plancast_gpu_sm_activity_ratio says how much of the GPU a kernel used."}
	windowMemoryUtilization = Family{Name: "plancast_engine_window_memory_utilization_ratio", Type: Gauge, Labels: engineLabels, Help: "Mean share of the time in which device memory was read or written during the accepted windows, a ratio."}
	windowPower             = Family{Name: "plancast_engine_window_power_watts", Type: Gauge, Labels: engineLabels, Help: "Mean power of the board during the accepted windows, in watts."}
	windowEnergy            = Family{Name: "plancast_engine_window_energy_joules", Type: Gauge, Labels: engineLabels, Help: "Energy of the board over the accepted windows, in joules.",
		Note: "From the GPU's energy counter, or integrated from its power where it has none. Absent on a MIG instance, which shares the board."}
	windowInferenceEnergy = Family{Name: "plancast_engine_window_energy_per_inference_joules", Type: Gauge, Labels: engineLabels, Help: "Energy of the board for each inference of the accepted windows, in joules.",
		Note: "At concurrency 1 and the first batch size, including what the board draws at rest."}
	windowTemperature = Family{Name: "plancast_engine_window_temperature_celsius", Type: Gauge, Labels: engineLabels, Help: "Highest temperature of the GPU during the accepted windows, in degrees Celsius."}
	windowClock       = Family{Name: "plancast_engine_window_clock_hertz", Type: Gauge, Labels: withEngine("clock"), Help: "Mean clock during the accepted windows, in hertz.", Note: "clock is sm or memory."}
	windowThrottled   = Family{Name: "plancast_engine_window_throttled", Type: Gauge, Labels: engineLabels, Help: "Windows that were discarded because heat or a power brake throttled the device.",
		Note: "0 if the device was watched and not throttled. After 3 of them throttled windows count, and plancast_engine_stable is 0. A power cap is normal under full load and discards no window."}
)

// gpuLabels are those of every metric of a GPU.
var gpuLabels = []string{"gpu", "uuid", "device"}

func gpuFamily(name string, t Type, extra []string, help, note string) Family {
	return Family{Name: name, Type: t, Labels: slices.Concat(gpuLabels, extra), Help: help, Note: note, live: true}
}

// The GPUs of the machine, as NVML last reported.
var (
	gpuInfo              = gpuFamily("plancast_gpu_info", Gauge, []string{"driver", "cuda", "mig"}, "A GPU or MIG instance of the machine: always 1.", "mig is disabled, enabled (the GPU is split), instance, or empty where a GPU cannot be split. An instance has the gpu label \"0:1\": the second of GPU 0.")
	gpuUtilization       = gpuFamily("plancast_gpu_utilization_ratio", Gauge, nil, "Share of the last sample period in which a kernel ran, a ratio.", "")
	gpuMemoryUtilization = gpuFamily("plancast_gpu_memory_utilization_ratio", Gauge, nil, "Share of the last sample period in which device memory was read or written, a ratio.", "")
	gpuMemoryUsed        = gpuFamily("plancast_gpu_memory_used_bytes", Gauge, nil, "Device memory in use, in bytes.", "")
	gpuMemorySize        = gpuFamily("plancast_gpu_memory_size_bytes", Gauge, nil, "Total device memory, in bytes.", "")
	gpuPower             = gpuFamily("plancast_gpu_power_watts", Gauge, nil, "Power of the board, in watts.", "On Ampere and newer a mean over a second.")
	gpuPowerLimit        = gpuFamily("plancast_gpu_power_limit_watts", Gauge, nil, "Power limit that is enforced, in watts.", "")
	gpuEnergy            = gpuFamily("plancast_gpu_energy_joules_total", Counter, nil, "Energy of the board since the driver was loaded, in joules.", "")
	gpuTemperature       = gpuFamily("plancast_gpu_temperature_celsius", Gauge, nil, "Temperature of the GPU, in degrees Celsius.", "")
	gpuClock             = gpuFamily("plancast_gpu_clock_hertz", Gauge, []string{"clock"}, "Clock, in hertz.", "clock is sm or memory.")
	gpuClockMax          = gpuFamily("plancast_gpu_clock_max_hertz", Gauge, []string{"clock"}, "Highest clock that the GPU can have, in hertz.", "clock is sm or memory.")
	gpuThrottled         = gpuFamily("plancast_gpu_throttled", Gauge, []string{"reason"}, "Whether a reason holds the clocks back: 1 or 0.",
		"reason is thermal, power_brake, power_cap, hardware (a hardware slowdown; thermal or power_brake says why, where the GPU knows), sync_boost or board_limit; each exists where the GPU reports it. Idling and a lower configured clock are not throttling.")
	gpuECC            = gpuFamily("plancast_gpu_ecc_errors_total", Counter, []string{"kind"}, "ECC errors since the driver was loaded.", "kind is corrected or uncorrected. Absent without ECC.")
	gpuXID            = gpuFamily("plancast_gpu_xid_errors_total", Counter, []string{"xid"}, "XID errors that the driver reported since plancast started, by number.", "A number appears with its first error. NVIDIA's XID documentation says what each means.")
	gpuSMActivity     = gpuFamily("plancast_gpu_sm_activity_ratio", Gauge, nil, "Share of the SMs at work, mean since the sample before, a ratio.", "This and the next three are hardware counters of Hopper and newer (NVML's GPM); they need no profiler.")
	gpuSMOccupancy    = gpuFamily("plancast_gpu_sm_occupancy_ratio", Gauge, nil, "Share of the SMs' warps in use, mean since the sample before, a ratio.", "")
	gpuTensorActivity = gpuFamily("plancast_gpu_tensor_activity_ratio", Gauge, nil, "Share of the time in which tensor cores were at work, mean since the sample before, a ratio.", "")
	gpuDRAMBandwidth  = gpuFamily("plancast_gpu_dram_bandwidth_ratio", Gauge, nil, "Share of the bandwidth of device memory in use, mean since the sample before, a ratio.", "")
	gpuErrors         = gpuFamily("plancast_gpu_scrape_errors_total", Counter, nil, "Calls into NVML that failed or did not return in time, since plancast started.", "Unsupported calls do not count. This one, the time of the sample and the XID errors stay when a GPU stops answering; the others vanish after three missing samples.")
	gpuTime           = gpuFamily("plancast_gpu_sample_timestamp_seconds", Gauge, nil, "Time of the GPU's last sample, in seconds since the epoch.", "")
)

// gpuFigures are the families that are plain figures of a sample.
var gpuFigures = []struct {
	family   Family
	quantity gpu.Quantity
	extra    []string
}{

	{gpuUtilization, gpu.Utilization, nil}, {gpuMemoryUtilization, gpu.MemoryUtilization, nil},
	{gpuMemoryUsed, gpu.MemoryUsed, nil}, {gpuMemorySize, gpu.MemorySize, nil},
	{gpuPower, gpu.Power, nil}, {gpuPowerLimit, gpu.PowerLimit, nil}, {gpuEnergy, gpu.Energy, nil},
	{gpuTemperature, gpu.Temperature, nil},
	{gpuClock, gpu.SMClock, []string{"sm"}}, {gpuClock, gpu.MemoryClock, []string{"memory"}},
	{gpuClockMax, gpu.SMClockMax, []string{"sm"}}, {gpuClockMax, gpu.MemoryClockMax, []string{"memory"}},
	{gpuECC, gpu.ECCCorrected, []string{"corrected"}}, {gpuECC, gpu.ECCUncorrected, []string{"uncorrected"}},
	{gpuSMActivity, gpu.SMActivity, nil}, {gpuSMOccupancy, gpu.SMOccupancy, nil},
	{gpuTensorActivity, gpu.TensorActivity, nil}, {gpuDRAMBandwidth, gpu.DRAMBandwidth, nil},
}

// Families lists every metric this package exports.
func Families() []Family {
	return []Family{
		latency, latencyHistogram, latencyUpper, latencyLow, latencyHigh, latencyChange, latencyChangeLower, latencyChangeUpper,
		throughputChange, throughputChangeLower, throughputChangeUpper, changed, comparedIteration, throughput, stable, disturbed, effective, memory, size, accuracy, deviation, layers, fusedLayers,
		unquantizedLayers, layerChanges, calibration,
		windowUtilization, windowMemoryUtilization, windowPower, windowEnergy, windowInferenceEnergy, windowTemperature, windowClock, windowThrottled,
		windowDisturbed, windowDiscarded,
		workloadLatency, workloadLatencyUpper, workloadQueueing, workloadRate, workloadScheduled, workloadCapacity, workloadSaturated, workloadGoodput,
		workloadMaxRate, workloadStable, workloadWindows, workloadTTFT, workloadTPOT, workloadTokens, workloadCache, workloadLate, workloadDisturbed, workloadDisturbance, workloadSuccess,
		targetMet, iteration, iterationTimestamp, lastBuildSuccess, buildDuration, candidateInfo, candidateChange, gainRatio, gainModels,
		environmentInfo, modelInfo, builds, timingCacheHits, lastSuccess, candidates, models, passDuration, passTime, passOK, passStalled, reloadOK, reloadTime, queueLength, jobProgress,
		historySize, notifications, notificationQueue, notificationAge, fleetModels, fleetOK, fleetTime, fleetDuration, fleetPartial,
		gpuInfo, gpuUtilization, gpuMemoryUtilization, gpuMemoryUsed, gpuMemorySize, gpuPower, gpuPowerLimit, gpuEnergy, gpuTemperature,
		gpuClock, gpuClockMax, gpuThrottled, gpuECC, gpuXID, gpuSMActivity, gpuSMOccupancy, gpuTensorActivity, gpuDRAMBandwidth,
		gpuErrors, gpuTime,
		buildInfo, modelsReady, modelsNeeded, modelsSelected, milestoneInfo, criterionInfo, modelReady, share, horizon, deadline,
		probability, probabilityLower, probabilityUpper, probabilityWithin, probabilityWithinLower, probabilityWithinUpper, readyProbability,
		attained, expectedIterations, eta, criterionProbability, state, trackBrier, trackSkill, trackCalibration, trackQuestions,
	}
}
