package onnxruntime

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/enginetest"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
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
				in := enginetest.Inputs(t, e, 2)
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
	if _, err := e.Infer(context.Background(), enginetest.Inputs(t, e, 1)); err != nil {
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

func TestInferIsCancelled(t *testing.T) {
	e := open(t, onnxtest.Classifier(8, 16, 4), engine.FP32)
	ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	if _, err := e.Infer(ctx, enginetest.Inputs(t, e, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
