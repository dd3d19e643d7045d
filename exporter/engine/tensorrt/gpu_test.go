//go:build tensorrt && cgo && gpu

package tensorrt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/enginetest"
	"github.com/plancast/plancast/exporter/gpu"
	"github.com/plancast/plancast/exporter/onnx"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/tensorio"
)

// These tests need a GPU and TensorRT's libraries (docs/gpu.md).

func TestContract(t *testing.T) {
	enginetest.TestBackend(t, func(testing.TB) engine.Backend { return New(Options{}) }, enginetest.Fixtures{
		Model:       onnxtest.Write(t, onnxtest.Classifier(8, 16, 4)),
		Invalid:     onnxtest.WriteBytes(t, []byte("not a model")),
		Unsupported: onnxtest.Write(t, onnxtest.Custom()),
		Int8:        onnxtest.Write(t, onnxtest.Quantized(32, 16)),
		Half:        onnxtest.Write(t, onnxtest.Elementwise("Relu", onnxtest.Float16, "N", 4)),
		Refused:     engine.INT8, // without calibration data
		Layers:      true,
	})
}

// npz writes an array "x" of samples of standard normal values.
func npz(t *testing.T, name string, samples int64, scale float64, seed uint64) string {
	t.Helper()
	infos := []engine.TensorInfo{{Name: "x", DType: engine.Float32, Dims: []engine.Dim{{Size: samples}, {Size: 64}}}}
	arrays, err := tensorio.Generate(infos, [][]int64{{samples, 64}}, seed)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float32, arrays[0].Len())
	for i := range values {
		values[i] = float32(arrays[0].At(i) * scale)
	}
	arrays[0].Data = onnxtest.Floats(values...)
	path := filepath.Join(t.TempDir(), name)
	if err := tensorio.WriteNPZ(path, arrays); err != nil {
		t.Fatal(err)
	}
	return path
}

func quick() bench.Options {
	o := bench.DefaultOptions()
	o.WarmUp, o.MinWindow, o.SweepWindow, o.MinQueries, o.Concurrency = 20*time.Millisecond, 100*time.Millisecond, 50*time.Millisecond, 700, []int{1, 4}
	return o
}

// job is a measurement of a classifier at one precision, with everything kept
// under dir.
func job(t *testing.T, dir string, p engine.Precision, calibration string) bench.Job {
	level := 1
	return bench.Job{
		Backend: Name, Model: "net", Version: "1", Digest: strings.Repeat("ab", 32),
		ModelPath: onnxtest.Write(t, onnxtest.Classifier(64, 128, 10)), Precision: p,
		Settings: engine.Settings{WorkspaceBytes: 1 << 30, OptimizationLevel: &level, FP16Fallback: true, CUDAGraph: true, SpinWait: true, Transfers: true,
			ProfileBatch: &engine.BatchRange{Min: 1, Opt: 8, Max: 16}},
		Options: quick(), InputsPath: npz(t, "inputs.npz", 256, 1, 7), CalibrationPath: calibration, CalibrationLimits: bench.DefaultCalibrationLimits(),
		WorkDir: t.TempDir(),
		Kept:    engine.Kept{Plans: filepath.Join(dir, "plans"), Calibrations: filepath.Join(dir, "calibrations"), Timings: filepath.Join(dir, "timings")},
	}
}

func measure(t *testing.T, j bench.Job) bench.Measurement {
	t.Helper()
	b := New(Options{})
	defer b.Close()
	m, err := bench.Measure(t.Context(), b, j, nil)
	if err != nil {
		t.Fatalf("%s: %v", j.Precision, err)
	}
	return m
}

func TestEveryPrecisionIsMeasuredAndComparedWithFP32(t *testing.T) {
	dir := t.TempDir()
	first := job(t, dir, engine.FP32, "")
	first.OutputsPath = filepath.Join(dir, "outputs.npz")
	reference := measure(t, first)
	for _, c := range []struct {
		precision engine.Precision
		deviation float64 // relative L2, at most
	}{{engine.FP16, 0.02}, {engine.INT8, 0.2}} {
		j := job(t, dir, c.precision, npz(t, "calibration.npz", 200, 1, 8))
		j.ReferencePath, j.ReferenceName = first.OutputsPath, "version 1 fp32"
		j.PreviousVersion, j.PreviousLayers = "1", reference.Layers.Layers
		m := measure(t, j)
		p99, ok := m.Latency.At(0.99)
		switch {
		case !ok || p99.Value <= 0 || p99.Upper == nil || m.Throughput <= 0 || m.Memory.PeakBytes == nil || len(m.Phases) != 4:
			t.Errorf("%s: %+v", c.precision, m)
		case m.Accuracy == nil || m.Accuracy.RelL2 > c.deviation || m.Accuracy.Top1Agreement == nil:
			t.Errorf("%s: accuracy %+v", c.precision, m.Accuracy)
		case m.Layers == nil || m.Layers.Changes == nil || m.Layers.Changes.Against != "1":
			t.Errorf("%s: layers %+v", c.precision, m.Layers)
		case m.Overhead > 0:
			t.Errorf("%s: overhead %g in a native loop", c.precision, m.Overhead)
		}
		if c.precision == engine.INT8 {
			cal := m.Calibration
			if cal == nil || cal.Samples != 200 || cal.Tensors == nil || cal.Values == nil || *cal.Values < 0.99 || cal.Classes == nil || cal.Coverage < 0.9 {
				t.Errorf("calibration %+v", cal)
			}
			t.Logf("calibration %+v, %s", cal, m.Warnings)
		}
		t.Logf("%s: P99 %.1f us, %.0f/s, deviation %.3g, layers %d %v, changes %+v, phases %+v", c.precision, p99.Value*1e6, m.Throughput, m.Accuracy.RelL2,
			m.Layers.Total, m.Layers.ByPrecision, m.Layers.Changes, m.Phases)
	}
}

// A worker keeps its backend for the jobs of a candidate: builder and plans of the
// first are no part of the second.
func TestJobsOnOneBackendAreMeasuredAsOnAnother(t *testing.T) {
	dir := t.TempDir()
	shared := New(Options{})
	defer shared.Close()
	for _, p := range []engine.Precision{engine.FP32, engine.FP16, engine.INT8} {
		j := job(t, dir, p, npz(t, "calibration.npz", 200, 1, 8))
		together, err := bench.Measure(t.Context(), shared, j, nil)
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		alone := measure(t, j) // of the same plan
		if !alone.Plan.Reused || together.Plan.Reused {
			t.Errorf("%s: plans reused: %v, then %v", p, together.Plan.Reused, alone.Plan.Reused)
		}
		if a, b := *alone.Memory.PeakBytes, *together.Memory.PeakBytes; a != b {
			t.Errorf("%s: peak memory %d in a backend that has built nothing, %d in one that has", p, a, b)
		}
		if a, b := alone.Accuracy, together.Accuracy; a.Samples != b.Samples {
			t.Errorf("%s: accuracy %+v and %+v", p, a, b)
		}
		t.Logf("%s: %.0f/s alone, %.0f/s together", p, alone.Throughput, together.Throughput)
	}
}

// Exporters write one name for several sizes that they do not know.
func TestDimensionsOfOneNameMayDiffer(t *testing.T) {
	j := job(t, t.TempDir(), engine.FP32, "")
	j.ModelPath, j.InputsPath = onnxtest.Write(t, onnxtest.Elementwise("Relu", onnxtest.Float, "?", 3, "?", "?")), ""
	j.Dims = map[string]int64{"x/2": 8, "x/3": 24}
	if m := measure(t, j); m.Throughput <= 0 {
		t.Errorf("%+v", m)
	}
}

func TestPoorCalibrationDataAreReported(t *testing.T) {
	m := measure(t, job(t, t.TempDir(), engine.INT8, npz(t, "calibration.npz", 16, 0.1, 8)))
	c := m.Calibration
	if c == nil || c.Samples != 16 || c.Coverage > 0.2 || *c.Values > 0.9 || *c.Channels > 0.5 {
		t.Errorf("%+v", c)
	}
	text := strings.Join(m.Warnings, "\n")
	for _, want := range []string{"16 samples, 100 are wanted", "values lie in their range", "channels are covered"} {
		if !strings.Contains(text, want) {
			t.Errorf("no warning of %q in\n%s", want, text)
		}
	}
}

func TestNothingIsBuiltTwice(t *testing.T) {
	dir := t.TempDir()
	j := job(t, dir, engine.INT8, npz(t, "calibration.npz", 128, 1, 8))
	first := measure(t, j)
	if first.Plan.Reused || first.Plan.TimingCacheHit == nil || *first.Plan.TimingCacheHit || first.Plan.Calibration.FromCache {
		t.Errorf("the first build: %+v", first.Plan)
	}
	again := measure(t, j)
	if !again.Plan.Reused || again.Plan.Duration != 0 || again.Plan.SizeBytes != first.Plan.SizeBytes || again.Calibration == nil {
		t.Errorf("the second: %+v", again.Plan)
	}
	// A damaged plan is built anew, from the caches.
	if err := os.WriteFile(again.Plan.Path, []byte("torn"), 0o644); err != nil {
		t.Fatal(err)
	}
	third := measure(t, j)
	if third.Plan.Reused || third.Plan.TimingCacheHit == nil || !*third.Plan.TimingCacheHit || !third.Plan.Calibration.FromCache {
		t.Errorf("after damage: %+v", third.Plan)
	}
	t.Logf("built in %v, from its caches in %v", first.Plan.Duration, third.Plan.Duration)
	// A plan of another TensorRT, under the name that this one looks for.
	if err := write(third.Plan.Path, []byte("ftrt but not of this version, and long enough to hold a header of some kind"), metadata{Key: strings.TrimSuffix(filepath.Base(third.Plan.Path), ".plan"), Plan: third.Plan}); err != nil {
		t.Fatal(err)
	}
	b := New(Options{})
	defer b.Close()
	_, err := bench.Measure(t.Context(), b, j, nil)
	var e *engine.Error
	if !errors.As(err, &e) || e.Kind != engine.KindRunFailed || e.Hint == "" {
		t.Errorf("a foreign plan: %v", err)
	}
	if m := measure(t, j); m.Plan.Reused {
		t.Error("the foreign plan was not built anew")
	}
}

// A model as ONNX Runtime's quantizer writes it computes what its INT32 biases stand
// for: x is 0 everywhere, so that y is the bias alone, in steps of 0.05.
func TestQuantizedModelsWithINT32BiasesAreMeasured(t *testing.T) {
	j := job(t, t.TempDir(), engine.INT8, "")
	j.ModelPath = onnxtest.Write(t, onnxtest.QuantizedBias())
	j.InputsPath = filepath.Join(t.TempDir(), "inputs.npz")
	j.OutputsPath = filepath.Join(t.TempDir(), "outputs.npz")
	x, err := engine.NewTensor("x", engine.Float32, []int64{8, 2, 4, 4})
	if err != nil {
		t.Fatal(err)
	}
	if err := tensorio.WriteNPZ(j.InputsPath, []engine.Tensor{x}); err != nil {
		t.Fatal(err)
	}
	m := measure(t, j)
	if !strings.Contains(strings.Join(m.Warnings, "\n"), "1 INT32 biases behind DequantizeLinear were folded") {
		t.Errorf("warnings %q", m.Warnings)
	}
	t.Logf("no effect: %q, layers %v", m.Layers.NoEffect, m.Layers.ByPrecision)
	out, err := tensorio.ReadNPZ(j.OutputsPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range out[0].Len() {
		want := 0.5 // 1000 * 0.0005
		if i/16%2 == 1 {
			want = -1 // -1000 * 0.001
		}
		if got := out[0].At(i); got < want-0.03 || got > want+0.03 {
			t.Fatalf("element %d is %v, want %v", i, got, want)
		}
	}
	computed := onnxtest.QuantizedBias()
	computed.Graph.Nodes[3].Inputs[0] = "x"
	j.ModelPath, j.Digest = onnxtest.Write(t, computed), strings.Repeat("cd", 32)
	b := New(Options{})
	defer b.Close()
	if _, err := bench.Measure(t.Context(), b, j, nil); err == nil || engine.AsError(err).Hint == "" {
		t.Errorf("a bias that is no constant: %v", err)
	}
}

func TestABuildThatTimesNothingDamagesNoTimingCache(t *testing.T) {
	dir := t.TempDir()
	for _, model := range []onnxtest.Model{
		onnxtest.Elementwise("Identity", onnxtest.Float, "N", 64), onnxtest.Elementwise("Identity", onnxtest.Float, "N", 64), onnxtest.Classifier(64, 128, 10),
	} {
		j := job(t, dir, engine.FP32, "")
		j.ModelPath, j.Digest = onnxtest.Write(t, model), ""
		m := measure(t, j)
		if text := strings.Join(m.Warnings, "\n"); strings.Contains(text, "timing cache") {
			t.Errorf("%q", m.Warnings)
		}
	}
}

func TestFailuresOfAGPU(t *testing.T) {
	build := func(model string) *engine.Error {
		j := job(t, t.TempDir(), engine.FP32, "")
		j.ModelPath, j.InputsPath = model, ""
		b := New(Options{})
		defer b.Close()
		_, err := bench.Measure(t.Context(), b, j, nil)
		if err == nil {
			t.Fatalf("%s was measured", filepath.Base(model))
		}
		return engine.AsError(err)
	}
	if e := build(onnxtest.Write(t, onnxtest.Custom())); e.Kind != engine.KindUnsupportedOperator || e.Operator != "Frobnicate" || e.Node == "" {
		t.Errorf("a custom operator: %+v", e)
	}
	whole, err := os.ReadFile(onnxtest.Write(t, onnxtest.Classifier(64, 128, 10)))
	if err != nil {
		t.Fatal(err)
	}
	if e := build(onnxtest.WriteBytes(t, whole[:len(whole)/2])); e.Kind != engine.KindInvalidModel {
		t.Errorf("a truncated file: %+v", e)
	}
	cancelled, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	j := job(t, t.TempDir(), engine.FP32, "")
	if _, err := bench.Measure(cancelled, New(Options{}), j, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := New(Options{Device: 99}).Environment(t.Context()); err == nil || engine.AsError(err).Kind != engine.KindUnavailable {
		t.Errorf("GPU 99: %v", err)
	}
}

// The GPU is taken away: seen by a process of its own, as CUDA reads the variable once.
func TestAGPUThatIsTakenAway(t *testing.T) {
	if os.Getenv("PLANCAST_TEST_NO_GPU") != "" {
		_, err := New(Options{}).Environment(t.Context())
		e := engine.AsError(err)
		if e.Kind != engine.KindUnavailable || e.Hint == "" {
			t.Errorf("%+v", e)
		}
		t.Logf("%v", e)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestAGPUThatIsTakenAway$", "-test.v")
	cmd.Env = append(os.Environ(), "PLANCAST_TEST_NO_GPU=1", "CUDA_VISIBLE_DEVICES=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// BenchmarkWatching compares windows that NVML's sampler watches with windows that
// it does not, in turns: the ratios of the medians. The model is a small one, whose
// queries take microseconds, or the one that PLANCAST_BENCH_MODEL names (an ONNX
// file with an open batch).
//
//	go test -tags "tensorrt gpu" -run '^$' -bench Watching -benchtime 1x ./exporter/engine/tensorrt
func BenchmarkWatching(b *testing.B) {
	const turns, length = 16, time.Second
	model := os.Getenv("PLANCAST_BENCH_MODEL")
	if model == "" {
		model = onnxtest.Write(b, onnxtest.Classifier(64, 128, 10))
	}
	backend := New(Options{})
	defer backend.Close()
	level := 1
	settings := engine.Settings{WorkspaceBytes: 1 << 30, OptimizationLevel: &level, CUDAGraph: true, SpinWait: true, Transfers: true}
	read, err := onnx.ReadFile(model)
	if err != nil {
		b.Fatal(err)
	}
	profiles, shapes := map[string]engine.Profile{}, make([][]int64, len(read.Inputs))
	for i, in := range read.Inputs {
		for k, d := range in.Dims {
			size := d.Size
			if size < 0 && k == 0 {
				size = 8
			}
			shapes[i] = append(shapes[i], size)
		}
		profiles[in.Name] = engine.Profile{Min: shapes[i], Opt: shapes[i], Max: shapes[i]}
	}
	inputs, err := tensorio.Generate(read.Inputs, shapes, 1)
	if err != nil {
		b.Fatal(err)
	}
	plan, err := backend.Build(b.Context(), engine.BuildRequest{
		ModelPath: model, Precision: engine.FP16, WorkDir: b.TempDir(), Settings: settings, Profiles: profiles, Progress: func(engine.Progress) {},
	})
	if err != nil {
		b.Fatal(err)
	}
	e, err := backend.Load(b.Context(), plan, engine.LoadOptions{Settings: settings, Concurrency: 2})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	device, err := backend.Device()
	if err != nil {
		b.Fatal(err)
	}
	w, err := gpu.NewWatcher(gpu.Options{}, gpu.ID{UUID: device.UUID, PCIBusID: device.PCIBusID})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()

	type figures struct{ p50, p99, throughput []float64 }
	window := func(lanes int, watched bool, to *figures) {
		stop := func() bench.Telemetry { return bench.Telemetry{} }
		if watched {
			stop = w.Start()
		}
		got, err := e.Time(b.Context(), inputs, engine.TimeOptions{Concurrency: lanes, Queries: 1, Duration: length, MaxDuration: 10 * length, WarmUp: length / 4})
		telemetry := stop()
		if err != nil {
			b.Fatal(err)
		}
		if watched && (telemetry.Utilization == nil || telemetry.Problem != "") {
			b.Fatalf("the sampler saw %+v", telemetry)
		}
		slices.Sort(got.Latencies)
		to.p50 = append(to.p50, bench.NearestRank(got.Latencies, 0.5))
		to.p99 = append(to.p99, bench.NearestRank(got.Latencies, 0.99))
		to.throughput = append(to.throughput, float64(len(got.Latencies))/got.Elapsed)
	}
	median := func(v []float64) float64 {
		slices.Sort(v)
		return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	}
	for range b.N {
		for _, lanes := range []int{1, 2} {
			var with, without figures
			for turn := range turns {
				// The one to begin alternates.
				if turn%2 == 0 {
					window(lanes, false, &without)
				}
				window(lanes, true, &with)
				if turn%2 != 0 {
					window(lanes, false, &without)
				}
			}
			b.Logf("%d in flight: P50 %.1f us, %.0f/s unwatched", lanes, median(without.p50)*1e6, median(without.throughput))
			b.Logf("  without: P99 %.4g, %.5g/s", without.p99, without.throughput)
			b.Logf("  with:    P99 %.4g, %.5g/s", with.p99, with.throughput)
			b.ReportMetric(median(with.p50)/median(without.p50), fmt.Sprintf("P50-ratio-%d", lanes))
			b.ReportMetric(median(with.p99)/median(without.p99), fmt.Sprintf("P99-ratio-%d", lanes))
			b.ReportMetric(median(with.throughput)/median(without.throughput), fmt.Sprintf("throughput-ratio-%d", lanes))
		}
	}
}
