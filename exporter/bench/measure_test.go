package bench

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/engine/onnxruntime"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/runtimetest"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/tensorio"
)

// job is a job for the fake backend.
func job(t *testing.T, s fake.Script) Job {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "model.json")
	if err := fake.Write(path, s); err != nil {
		t.Fatal(err)
	}
	return Job{Backend: fake.Name, Model: "m", Version: "1", ModelPath: path, Precision: engine.FP32, Options: DefaultOptions(), Guard: DefaultGuard(), WorkDir: dir}
}

func ms(n ...float64) (out []fake.Duration) {
	for _, x := range n {
		out = append(out, fake.Duration(x*float64(time.Millisecond)))
	}
	return out
}

func TestMeasure(t *testing.T) {
	layers := []engine.Layer{{Name: "a", Type: "Conv", Precision: engine.FP32, Origins: []string{"c", "r"}}, {Name: "b", Type: "Softmax", Precision: engine.FP32}}
	j := job(t, fake.Script{Latency: ms(2)[0], Jitter: 0.01, Layers: layers, PeakBytes: 1 << 20})
	var stages []string
	m, err := Measure(context.Background(), fake.New(), j, func(p engine.Progress) {
		if len(stages) == 0 || stages[len(stages)-1] != p.Stage {
			stages = append(stages, p.Stage)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"build", "load", "warm-up", "throughput", "latency", "layers"}; !reflect.DeepEqual(stages, want) {
		t.Errorf("stages %v, want %v", stages, want)
	}
	if !m.Stable || m.Windows != 2 || len(m.Warnings) != 0 {
		t.Errorf("stable %t after %d windows, warnings %q", m.Stable, m.Windows, m.Warnings)
	}
	p99, ok := m.Latency.At(0.99)
	if !ok || p99.Upper == nil || math.Abs(m.Latency.Mean-0.002) > 1e-5 || m.Latency.Queries < 2*1000 {
		t.Errorf("latency %+v", m.Latency)
	}
	if len(m.Sweep) != 2 || m.Sweep[0].Concurrency != 1 || m.Sweep[1].Concurrency != 2 || math.Abs(m.Throughput-500) > 5 {
		t.Errorf("throughput %v, sweep %+v", m.Throughput, m.Sweep)
	}
	if m.Accuracy != nil {
		t.Errorf("accuracy without anything to compare: %+v", m.Accuracy)
	}
	if m.Layers == nil || m.Layers.Total != 2 || m.Layers.Fused != 1 || m.Layers.ByPrecision[engine.FP32] != 2 || m.Layers.Unquantized != nil {
		t.Errorf("layers %+v", m.Layers)
	}
	if *m.Memory.PeakBytes != 1<<20 {
		t.Errorf("memory %+v", m.Memory)
	}
	if _, err := json.Marshal(m); err != nil {
		t.Errorf("it does not travel as JSON: %v", err)
	}
}

func TestWindowsRepeatUntilTheyAgree(t *testing.T) {
	// The first entry is the warm-up's.
	for name, c := range map[string]struct {
		latencies []fake.Duration
		windows   int
		stable    bool
		mean      float64
	}{
		"steady":                      {ms(1, 1, 1), 2, true, 0.001},
		"settles after a slow start":  {ms(9, 5, 3, 1, 1.01), 4, true, 0.001005},
		"never settles":               {ms(1, 1, 2, 1, 2, 1), 5, false, 0},
		"throughput within 3 percent": {ms(1, 1, 1.029), 2, true, 0.0010143},
		"throughput beyond 3 percent": {ms(1, 1, 1.035, 1.035), 3, true, 0.001035},
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t, fake.Script{Latencies: c.latencies})
			j.Options.Concurrency = nil // no window of a sweep in between
			m, err := Measure(context.Background(), fake.New(), j, nil)
			if err != nil {
				t.Fatal(err)
			}
			if m.Windows != c.windows || m.Stable != c.stable {
				t.Errorf("%d windows, stable %t; want %d, %t", m.Windows, m.Stable, c.windows, c.stable)
			}
			if c.stable && math.Abs(m.Latency.Mean/c.mean-1) > 0.001 {
				t.Errorf("mean %v, want %v: only the windows that agree count", m.Latency.Mean, c.mean)
			}
			if settled := !slices.ContainsFunc(m.Warnings, func(w string) bool { return strings.Contains(w, "did not settle") }); settled != c.stable {
				t.Errorf("warnings %q", m.Warnings)
			}
		})
	}
}

func TestTooFewQueriesForAPercentileAreSaid(t *testing.T) {
	for queries, want := range map[int]string{200: "P99 needs at least 459 queries; got 400", 300: "a bound on P99 needs at least 662 queries; got 600"} {
		j := job(t, fake.Script{Latency: ms(1)[0]})
		j.Options.MinQueries, j.Options.MinWindow, j.Options.MaxWindow = queries, 0, time.Duration(queries)*time.Millisecond
		m, err := Measure(context.Background(), fake.New(), j, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(m.Warnings, func(w string) bool { return strings.Contains(w, want) }) {
			t.Errorf("%d queries a window: %q", queries, m.Warnings)
		}
		if _, ok := m.Latency.At(0.99); ok != (m.Latency.Queries >= 459) {
			t.Errorf("P99 of %d queries: %t", m.Latency.Queries, ok)
		}
	}
}

func TestBatches(t *testing.T) {
	fixed := []engine.TensorInfo{{Name: "x", DType: engine.Float32, Dims: []engine.Dim{{Size: 4}, {Size: 3}}}}
	alone := engine.TensorInfo{Name: "state", DType: engine.Float32, Dims: []engine.Dim{{Size: 2}, {Size: 3}}}
	for name, c := range map[string]struct {
		script   fake.Script
		batches  []int
		maxBatch int
		sweep    [][2]int
		warning  string
	}{
		"every batch at every concurrency":          {fake.Script{PerSample: true}, []int{1, 4}, 0, [][2]int{{1, 1}, {1, 2}, {4, 1}, {4, 2}}, ""},
		"the first batch is the latency's":          {fake.Script{}, []int{4, 1}, 0, [][2]int{{4, 1}, {4, 2}, {1, 1}, {1, 2}}, ""},
		"batches above max_batch_size are left out": {fake.Script{}, []int{1, 16}, 8, [][2]int{{1, 1}, {1, 2}}, "batch 16 is skipped"},
		"fixed shapes whose batch is named":         {fake.Script{Inputs: fixed}, []int{1, 4}, 0, [][2]int{{4, 1}, {4, 2}}, "batch 1 is skipped"},
		"a batch that the model fixes":              {fake.Script{Inputs: fixed}, []int{1}, 0, [][2]int{{4, 1}, {4, 2}}, "the batch is fixed to 4 in the model (x float32[4,3]): a query counts as 4 inferences, and batch 1 is skipped"},
		"fixed shapes otherwise: a query is one":    {fake.Script{Inputs: append(fixed, alone)}, []int{2}, 0, [][2]int{{1, 1}, {1, 2}}, "batch 2 is skipped"},
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t, c.script)
			j.Options.Batches, j.MaxBatch = c.batches, c.maxBatch
			m, err := Measure(context.Background(), fake.New(), j, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got [][2]int
			for _, p := range m.Sweep {
				got = append(got, [2]int{p.Batch, p.Concurrency})
			}
			if !reflect.DeepEqual(got, c.sweep) || m.Latency.Batch != c.sweep[0][0] {
				t.Errorf("sweep %v, want %v", got, c.sweep)
			}
			if warned := len(m.Warnings) > 0; warned != (c.warning != "") || !strings.Contains(strings.Join(m.Warnings, "\n"), c.warning) {
				t.Errorf("warnings %q, want %q", m.Warnings, c.warning)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		script fake.Script
		change func(*Job)
		kind   engine.Kind
		says   string
	}{
		"build":         {fake.Script{Fault: fake.BuildFailed}, nil, engine.KindBuildFailed, "as the script says"},
		"operator":      {fake.Script{Fault: fake.UnsupportedOperator}, nil, engine.KindUnsupportedOperator, "Frobnicate"},
		"memory":        {fake.Script{Fault: fake.OutOfMemory, At: "load"}, nil, engine.KindOutOfMemory, ""},
		"run":           {fake.Script{Fault: fake.RunFailed, At: "time"}, nil, engine.KindRunFailed, ""},
		"precision":     {fake.Script{Precisions: []engine.Precision{engine.FP16}}, nil, engine.KindUnsupportedPrecision, ""},
		"options":       {fake.Script{}, func(j *Job) { j.Options.Batches = nil }, engine.KindInternal, "batches is empty"},
		"no inputs.npz": {fake.Script{}, func(j *Job) { j.InputsPath = "/nonexistent.npz" }, engine.KindInvalidInput, "/nonexistent.npz"},
		"a symbol without a size": {fake.Script{Inputs: []engine.TensorInfo{{Name: "tokens", DType: engine.Int64, Dims: []engine.Dim{{Size: -1, Name: "N"}, {Size: -1, Name: "sequence"}}}}},
			nil, engine.KindInvalidInput, `"sequence", dimension 1 of tokens int64[N,sequence]: write dims: {"sequence": SIZE}`},
		"no inputs":             {fake.Script{Inputs: []engine.TensorInfo{}}, func(j *Job) { j.ModelPath = onnxtest.Write(t, constant()) }, engine.KindInvalidModel, "the model has no inputs, so there is nothing to measure"},
		"all batches too large": {fake.Script{}, func(j *Job) { j.Options.Batches, j.MaxBatch = []int{8}, 4 }, engine.KindInvalidInput, "max_batch_size 4"},
		"NaN everywhere":        {fake.Script{NaN: true}, func(j *Job) { j.OutputsPath = filepath.Join(j.WorkDir, "o.npz") }, engine.KindAccuracy, "NaN"},
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t, c.script)
			if c.change != nil {
				c.change(&j)
			}
			_, err := Measure(context.Background(), fake.New(), j, nil)
			var e *engine.Error
			if !errors.As(err, &e) || e.Kind != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %s with %q", err, c.kind, c.says)
			}
		})
	}
}

func TestCancelling(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	_, err := Measure(ctx, fake.New(), job(t, fake.Script{}), func(p engine.Progress) {
		if p.Stage == "latency" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func floats(name string, shape []int64, values ...float32) engine.Tensor {
	return engine.Tensor{Name: name, DType: engine.Float32, Shape: shape, Data: onnxtest.Floats(values...)}
}

func TestAccuracyOfAScaledModel(t *testing.T) {
	inputs := filepath.Join(t.TempDir(), "inputs.npz")
	x := floats("x", []int64{3, 4}, 1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4)
	if err := tensorio.WriteNPZ(inputs, []engine.Tensor{x}); err != nil {
		t.Fatal(err)
	}
	first := job(t, fake.Script{})
	first.InputsPath, first.OutputsPath = inputs, filepath.Join(t.TempDir(), "outputs.npz")
	m, err := Measure(context.Background(), fake.New(), first, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := m.Accuracy; a.Samples != 3 || a.Reference != "itself" || a.Deviation != 0 || a.Cosine != 1 || *a.Top1Agreement != 1 {
		t.Errorf("%+v", a)
	}
	scale := 1.1
	second := job(t, fake.Script{Scale: &scale})
	second.InputsPath, second.ReferencePath, second.ReferenceName = inputs, first.OutputsPath, "version 1 fp32"
	if m, err = Measure(context.Background(), fake.New(), second, nil); err != nil {
		t.Fatal(err)
	}
	a := m.Accuracy
	if a.Reference != "version 1 fp32" || a.Measure != DeviationRelL2 || math.Abs(a.Deviation-0.1) > 1e-6 || math.Abs(a.RelL2-0.1) > 1e-6 ||
		math.Abs(a.MaxAbs-0.8) > 1e-6 || math.Abs(a.MeanAbs-4.6/12) > 1e-6 || math.Abs(a.Cosine-1) > 1e-9 || *a.Top1Agreement != 1 {
		t.Errorf("%+v", a)
	}
	second.Options.MaxDeviation = 0.05
	if _, err := Measure(context.Background(), fake.New(), second, nil); engine.AsError(err).Kind != engine.KindAccuracy {
		t.Errorf("above max_deviation: %v", err)
	}
	broken := second
	broken.ModelPath = job(t, fake.Script{NaN: true}).ModelPath
	if _, err := Measure(context.Background(), fake.New(), broken, nil); engine.AsError(err).Kind != engine.KindAccuracy || !strings.Contains(err.Error(), "12 of 12 values are NaN") {
		t.Errorf("NaN: %v", err)
	}
}

// A failed write leaves nothing behind, and a good one nothing but the file.
func TestOutputsAreWrittenWhole(t *testing.T) {
	j := job(t, fake.Script{})
	dir := t.TempDir()
	j.OutputsPath = filepath.Join(dir, "outputs.npz")
	if _, err := Measure(context.Background(), fake.New(), j, nil); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v %v", entries, err)
	}
	arrays, err := tensorio.ReadNPZ(j.OutputsPath, nil)
	if err != nil || len(arrays) != 1 || !reflect.DeepEqual(arrays[0].Shape, []int64{generatedCalls, 4}) {
		t.Errorf("%v %v", arrays, err)
	}
	j.OutputsPath = filepath.Join(dir, "nowhere", "outputs.npz")
	if _, err := Measure(context.Background(), fake.New(), j, nil); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Error(err)
	}
}

func TestOptionsSayEverythingThatIsWrong(t *testing.T) {
	if err := DefaultOptions().Validate(); err != nil {
		t.Error(err)
	}
	err := Options{WarmUp: -1, Batches: []int{0}, Concurrency: []int{-2}, Deviation: "psnr"}.Validate()
	for _, want := range []string{"warm_up", "min_queries", "max_window", "max_windows", "throughput_tolerance", "p99_tolerance", "batches has 0", "concurrency has -2", "sweep_window", `"psnr"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not speak of %s", err, want)
		}
	}
}

func TestOnRealRuntime(t *testing.T) {
	runtimetest.Need(t)
	quick := DefaultOptions()
	quick.WarmUp, quick.MinWindow, quick.SweepWindow = 10*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond
	quick.Batches = []int{1, 8}
	outputs := filepath.Join(t.TempDir(), "outputs.npz")
	for _, c := range []struct {
		model     onnxtest.Model
		precision engine.Precision
	}{{onnxtest.Classifier(16, 32, 8), engine.FP32}, {onnxtest.Quantized(16, 8), engine.INT8}} {
		j := Job{ModelPath: onnxtest.Write(t, c.model), Precision: c.precision, Options: quick, Settings: engine.Settings{Threads: 1}, WorkDir: t.TempDir(), OutputsPath: outputs}
		m, err := Measure(context.Background(), onnxruntime.New(onnxruntime.Options{}), j, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Sweep) != 4 || m.Layers == nil || m.Accuracy == nil || m.Throughput <= 0 || m.Overhead <= 0 || m.Memory.PeakBytes == nil || m.Plan.SizeBytes == 0 {
			t.Errorf("%+v", m)
		}
		if _, ok := m.Latency.At(0.99); !ok {
			t.Error("no P99")
		}
		if c.precision == engine.INT8 && m.Layers.ByPrecision[engine.INT8] != 1 {
			t.Errorf("layers %+v", m.Layers)
		}
	}
}
