//go:build tensorrt && cgo && gpu

package tensorrt

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/enginetest"
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
	m, err := bench.Measure(t.Context(), New(Options{}), j, nil)
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

func TestPoorCalibrationDataAreToldOf(t *testing.T) {
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
	_, err := bench.Measure(t.Context(), New(Options{}), j, nil)
	var e *engine.Error
	if !errors.As(err, &e) || e.Kind != engine.KindRunFailed || e.Hint == "" {
		t.Errorf("a foreign plan: %v", err)
	}
	if m := measure(t, j); m.Plan.Reused {
		t.Error("the foreign plan was not built anew")
	}
}

func TestFailuresOfAGPU(t *testing.T) {
	build := func(model string) *engine.Error {
		j := job(t, t.TempDir(), engine.FP32, "")
		j.ModelPath, j.InputsPath = model, ""
		_, err := bench.Measure(t.Context(), New(Options{}), j, nil)
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
