//go:build cgo

package equality_test

import (
	"testing"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/workload"
	"github.com/plancast/plancast/forecast"
)

// A workload that cannot be served has no latency in a store, and misses every limit all
// the same; one that other work disturbed is undecided where it would miss.
func TestAWorkloadIsJudgedTheSameEverywhere(t *testing.T) {
	served := fast
	served.Metric = "p99@chat"
	best := config.Select{Precision: config.Best}
	ms := []config.Milestone{
		{Name: "under traffic", Select: best, Criteria: []forecast.Criterion{served}, Share: 1, Horizon: 4, Ready: 0.9},
		{Name: "under traffic, faithful", Select: best, Criteria: []forecast.Criterion{served, faithful}, Share: 1, Horizon: 4, Ready: 0.9},
		{Name: "under traffic and alone", Select: config.Select{Precision: "int8"}, Criteria: []forecast.Criterion{served, fast}, Share: 1, Horizon: 4, Ready: 0.9},
	}
	saturated := func(w *bench.WorkloadResult) { w.Latency, w.Saturated = nil, true }
	disturbed := func(w *bench.WorkloadResult) { w.Disturbance = &bench.Disturbance{Suffered: 1} }
	quiet := func(w *bench.WorkloadResult) { w.Disturbance = &bench.Disturbance{} }
	for name, edit := range map[string]func(i int, r *history.Record, w *bench.WorkloadResult){
		"served": func(int, *history.Record, *bench.WorkloadResult) {},
		"not measured once": func(i int, _ *history.Record, w *bench.WorkloadResult) {
			if i == 5 {
				w.Name = "another"
			}
		},
		"saturated at first": func(i int, _ *history.Record, w *bench.WorkloadResult) {
			if i < 5 {
				saturated(w)
			}
		},
		"saturated of late": func(i int, _ *history.Record, w *bench.WorkloadResult) {
			if i > 12 {
				saturated(w)
			}
		},
		"one engine is saturated all the time": func(_ int, r *history.Record, w *bench.WorkloadResult) {
			if r.Precision == engine.FP16 {
				saturated(w)
			}
		},
		"disturbed at times, the engine itself is not": func(i int, _ *history.Record, w *bench.WorkloadResult) {
			if quiet(w); i%4 == 0 {
				disturbed(w)
			}
		},
		"saturated while other work disturbed it": func(i int, _ *history.Record, w *bench.WorkloadResult) {
			if quiet(w); i == 6 || i == 14 {
				saturated(w)
				disturbed(w)
			}
		},
		"the engine is disturbed, the workload is not": func(i int, r *history.Record, w *bench.WorkloadResult) {
			r.Measurement.Disturbance = &bench.Disturbance{}
			if i%5 == 0 {
				r.Measurement.Disturbance.Suffered = 1
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var d diary
			for _, model := range []string{"bert-base", "resnet50"} {
				d.candidates(model, 14, 0.075, func(i int, r *history.Record) bool {
					latency := r.Measurement.Latency
					w := bench.WorkloadResult{Workload: workload.Workload{Name: "chat", Rate: 200}, Stable: true, Answered: 200, Latency: &latency}
					edit(i, r, &w)
					r.Measurement.Workloads = []bench.WorkloadResult{w}
					return true
				})
			}
			everywhere(t, &d, ms, (*diary).scraped, false)
		})
	}
}
