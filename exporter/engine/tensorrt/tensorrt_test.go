package tensorrt

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/tensorio"
	"github.com/plancast/plancast/trt"
)

// These tests run anywhere; gpu_test.go needs a GPU.

func TestWithoutTensorRTEverythingIsUnavailableAndSaysWhy(t *testing.T) {
	if trt.Built {
		t.Skip("this binary has the binding")
	}
	b := New(Options{})
	_, errEnv := b.Environment(t.Context())
	_, errList := b.Environments(t.Context())
	_, errBuild := b.Build(t.Context(), engine.BuildRequest{ModelPath: "x.onnx", Progress: func(engine.Progress) {}})
	_, errLoad := b.Load(t.Context(), engine.Plan{}, engine.LoadOptions{})
	for _, err := range []error{errEnv, errList, errBuild, errLoad} {
		var e *engine.Error
		if !errors.As(err, &e) || e.Kind != engine.KindUnavailable || e.Hint == "" || !strings.Contains(e.Message, "-tags tensorrt") {
			t.Errorf("%v", err)
		}
	}
}

func TestPrecisionsThatACandidateCannotHave(t *testing.T) {
	for _, c := range []struct {
		name      string
		precision engine.Precision
		native    engine.Precision
		quantized bool
		data      string
		hint      string // "" is possible
	}{
		{"a float model in fp32", engine.FP32, engine.FP32, false, "", ""},
		{"a float model in fp16", engine.FP16, engine.FP32, false, "", ""},
		{"a float model in int8 with data", engine.INT8, engine.FP32, false, "calibration.npz", ""},
		{"a float model in int8 without", engine.INT8, engine.FP32, false, "", "put calibration.npz beside the model"},
		{"a quantized model in int8", engine.INT8, engine.INT8, true, "", ""},
		{"a quantized model in fp16", engine.FP16, engine.INT8, true, "", "without quantization"},
		{"a half model in fp32", engine.FP32, engine.FP16, false, "", "float32 export"},
		{"a half model in int8 with data", engine.INT8, engine.FP16, false, "calibration.npz", ""},
	} {
		err := precisionError("build", engine.BuildRequest{Precision: c.precision, Native: c.native, Quantized: c.quantized, CalibrationPath: c.data})
		var e *engine.Error
		switch {
		case c.hint == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.hint != "" && (!errors.As(err, &e) || e.Kind != engine.KindUnsupportedPrecision || !strings.Contains(e.Hint, c.hint)):
			t.Errorf("%s: %v, want a hint of %q", c.name, err, c.hint)
		}
	}
}

func TestAPlanIsNamedByWhatItIsBuiltFromAndNotByHowItIsRun(t *testing.T) {
	env := engine.Environment{Backend: Name, BackendVersion: "10.6.0.26", Device: "NVIDIA L4"}
	base := engine.BuildRequest{Precision: engine.FP16, Digest: strings.Repeat("a", 64), Settings: engine.Settings{WorkspaceBytes: 1 << 30}}
	name := func(env engine.Environment, change func(*engine.BuildRequest)) string {
		req := base
		change(&req)
		s, err := planName(req, env)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	want := name(env, func(*engine.BuildRequest) {})
	if !strings.HasPrefix(want, "aaaaaaaaaaaa-fp16-") {
		t.Errorf("named %s", want)
	}
	other := env
	other.Driver = "580"
	for what, c := range map[string]struct {
		got  string
		same bool
	}{
		"run settings": {name(env, func(r *engine.BuildRequest) {
			r.Settings.CUDAGraph, r.Settings.SpinWait, r.Settings.Transfers, r.Settings.Threads = true, true, true, 4
		}), true},
		"workspace": {name(env, func(r *engine.BuildRequest) { r.Settings.WorkspaceBytes = 2 << 30 }), false},
		"profile": {name(env, func(r *engine.BuildRequest) {
			r.Profiles = map[string]engine.Profile{"x": {Min: []int64{1}, Opt: []int64{2}, Max: []int64{4}}}
		}), false},
		"candidate": {name(env, func(r *engine.BuildRequest) { r.Digest = strings.Repeat("b", 64) }), false},
		"precision": {name(env, func(r *engine.BuildRequest) { r.Precision = engine.FP32 }), false},
		"driver":    {name(other, func(*engine.BuildRequest) {}), false},
	} {
		if (c.got == want) != c.same {
			t.Errorf("another %s: %s and %s", what, c.got, want)
		}
	}
}

func TestAPlanIsUsedAgainOnlyWhenItIsWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a-fp16-b.plan")
	plan := engine.Plan{Path: "elsewhere", Precision: engine.FP16, SizeBytes: 4, Duration: time.Minute, TimingCacheHit: new(true), Warnings: []string{"w"}}
	keep := func() {
		if err := write(path, []byte("plan"), metadata{Key: "a-fp16-b", Plan: plan}); err != nil {
			t.Fatal(err)
		}
	}
	keep()
	got, ok := reuse(path, "a-fp16-b")
	if !ok || got.Path != path || !got.Reused || got.Duration != 0 || got.TimingCacheHit != nil || !slices.Equal(got.Warnings, plan.Warnings) {
		t.Errorf("%+v %v", got, ok)
	}
	for what, damage := range map[string]func() error{
		"plan gone":          func() error { return os.Remove(path) },
		"plan torn":          func() error { return os.WriteFile(path, []byte("pla"), 0o644) },
		"plan changed":       func() error { return os.WriteFile(path, []byte("plam"), 0o644) },
		"metadata gone":      func() error { return os.Remove(metadataPath(path)) },
		"metadata torn":      func() error { return os.WriteFile(metadataPath(path), []byte(`{"key"`), 0o644) },
		"metadata of others": func() error { return write(path, []byte("plan"), metadata{Key: "a-fp32-b"}) },
	} {
		keep()
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if got, ok := reuse(path, "a-fp16-b"); ok {
			t.Errorf("%s: %+v is used", what, got)
		}
	}
}

func TestParserErrorsNameTheOperatorThatIsNotKnown(t *testing.T) {
	refused := &trt.ParseError{Model: "m.onnx", Errors: []trt.ParserError{
		{Code: trt.ParserInvalidNode, Message: "Plugin not found, are the plugin name, version, and namespace correct?", NodeIndex: 3, NodeName: "strange", Operator: "MyMish"},
		{Code: trt.ParserUnsupportedNodeAttribute, Message: "unsupported mode", NodeIndex: 7, Operator: "Resize"},
	}}
	var e *engine.Error
	if err := failure(t.Context(), engine.KindInvalidModel, "build fp32 engine", "m.onnx", refused); !errors.As(err, &e) {
		t.Fatal(err)
	}
	if e.Kind != engine.KindUnsupportedOperator || e.Node != "strange" || e.Operator != "MyMish" || e.Hint == "" ||
		!strings.Contains(e.Message, "MyMish") || !strings.Contains(e.Message, "Resize") {
		t.Errorf("%+v", e)
	}
	for range 20 {
		refused.Errors = append(refused.Errors, trt.ParserError{Code: trt.ParserInvalidNode, NodeIndex: 1, Operator: "Conv"})
	}
	if err := failure(t.Context(), engine.KindInvalidModel, "build", "m.onnx", refused); !strings.Contains(err.Error(), "and 14 more") {
		t.Errorf("%v", err)
	}
	garbage := &trt.ParseError{Errors: []trt.ParserError{{Code: trt.ParserModelDeserializeFailed, NodeIndex: -1, Message: "no model"}}}
	if err := failure(t.Context(), engine.KindInvalidModel, "build", "m.onnx", garbage); !errors.As(err, &e) || e.Kind != engine.KindInvalidModel || e.Node != "" {
		t.Errorf("%+v", e)
	}
}

func TestDimensionsOfOneNameAndDifferentRanges(t *testing.T) {
	dim := func(name string) engine.Dim { return engine.Dim{Name: name, Size: -1} }
	x := engine.TensorInfo{Name: "x", Dims: []engine.Dim{dim("N"), {Size: 3}, dim("?"), dim("?")}}
	y := engine.TensorInfo{Name: "y", Dims: []engine.Dim{dim("N"), dim("")}}
	profile := func(min, opt, max []int64) engine.Profile { return engine.Profile{Min: min, Opt: opt, Max: max} }
	square := profile([]int64{1, 3, 32, 32}, []int64{8, 3, 32, 32}, []int64{8, 3, 64, 64})
	usual := profile([]int64{1, 1}, []int64{8, 2}, []int64{8, 3})
	for _, c := range []struct {
		name string
		x, y engine.Profile
		want map[dimension]string
	}{
		{"a square", square, usual, map[dimension]string{}},
		{"a strip", profile([]int64{1, 3, 48, 192}, []int64{8, 3, 48, 192}, []int64{8, 3, 48, 192}), usual, map[dimension]string{{"x", 3}: "?#2"}},
		{"another largest size", profile([]int64{1, 3, 32, 32}, []int64{8, 3, 32, 32}, []int64{8, 3, 32, 64}), usual, map[dimension]string{{"x", 3}: "?#2"}},
		{"two batches", square, profile([]int64{1, 1}, []int64{4, 2}, []int64{4, 3}), map[dimension]string{{"y", 0}: "N#2"}},
	} {
		apart := map[string]engine.Profile{"x": c.x, "y": c.y}
		for _, profiles := range [][]map[string]engine.Profile{{apart}, {apart, apart}} {
			if got := dimNames([]engine.TensorInfo{x, y}, profiles); !maps.Equal(got, c.want) {
				t.Errorf("%s, %d profiles: %v, want %v", c.name, len(profiles), got, c.want)
			}
		}
	}
	if got := dimNames([]engine.TensorInfo{x, y}, nil); len(got) != 0 {
		t.Errorf("without profiles: %v", got)
	}
}

func TestQuantizedModelsArePrepared(t *testing.T) {
	dir := t.TempDir()
	content, prepared, err := prepare(onnxtest.QuantizedBias().Bytes(), filepath.Join(dir, "model.onnx"), nil, true)
	if err != nil || len(prepared) != 1 || prepared[0] != "1 INT32 biases behind DequantizeLinear were folded into float biases, which TensorRT needs" {
		t.Fatalf("%q, %v", prepared, err)
	}
	path := filepath.Join(dir, "model.onnx")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := onnx.ReadFile(path)
	if err != nil || m.Operators[onnx.Operator{Type: "DequantizeLinear"}] != 3 || m.Nodes != 6 {
		t.Errorf("%+v, %v", m, err)
	}
	computed := onnxtest.QuantizedBias()
	computed.Graph.Nodes[3].Inputs[1] = "x"
	_, _, err = prepare(computed.Bytes(), path, nil, true)
	if e := engine.AsError(err); e.Kind != engine.KindUnsupportedOperator || e.Operator != "DequantizeLinear" || e.Node != "dqb" || !strings.Contains(e.Hint, "'QuantizeBias': False") {
		t.Errorf("%v", err)
	}
}

func TestWhatIsNoTensorOfNumbersIsRefusedInWords(t *testing.T) {
	float := engine.TensorInfo{Name: "x", DType: engine.Float32}
	for name, c := range map[string]struct {
		model onnx.Model
		says  string // "" is none
	}{
		"tensors":     {onnx.Model{Inputs: []engine.TensorInfo{float}, Outputs: []engine.TensorInfo{{Name: "y"}}}, ""},
		"text":        {onnx.Model{Inputs: []engine.TensorInfo{{Name: "s", DType: engine.String}}}, `input "s" is text, which TensorRT does not have`},
		"a ZipMap":    {onnx.Model{Inputs: []engine.TensorInfo{float}, Outputs: []engine.TensorInfo{{Name: "p", DType: engine.Float32, In: []engine.Container{engine.Sequence, engine.Map}}}}, `output "p" is a sequence of maps of float32`},
		"an int4 one": {onnx.Model{Inputs: []engine.TensorInfo{{Name: "q", DType: engine.Int4}}}, `input "q" is int4`},
	} {
		err := unsupported("build", "model.onnx", &c.model)
		if c.says == "" && err != nil || c.says != "" && (err == nil || engine.AsError(err).Kind != engine.KindUnsupportedInput || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

func TestWarningsOfTheBuilderAreGrouped(t *testing.T) {
	r := &trt.BuildResult{CacheUse: trt.TimingCacheUse{Supplied: true, Reason: "of another GPU"}}
	for _, text := range []string{
		"Missing scale and zero-point for tensor /conv1/Conv_output_0, expect fall back to non-int8 implementation",
		"Missing scale and zero-point for tensor /conv2/Conv_output_0, expect fall back to non-int8 implementation",
		"Missing scale and zero-point for tensor /conv2/Conv_output_0, expect fall back to non-int8 implementation",
		"Missing scale and zero-point for tensor (Unnamed Layer* 12) [Constant]_output, expect fall back to non-int8 implementation",
		"ModelImporter.cpp:420: Make sure input ids has Int64 binding.", "The CUDA context changed", "",
	} {
		r.Log = append(r.Log, trt.LogLine{Severity: trt.SeverityWarning, Text: text})
	}
	r.Log = append(r.Log, trt.LogLine{Severity: trt.SeverityInfo, Text: "nothing to warn of"})
	got := warnings(r)
	if len(got) != 5 || got[0] != "the timing cache was not used: of another GPU" ||
		got[1] != "TensorRT, 2 times: Missing scale and zero-point for tensor /conv1/Conv_output_0, expect fall back to non-int8 implementation (and similar ones)" {
		t.Errorf("%q", got)
	}
}

func TestFailuresHaveTheirKind(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind engine.Kind
		hint string
	}{
		{&trt.Error{Op: "build engine", Kind: trt.ErrOutOfMemory}, engine.KindOutOfMemory, "batch sizes"},
		{&trt.Error{Op: "build engine", Kind: trt.ErrNoImplementation, Node: "conv1"}, engine.KindBuildFailed, "tensorrt.workspace"},
		{fmt.Errorf("tensorrt: %w", trt.ErrNoDevice), engine.KindUnavailable, "CUDA_VISIBLE_DEVICES"},
		{&trt.Error{Op: "load plan", Kind: trt.ErrIncompatiblePlan}, engine.KindBuildFailed, "again"},
		{&trt.Error{Op: "build engine", Text: "no reason"}, engine.KindBuildFailed, ""},
	} {
		var e *engine.Error
		if err := failure(t.Context(), engine.KindBuildFailed, "build fp16 engine", "m.onnx", c.err); !errors.As(err, &e) {
			t.Fatal(err)
		}
		if e.Kind != c.kind || !strings.Contains(e.Hint, c.hint) || strings.Contains(e.Message, "tensorrt: ") {
			t.Errorf("%v became %+v", c.err, e)
		}
	}
}

func TestCalibrationBatchesAreWhole(t *testing.T) {
	array := func(samples int64) string {
		a, err := engine.NewTensor("x", engine.Float32, []int64{samples, 3})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "calibration.npz")
		if err := tensorio.WriteNPZ(path, []engine.Tensor{a}); err != nil {
			t.Fatal(err)
		}
		return path
	}
	inputs := []engine.TensorInfo{{Name: "x", DType: engine.Float32, Dims: []engine.Dim{{Size: -1, Name: "N"}, {Size: 3}}}}
	profiles := map[string]engine.Profile{"x": {Min: []int64{1, 3}, Opt: []int64{8, 3}, Max: []int64{8, 3}}}
	for _, c := range []struct{ samples, calls, used, batch int64 }{{20, 2, 16, 8}, {16, 2, 16, 8}, {5, 1, 5, 5}} {
		calls, used, err := calibrationCalls(inputs, profiles, array(c.samples))
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(calls)) != c.calls || used != c.used || calls[0][0].Shape[0] != c.batch {
			t.Errorf("%d samples: %d calls of %v, %d samples used", c.samples, len(calls), calls[0][0].Shape, used)
		}
	}
	inputs[0].Name = "y"
	if _, _, err := calibrationCalls(inputs, profiles, array(8)); err == nil || !strings.Contains(err.Error(), "calibration.npz") {
		t.Errorf("an input without data: %v", err)
	}
}

func TestTheBinaryStartsWithLibrariesAndWithoutAGPU(t *testing.T) {
	if !trt.Built {
		t.Skip("this binary lacks the binding")
	}
	b := New(Options{Require: trt.Require{TensorRT: "9.9"}})
	_, err := b.Environment(t.Context())
	var e *engine.Error
	if !errors.As(err, &e) || e.Kind != engine.KindUnavailable {
		t.Fatalf("%v", err)
	}
	if strings.Contains(e.Message, "version lock") && !strings.Contains(e.Message, "TensorRT 9.9 is required, found ") {
		t.Errorf("%v", e)
	}

}
