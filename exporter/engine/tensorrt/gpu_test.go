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
		Decoder:     onnxtest.Generated(t, "decoder.onnx"),
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
	// A damaged plan is rebuilt, from the caches.
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
		t.Error("the foreign plan was not rebuilt")
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
	canceled, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	j := job(t, t.TempDir(), engine.FP32, "")
	if _, err := bench.Measure(canceled, New(Options{}), j, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("canceled: %v", err)
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
