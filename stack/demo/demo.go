// Package demo invents the histories that the local stack shows: months of
// candidates of seven models on one host, and of three of them on another, written
// through the exporter's own history, with the repositories and configurations that
// belong to them. No figure of it was measured; everything that is computed from it
// (report, metrics, forecasts, alerts) comes from the real programs.
//
// It is deterministic: the same moment gives the same history.
package demo

import (
	"cmp"
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
// noise, and helps is the share of the ideas that help.
const curve, noise, helps = 7.0, 0.03, 0.9

// The devices of the demo.
const (
	GPU     = "NVIDIA L4 (demo)"
	FastGPU = "NVIDIA H100 (demo)"
	CPU     = "AMD EPYC 9354 (demo)"
)

var (
	three = []engine.Precision{engine.FP32, engine.FP16, engine.INT8}
	older = tensorRT(GPU, "10.9.0", "570.133.20", "12.8")
	newer = tensorRT(GPU, "10.13.2", "580.65.06", "13.0")
	fast  = tensorRT(FastGPU, "10.13.2", "580.65.06", "13.0")
)

// Options of Write.
type Options struct {
	Host Host      // whose history it is; "" is First
	Dir  string    // where everything goes; created, and emptied of an earlier demo
	Now  time.Time // the history ends here
	Days int       // how far back it reaches; 0 is Days
}

// Files that Write leaves in Options.Dir, and WriteFleet.
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
	o.Host = cmp.Or(o.Host, First)
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
	if err := os.WriteFile(filepath.Join(o.Dir, ConfigFile), []byte(o.Host.configuration(o.Now)), 0o644); err != nil {
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
	for i, m := range o.Host.models() {
		h := fnv.New64a()
		h.Write([]byte(m.name + o.Host.seed()))
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
			r.Measurement = m.measurement(n, p, p99, took, env.Device, rng)
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
func (m model) measurement(n int, p engine.Precision, p99 float64, took time.Duration, device string, rng *rand.Rand) *bench.Measurement {
	gpu := device != CPU
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
		telemetry = m.watched(cardOf(device), n, p, latency)
	}
	return &bench.Measurement{
		Telemetry: telemetry, Plan: plan, Calibration: calibrated(p, progress), Latency: latency, Throughput: m.parallel / latency.Mean, Stable: rng.Float64() > 0.03, Windows: 3 + rng.IntN(3),
		Memory: memory, Accuracy: a, Layers: m.graph(n, p, progress), Workloads: m.traffic(n, p, latency.Mean),
	}
}

// watched invents what the GPU did during the windows. It grew hot, and two
// windows were discarded, where more layers stayed unquantized.
func (m model) watched(c card, n int, p engine.Precision, latency bench.Latency) *bench.Telemetry {
	v := scatter(m.name+string(p), int64(n))
	t := &bench.Telemetry{Device: c.uuid, Duration: latency.Sum}
	heat, clock := 61+12*v, math.Round((2.01-0.09*v)*1e3)*1e6
	if p == engine.INT8 && m.unquantized[n] > 0 {
		t.Discarded, heat, clock = 2, heat+9, clock-240e6
	}
	set := func(to **float64, x float64) { *to = &x }
	power := c.limit * (0.64 + 0.28*v)
	set(&t.Utilization, 0.9+0.09*v)
	set(&t.MemoryUtilization, 0.4+0.2*v)
	set(&t.SMClock, clock)
	set(&t.MemoryClock, c.mem)
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
