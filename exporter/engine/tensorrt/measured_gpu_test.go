//go:build tensorrt && cgo && gpu

package tensorrt

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/tensorio"
)

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
	for _, want := range []string{"16 samples instead of 100", "values lie in their range", "channels are covered"} {
		if !strings.Contains(text, want) {
			t.Errorf("no warning of %q in\n%s", want, text)
		}
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
