package onnxruntime

import (
	"fmt"
	"slices"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/tensorio"
	"github.com/plancast/plancast/exporter/workload"
)

// BenchmarkStarts measures how late calls begin that an instance is free for: the
// target is a median below 50 µs and a P99 below 1 ms on an idle machine.
func BenchmarkStarts(b *testing.B) {
	runtime := backend(b)
	settings := engine.Settings{Threads: 1}
	plan, err := runtime.Build(b.Context(), engine.BuildRequest{
		ModelPath: onnxtest.Write(b, onnxtest.Classifier(256, 512, 64)), Precision: engine.FP32, WorkDir: b.TempDir(), Settings: settings, Progress: func(engine.Progress) {},
	})
	if err != nil {
		b.Fatal(err)
	}
	e, err := runtime.Load(b.Context(), plan, engine.LoadOptions{Settings: settings})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	inputs, err := tensorio.Generate(e.Inputs(), [][]int64{{1, 256}}, 1)
	if err != nil {
		b.Fatal(err)
	}
	for _, rate := range []float64{200, 2000} {
		b.Run(fmt.Sprintf("%v a second", rate), func(b *testing.B) {
			w := workload.Workload{Shapes: []workload.Shape{{Weight: 1}}, Rate: rate}
			var late []float64
			for b.Loop() {
				requests := w.Sequence(1).Draw(int(3*rate), rate)
				answers, err := e.Serve(b.Context(), []engine.Chain{engine.Call(inputs)}, requests, engine.ServeOptions{Concurrency: 1})
				if err != nil {
					b.Fatal(err)
				}
				late = append(late, workload.Serve(requests, answers, true).Lateness...)
			}
			slices.Sort(late)
			b.ReportMetric(1e6*late[len(late)/2], "P50-µs")
			b.ReportMetric(1e6*late[len(late)*99/100], "P99-µs")
			b.ReportMetric(1e6*late[len(late)-1], "max-µs")
			b.ReportMetric(0, "ns/op")
		})
	}
}
