package metrics

import (
	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// gauges are the families of an engine that are plain numbers of its record:
// the snapshot and the export of the history both read them here. emit takes
// the values of the labels beyond the engine's own.
var gauges = []struct {
	family Family
	of     func(r history.Record, emit func(v float64, extra ...string))
}{

	{throughput, func(r history.Record, emit func(float64, ...string)) { known(r.Measurement.Throughput, emit) }},
	{stable, func(r history.Record, emit func(float64, ...string)) { emit(oneIf(r.Measurement.Stable)) }},
	{latencyLow, ends(func(q bench.Quantile) *float64 { return q.Low })},
	{latencyHigh, ends(func(q bench.Quantile) *float64 { return q.High })},
	{latencyChange, changes(func(c bench.Change) float64 { return c.Ratio })},
	{latencyChangeLower, changes(func(c bench.Change) float64 { return c.Low })},
	{latencyChangeUpper, changes(func(c bench.Change) float64 { return c.High })},
	{throughputChange, throughputChanges(func(c bench.Change) float64 { return c.Ratio })},
	{throughputChangeLower, throughputChanges(func(c bench.Change) float64 { return c.Low })},
	{throughputChangeUpper, throughputChanges(func(c bench.Change) float64 { return c.High })},
	{changed, func(r history.Record, emit func(float64, ...string)) {
		if c := r.Measurement.Comparison; c != nil {
			for _, x := range c.Changes {
				emit(oneIf(x.Verdict == bench.Changed), x.Quantity)
			}
		}
	}},
	{comparedIteration, func(r history.Record, emit func(float64, ...string)) {
		if c := r.Measurement.Comparison; c != nil {
			known(float64(c.Iteration), emit)
		}
	}},
	{disturbed, func(r history.Record, emit func(float64, ...string)) {
		if r.Measurement.Disturbance != nil {
			emit(oneIf(r.Measurement.Disturbed()))
		}
	}},
	{effective, func(r history.Record, emit func(float64, ...string)) {
		if l := r.Measurement.Layers; l != nil && r.Precision == engine.INT8 {
			emit(oneIf(l.NoEffect == ""))
		}
	}},
	{windowDisturbed, func(r history.Record, emit func(float64, ...string)) {
		if d := r.Measurement.Disturbance; d != nil {
			emit(d.Share)
		}
	}},
	{windowDiscarded, func(r history.Record, emit func(float64, ...string)) {
		if d := r.Measurement.Disturbance; d != nil {
			emit(float64(d.Discarded))
		}
	}},
	{memory, func(r history.Record, emit func(float64, ...string)) {
		m := r.Measurement.Memory
		for _, x := range []struct {
			bytes *int64
			kind  string
		}{{m.PeakBytes, "peak"}, {m.ContextBytes, "context"}, {m.WeightsBytes, "weights"}} {
			if x.bytes != nil {
				emit(float64(*x.bytes), x.kind)
			}
		}
	}},
	{size, func(r history.Record, emit func(float64, ...string)) {
		known(float64(r.Measurement.Plan.SizeBytes), emit)
	}},
	{accuracy, func(r history.Record, emit func(float64, ...string)) {
		a := r.Measurement.Accuracy
		if a == nil {
			return
		}
		for _, x := range []struct {
			value   *float64
			measure string
		}{{a.Top1, "top1"}, {a.Top1Agreement, "top1_agreement"}, {a.ReferenceTop1, "reference_top1"}} {
			if x.value != nil {
				emit(*x.value, x.measure)
			}
		}
	}},
	{deviation, func(r history.Record, emit func(float64, ...string)) {
		if a := r.Measurement.Accuracy; a != nil {
			emit(a.Deviation)
		}
	}},
	{layers, func(r history.Record, emit func(float64, ...string)) {
		l := r.Measurement.Layers
		if l == nil {
			return
		}
		for _, p := range engine.Precisions {
			emit(float64(l.ByPrecision[p]), string(p))
		}
		other := l.Total
		for _, p := range engine.Precisions {
			other -= l.ByPrecision[p]
		}
		emit(float64(max(other, 0)), "none")
	}},
	{fusedLayers, func(r history.Record, emit func(float64, ...string)) {
		if l := r.Measurement.Layers; l != nil {
			emit(float64(l.Fused))
		}
	}},
	{unquantizedLayers, func(r history.Record, emit func(float64, ...string)) {
		if l := r.Measurement.Layers; l != nil && r.Precision == engine.INT8 {
			emit(float64(len(l.Unquantized)))
		}
	}},
	{layerChanges, func(r history.Record, emit func(float64, ...string)) {
		if l := r.Measurement.Layers; l != nil && l.Changes != nil {
			for _, kind := range engine.ChangeKinds {
				emit(float64(l.Changes.Counts[kind]), string(kind))
			}
		}
	}},
	{calibration, func(r history.Record, emit func(float64, ...string)) {
		if c := r.Measurement.Calibration; c != nil {
			emit(c.Coverage)
		}
	}},
	{windowUtilization, watched(func(t bench.Telemetry) *float64 { return t.Utilization })},
	{windowMemoryUtilization, watched(func(t bench.Telemetry) *float64 { return t.MemoryUtilization })},
	{windowPower, watched(func(t bench.Telemetry) *float64 { return t.Power })},
	{windowEnergy, watched(func(t bench.Telemetry) *float64 { return t.Energy })},
	{windowInferenceEnergy, func(r history.Record, emit func(float64, ...string)) {
		if v, ok := r.Measurement.EnergyPerInference(); ok {
			emit(v)
		}
	}},
	{windowTemperature, watched(func(t bench.Telemetry) *float64 { return t.Temperature })},
	{windowClock, func(r history.Record, emit func(float64, ...string)) {
		t := r.Measurement.Telemetry
		if t == nil {
			return
		}
		if t.SMClock != nil {
			emit(*t.SMClock, "sm")
		}
		if t.MemoryClock != nil {
			emit(*t.MemoryClock, "memory")
		}
	}},
	{windowThrottled, func(r history.Record, emit func(float64, ...string)) {
		if t := r.Measurement.Telemetry; t != nil {
			emit(float64(t.Discarded))
		}
	}},
	{iteration, func(r history.Record, emit func(float64, ...string)) { emit(float64(r.Iteration)) }},
	{iterationTimestamp, func(r history.Record, emit func(float64, ...string)) { emit(timestamp(r.Finished)) }},
	{buildDuration, func(r history.Record, emit func(float64, ...string)) {
		if !r.Measurement.Plan.Reused {
			emit(r.Measurement.Plan.Duration.Seconds())
		}
	}},
	{workloadSuccess, everyWorkload(func(w bench.WorkloadResult) *float64 { return new(oneIf(w.Failure == nil)) })},
	{workloadRate, eachWorkload(func(w bench.WorkloadResult) *float64 { return &w.Answered })},
	{workloadScheduled, eachWorkload(func(w bench.WorkloadResult) *float64 { return positive(w.Rate) })},
	{workloadCapacity, eachWorkload(func(w bench.WorkloadResult) *float64 { return positive(w.Capacity) })},
	{workloadSaturated, eachWorkload(func(w bench.WorkloadResult) *float64 { return new(oneIf(w.Saturated)) })},
	{workloadGoodput, eachWorkload(func(w bench.WorkloadResult) *float64 { return w.Goodput })},
	{workloadMaxRate, eachWorkload(func(w bench.WorkloadResult) *float64 { return w.HighestRate })},
	{workloadTTFT, eachWorkload(figureOf("ttft"))},
	{workloadTPOT, eachWorkload(figureOf("tpot"))},
	{workloadTokens, eachWorkload(figureOf("tokens"))},
	{workloadCache, cacheOf},
	{workloadStable, eachWorkload(func(w bench.WorkloadResult) *float64 { return new(oneIf(w.Stable)) })},
	{workloadWindows, eachWorkload(func(w bench.WorkloadResult) *float64 { return new(float64(w.Windows)) })},
	{workloadLate, eachWorkload(func(w bench.WorkloadResult) *float64 { return new(float64(w.Starts.Late)) })},
	{workloadDisturbed, eachWorkload(func(w bench.WorkloadResult) *float64 {
		if w.Disturbance == nil {
			return nil
		}
		return new(oneIf(w.Disturbed()))
	})},
	{workloadDisturbance, eachWorkload(func(w bench.WorkloadResult) *float64 {
		if w.Disturbance == nil {
			return nil
		}
		return &w.Disturbance.Share
	})},
}

// changes emits a figure of each latency that was compared in turns.
func changes(of func(bench.Change) float64) func(history.Record, func(float64, ...string)) {
	return func(r history.Record, emit func(float64, ...string)) {
		names := []string{"mean"}
		for _, q := range bench.Percentiles {
			names = append(names, bench.QuantityOf(q))
		}
		for _, name := range names {
			if c, ok := r.Measurement.Comparison.Of(name); ok {
				emit(of(c)-1, name)
			}
		}
	}
}

// throughputChanges emits a figure of the throughput that was compared in turns.
func throughputChanges(of func(bench.Change) float64) func(history.Record, func(float64, ...string)) {
	return func(r history.Record, emit func(float64, ...string)) {
		if c, ok := r.Measurement.Comparison.Of("throughput"); ok {
			emit(of(c) - 1)
		}
	}
}

// ends emits an end of each percentile's interval.
func ends(of func(bench.Quantile) *float64) func(history.Record, func(float64, ...string)) {
	return func(r history.Record, emit func(float64, ...string)) {
		for _, q := range r.Measurement.Latency.Quantiles {
			if v := of(q); v != nil {
				emit(*v, bench.QuantityOf(q.Q))
			}
		}
	}
}

// known emits what is not 0: another tool's measurement may lack it.
func known(v float64, emit func(float64, ...string)) {
	if v != 0 {
		emit(v)
	}
}

// watched emits a figure of the telemetry, if there is one.
func watched(of func(bench.Telemetry) *float64) func(history.Record, func(float64, ...string)) {
	return func(r history.Record, emit func(float64, ...string)) {
		if t := r.Measurement.Telemetry; t != nil {
			if v := of(*t); v != nil {
				emit(*v)
			}
		}
	}
}

// summary is what one summary of a record holds; extra are the values of its labels
// beyond the engine's own.
type summary struct {
	extra     []string
	quantiles map[float64]float64
	sum       float64
	count     int
}

// summaries are the families of an engine that are quantiles.
var summaries = []struct {
	family Family
	of     func(r history.Record, emit func(summary))
}{

	{latency, ofLatency(estimate)},
	{latencyUpper, ofLatency(bound)},
	{workloadLatency, ofWorkloads(latencyOf, estimate)},
	{workloadLatencyUpper, ofWorkloads(latencyOf, bound)},
	{workloadQueueing, ofWorkloads(waitOf, estimate)},
}

func estimate(q bench.Quantile) *float64 { return &q.Value }

func bound(q bench.Quantile) *float64 { return q.Upper }

func ofLatency(of func(bench.Quantile) *float64) func(history.Record, func(summary)) {
	return func(r history.Record, emit func(summary)) { summarize(&r.Measurement.Latency, of, emit) }
}

// summarize emits a latency as a summary. Of what was measured elsewhere it may not be
// known how many queries there were.
func summarize(l *bench.Latency, of func(bench.Quantile) *float64, emit func(summary), extra ...string) {
	if l == nil || !finite(l.Sum) {
		return
	}
	s := summary{extra: extra, quantiles: map[float64]float64{}, sum: l.Sum, count: l.Queries}
	for _, q := range l.Quantiles {
		if v := of(q); v != nil && finite(*v) {
			s.quantiles[q.Q] = *v
		}
	}
	if len(s.quantiles) > 0 {
		emit(s)
	}
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
