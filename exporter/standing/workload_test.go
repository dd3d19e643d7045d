package standing

import (
	"math"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/workload"
)

// under is a candidate of one engine under the workload chat.
func under(iteration int, edit func(*bench.WorkloadResult)) history.Record {
	w := bench.WorkloadResult{Workload: workload.Workload{Name: "chat"}, Answered: 200, Goodput: new(196.0), Latency: &bench.Latency{Quantiles: []bench.Quantile{{Q: 0.99, Value: 0.06}}}}
	edit(&w)
	at := time.Date(2026, 1, iteration, 0, 0, 0, 0, time.UTC)
	return history.Record{
		ID: int64(iteration), Model: "bert", Version: string(rune('0' + iteration)), Digest: string(rune('0' + iteration)), Precision: engine.FP32, Fingerprint: "e",
		Iteration: iteration, Started: at, Finished: at.Add(time.Minute),
		Measurement: &bench.Measurement{Stable: true, Latency: bench.Latency{Quantiles: []bench.Quantile{{Q: 0.99, Value: 0.01}}}, Workloads: []bench.WorkloadResult{w}},
	}
}

func TestACriterionOnAWorkloadIsJudgedLikeAnyOther(t *testing.T) {
	saturate := func(w *bench.WorkloadResult) { w.Latency, w.Saturated, w.Goodput = nil, true, new(0.0) }
	for _, c := range []struct {
		name, criterion string
		edit            func(*bench.WorkloadResult)
		want            Outcome
		value           float64
	}{
		{"met", "p99@chat < 70ms", func(*bench.WorkloadResult) {}, Met, 0.06},
		{"missed", "p99@chat < 50ms", func(*bench.WorkloadResult) {}, Missed, 0.06},
		{"goodput", "goodput@chat >= 195/s", func(*bench.WorkloadResult) {}, Met, 196},
		{"another workload", "p99@other < 50ms", func(*bench.WorkloadResult) {}, Unknown, math.NaN()},
		{"a shape that the engine rejects", "p99@chat < 50ms", func(w *bench.WorkloadResult) { w.Failure = &engine.Error{} }, Unknown, math.NaN()},
		{"more requests than are served", "p99@chat < 50ms", saturate, Missed, math.Inf(1)},
		{"goodput of those", "goodput@chat >= 195/s", saturate, Missed, 0},
		{"missed on a disturbed machine", "p99@chat < 50ms", func(w *bench.WorkloadResult) { w.Disturbance = &bench.Disturbance{Suffered: 1} }, Undecided, 0.06},
		{"saturated on a disturbed machine", "p99@chat < 50ms", func(w *bench.WorkloadResult) { saturate(w); w.Disturbance = &bench.Disturbance{Suffered: 1} }, Undecided, math.Inf(1)},
		{"the engine's own figure, while the workload was disturbed", "p99 < 5ms", func(w *bench.WorkloadResult) { w.Disturbance = &bench.Disturbance{Suffered: 1} }, Missed, 0.01},
	} {
		got := JudgeEngine(criteria(t, c.criterion), history.EntryOf(under(1, c.edit))).Criteria[0]
		if got.Outcome != c.want || got.Value != c.value && !(math.IsNaN(got.Value) && math.IsNaN(c.value)) {
			t.Errorf("%s: %s with %v, want %s with %v", c.name, got.Outcome, got.Value, c.want, c.value)
		}
	}
}

// What has no number is an iteration without a value for the forecast.
func TestAForecastTakesASaturatedWorkloadForNoResult(t *testing.T) {
	records := []history.Record{
		under(1, func(w *bench.WorkloadResult) { w.Latency, w.Saturated = nil, true }),
		under(2, func(*bench.WorkloadResult) {}),
	}
	h := history.ByModel(history.Entries(records))[0]
	s := Series(config.Select{Precision: config.Best}, criteria(t, "p99@chat < 50ms")[0], h, time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC))
	var valid []bool
	for _, o := range s.Observations {
		valid = append(valid, o.Valid)
	}
	if len(valid) != 2 || valid[0] || !valid[1] || s.Observations[1].Value != 0.06 {
		t.Errorf("observations %+v", s.Observations)
	}
}
