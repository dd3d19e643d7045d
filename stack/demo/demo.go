// Package demo invents the history that the local stack shows: months of
// candidates of seven models, written through the exporter's own history, with
// the repository and the configuration that belong to it. No figure of it was
// measured; everything that is computed from it (report, metrics, forecasts,
// alerts) comes from the real programs.
//
// It is deterministic: the same moment gives the same history.
package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
)

// Days is how far the history reaches back by default, LeastDays how far it
// must.
const (
	Days      = 120
	LeastDays = 10
)

const day = 24 * time.Hour

// seed gives a history in which every state of a milestone is to be seen.
const seed = 4

// The shape of every story: improvement tires by the factor exp(-curve) from the first candidate to the last, results scatter by
// noise, and so large a share of the ideas helps.
const curve, noise, helps = 7.0, 0.03, 0.9

// The devices of the demo.
const (
	GPU = "NVIDIA L4 (demo)"
	CPU = "AMD EPYC 9354 (demo)"
)

// environment is what a model is measured in from a day before now on.
type environment struct {
	from int // days before now
	engine.Environment
}

func tensorRT(version, driver, cuda string) engine.Environment {
	return engine.Environment{Backend: "tensorrt", BackendVersion: version, Device: GPU, Cores: 16, Driver: driver, CUDA: cuda, Platform: "linux/amd64"}
}

func onnxRuntime(version string) engine.Environment {
	return engine.Environment{Backend: "onnxruntime", BackendVersion: version, Device: CPU, Cores: 32, Governor: "performance", Platform: "linux/amd64"}
}

// model is a story: how a model came to be as fast as it is.
type model struct {
	name         string
	environments []environment
	precisions   []engine.Precision
	candidates   int           // in all
	newest       time.Duration // age of the newest candidate
	first, limit float64       // P99 of FP32 in seconds: of the first candidate, and where it converges to
	reach        float64       // share of the way from first to limit that the newest candidate has covered
	parallel     float64       // queries that the device answers at once
	weights      int64         // bytes of FP32
	layers       int           // of the engine
	deviation    float64       // of INT8 at the first candidate, a ratio
	top1         float64       // labelled accuracy of FP32; 0 without labels

	failures map[int]failure // by candidate
	// A candidate whose INT8 engine left so many more layers unquantized, with
	// the factor on its latency.
	unquantized map[int]int
	regressions map[int]float64 // factor on the latency, by candidate
}

type failure struct {
	precisions []engine.Precision
	engine.Error
	log []string
}

var (
	three = []engine.Precision{engine.FP32, engine.FP16, engine.INT8}
	older = tensorRT("10.9.0", "570.133.20", "12.8")
	newer = tensorRT("10.13.2", "580.65.06", "13.0")
)

// models are the stories. Milestones are in configuration.
var models = []model{
	{
		name: "resnet50", environments: []environment{{Days, newer}}, precisions: three, candidates: 26, newest: 20 * time.Hour,
		first: 0.148, limit: 0.072, reach: 0.93, parallel: 6.5, weights: 102 << 20, layers: 58, deviation: 0.0068, top1: 0.803,
		regressions: map[int]float64{9: 1.12, 17: 1.06},
		failures: map[int]failure{13: {[]engine.Precision{engine.INT8}, engine.Error{
			Kind: engine.KindBuildFailed, Op: "build int8 engine", Subject: "model.onnx", Node: "/layer4/layer4.2/conv3/Conv", Operator: "Conv",
			Message: "could not find any implementation for node", Hint: "raise the workspace limit or keep the layer in FP16",
		}, []string{"[TRT] Skipping tactic 0x3a with 1073741824 bytes of workspace", "[TRT] Error Code 10: Internal Error"}}},
	},
	{
		name: "yolo-v8", environments: []environment{{Days, newer}}, precisions: three, candidates: 24, newest: 44 * time.Hour,
		first: 0.196, limit: 0.094, reach: 0.90, parallel: 5.2, weights: 87 << 20, layers: 112, deviation: 0.0081,
		regressions: map[int]float64{6: 1.09, 15: 1.1},
		unquantized: map[int]int{15: 4},
		failures: map[int]failure{18: {three, engine.Error{
			Kind: engine.KindInvalidModel, Op: "read model.onnx", Message: "the file ends within a tensor", Hint: "export it again and push the whole file",
		}, nil}},
	},
	{
		name: "bert-base", environments: []environment{{Days, newer}}, precisions: three, candidates: 22, newest: 3 * day,
		first: 0.171, limit: 0.082, reach: 0.95, parallel: 7.1, weights: 438 << 20, layers: 148, deviation: 0.0043, top1: 0.846,
		regressions: map[int]float64{12: 1.08},
	},
	{
		name: "segformer-b0", environments: []environment{{Days, older}, {58, newer}}, precisions: three, candidates: 25, newest: 30 * time.Hour,
		first: 0.188, limit: 0.090, reach: 0.87, parallel: 4.4, weights: 15 << 20, layers: 96, deviation: 0.0072,
		regressions: map[int]float64{8: 1.1},
	},
	{
		name: "whisper-small", environments: []environment{{Days, newer}}, precisions: three, candidates: 23, newest: 26 * time.Hour,
		first: 0.420, limit: 0.176, reach: 0.995, parallel: 3.1, weights: 967 << 20, layers: 230, deviation: 0.0105,
		failures: map[int]failure{
			7: {[]engine.Precision{engine.FP32}, engine.Error{
				Kind: engine.KindOutOfMemory, Op: "build fp32 engine", Message: "cudaMalloc of 9.1 GiB failed", Hint: "free the GPU, or lower the workspace limit",
			}, []string{"[TRT] Requested amount of GPU memory (9774825472 bytes) could not be allocated"}},
			16: {three, engine.Error{Kind: engine.KindTimeout, Op: "build engine", Message: "killed after 30 min", Hint: "raise worker.timeout"}, nil},
			23: {[]engine.Precision{engine.INT8}, engine.Error{
				Kind: engine.KindUnsupportedOperator, Op: "build int8 engine", Node: "/decoder/attention/ScatterND_2", Operator: "ScatterND",
				Message: "no INT8 kernel for this operator with 5-dimensional indices", Hint: "export with opset 18 or keep the decoder in FP16",
			}, []string{"[TRT] Error Code 9: API Usage Error", "worker: build failed"}},
		},
	},
	{
		name: "t5-small", environments: []environment{{Days, newer}}, precisions: three, candidates: 21, newest: 9 * time.Hour,
		first: 0.230, limit: 0.098, reach: 0.90, parallel: 5.9, weights: 242 << 20, layers: 176, deviation: 0.0061,
		unquantized: map[int]int{21: 11},
		regressions: map[int]float64{21: 1.31},
	},
	{
		name: "silero-vad", environments: []environment{{Days, onnxRuntime("1.31.0")}, {90, onnxRuntime("1.32.0")}}, precisions: three, candidates: 18, newest: 5 * day,
		first: 0.0071, limit: 0.0038, reach: 0.93, parallel: 14, weights: 2 << 20, layers: 34, deviation: 0.0031,
		failures: map[int]failure{11: {[]engine.Precision{engine.INT8}, engine.Error{
			Kind: engine.KindCrashed, Op: "run engine", Message: "the worker died: signal: segmentation fault", Hint: "try the model in a newer ONNX Runtime",
		}, []string{"worker: fatal error: unexpected signal during runtime execution"}}},
	},
}

// Options of Write.
type Options struct {
	Dir  string    // where everything goes; created, and emptied of an earlier demo
	Now  time.Time // the history ends here
	Days int       // how far back it reaches; 0 is Days
}

// Files that Write leaves in Options.Dir.
const (
	ConfigFile = "plancast.yml"
	repository = "models"
	state      = "state"
)

// Write writes the repository, the configuration and the history.
func Write(ctx context.Context, o Options) (err error) {
	if o.Days == 0 {
		o.Days = Days
	}
	if o.Days < LeastDays {
		return fmt.Errorf("invent a history: %d days: use %d or more", o.Days, LeastDays)
	}
	for _, sub := range []string{repository, state} {
		if err := os.RemoveAll(filepath.Join(o.Dir, sub)); err != nil {
			return fmt.Errorf("empty the demo's folder: %w", err)
		}
		if err := os.MkdirAll(filepath.Join(o.Dir, sub), 0o755); err != nil {
			return fmt.Errorf("make the demo's folder: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(o.Dir, ConfigFile), []byte(configuration(o.Now)), 0o644); err != nil {
		return fmt.Errorf("write the demo's configuration: %w", err)
	}
	records, err := write(o)
	if err != nil {
		return fmt.Errorf("write the demo's models: %w", err)
	}
	store, err := history.Open(filepath.Join(o.Dir, state, "history.db"))
	if err != nil {
		return err
	}
	for _, r := range records {
		if _, err := store.Append(ctx, r); err != nil {
			return errors.Join(fmt.Errorf("write the demo's history: %w", err), store.Close())
		}
	}
	return store.Close()
}

// write writes the candidates into the repository and returns their records
// in the order of time.
func write(o Options) ([]history.Record, error) {
	var out []history.Record
	for i, m := range models {
		h := fnv.New64a()
		h.Write([]byte(m.name))
		rng := rand.New(rand.NewPCG(seed, h.Sum64()))
		level := m.levels(rng)
		for n := 1; n <= m.candidates; n++ {
			at := m.pushed(n, o, rng)
			digest, err := place(o.Dir, m.name, i, n, at)
			if err != nil {
				return nil, err
			}
			records, err := m.measure(n, at, o.Now, digest, level, rng)
			if err != nil {
				return nil, err
			}
			out = append(out, records...)
		}
	}
	slices.SortStableFunc(out, func(a, b history.Record) int { return a.Finished.Compare(b.Finished) })
	return out, nil
}

// place puts a candidate into the repository: a placeholder of a few bytes,
// distinct for each version. It returns its digest.
func place(dir, name string, model, version int, at time.Time) (string, error) {
	folder := filepath.Join(dir, repository, name, strconv.Itoa(version))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	text := onnxtest.Elementwise("Identity", onnxtest.Float, "N", 1000*(model+1)+version).Bytes()
	file := filepath.Join(folder, "model.onnx")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), os.Chtimes(file, at, at)
}

// pushed is when candidate n came: at a steady pace, on working days as it
// were, with some disorder.
func (m model) pushed(n int, o Options, rng *rand.Rand) time.Time {
	span := time.Duration(o.Days)*day - m.newest - 2*day
	pace := span / time.Duration(m.candidates-1)
	at := o.Now.Add(-m.newest - time.Duration(m.candidates-n)*pace)
	if n < m.candidates {
		at = at.Add(time.Duration((rng.Float64() - 0.5) * 0.5 * float64(pace)))
	}
	return at.Truncate(time.Second).UTC()
}

// levels are the P99 of FP32 that each candidate has, apart from noise:
// ideas help by very different amounts, and less and less, from
// first to the level that reach says.
func (m model) levels(rng *rand.Rand) []float64 {
	gained := make([]float64, m.candidates)
	for n := 1; n < m.candidates; n++ {
		gained[n] = gained[n-1]
		if rng.Float64() < helps {
			gained[n] += rng.ExpFloat64() * math.Exp(-curve*float64(n)/float64(m.candidates))
		}
	}
	last := m.first - (m.first-m.limit)*m.reach
	total := max(gained[m.candidates-1], 1e-9)
	out := make([]float64, m.candidates)
	for n := range out {
		out[n] = m.first * math.Pow(last/m.first, gained[n]/total)
	}
	return out
}

// environmentAt is the environment that holds at a time.
func (m model) environmentAt(at, now time.Time) engine.Environment {
	env := m.environments[0].Environment
	for _, e := range m.environments {
		if !at.Before(now.Add(-time.Duration(e.from) * day)) {
			env = e.Environment
		}
	}
	return env
}

// measure invents the records of candidate n.
func (m model) measure(n int, at, now time.Time, digest string, level []float64, rng *rand.Rand) ([]history.Record, error) {
	env := m.environmentAt(at, now)
	settings := engine.Settings{Transfers: true, SpinWait: true, CUDAGraph: true, WorkspaceBytes: 4 << 30}
	if env.Backend == "onnxruntime" {
		settings = engine.Settings{Threads: 4, GraphOptimization: "all"}
	}
	fingerprint, err := engine.Fingerprint(env, settings, "demo")
	if err != nil {
		return nil, err
	}
	p99 := level[n-1] * (1 + noise*rng.NormFloat64())
	if f, ok := m.regressions[n]; ok {
		p99 *= f
	}
	if env.BackendVersion == older.BackendVersion {
		p99 *= 1.07
	}
	var out []history.Record
	finished := at.Add(2 * time.Minute)
	for _, p := range m.precisions {
		started := finished
		took := time.Duration(float64(2*time.Minute) * (1 + 2*rng.Float64()))
		finished = started.Add(took).Truncate(time.Millisecond)
		r := history.Record{
			Model: m.name, Version: strconv.Itoa(n), Digest: digest, Precision: p, Backend: env.Backend, Device: env.Device,
			Environment: env, Settings: settings, Fingerprint: fingerprint, CandidateTime: at, Started: started, Finished: finished,
		}
		f, failed := m.failures[n]
		switch {
		case env.Backend == "onnxruntime" && p == engine.FP16:
			r.Failure = &history.Failure{Error: engine.Error{
				Kind: engine.KindUnsupportedPrecision, Op: "build fp16 engine",
				Message: "ONNX Runtime on the CPU has no FP16 arithmetic", Hint: "measure fp16 on a GPU",
			}}
		case failed && slices.Contains(f.precisions, p):
			r.Failure = &history.Failure{Error: f.Error, Log: f.log}
		default:
			r.Measurement = m.measurement(n, p, p99, took, env.Backend == "tensorrt", rng)
		}
		out = append(out, r)
	}
	return out, nil
}

var (
	speed   = map[engine.Precision]float64{engine.FP32: 1, engine.FP16: 0.66, engine.INT8: 0.52}
	density = map[engine.Precision]float64{engine.FP32: 1, engine.FP16: 0.5, engine.INT8: 0.29}
	quantum = map[engine.Precision]float64{engine.FP32: 0, engine.FP16: 0.12, engine.INT8: 1}
)

// measurement invents the figures of one engine around a P99 of FP32.
func (m model) measurement(n int, p engine.Precision, p99 float64, took time.Duration, gpu bool, rng *rand.Rand) *bench.Measurement {
	progress := float64(n-1) / float64(m.candidates-1)
	target := p99 * speed[p] * (1 + 0.012*rng.NormFloat64())
	latency := bench.Summarize(1, queries(target, rng))
	accurate := m.deviation * quantum[p] * (1 - 0.62*progress) * (1 + 0.06*rng.NormFloat64())
	plan := engine.Plan{Precision: p, SizeBytes: int64(float64(m.weights) * density[p] * 1.04), Duration: took / 3}
	peak, context, weights := int64(float64(m.weights)*density[p]*2.4)+180<<20, int64(float64(m.weights)*density[p]*0.6)+24<<20, int64(float64(m.weights)*density[p])
	memory := engine.Memory{PeakBytes: &peak}
	if gpu {
		memory.ContextBytes, memory.WeightsBytes = &context, &weights
		hit := n > 1 && rng.Float64() < 0.7
		plan.TimingCacheHit = &hit
	}
	agreement := 1 - accurate
	a := &bench.Accuracy{
		Samples: 512, Reference: "version 1 fp32", RelL2: accurate * 1.7, Cosine: 1 - accurate*accurate, Top1Agreement: &agreement, Deviation: accurate, Measure: "top1_agreement",
	}
	if m.top1 > 0 {
		reference := m.top1
		top1 := reference - accurate
		a.Top1, a.ReferenceTop1, a.Measure = &top1, &reference, "top1"
	}
	var telemetry *bench.Telemetry
	if gpu {
		telemetry = m.watched(n, p, latency)
	}
	return &bench.Measurement{
		Telemetry: telemetry, Plan: plan, Calibration: calibrated(p, progress), Latency: latency, Throughput: m.parallel / latency.Mean, Stable: rng.Float64() > 0.03, Windows: 3 + rng.IntN(3),
		Memory: memory, Accuracy: a, Layers: m.graph(n, p, progress),
	}
}

// watched invents what the GPU did during the windows. It grew hot, and two
// windows were thrown away, where more layers stayed unquantized.
func (m model) watched(n int, p engine.Precision, latency bench.Latency) *bench.Telemetry {
	v := scatter(m.name+string(p), int64(n))
	t := &bench.Telemetry{Device: cards[0].uuid, Duration: latency.Sum}
	heat, clock := 61+12*v, math.Round((2.01-0.09*v)*1e3)*1e6
	if p == engine.INT8 && m.unquantized[n] > 0 {
		t.Discarded, heat, clock = 2, heat+9, clock-240e6
	}
	set := func(to **float64, x float64) { *to = &x }
	power := 46 + 20*v
	set(&t.Utilization, 0.9+0.09*v)
	set(&t.MemoryUtilization, 0.4+0.2*v)
	set(&t.SMClock, clock)
	set(&t.MemoryClock, cards[0].mem)
	set(&t.Power, power)
	set(&t.Energy, power*latency.Sum)
	set(&t.Temperature, math.Round(heat))
	return t
}

// calibrated invents how far the calibration data reach: further as the team
// collects more of them.
func calibrated(p engine.Precision, progress float64) *bench.Calibration {
	if p != engine.INT8 {
		return nil
	}
	coverage := math.Min(1, math.Round(1000*(0.9+0.1*math.Sqrt(progress)))/1000)
	return &bench.Calibration{Samples: 256, Coverage: coverage}
}

// graph invents the layers of an engine: more of them fused and quantized as
// the model goes on.
func (m model) graph(n int, p engine.Precision, progress float64) *bench.LayerSummary {
	total := m.layers - int(0.18*progress*float64(m.layers))
	plain := total / 7
	arithmetic := total - plain
	s := &bench.LayerSummary{Total: total, Fused: int((0.35 + 0.25*progress) * float64(total)), ByPrecision: map[engine.Precision]int{p: arithmetic}}
	if n > 1 {
		s.Changes = &bench.LayerChanges{Against: strconv.Itoa(n - 1), Counts: map[engine.ChangeKind]int{
			engine.FusionChanged: (n*7 + len(m.name)) % 5, engine.TacticChanged: (n*5 + len(m.name)) % 9, engine.PrecisionChanged: m.unquantized[n],
		}}
	}
	if p != engine.INT8 {
		return s
	}
	left := int(math.Round(0.16 * (1 - 0.8*progress) * float64(arithmetic)))
	left += m.unquantized[n]
	for i := range left {
		s.Unquantized = append(s.Unquantized, fmt.Sprintf("/blocks.%d/proj/MatMul", i))
	}
	half := left * 2 / 3
	s.ByPrecision = map[engine.Precision]int{engine.INT8: arithmetic - left, engine.FP16: half, engine.FP32: left - half}
	return s
}

// queries invents the latencies of a window whose P99 is about the one given:
// a long right tail, as latencies have.
func queries(p99 float64, rng *rand.Rand) []float64 {
	const sigma, z99 = 0.055, 2.326
	median := p99 / math.Exp(sigma*z99)
	out := make([]float64, 1400)
	for i := range out {
		out[i] = median * math.Exp(sigma*rng.NormFloat64())
	}
	return out
}

// configuration is the demo's plancast.yml.
func configuration(now time.Time) string {
	date := func(days int) string { return now.UTC().AddDate(0, 0, days).Format("2006-01-02") }
	return strings.NewReplacer("DATE45", date(45), "DATE20", date(20), "DATE90", date(90)).Replace(`# The demo of the local stack. Its history is invented (docs/stack.md) and nothing is measured.
repository: {url: models, quiet: 0s, backlog: 3}
state: state
schedule: "@every 5m"
timezone: UTC
precisions: [fp32, fp16, int8]

models:
  - {match: "resnet50", owner: vision-team}
  - {match: "yolo-*", owner: vision-team}
  - {match: "segformer-*", owner: vision-team}
  - {match: "bert-*", owner: language-team}
  - {match: "t5-*", owner: language-team}
  - {match: "*", owner: speech-team}

targets:
  - {name: interactive, criteria: ["p99 < 50ms", "accuracy_deviation < 0.5%"]}

milestones:
  - name: assistant-launch
    description: Vision and language models of the assistant fast enough to talk to, and true to their references
    models: ["resnet50", "yolo-*", "segformer-*", "bert-*"]
    criteria: ["p99 < 52ms", "accuracy_deviation < 0.5%"]
    share: 75%
    deadline: DATE45
    ready: 80%
  - name: speech-beta
    description: A sentence transcribed before the speaker notices
    models: whisper-small
    precision: int8
    criteria: ["p99 < 80ms"]
    deadline: DATE20
    ready: 90%
  - name: translation-preview
    description: Translation as one types
    models: t5-small
    criteria: ["p99 < 54ms", "accuracy_deviation < 0.5%"]
    horizon: 5
    deadline: DATE90
    ready: 80%
  - name: batch-scoring
    description: Twice the throughput of the first classifier, for the nightly run
    models: resnet50
    criteria: ["throughput > 190/s"]
    horizon: 8
    ready: 70%
  - name: voice-activity
    description: Voice activity detection on the CPU of the edge device
    models: silero-vad
    criteria: ["p99 < 2.5ms"]
    horizon: 5
    ready: 90%
`)
}
