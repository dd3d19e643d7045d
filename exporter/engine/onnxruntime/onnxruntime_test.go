package onnxruntime

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/enginetest"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/ort"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/tensorio"
)

// backend returns a backend whose library is there. Without the library tests
// are skipped, unless PLANCAST_REQUIRE_ONNXRUNTIME says that it must be there.
func backend(t testing.TB) *Backend {
	t.Helper()
	if _, err := FindLibrary(""); err != nil {
		if os.Getenv("PLANCAST_REQUIRE_ONNXRUNTIME") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return New(Options{})
}

func half(m onnxtest.Model) onnxtest.Model {
	for i := range m.Graph.Inputs {
		m.Graph.Inputs[i].Type = onnxtest.Float16
	}
	for i := range m.Graph.Outputs {
		m.Graph.Outputs[i].Type = onnxtest.Float16
	}
	return m
}

func TestContract(t *testing.T) {
	enginetest.TestBackend(t, func(t testing.TB) engine.Backend { return backend(t) }, enginetest.Fixtures{
		Model:       onnxtest.Write(t, onnxtest.Classifier(8, 16, 4)),
		Invalid:     onnxtest.WriteBytes(t, []byte("not a model")),
		Unsupported: onnxtest.Write(t, onnxtest.Custom()),
		Int8:        onnxtest.Write(t, onnxtest.Quantized(8, 4)),
		Half:        onnxtest.Write(t, onnxtest.Elementwise("Relu", onnxtest.Float16, "N", 4)),
		Decoder:     onnxtest.Generated(t, "decoder.onnx"),
		Refused:     engine.FP16,
		Layers:      true,
	})
}

func open(t *testing.T, m onnxtest.Model, p engine.Precision) engine.Engine {
	t.Helper()
	b := backend(t)
	plan, err := b.Build(context.Background(), engine.BuildRequest{
		ModelPath: onnxtest.Write(t, m), Precision: p, WorkDir: t.TempDir(), Settings: engine.Settings{Threads: 1}, Progress: func(engine.Progress) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := b.Load(context.Background(), plan, engine.LoadOptions{Settings: engine.Settings{Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func generate(t *testing.T, e engine.Engine, batch int64) []engine.Tensor {
	t.Helper()
	shapes, err := tensorio.Shapes{Batch: batch}.Resolve(e.Inputs())
	if err != nil {
		t.Fatal(err)
	}
	inputs, err := tensorio.Generate(e.Inputs(), shapes, 1)
	if err != nil {
		t.Fatal(err)
	}
	return inputs
}

func TestEveryElementTypeGoesInAndOut(t *testing.T) {
	types := map[engine.DType]int{
		engine.Float32: 1, engine.Uint8: 2, engine.Int8: 3, engine.Uint16: 4, engine.Int16: 5, engine.Int32: 6, engine.Int64: 7,
		engine.Bool: 9, engine.Float16: 10, engine.Float64: 11, engine.Uint32: 12, engine.Uint64: 13, engine.BFloat16: 16,
	}
	for dtype, code := range types {
		for name, dims := range map[string][]onnxtest.Dim{"scalar": {}, "vector": {3}, "symbolic": {"N", 2, 2}, "without elements": {"N", 0, 2}} {
			t.Run(string(dtype)+" "+name, func(t *testing.T) {
				p := engine.FP32
				if dtype == engine.Float16 {
					p = engine.FP16
				}
				e := open(t, onnxtest.Elementwise("Identity", code, dims...), p)
				in := generate(t, e, 2)
				out, err := e.Infer(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				if out[0].DType != dtype || !reflect.DeepEqual(out[0].Data, in[0].Data) || len(out[0].Shape) != len(dims) {
					t.Errorf("%v%v became %v%v", in[0].Shape, in[0].Data, out[0].Shape, out[0].Data)
				}
				if _, err := e.Time(context.Background(), in, engine.TimeOptions{Concurrency: 2, Queries: 4}); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestOutputShapesThatDependOnTheData(t *testing.T) {
	e := open(t, onnxtest.NonZero(5), engine.FP32)
	in := engine.Tensor{Name: "x", DType: engine.Float32, Shape: []int64{5}, Data: onnxtest.Floats(0, 1, 0, 0, 2)}
	out, err := e.Infer(context.Background(), []engine.Tensor{in})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(out[0].Shape, []int64{1, 2}) || out[0].At(0) != 1 || out[0].At(1) != 4 {
		t.Errorf("%v %v %v", out[0].Shape, out[0].At(0), out[0].At(1))
	}
	if w, err := e.Time(context.Background(), []engine.Tensor{in}, engine.TimeOptions{Concurrency: 2, Queries: 10}); err != nil || len(w.Latencies) < 10 {
		t.Errorf("%d queries, %v", len(w.Latencies), err)
	}
}

func TestSubgraphsAndScalarsRun(t *testing.T) {
	e := open(t, onnxtest.Branches(), engine.FP32)
	x := engine.Tensor{Name: "x", DType: engine.Float32, Shape: []int64{4}, Data: onnxtest.Floats(-1, 2, -3, 4)}
	for c, want := range map[byte][]byte{1: onnxtest.Floats(0, 2, 0, 4), 0: onnxtest.Floats(1, -2, 3, -4)} {
		out, err := e.Infer(context.Background(), []engine.Tensor{{Name: "c", DType: engine.Bool, Shape: []int64{}, Data: []byte{c}}, x})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(out[0].Data, want) {
			t.Errorf("branch %d: %v", c, out[0].Data)
		}
	}
}

func TestUnsupportedOperatorIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		model          onnxtest.Model
		operator, node string
	}{
		"of a foreign domain": {onnxtest.Custom(), "com.example:Frobnicate", ""},
		"of ai.onnx":          {onnxtest.Unknown(), "Frobnicate", "node"},
	} {
		b := backend(t)
		_, err := b.Build(context.Background(), engine.BuildRequest{ModelPath: onnxtest.Write(t, c.model), Precision: engine.FP32, WorkDir: t.TempDir(), Progress: func(engine.Progress) {}})
		var e *engine.Error
		if !errors.As(err, &e) || e.Kind != engine.KindUnsupportedOperator || e.Operator != c.operator || e.Node != c.node {
			t.Errorf("%s: %+v", name, err)
		}
	}
}

func TestPrecisionsThatAreNotShippedAreRefusedWithAdvice(t *testing.T) {
	b := backend(t)
	for _, c := range []struct {
		model onnxtest.Model
		want  engine.Precision
		says  string
	}{
		{onnxtest.Classifier(8, 16, 4), engine.INT8, "ships as fp32: ship a quantized model"},
		{onnxtest.Classifier(8, 16, 4), engine.FP16, "ships as fp32: ship a model converted to float16"},
		{onnxtest.Quantized(8, 4), engine.FP32, "ships as int8: ship a float32 export"},
		{half(onnxtest.Elementwise("Relu", onnxtest.Float16, 4)), engine.FP32, "ships as fp16: ship a float32 export"},
	} {
		_, err := b.Build(context.Background(), engine.BuildRequest{ModelPath: onnxtest.Write(t, c.model), Precision: c.want, WorkDir: t.TempDir(), Progress: func(engine.Progress) {}})
		if err == nil || !strings.Contains(err.Error(), c.says) || engine.AsError(err).Kind != engine.KindUnsupportedPrecision {
			t.Errorf("%v, want %q", err, c.says)
		}
	}
}

func TestLayers(t *testing.T) {
	type layer struct {
		typ       string
		precision engine.Precision
		origins   string
	}
	for name, c := range map[string]struct {
		model     onnxtest.Model
		precision engine.Precision
		want      []layer
	}{
		"a bias and an activation fuse into the product": {onnxtest.Classifier(8, 16, 4), engine.FP32, []layer{
			{"com.microsoft:FusedGemm", engine.FP32, "hidden bias relu"}, {"MatMul", engine.FP32, "logits"}, {"Softmax", engine.FP32, "softmax"}}},
		"a quantized product takes its scales in": {onnxtest.Quantized(8, 4), engine.INT8, []layer{
			{"QuantizeLinear", "", "q"}, {"QLinearMatMul", engine.INT8, "dqx product qy"}, {"DequantizeLinear", "", "dqy"}}},
	} {
		layers, err := open(t, c.model, c.precision).Layers(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var got []layer
		for _, l := range layers {
			got = append(got, layer{l.Type, l.Precision, strings.Join(l.Origins, " ")})
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\ngot  %v\nwant %v", name, got, c.want)
		}
	}
	// In which layout a convolution runs depends on the CPU, but a convolution
	// and its activation are one layer on all of them.
	layers, err := open(t, onnxtest.Convolution(16), engine.FP32).Layers(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, l := range layers {
		found = found || reflect.DeepEqual(l.Origins, []string{"conv", "relu"}) && l.Precision == engine.FP32
	}
	if !found {
		t.Errorf("no fused convolution in %v", layers)
	}
}

// A query that took memory would take time for it.
func TestTheTimedLoopDoesNotAllocate(t *testing.T) {
	s := open(t, onnxtest.Classifier(8, 16, 4), engine.FP32).(*session)
	in := generate(t, s, 1)
	known, err := s.learn(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.newLane(in, known.shapes)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	allocations := func(queries int) float64 {
		times := ort.NewTimes(queries)
		return testing.AllocsPerRun(20, func() {
			w, err := ort.NewWindow(queries, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer w.Free()
			times.Starts, times.Latencies = times.Starts[:0], times.Latencies[:0]
			w.Begin()
			if err := l.Binding.Time(w, l.Allocated, &times); err != nil {
				t.Fatal(err)
			}
			if w.Count() != queries || len(times.Starts) != queries || len(times.Latencies) != queries {
				t.Fatalf("%d of %d queries, with %d starts and %d latencies", w.Count(), queries, len(times.Starts), len(times.Latencies))
			}
		})
	}
	if one, many := allocations(1), allocations(500); one != many {
		t.Errorf("%v allocations for one query, %v for 500", one, many)
	}
}

// Without room for its queries a window takes more, and loses none.
func TestAWindowGrows(t *testing.T) {
	s := open(t, onnxtest.Classifier(8, 16, 4), engine.FP32).(*session)
	l, err := s.newLane(generate(t, s, 1), [][]int64{nil})
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	n, err := s.race(t.Context(), []*lane{l}, engine.TimeOptions{Queries: 1000}, 0)
	if err != nil || n != 1000 || len(l.times.Starts) != 1000 {
		t.Fatalf("%d queries, %d starts, %v; want 1000", n, len(l.times.Starts), err)
	}
	for i := range l.times.Starts[1:] {
		if l.times.Starts[i+1] < l.times.Starts[i]+l.times.Latencies[i] {
			t.Fatalf("query %d starts before query %d ends", i+1, i)
		}
	}
}

func TestExternalData(t *testing.T) {
	m := onnxtest.Classifier(8, 16, 4)
	weights := m.Graph.Initializers[0].Data
	m.Graph.Initializers[0].External = "weights.bin"
	path := onnxtest.Write(t, m)
	b := backend(t)
	req := engine.BuildRequest{ModelPath: path, Precision: engine.FP32, WorkDir: t.TempDir(), Progress: func(engine.Progress) {}}
	if _, err := b.Build(context.Background(), req); err == nil || !strings.Contains(err.Error(), `"weights.bin"`) {
		t.Errorf("missing weights: %v", err)
	}
	outside := filepath.Join(t.TempDir(), "secret")
	if err := errors.Join(os.WriteFile(outside, weights, 0o600), os.Symlink(outside, filepath.Join(filepath.Dir(path), "weights.bin"))); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Build(context.Background(), req); err == nil || !strings.Contains(err.Error(), "outside") {
		t.Errorf("a link that leads away: %v", err)
	}
	if err := errors.Join(os.Remove(filepath.Join(filepath.Dir(path), "weights.bin")), os.WriteFile(filepath.Join(filepath.Dir(path), "weights.bin"), weights, 0o600)); err != nil {
		t.Fatal(err)
	}
	plan, err := b.Build(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	e, err := b.Load(context.Background(), plan, engine.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Infer(context.Background(), generate(t, e, 1)); err != nil {
		t.Error(err)
	}
	if _, err := e.Layers(context.Background()); !errors.Is(err, engine.ErrNoLayers) {
		t.Errorf("layers: %v", err)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	b := backend(t)
	path := onnxtest.Write(t, onnxtest.Classifier(8, 16, 4))
	for _, s := range []engine.Settings{{GraphOptimization: "maximum"}, {Threads: -1}} {
		if _, err := b.Build(context.Background(), engine.BuildRequest{ModelPath: path, Precision: engine.FP32, WorkDir: t.TempDir(), Settings: s, Progress: func(engine.Progress) {}}); err == nil {
			t.Errorf("%+v was taken", s)
		}
	}
	for level := range levels {
		if _, err := b.Build(context.Background(), engine.BuildRequest{ModelPath: path, Precision: engine.FP32, WorkDir: t.TempDir(), Settings: engine.Settings{GraphOptimization: level}, Progress: func(engine.Progress) {}}); err != nil {
			t.Errorf("%q: %v", level, err)
		}
	}
}

func TestWhereTheLibraryIsSearched(t *testing.T) {
	dir := t.TempDir()
	touch := func(name string) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("PLANCAST_CACHE", dir)
	t.Setenv(LibraryVariable, "")
	old, newer := touch("onnxruntime/1.9.0/libonnxruntime.so"), touch("onnxruntime/1.32.0/libonnxruntime.so")
	other := touch("other/libonnxruntime.so")
	if got, err := FindLibrary(""); got != newer {
		t.Errorf("the newest of the cache: %s, %v", got, err)
	}
	if got, _ := FindLibrary(old); got != old {
		t.Errorf("the configured one: %s", got)
	}
	t.Setenv(LibraryVariable, other)
	if got, _ := FindLibrary(""); got != other {
		t.Errorf("the variable's: %s", got)
	}
	t.Setenv(LibraryVariable, filepath.Join(dir, "nowhere"))
	if _, err := FindLibrary(""); err == nil || !strings.Contains(err.Error(), LibraryVariable) || !strings.Contains(err.Error(), "make setup") {
		t.Errorf("a variable that names nothing: %v", err)
	}
	t.Setenv(LibraryVariable, "")
	t.Setenv("PLANCAST_CACHE", filepath.Join(dir, "empty"))
	systemFolders = []string{filepath.Join(dir, "lib")}
	_, err := FindLibrary("")
	if e := engine.AsError(err); e.Kind != engine.KindUnavailable || !strings.Contains(e.Message, filepath.Join(dir, "lib")) || !strings.Contains(e.Message, filepath.Join(dir, "empty")) {
		t.Errorf("nothing anywhere: %v", err)
	}
}

func TestMachine(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"proc/cpuinfo":                                         "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz\n\nprocessor\t: 1\nmodel name\t: other\n",
		"proc/self/cgroup":                                     "0::/worker/job\n",
		"sys/fs/cgroup/worker/cpu.max":                         "150000 100000\n",
		"sys/fs/cgroup/worker/job/cpu.max":                     "max 100000\n",
		"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	r := root(dir)
	if got := r.cpuModel(); got != "Intel Xeon Platinum 8370C" {
		t.Errorf("CPU %q", got)
	}
	if got := r.cores(8); got != 2 {
		t.Errorf("%d cores under a quota of 1.5", got)
	}
	if got := r.cores(1); got != 1 {
		t.Errorf("%d cores of 1", got)
	}
	if r.governor() != "performance" {
		t.Errorf("governor %q", r.governor())
	}
	if empty := root(t.TempDir()); empty.cores(4) != 4 || empty.governor() != "" || empty.cpuModel() == "" {
		t.Error("a machine that says nothing")
	}
}

func TestInferIsCancelled(t *testing.T) {
	e := open(t, onnxtest.Classifier(8, 16, 4), engine.FP32)
	ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	if _, err := e.Infer(ctx, generate(t, e, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// A confined process reads the library's folder, and no folder above it.
func TestTheLibraryIsFoundWhenTheBackendIsMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "onnxruntime", "1.99.0")
	library := filepath.Join(dir, "libonnxruntime.so")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(library, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv(LibraryVariable, "")
	t.Setenv("PLANCAST_CACHE", filepath.Dir(filepath.Dir(dir)))
	b := New(Options{})
	t.Setenv("PLANCAST_CACHE", "/nonexistent")
	if got := b.Places().Libraries; b.opts.Library != library || !slices.Contains(got, dir) {
		t.Errorf("library %q, places %q", b.opts.Library, got)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
