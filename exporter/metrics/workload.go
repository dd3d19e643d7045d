package metrics

import (
	"strconv"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/terms"
)

// workloadFamily is one of an engine under a workload.
func workloadFamily(name string, t Type, help, note string) Family {
	return Family{Name: name, Type: t, Labels: withEngine(terms.WorkloadLabel), Help: help, Note: note}
}

// The workloads of the configuration, as the newest result measured them.
var (
	workloadLatency = workloadFamily("plancast_workload_latency_seconds", Summary, "Latency of one request of a workload, in seconds.",
		"From when the request was due, so that waiting counts; in a closed loop, from the start of the call. Quantiles 0.5, 0.9, 0.95 and 0.99, the last only from 459 requests on. Absent when the workload is saturated.")
	workloadLatencyUpper = workloadFamily("plancast_workload_latency_upper_seconds", Summary, "Early-stopping upper bounds of the quantiles of a workload's latency at 99 % confidence, in seconds.",
		"As plancast_engine_latency_upper_seconds. It takes requests for independent, which queued ones are not quite.")
	workloadQueueing = workloadFamily("plancast_workload_queueing_seconds", Summary, "The part of a request's latency that it waited for an engine instance, in seconds.", "Absent in a closed loop.")
	workloadRate     = workloadFamily("plancast_workload_rate_requests_per_second", Gauge, "Requests answered in a second.",
		"A request is one call, whatever its batch. Of a saturated workload it is the capacity.")
	workloadScheduled = workloadFamily("plancast_workload_scheduled_requests_per_second", Gauge, "Requests that arrive in a second, as configured.", "Absent in a closed loop.")
	workloadCapacity  = workloadFamily("plancast_workload_capacity_requests_per_second", Gauge, "Requests in a second that the mix reaches in a closed loop at the workload's concurrency.",
		"More than that cannot be served, however they arrive.")
	workloadSaturated = workloadFamily("plancast_workload_saturated", Gauge, "Whether requests arrive faster than the engine serves them: 1 or 0.",
		"Then their latency grows for as long as they do: every criterion on it is missed, and there is no latency.")
	workloadGoodput = workloadFamily("plancast_workload_goodput_requests_per_second", Gauge, "Answers in a second that came within the workload's limit.", "Absent without a limit (within); 0 when saturated.")
	workloadMaxRate = workloadFamily("plancast_workload_max_rate_requests_per_second", Gauge, "Highest rate of arrivals at which the percentile asked for stays within the workload's limit.",
		"Absent where max_rate is not configured. 0 means that it does at none of the rates that were tried.")
	workloadStable = workloadFamily("plancast_workload_stable", Gauge, "Whether a workload's figures are known well enough to rely on: 1 or 0.",
		"1 says that the engine was as fast in the last window as in the one before, that half of the 90 % interval of P99 is within its tolerance, and that no window that counts was disturbed.")
	workloadWindows     = workloadFamily("plancast_workload_windows", Gauge, "Windows that were timed of a workload.", "")
	workloadLate        = workloadFamily("plancast_workload_late_starts", Gauge, "Calls that began more than 1 ms after they were due and an engine instance was free.", "Their latency counts from when they were due all the same.")
	workloadDisturbed   = workloadFamily("plancast_workload_disturbed", Gauge, "Whether other work disturbed a workload so much that its times decide nothing: 1 or 0.", "Absent if disturbance was not recorded.")
	workloadDisturbance = workloadFamily("plancast_workload_window_disturbed_ratio", Gauge, "Share of disturbance in the windows that a workload's figures rest on.", "As plancast_engine_window_disturbed_ratio.")
	workloadSuccess     = workloadFamily("plancast_workload_last_success", Gauge, "Whether the engine could be measured under a workload: 1 or 0.", "0 is a shape that the engine rejects; the report says which and why. The other figures of the workload are absent then.")
)

// The key-value cache of a generative model, and what comes of it.
var (
	workloadTTFT = workloadFamily("plancast_workload_ttft_seconds", Gauge, "Mean time to first token: of one run over the prompt, in seconds.",
		"Of the phase prefill. plancast_workload_latency_seconds has the percentiles.")
	workloadTPOT = workloadFamily("plancast_workload_tpot_seconds", Gauge, "Mean time per output token: of one step over the cache, in seconds.",
		"Of the phase decode. plancast_workload_latency_seconds has the percentiles.")
	workloadTokens = workloadFamily("plancast_workload_tokens_per_second", Gauge, "Tokens that a prefill reads or a decode makes in a second.",
		"Of all sequences of a batch together. Absent without a phase, and where the model's cache is not recognized.")
	workloadCache = Family{Name: "plancast_workload_cache_bytes", Type: Gauge, Labels: withEngine(terms.WorkloadLabel, "tokens", "batch"),
		Help: "Memory that the keys and values of a context take, in bytes.", Note: "By the tokens of each sequence and the sequences of the batch, for each shape of the workload."}
)

// figureOf is a quantity of a workload that is a gauge.
func figureOf(quantity string) func(bench.WorkloadResult) *float64 {
	return func(w bench.WorkloadResult) *float64 {
		v, ok := w.Figure(quantity)
		if !ok {
			return nil
		}
		return &v
	}
}

func cacheOf(r history.Record, emit func(float64, ...string)) {
	for _, w := range r.Measurement.Workloads {
		if w.Generation == nil {
			continue
		}
		for _, c := range w.Generation.Cache {
			emit(float64(c.Bytes), w.Name, strconv.FormatInt(c.Tokens, 10), strconv.FormatInt(c.Batch, 10))
		}
	}
}

func latencyOf(w bench.WorkloadResult) *bench.Latency { return w.Latency }

func waitOf(w bench.WorkloadResult) *bench.Latency { return w.Wait }

// ofWorkloads emits a summary of each workload.
func ofWorkloads(latency func(bench.WorkloadResult) *bench.Latency, of func(bench.Quantile) *float64) func(history.Record, func(summary)) {
	return func(r history.Record, emit func(summary)) {
		for _, w := range r.Measurement.Workloads {
			summarize(latency(w), of, emit, w.Name)
		}
	}
}

// everyWorkload emits a figure of each workload.
func everyWorkload(of func(bench.WorkloadResult) *float64) func(history.Record, func(float64, ...string)) {
	return func(r history.Record, emit func(float64, ...string)) {
		for _, w := range r.Measurement.Workloads {
			if v := of(w); v != nil {
				emit(*v, w.Name)
			}
		}
	}
}

// eachWorkload is everyWorkload of those that could be measured.
func eachWorkload(of func(bench.WorkloadResult) *float64) func(history.Record, func(float64, ...string)) {
	return everyWorkload(func(w bench.WorkloadResult) *float64 {
		if w.Failure != nil {
			return nil
		}
		return of(w)
	})
}

func positive(v float64) *float64 {
	if v > 0 {
		return &v
	}
	return nil
}
