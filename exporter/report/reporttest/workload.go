package reporttest

import (
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/workload"
)

// Chat is traffic of three sequence lengths.
var Chat = workload.Workload{
	Name: "chat", Rate: 20, Burstiness: 1, Concurrency: 2, Within: 100 * time.Millisecond, MaxRate: 0.99,
	Shapes: []workload.Shape{
		{Weight: 70, Dims: map[string]int64{"sequence": 32}}, {Weight: 25, Dims: map[string]int64{"sequence": 128}}, {Weight: 5, Dims: map[string]int64{"sequence": 512}},
	},
}

// Served completes a measured record with what Chat showed: requests waited, and a
// twentieth of the answers came too late.
func Served(r *history.Record) {
	engine := r.Measurement.Latency
	scaled := func(by float64) *bench.Latency {
		l := engine
		l.Mean, l.Sum, l.Quantiles = l.Mean*by, l.Sum*by, nil
		for _, q := range engine.Quantiles {
			q.Value *= by
			if q.Upper != nil {
				q.Upper = new(*q.Upper * by)
			}
			l.Quantiles = append(l.Quantiles, q)
		}
		return &l
	}
	p50 := engine.Mean
	r.Measurement.Workloads = append(r.Measurement.Workloads, bench.WorkloadResult{
		Workload: Chat, Capacity: 31.4, Latency: scaled(2.5), Wait: scaled(1.1), Answered: 20.2, Goodput: new(19.1), HighestRate: new(14.5),
		Starts: bench.Starts{P50: 12e-6, P99: 61e-6, Late: 3},
		Mix: []bench.ShapeTimes{
			{Shape: "sequence 32", Queries: 927, P50: p50 * 0.4, P99: new(p50 * 0.5), BackToBack: new(p50 * 0.3)}, {Shape: "sequence 128", Queries: 331, P50: p50}, {Shape: "sequence 512", Queries: 66, P50: p50 * 3.4},
		},
		Comparison: &bench.Comparison{Version: "2", Windows: 1, Changes: []bench.Change{
			{Quantity: "mean", Ratio: 0.92, Low: 0.9, High: 0.94, Verdict: bench.Changed}, {Quantity: "p95", Ratio: 0.9, Low: 0.86, High: 0.93, Verdict: bench.Changed},
		}},
		Stable: true, Windows: 2, Disturbance: &bench.Disturbance{Share: 0.004, Cause: "other processes took 1 % of a core", Cores: 2},
		Warnings: []string{"3 calls began more than 1 ms after an engine was free for it: was the machine busy?"},
	})
}

// Decode is a decoder's work on each token of a long answer.
var Decode = workload.Workload{
	Name: "decode", Phase: workload.Decode, Concurrency: 1, Shapes: []workload.Shape{{Weight: 1, Dims: map[string]int64{"past_sequence": 2000}}},
}

// Prefill is a decoder's work on a prompt.
var Prefill = workload.Workload{
	Name: "prefill", Phase: workload.Prefill, Concurrency: 1, Shapes: []workload.Shape{{Weight: 1, Dims: map[string]int64{"sequence": 512}}},
}

// Decoded completes a measured record with what Decode showed.
func Decoded(r *history.Record) { generated(r, Decode, 1, 2000) }

// prefilled completes a measured record with what Prefill showed.
func prefilled(r *history.Record) { generated(r, Prefill, 512, 512) }

func generated(r *history.Record, w workload.Workload, tokens float64, context int64) {
	l := r.Measurement.Latency
	r.Measurement.Workloads = append(r.Measurement.Workloads, bench.WorkloadResult{
		Workload: w, Capacity: 1 / l.Mean, Latency: &l, Answered: 1 / l.Mean, Stable: true, Windows: 2,
		Mix:        []bench.ShapeTimes{{Shape: w.Shapes[0].Words(), Queries: l.Queries, P50: l.Mean}},
		Generation: &bench.Generation{Tokens: tokens / l.Mean, Cache: []bench.CacheSize{{Tokens: context, Batch: 1, Bytes: context * 36864}}},
	})
}

// Saturated completes a measured record: Chat comes faster than the engine serves it.
func Saturated(r *history.Record) {
	r.Measurement.Workloads = append(r.Measurement.Workloads, bench.WorkloadResult{
		Workload: Chat, Capacity: 16.4, Answered: 16.4, Saturated: true, Goodput: new(0.0), HighestRate: new(8.2),
		Warnings: []string{"cannot serve 20/s; keeps up to 16.4/s"},
	})
}

// Rejected completes a measured record with a workload whose shape the engine rejects.
func Rejected(r *history.Record) {
	e := engine.Errorf(engine.KindInvalidInput, "resolve the shapes of the inputs", "", "no input has a dimension %q", "tokens")
	e.Hint = "name a symbolic dimension of the model, or one by input and position"
	r.Measurement.Workloads = append(r.Measurement.Workloads, bench.WorkloadResult{
		Workload: workload.Workload{Name: "batch", Concurrency: 1, Shapes: []workload.Shape{{Weight: 1, Dims: map[string]int64{"tokens": 4096}}}}, Failure: e,
	})
}
