package onnxruntime

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/enginetest"
	"github.com/plancast/plancast/exporter/onnx"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
)

// run infers and times, and returns the outputs and the window's warnings.
func run(t *testing.T, m onnxtest.Model, p engine.Precision, in ...engine.Tensor) ([]engine.Tensor, []string) {
	t.Helper()
	e := open(t, m, p)
	out, err := e.Infer(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	w, err := e.Time(t.Context(), in, engine.TimeOptions{Concurrency: 2, Queries: 6})
	if err != nil || len(w.Latencies) < 6 {
		t.Fatalf("%d queries, %v", len(w.Latencies), err)
	}
	return out, w.Warnings
}

func floats(name string, shape []int64, values ...float32) engine.Tensor {
	return engine.Tensor{Name: name, DType: engine.Float32, Shape: shape, Data: onnxtest.Floats(values...)}
}

func single(op string, in, out onnxtest.Value, attributes ...[]byte) onnxtest.Model {
	return onnxtest.Model{Graph: onnxtest.Graph{
		Nodes:  []onnxtest.Node{{Op: op, Name: "node", Inputs: []string{in.Name}, Outputs: []string{out.Name}, Attributes: attributes}},
		Inputs: []onnxtest.Value{in}, Outputs: []onnxtest.Value{out},
	}}
}

func TestONNXRuntimeAllocatesOutputs(t *testing.T) {
	half := engine.Tensor{Name: "x", DType: engine.Float16, Shape: []int64{2, 2}, Data: []byte{0, 0x3c, 0, 0x40, 0, 0x42, 0, 0x44}} // 1 2 3 4
	for name, c := range map[string]struct {
		model     onnxtest.Model
		in        engine.Tensor
		precision engine.Precision
		shape     []int64
		values    []float64
		warning   string
	}{
		"a float16 output of a size that no input says": {
			single("Transpose", onnxtest.Value{Name: "x", Type: onnxtest.Float16, Dims: []onnxtest.Dim{"N", "T"}}, onnxtest.Value{Name: "y", Type: onnxtest.Float16, Dims: []onnxtest.Dim{nil, "other"}}),
			half, engine.FP16, []int64{2, 2}, []float64{1, 3, 2, 4}, "",
		},
		"a float16 scalar": {
			single("ReduceMax", onnxtest.Value{Name: "x", Type: onnxtest.Float16, Dims: []onnxtest.Dim{"N", 2}}, onnxtest.Value{Name: "y", Type: onnxtest.Float16}, onnxtest.Int("keepdims", 0)),
			half, engine.FP16, []int64{}, []float64{4}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, warnings := run(t, c.model, c.precision, c.in)
			if !reflect.DeepEqual(out[0].Shape, c.shape) {
				t.Fatalf("shape %v", out[0].Shape)
			}
			for i, v := range c.values {
				if out[0].At(i) != v {
					t.Errorf("element %d is %v, want %v", i, out[0].At(i), v)
				}
			}
			if strings.Join(warnings, "") != c.warning {
				t.Errorf("warnings %q", warnings)
			}
		})
	}
}

// wrong declares [N,3] and computes [N,2]: the shape of the Reshape is computed, so
// that ONNX Runtime cannot know before it runs.
func wrong() onnxtest.Model {
	return onnxtest.Model{Graph: onnxtest.Graph{
		Nodes: []onnxtest.Node{
			{Op: "Shape", Name: "shape", Inputs: []string{"x"}, Outputs: []string{"s"}},
			{Op: "Mul", Name: "mul", Inputs: []string{"s", "one"}, Outputs: []string{"s1"}},
			{Op: "Reshape", Name: "reshape", Inputs: []string{"x", "s1"}, Outputs: []string{"y"}},
		},
		Inputs:       []onnxtest.Value{{Name: "x", Type: onnxtest.Float, Dims: []onnxtest.Dim{"N", "K"}}},
		Outputs:      []onnxtest.Value{{Name: "y", Type: onnxtest.Float, Dims: []onnxtest.Dim{"N", 3}}},
		Initializers: []onnxtest.Tensor{{Name: "one", Type: onnxtest.Int64, Dims: []int64{2}, Data: []byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}}},
	}}
}

func TestADeclarationThatIsWrongIsAWarning(t *testing.T) {
	out, warnings := run(t, wrong(), engine.FP32, floats("x", []int64{1, 2}, 1, 2))
	if !reflect.DeepEqual(out[0].Shape, []int64{1, 2}) {
		t.Errorf("shape %v", out[0].Shape)
	}
	if len(warnings) != 1 || warnings[0] != "output y float32[N,3]: a run gives [1 2]; the model's declaration is wrong" {
		t.Errorf("warnings %q", warnings)
	}
}

// noisy gives the positions at which uniform noise is above one half.
func noisy() onnxtest.Model {
	return onnxtest.Model{Graph: onnxtest.Graph{
		Nodes: []onnxtest.Node{
			{Op: "RandomUniformLike", Name: "noise", Inputs: []string{"x"}, Outputs: []string{"r"}},
			{Op: "Greater", Name: "above", Inputs: []string{"r", "half"}, Outputs: []string{"m"}},
			{Op: "NonZero", Name: "where", Inputs: []string{"m"}, Outputs: []string{"y"}},
		},
		Inputs:       []onnxtest.Value{{Name: "x", Type: onnxtest.Float, Dims: []onnxtest.Dim{"N", 4000}}},
		Outputs:      []onnxtest.Value{{Name: "y", Type: onnxtest.Int64, Dims: []onnxtest.Dim{2, "K"}}},
		Initializers: []onnxtest.Tensor{{Name: "half", Type: onnxtest.Float, Data: onnxtest.Floats(0.5)}},
	}}
}

func TestAnOutputThatChangesItsSizeIsMeasuredAndReported(t *testing.T) {
	x, err := engine.NewTensor("x", engine.Float32, []int64{1, 4000})
	if err != nil {
		t.Fatal(err)
	}
	_, warnings := run(t, noisy(), engine.FP32, x)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "changes its size from run to run") {
		t.Errorf("warnings %q", warnings)
	}
}

func TestStringsGoInAndOut(t *testing.T) {
	m := onnxtest.Elementwise("Identity", onnxtest.String, "N", 2)
	in := engine.Tensor{Name: "x", DType: engine.String, Shape: []int64{2, 2}, Strings: []string{"a", "", "Übung", "d"}}
	out, _ := run(t, m, engine.FP32, in)
	if !reflect.DeepEqual(out[0].Strings, in.Strings) || !reflect.DeepEqual(out[0].Shape, in.Shape) {
		t.Errorf("%+v", out[0])
	}
}

func TestSequencesAndOptionalValuesGoInAndOut(t *testing.T) {
	item := onnxtest.Value{Name: "x", Type: onnxtest.Float, Dims: []onnxtest.Dim{"N"}}
	sequence := onnxtest.Value{Name: "s", Type: onnxtest.Float, Dims: []onnxtest.Dim{"N"}, In: []string{"sequence"}}
	optional := onnxtest.Value{Name: "o", Type: onnxtest.Float, Dims: []onnxtest.Dim{"N"}, In: []string{"optional"}}
	flag := onnxtest.Value{Name: "y", Type: onnxtest.Bool}

	out, _ := run(t, single("SplitToSequence", item, sequence, onnxtest.Int("axis", 0)), engine.FP32, floats("x", []int64{2}, 1, 2))
	if out[0].Container != engine.Sequence || len(out[0].Items) != 2 || out[0].Items[1].At(0) != 2 {
		t.Errorf("split: %+v", out[0])
	}
	joined := onnxtest.Value{Name: "y", Type: onnxtest.Float, Dims: []onnxtest.Dim{"N"}}
	out, _ = run(t, single("ConcatFromSequence", sequence, joined, onnxtest.Int("axis", 0)), engine.FP32,
		engine.Tensor{Name: "s", Container: engine.Sequence, Items: []engine.Tensor{floats("", []int64{1}, 5), floats("", []int64{2}, 6, 7)}})
	if !reflect.DeepEqual(out[0].Data, onnxtest.Floats(5, 6, 7)) {
		t.Errorf("joined: %+v", out[0])
	}
	length := onnxtest.Value{Name: "y", Type: onnxtest.Int64}
	out, _ = run(t, single("SequenceLength", sequence, length), engine.FP32, engine.Tensor{Name: "s", Container: engine.Sequence})
	if out[0].At(0) != 0 {
		t.Errorf("the length of an empty sequence: %+v", out[0])
	}
	has := single("OptionalHasElement", optional, flag)
	has.Opsets = map[string]int64{"": 18}
	if out, _ = run(t, has, engine.FP32, floats("o", []int64{1}, 9)); out[0].At(0) != 1 {
		t.Errorf("an optional value that is there: %+v", out[0])
	}
	absent := []engine.Tensor{{Name: "o", Container: engine.Optional}}
	if _, err := open(t, has, engine.FP32).Infer(t.Context(), absent); err == nil || engine.AsError(err).Kind != engine.KindInvalidInput {
		t.Errorf("an optional value that is absent: %v", err)
	}
}

func TestFoldedBiasesComputeTheSame(t *testing.T) {
	whole := onnxtest.QuantizedBias()
	content, folded, rest, err := onnx.FoldBiases(whole.Bytes(), t.TempDir())
	if err != nil || folded != 1 || len(rest) > 0 {
		t.Fatalf("%d folded, %q left, %v", folded, rest, err)
	}
	b := backend(t)
	infer := func(content []byte) []engine.Tensor {
		plan, err := b.Build(t.Context(), engine.BuildRequest{ModelPath: onnxtest.WriteBytes(t, content), Precision: engine.INT8, WorkDir: t.TempDir(), Progress: func(engine.Progress) {}})
		if err != nil {
			t.Fatal(err)
		}
		e, err := b.Load(t.Context(), plan, engine.LoadOptions{Settings: engine.Settings{Threads: 1, GraphOptimization: "disabled"}})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		out, err := e.Infer(t.Context(), enginetest.Inputs(t, e, 2))
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got, want := infer(content), infer(whole.Bytes()); !reflect.DeepEqual(got, want) {
		t.Errorf("%v instead of %v", got, want)
	}
}

func TestReasonsLeaveOutONNXRuntimesSource(t *testing.T) {
	const node = "Non-zero status code returned while running Reshape node. Name:'flat' Status Message: "
	for text, want := range map[string]string{
		node + "/onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:91 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, bool) size was false. The input tensor cannot be reshaped to the requested shape. Input shape:{8,6}, requested shape:{1,6}": "size was false. The input tensor cannot be reshaped to the requested shape. Input shape:{8,6}, requested shape:{1,6}",
		node + node + "/onnxruntime_src/onnxruntime/core/framework/op_kernel.cc:87 virtual OrtValue* onnxruntime::OpKernelContext::OutputMLValue(int, const onnxruntime::TensorShape&) const [ONNXRuntimeError] : 2 : INVALID_ARGUMENT : the reason":                                              "the reason",
		"Exception during initialization: /onnxruntime_src/onnxruntime/core/providers/cpu/text/string_normalizer.cc:235 onnxruntime::Locale(const std::string&)::<lambda()> Failed to construct locale":                                                                                           "Exception during initialization: Failed to construct locale",
		"a reason alone": "a reason alone",
		node:             node,
	} {
		e := failure(engine.KindRunFailed, "run engine", "", errors.New(text))
		if e.Message != strings.TrimSpace(want) || strings.HasPrefix(text, node) && (e.Operator != "Reshape" || e.Node != "flat") {
			t.Errorf("%+v, want %q", e, want)
		}
	}
}

func TestWhatHasNoValueIsRefusedInWords(t *testing.T) {
	b := backend(t)
	m := single("Cast", onnxtest.Value{Name: "x", Type: 14, Dims: []onnxtest.Dim{"N"}}, onnxtest.Value{Name: "y", Type: onnxtest.Float, Dims: []onnxtest.Dim{"N"}}, onnxtest.Int("to", 1))
	_, err := b.Build(t.Context(), engine.BuildRequest{ModelPath: onnxtest.Write(t, m), Precision: engine.FP32, WorkDir: t.TempDir(), Progress: func(engine.Progress) {}})
	e := engine.AsError(err)
	if e.Kind != engine.KindUnsupportedInput || e.Message != `input "x" is complex64, which cannot be measured` {
		t.Errorf("%v", err)
	}
}

// telemetryChild makes the test binary measure something in a process of its own, as
// a worker does.
const telemetryChild = "PLANCAST_TEST_TELEMETRY_CHILD"

// Without ORT_DISABLE_TELEMETRY, ONNX Runtime 1.32 leaves a device ID and a database
// below the home folder, and looks its collector up.
func TestTelemetryIsOff(t *testing.T) {
	if os.Getenv(telemetryChild) != "" {
		e := open(t, onnxtest.Classifier(8, 16, 4), engine.FP32)
		in := enginetest.Inputs(t, e, 1)
		if _, err := e.Time(t.Context(), in, engine.TimeOptions{Concurrency: 2, Queries: 200}); err != nil {
			t.Fatal(err)
		}
		return
	}
	_ = backend(t)
	library, err := FindLibrary("")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestTelemetryIsOff$")
	cmd.Env = []string{"HOME=" + home, "XDG_CACHE_HOME=" + home, LibraryVariable + "=" + library, telemetryChild + "=1", "TMPDIR=" + t.TempDir()}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	err = filepath.WalkDir(home, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && path != home {
			t.Errorf("ONNX Runtime left %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
