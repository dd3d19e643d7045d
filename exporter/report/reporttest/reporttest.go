// Package reporttest makes evidence for tests of what shows or publishes
// results: one repository in which everything happens that can happen, and one
// of any size. The figures are invented and the same in every run.
package reporttest

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
)

// Now is the moment at which the evidence is looked at.
var Now = time.Date(2026, 1, 20, 12, 0, 0, 0, time.UTC)

// Hostile is a failure message that tries to be markup, a terminal command and
// a mention at once.
const Hostile = "<script>alert(1)</script> \x1b[31m`code` | @everyone \u202e[link](http://evil.example) \"quoted\" \xff\n# heading"

// Builder appends records the way the daemon does.
type Builder struct {
	Records []history.Record
	clock   time.Time
}

// NewBuilder starts a history at the time given.
func NewBuilder(start time.Time) *Builder { return &Builder{clock: start} }

// Skip lets time pass.
func (b *Builder) Skip(d time.Duration) { b.clock = b.clock.Add(d) }

// Environment is a CPU with ONNX Runtime of the version given.
func Environment(version string) engine.Environment {
	return engine.Environment{
		Backend: "onnxruntime", BackendVersion: version, Device: "Intel(R) Xeon(R) Processor @ 2.90GHz",
		Cores: 2, Governor: "performance", Platform: "linux/amd64",
	}
}

// Digest is a made-up digest of a version.
func Digest(model, version string) string {
	h := uint64(1469598103934665603)
	for _, c := range model + "/" + version {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return strings.Repeat(fmt.Sprintf("%016x", h), 4)
}

// Add appends a record; edit completes it.
func (b *Builder) Add(model, version string, iteration int, p engine.Precision, env engine.Environment, edit func(*history.Record)) {
	start := b.clock
	b.clock = b.clock.Add(90 * time.Second)
	r := history.Record{
		ID: int64(len(b.Records) + 1), Model: model, Version: version, Digest: Digest(model, version), Precision: p,
		Backend: env.Backend, Device: env.Device, Environment: env, Settings: engine.Settings{Threads: 2, GraphOptimization: "all"},
		Fingerprint: "e" + strings.ReplaceAll(env.BackendVersion, ".", "") + "4f7a91c0",
		Iteration:   iteration, CandidateTime: start.Add(-time.Minute), Started: start, Finished: b.clock,
	}
	edit(&r)
	b.Records = append(b.Records, r)
}

// Measured completes a record with a P99 in seconds; everything else follows from it.
func Measured(p99 float64) func(*history.Record) {
	return func(r *history.Record) {
		const n = 662
		upper := p99 * 1.07
		mean := p99 * 0.82
		peak := int64(180<<20 + p99*1e9)
		deviation, agreement := 0.0, 1.0
		if r.Precision == engine.INT8 {
			deviation, agreement = 0.0031, 0.9969
		}
		unquantized := []string(nil)
		by := map[engine.Precision]int{r.Precision: 40, "": 6}
		if r.Precision == engine.INT8 {
			by = map[engine.Precision]int{engine.INT8: 34, engine.FP32: 6, "": 6}
			unquantized = []string{"conv1", "fc"}
		}
		r.Measurement = &bench.Measurement{
			Plan: engine.Plan{Precision: r.Precision, SizeBytes: 5 << 20, Duration: 740 * time.Millisecond},
			Latency: bench.Latency{
				Batch: 1, Queries: n, Mean: mean, Sum: mean * n, Min: p99 * 0.7, Max: p99 * 1.1, StdDev: p99 * 0.05,
				Quantiles: []bench.Quantile{{Q: 0.5, Value: p99 * 0.8}, {Q: 0.9, Value: p99 * 0.92}, {Q: 0.95, Value: p99 * 0.95}, {Q: 0.99, Value: p99, Upper: &upper}},
				Buckets:   Buckets(p99, n),
			},
			Throughput: 1.6 / mean, Stable: true, Windows: 3,
			Memory: engine.Memory{PeakBytes: &peak},
			Accuracy: &bench.Accuracy{
				Samples: 64, Reference: "version 1 fp32", Cosine: 1, Top1Agreement: &agreement, Deviation: deviation, Measure: "top1_agreement",
			},
			Layers: &bench.LayerSummary{Total: 46, ByPrecision: by, Fused: 12, Unquantized: unquantized},
		}
	}
}

// Paired completes a measured record with the change of its P99 from version
// before, from low to high around ratio; the throughput changed by its inverse.
func Paired(before string, ratio, low, high float64, verdict bench.Verdict) func(*history.Record) {
	iteration, _ := strconv.Atoi(before) // the versions of tests count as their iterations do
	return func(r *history.Record) {
		r.Measurement.Comparison = &bench.Comparison{Version: before, Digest: Digest(r.Model, before), Iteration: iteration, Windows: 2, Changes: []bench.Change{
			{Quantity: "p50", Ratio: ratio, Low: low, High: high, Verdict: verdict}, {Quantity: "p99", Ratio: ratio, Low: low, High: high, Verdict: verdict},
			{Quantity: "throughput", Ratio: 1 / ratio, Low: 1 / high, High: 1 / low, Verdict: verdict},
		}}
		for i, q := range r.Measurement.Latency.Quantiles {
			from, to := q.Value*0.99, q.Value*1.02
			r.Measurement.Latency.Quantiles[i].Low, r.Measurement.Latency.Quantiles[i].High = &from, &to
		}
		r.Measurement.Disturbance = &bench.Disturbance{Share: 0.004, Excess: 0.08, Cause: "other processes took 1 % of a core", Others: 0.004, Cores: 2, Discarded: 1}
	}
}

// Disturbed completes a measured record: a neighbor took most of a core.
func Disturbed(r *history.Record) {
	const cause = "other processes took 93 % of a core"
	r.Measurement.Stable = false
	r.Measurement.Disturbance = &bench.Disturbance{Share: 0.465, Excess: 9.3, Cause: cause, Others: 0.465, Cores: 2, Discarded: 4, Suffered: 2, Spent: 30}
	r.Measurement.Warnings = append(r.Measurement.Warnings, "disturbed: "+cause+", so the times decide nothing")
}

// Traced completes a record with what its candidate's change was.
func Traced(c change.Change) func(*history.Record) {
	return func(r *history.Record) { r.Change = &c }
}

// Idle completes a measured record of an int8 engine: nothing in it computes in 8 bits.
func Idle(r *history.Record) {
	l := r.Measurement.Layers
	l.ByPrecision = map[engine.Precision]int{engine.FP16: 40, "": 6}
	l.NoEffect = "none of the 40 layers that multiply runs in 8 bits; the runtime found them faster in FP16, or the model quantizes none of them"
	r.Measurement.Warnings = append(r.Measurement.Warnings, l.Nothing(r.Precision))
}

// and does several things to a record.
func and(edits ...func(*history.Record)) func(*history.Record) {
	return func(r *history.Record) {
		for _, edit := range edits {
			edit(r)
		}
	}
}

// Buckets spreads n queries below p99 over native histogram buckets.
func Buckets(p99 float64, n int) map[int]int64 {
	top := int(math.Ceil(math.Log2(p99) * (1 << bench.BucketSchema)))
	out := map[int]int64{}
	for left, i := int64(n), 0; left > 0; i++ {
		k := min(left, int64(1+i*9))
		out[top-i] += k
		left -= k
	}
	return out
}

// Failed completes a record with a failure.
func Failed(e engine.Error, log ...string) func(*history.Record) {
	return func(r *history.Record) { r.Failure = &history.Failure{Error: e, Log: log} }
}

// Unsupported is what ONNX Runtime on a CPU says of FP16.
var Unsupported = Failed(engine.Error{
	Kind: engine.KindUnsupportedPrecision, Op: "build fp16 engine",
	Message: "ONNX Runtime on the CPU has no FP16 arithmetic", Hint: "measure fp16 on a GPU",
})

// Criteria reads criteria such as "p99 < 50ms" and panics on a bad one.
func Criteria(texts ...string) []forecast.Criterion {
	out := make([]forecast.Criterion, len(texts))
	for i, s := range texts {
		c, err := forecast.ParseCriterion(s, history.UnitOf)
		if err != nil {
			panic(err)
		}
		out[i] = c
	}
	return out
}

func versions(model string, names ...string) []standing.Version {
	var out []standing.Version
	for _, v := range names {
		out = append(out, standing.Version{Version: v, Digest: Digest(model, v), State: standing.Accepted})
	}
	return out
}

// LongName is a model name of the longest kind.
const LongName = "multilingual-sentence-encoder-distilled-from-a-much-larger-teacher-2026-quarter-1"

// Input is a repository in which everything happens that can happen.
func Input() standing.Evidence {
	all := []engine.Precision{engine.FP32, engine.FP16, engine.INT8}
	now, old := Environment("1.32.0"), Environment("1.31.0")
	b := NewBuilder(Now.AddDate(0, 0, -40))

	// In steps to the threshold; int8 from the third candidate on.
	for i, v := range []float64{0.112, 0.096, 0.081, 0.068} {
		version := fmt.Sprint(i + 1)
		fp32, int8 := Measured(v), Measured(v*0.6)
		if i == 3 {
			fp32 = and(fp32, Paired("3", 0.84, 0.83, 0.85, bench.Changed), Saturated, Rejected)
			int8 = and(int8, Paired("3", 0.84, 0.825, 0.856, bench.Changed), Served, Decoded, prefilled, Rejected)
		}
		if i == 3 {
			fp32 = and(fp32, Traced(change.Change{
				Kinds: []change.Kind{change.Quantization, change.Fusion}, Author: "Ann <ann@example.org>", Branch: "int8-heads",
				Commit: "0123456789abcdef0123456789abcdef01234567", Link: "https://git.example.org/vision/squeezenet/pull/42?tab=files",
			}))
		}
		b.Add("squeezenet", version, i+1, engine.FP32, now, fp32)
		b.Add("squeezenet", version, i+1, engine.FP16, now, Unsupported)
		if i >= 2 {
			b.Add("squeezenet", version, i+1, engine.INT8, now, int8)
		}
		b.Skip(96 * time.Hour)
	}
	// Another environment, then over a wide range with a failure between.
	b.Add("resnet50", "1", 1, engine.FP32, old, Measured(3.2))
	b.Add("resnet50", "2", 2, engine.FP32, old, Measured(2.9))
	b.Skip(24 * time.Hour)
	for i, v := range []float64{2.4, 0.9, 0, 0.31, 0.120, 0.061} {
		version := fmt.Sprint(i + 3)
		if v == 0 {
			b.Add("resnet50", version, i+1, engine.FP32, now, Failed(engine.Error{Kind: engine.KindTimeout, Op: "run", Message: "killed after 10 min"}))
		} else {
			b.Add("resnet50", version, i+1, engine.FP32, now, Measured(v))
		}
		b.Add("resnet50", version, i+1, engine.FP16, now, Unsupported)
		b.Skip(30 * time.Hour)
	}
	b.Add("resnet50", "2b", 0, engine.FP32, now, Measured(2.8)) // out of order
	// The newest candidate fails, the last good one stays.
	b.Add("silero-vad", "1", 1, engine.FP32, now, Measured(0.0031))
	b.Add("silero-vad", "2", 2, engine.FP32, now, Measured(0.0026))
	b.Skip(50 * time.Hour)
	b.Add("silero-vad", "3", 3, engine.FP32, now, Failed(engine.Error{
		Kind: engine.KindUnsupportedOperator, Op: "build fp32 engine", Message: "no kernel for If(16) with subgraph outputs of different ranks",
		Node: "/decoder/If_0", Operator: "If", Hint: "export with an opset of 13 or later, or replace the branch",
	}, "[E:onnxruntime] Non-zero status code", "worker: build failed"))
	// Only failures, with a hostile message.
	b.Add("inception-v1", "1", 1, engine.FP32, now, Failed(engine.Error{Kind: engine.KindCrashed, Op: "run engine", Message: Hostile, Node: "<n>", Hint: "look at the log"}, Hostile))
	// A single iteration that did not settle, from a version that is gone.
	b.Add(LongName, "20260118", 1, engine.FP32, now, func(r *history.Record) {
		Measured(0.0182)(r)
		r.Measurement.Stable = false
		r.Measurement.Windows = 12
		r.Measurement.Accuracy = nil
		r.Measurement.Warnings = []string{"Go adds 4 % to a query"}
	})
	b.Skip(5 * time.Hour)
	// Being measured: int8 is still to come.
	b.Add("densenet", "1", 1, engine.FP32, now, Measured(0.140))
	b.Add("densenet", "1", 1, engine.INT8, now, and(Measured(0.090), Idle))
	b.Skip(20 * time.Hour)
	b.Add("densenet", "2", 2, engine.FP32, now, and(Measured(0.125), Disturbed))
	b.Add("deleted-model", "1", 1, engine.FP32, now, Measured(0.010))

	two := []engine.Precision{engine.FP32, engine.INT8}
	one := []engine.Precision{engine.FP32}
	return standing.Evidence{
		Now: Now, Records: b.Records,
		Models: []standing.Held{
			{Name: "squeezenet", Owner: "vision team", Versions: versions("squeezenet", "1", "2", "3", "4"), Precisions: all},
			{Name: "resnet50", Owner: "vision team", Precisions: []engine.Precision{engine.FP32, engine.FP16}, Versions: append(versions("resnet50", "1", "2", "2b", "3", "4", "5", "6", "7", "8"),
				standing.Version{Version: "9", State: standing.Pending, Reason: "still being copied: 98 MiB, changed 3 s ago"})},
			{Name: "silero-vad", Owner: "speech team", Versions: versions("silero-vad", "1", "2", "3"), Precisions: one},
			{Name: "inception-v1", Precisions: one, Versions: append(versions("inception-v1", "1"),
				standing.Version{Version: "2", State: standing.Refused, Reason: "model.onnx is a symbolic link out of the repository"})},
			{Name: LongName, Owner: "language team", Versions: versions(LongName, "20260119"), Precisions: one},
			{Name: "densenet", Versions: versions("densenet", "1", "2"), Precisions: two},
			{Name: "shufflenet", Versions: []standing.Version{{Version: "1", State: standing.Pending, Reason: "still being copied: 5 MiB, changed 1 s ago"}}, Precisions: one},
		},
		Refused: []standing.Refusal{{Name: "../up\nand <away>", Reason: "a model's name may hold letters, digits, dots, dashes and underscores"}},
		Targets: []config.Target{
			{Name: "launch", Select: config.Select{Models: []string{"squeezenet", "resnet50", "densenet"}, Precision: config.Best}, Criteria: Criteria("p99 < 50ms", "accuracy_deviation < 0.5%")},
			{Name: "realtime", Select: config.Select{Models: []string{"silero-*"}, Precision: "fp32"}, Criteria: Criteria("p99 < 5ms")},
		},
		Milestones: []config.Milestone{
			{
				Name: "spring-release", Description: "Vision and speech on production hardware.", Select: config.Select{Precision: config.Best},
				Criteria: Criteria("p99 < 65ms", "accuracy_deviation < 0.5%"), Share: 0.8, Deadline: time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC), Horizon: 5, Ready: 0.9,
			},
			{
				Name: "speech-beta", Select: config.Select{Models: []string{"silero-vad"}, Precision: "fp32"},
				Criteria: Criteria("p99 < 5ms"), Share: 1, Deadline: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC), Ready: 0.9,
			},
			{
				Name: "resnet-on-edge", Select: config.Select{Models: []string{"resnet50"}, Precision: config.Best},
				Criteria: Criteria("p99 < 40ms"), Share: 1, Horizon: 5, Ready: 0.9,
			},
		},
		Backend: standing.Backend{Name: "onnxruntime", Version: "1.32.0", Reason: "backend auto: no TensorRT library was found"},
		Activity: standing.Activity{
			Running:  []standing.Job{{Model: "densenet", Version: "2", Precision: engine.INT8, Started: Now.Add(-47 * time.Second), Progress: engine.Progress{Stage: "latency", Done: 420, Total: 662, Message: "window 2"}}},
			Queue:    []standing.Job{{Model: "resnet50", Version: "9", Precision: engine.FP32}},
			LastPass: &standing.Pass{Finished: Now.Add(-17 * time.Minute), Duration: 384 * time.Second}, NextPass: Now.Add(13 * time.Minute),
		},
		// Histories as short as these have no record of the forecast yet.
		Track: &forecast.Score{Questions: 240, HitRate: 0.14, Brier: 0.093, Skill: 0.06, CalibrationError: 0.021},
	}
}

// State derives the state of evidence, and panics where the evidence is wrong.
func State(e standing.Evidence) *standing.State {
	s, err := standing.Derive(e)
	if err != nil {
		panic(err)
	}
	return s
}

// Many is a repository of n models, each measured at every precision for the
// number of iterations given.
func Many(n, iterations int) standing.Evidence {
	env := Environment("1.32.0")
	b := NewBuilder(Now.AddDate(0, -6, 0))
	in := standing.Evidence{Now: Now, Backend: standing.Backend{Name: "onnxruntime", Version: "1.32.0"}}
	names := make([]string, n)
	for m := range n {
		names[m] = fmt.Sprintf("model-%03d", m)
		in.Models = append(in.Models, standing.Held{Name: names[m], Owner: fmt.Sprintf("team-%d", m%7), Precisions: engine.Precisions})
	}
	for i := range iterations {
		version := fmt.Sprint(i + 1)
		for m := range n {
			in.Models[m].Versions = append(in.Models[m].Versions, versions(names[m], version)...)
			p99 := (0.030 + 0.0002*float64(m)) * math.Pow(0.93, float64(i))
			for k, p := range engine.Precisions {
				b.Add(names[m], version, i+1, p, env, Measured(p99*[]float64{1, 0.7, 0.5}[k]))
			}
		}
	}
	in.Records = b.Records
	in.Targets = []config.Target{{Name: "launch", Select: config.Select{Precision: config.Best}, Criteria: Criteria("p99 < 50ms", "accuracy_deviation < 0.5%")}}
	in.Milestones = []config.Milestone{{Name: "spring-release", Select: config.Select{Precision: config.Best}, Criteria: Criteria("p99 < 40ms"), Share: 0.8, Deadline: Now.AddDate(0, 2, 0)}}
	return in
}
