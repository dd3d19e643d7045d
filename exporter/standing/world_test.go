package standing_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
)

var now = time.Date(2026, 6, 1, 9, 0, 0, 0, time.UTC)

// world makes evidence in which anything may happen: failures, precisions that
// a backend cannot give, figures that were not measured, candidates tried again,
// out of order or not through, changes of environment, models that left or never
// came, several milestones with shares, horizons, deadlines and criteria.
type world struct {
	*rand.Rand
	seed uint64
	standing.Evidence
}

func newWorld(seed uint64) *world {
	w := &world{seed: seed, Rand: rand.New(rand.NewPCG(seed, 12)), Evidence: standing.Evidence{Now: now}}
	precisions := [][]engine.Precision{{engine.FP32}, {engine.FP32, engine.INT8}, {engine.FP32, engine.FP16, engine.INT8}}[w.IntN(3)]
	for m := range 1 + w.IntN(5) {
		name := fmt.Sprintf("model-%c", 'a'+m)
		environments := w.model(name, precisions)
		if w.IntN(5) == 0 {
			if w.IntN(2) == 0 {
				w.Left = map[string]time.Time{name: now.AddDate(0, 0, -w.IntN(60))}
			}
			continue // it left the repository
		}
		h := standing.Held{Name: name, Precisions: precisions}
		if w.IntN(2) == 0 {
			h.Fingerprint = environments[w.IntN(len(environments))]
		}
		w.Models = append(w.Models, h)
	}
	for i := range 1 + w.IntN(2) {
		m := config.Milestone{Name: fmt.Sprintf("milestone-%d", i), Select: w.selection(), Criteria: w.criteria(), Share: []float64{1, 0.8, 0.5, 0.2}[w.IntN(4)], Ready: 0.9}
		if w.IntN(2) == 0 {
			m.Horizon = 1 + w.IntN(8)
		}
		if m.Horizon == 0 || w.IntN(2) == 0 {
			m.Deadline = now.AddDate(0, 0, w.IntN(90)-10)
		}
		if w.IntN(8) == 0 {
			m.Environment = "env-0"
		}
		w.Milestones = append(w.Milestones, m)
	}
	if w.IntN(2) == 0 {
		w.Targets = append(w.Targets, config.Target{Name: "gate", Select: w.selection(), Criteria: w.criteria()})
	}
	slices.SortStableFunc(w.Records, func(a, b history.Record) int { return a.Finished.Compare(b.Finished) })
	for i := range w.Records {
		w.Records[i].ID = int64(i + 1)
	}
	return w
}

func (w *world) selection() config.Select {
	s := config.Select{Precision: []string{config.Best, config.Best, "fp32", "int8"}[w.IntN(4)]}
	switch w.IntN(5) {
	case 0:
		s.Models = []string{"model-a", "model-b"}
	case 1:
		s.Models = []string{"model-[ac]", "model-e"}
	case 2:
		s.Models = []string{"nothing*"}
	}
	return s
}

func (w *world) criteria() []forecast.Criterion {
	all := reporttest.Criteria("p99 < 50ms", "accuracy_deviation < 0.5%", "throughput >= 30/s", "memory <= 100MiB")
	w.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+w.IntN(3)]
}

// model writes the history of one model, of 0 to 40 candidates, and returns the
// environments that it may be measured in.
func (w *world) model(name string, precisions []engine.Precision) []string {
	environments := []string{"env-0"}
	n := w.IntN(40)
	if w.IntN(6) == 0 {
		n = w.IntN(3)
	}
	at := now.AddDate(0, 0, -w.IntN(500)).Add(-time.Duration(n) * 24 * time.Hour)
	if w.IntN(3) > 0 {
		at = now.Add(-time.Duration(n+1) * 24 * time.Hour)
	}
	level, iteration, unknown := 0.02+0.15*w.Float64(), 0, []float64{0, 0.1, 0.5, 1}[w.IntN(4)]
	for i := 1; i <= n; i++ {
		if w.IntN(12) == 0 {
			environments = append(environments, fmt.Sprintf("env-%d", len(environments)))
			iteration = 0
		}
		iteration++
		at = at.Add(time.Duration(1+w.IntN(24)) * time.Hour)
		if w.IntN(3) == 0 {
			level *= 0.8 + 0.3*w.Float64()
		}
		number := iteration
		if w.IntN(25) == 0 {
			number, iteration = 0, iteration-1 // out of order
		}
		for k, p := range precisions {
			if w.IntN(15) == 0 {
				continue // given up, or still to come
			}
			r := history.Record{
				Model: name, Version: fmt.Sprint(i), Digest: fmt.Sprint(w.seed, name, i), Precision: p, Iteration: number,
				Backend: "fake", Device: "device", Environment: engine.Environment{Backend: "fake", Device: "device"},
				Fingerprint: environments[len(environments)-1], Started: at, Finished: at.Add(time.Duration(k) * time.Minute),
			}
			if w.IntN(20) == 0 {
				r.Finished = at.Add(30 * time.Hour) // tried again, after its successor
			}
			switch {
			case p == engine.FP16 && w.IntN(4) > 0:
				r.Failure = &history.Failure{Error: engine.Error{Kind: engine.KindUnsupportedPrecision}}
			case w.IntN(10) == 0:
				r.Failure = &history.Failure{Error: engine.Error{Kind: engine.Kinds[w.IntN(len(engine.Kinds))]}}
			default:
				r.Measurement = w.measurement(level*(1-0.2*float64(k)), unknown)
				if p == engine.INT8 && w.IntN(6) == 0 {
					r.Measurement.Layers = &bench.LayerSummary{Total: 59, NoEffect: "none of the 59 layers that multiply runs in 8 bits"}
				}
			}
			w.Records = append(w.Records, r)
		}
	}
	return append(environments, "env-new")
}

func (w *world) measurement(p99, unknown float64) *bench.Measurement {
	m := &bench.Measurement{Throughput: 1 / p99, Stable: true, Latency: bench.Latency{Queries: 700, Mean: p99 * 0.8, Sum: p99 * 560}}
	if w.IntN(12) > 0 {
		m.Latency.Quantiles = []bench.Quantile{{Q: 0.99, Value: p99}}
	}
	if w.Float64() >= unknown {
		m.Accuracy = &bench.Accuracy{Deviation: 0.008 * w.Float64()}
	}
	if w.IntN(3) > 0 {
		peak := int64(90<<20 + w.IntN(20<<20))
		m.Memory.PeakBytes = &peak
	}
	return m
}
