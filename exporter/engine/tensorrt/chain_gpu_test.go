//go:build tensorrt && cgo && gpu

package tensorrt

import (
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/workload"
)

// Prefill, decode and a mix of contexts run on profiles of their own, each step as a
// CUDA graph.
func TestPhasesOfADecoderAreMeasured(t *testing.T) {
	shape := func(weight float64, dims map[string]int64) workload.Shape {
		return workload.Shape{Weight: weight, Dims: dims}
	}
	for _, p := range []engine.Precision{engine.FP32, engine.FP16} {
		j := job(t, t.TempDir(), p, "")
		j.ModelPath, j.InputsPath = onnxtest.Generated(t, "decoder.onnx"), ""
		j.Dims = map[string]int64{"sequence": 1, "past_sequence": 8}
		j.Settings.ProfileBatch = nil
		j.Options.Workloads = []workload.Workload{
			{Name: "prefill", Phase: workload.Prefill, Concurrency: 1, Shapes: []workload.Shape{shape(1, map[string]int64{"sequence": 64})}},
			{Name: "decode", Phase: workload.Decode, Concurrency: 1, Shapes: []workload.Shape{shape(1, map[string]int64{"past_sequence": 200})}},
			{Name: "mixed", Phase: workload.Decode, Concurrency: 2, Shapes: []workload.Shape{
				shape(3, map[string]int64{"past_sequence": 50}), shape(1, map[string]int64{"past_sequence": 200, "batch": 4}),
			}},
		}
		for _, w := range measure(t, j).Workloads {
			if w.Failure != nil || w.Latency == nil || w.Generation == nil || w.Generation.Tokens <= 0 {
				t.Errorf("%s %s: %v, %+v", p, w.Name, w.Failure, w)
				continue
			}
			if text := strings.Join(w.Warnings, "\n"); strings.Contains(text, "CUDA graph") || strings.Contains(text, "recognized") {
				t.Errorf("%s %s: %s", p, w.Name, text)
			}
			t.Logf("%s %s: mean %.4g ms, %.0f tokens a second, cache %+v, %q", p, w.Name, 1e3*w.Latency.Mean, w.Generation.Tokens, w.Generation.Cache, w.Warnings)
		}
	}
}
