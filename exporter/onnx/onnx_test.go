package onnx

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
)

func read1(b []byte) (*Model, error) { return Read(bytes.NewReader(b), int64(len(b))) }

func TestSummary(t *testing.T) {
	m, err := read1(onnxtest.Classifier(8, 16, 4).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	want := &Model{
		IRVersion: 8, Opsets: map[string]int64{"": 17}, Producer: "onnxtest 1", GraphName: "graph",
		Inputs:      []engine.TensorInfo{{Name: "x", DType: engine.Float32, Dims: []engine.Dim{{Size: -1, Name: "N"}, {Size: 8}}}},
		Outputs:     []engine.TensorInfo{{Name: "y", DType: engine.Float32, Dims: []engine.Dim{{Size: -1, Name: "N"}, {Size: 4}}}},
		Nodes:       5,
		Operators:   map[Operator]int{{"", "MatMul"}: 2, {"", "Add"}: 1, {"", "Relu"}: 1, {"", "Softmax"}: 1},
		WeightBytes: map[engine.DType]int64{engine.Float32: 4 * (8*16 + 16 + 16*4)},
		Precision:   engine.FP32,
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got  %+v\nwant %+v", m, want)
	}
}

func TestInitializersListedAsInputsAreNotInputs(t *testing.T) {
	model := onnxtest.Classifier(8, 16, 4)
	model.IRVersion = 3
	for _, w := range model.Graph.Initializers {
		model.Graph.Inputs = append(model.Graph.Inputs, onnxtest.Value{Name: w.Name, Type: w.Type})
	}
	m, err := read1(model.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Inputs) != 1 || m.Inputs[0].Name != "x" {
		t.Errorf("inputs %v", m.Inputs)
	}
}

func TestPrecisionAsShipped(t *testing.T) {
	half := onnxtest.Classifier(8, 16, 4)
	for i, w := range half.Graph.Initializers {
		half.Graph.Initializers[i].Type, half.Graph.Initializers[i].Data = onnxtest.Float16, w.Data[:len(w.Data)/2]
	}
	dynamic := onnxtest.Classifier(8, 16, 4)
	dynamic.Graph.Nodes[0].Op = "DynamicQuantizeLinear"
	weightsOnly := onnxtest.Classifier(8, 16, 4)
	weightsOnly.Graph.Nodes[1].Op = "DequantizeLinear"
	microsoft := onnxtest.Elementwise("QLinearAdd", onnxtest.Float, 4)
	microsoft.Graph.Nodes[0].Domain, microsoft.Opsets = "com.microsoft", map[string]int64{"": 17, "com.microsoft": 1}

	for name, c := range map[string]struct {
		model     onnxtest.Model
		precision engine.Precision
		quantized bool
	}{
		"float32 weights":                       {onnxtest.Classifier(8, 16, 4), engine.FP32, false},
		"float16 weights":                       {half, engine.FP16, false},
		"no weights, float16 inputs":            {onnxtest.Elementwise("Relu", onnxtest.Float16, 4), engine.FP16, false},
		"no weights, integers":                  {onnxtest.Elementwise("Identity", onnxtest.Int64, 4), engine.FP32, false},
		"quantize and dequantize":               {onnxtest.Quantized(8, 4), engine.INT8, true},
		"dynamic quantization":                  {dynamic, engine.INT8, true},
		"only weights quantized: still float32": {weightsOnly, engine.FP32, false},
		"QLinear operator of com.microsoft":     {microsoft, engine.INT8, true},
	} {
		m, err := read1(c.model.Bytes())
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if m.Precision != c.precision || m.Quantized != c.quantized {
			t.Errorf("%s: %s quantized=%t, want %s %t", name, m.Precision, m.Quantized, c.precision, c.quantized)
		}
	}
}

func TestSubgraphsAreCounted(t *testing.T) {
	b := onnxtest.Branches().Bytes()
	g, err := read(bytes.NewReader(b), int64(len(b)), true)
	if err != nil {
		t.Fatal(err)
	}
	want := map[Operator]int{{"", "If"}: 1, {"", "Relu"}: 1, {"", "Neg"}: 1}
	if !reflect.DeepEqual(g.Operators, want) || g.Nodes != 3 || len(g.List) != 3 {
		t.Errorf("%d nodes %v", g.Nodes, g.Operators)
	}
	if len(g.Inputs) != 2 || len(g.Inputs[0].Dims) != 0 || g.Inputs[0].DType != engine.Bool {
		t.Errorf("inputs %v", g.Inputs)
	}
	if g.Types["x"] != engine.Float32 || g.Types["zNeg"] != engine.Float32 {
		t.Errorf("types %v", g.Types)
	}
}

func TestOperatorsThatRuntimesKnowNeedNoImport(t *testing.T) {
	m := onnxtest.Elementwise("Gelu", onnxtest.Float, "N", 4)
	m.Graph.Nodes[0].Domain = "com.microsoft"
	if _, err := read1(m.Bytes()); err != nil {
		t.Error(err)
	}
}

func TestTypesOfInputs(t *testing.T) {
	m := onnxtest.Elementwise("Identity", onnxtest.Float, "N", 4)
	m.Graph.Inputs = []onnxtest.Value{
		{Name: "seq", Type: onnxtest.Float, Dims: []onnxtest.Dim{4}, In: []string{"sequence"}},
		{Name: "maps", Type: onnxtest.Float, In: []string{"sequence", "map"}},
		{Name: "maybe", Type: onnxtest.Int64, Dims: []onnxtest.Dim{-1, 0, "?", "unk__12", nil, "batch"}, In: []string{"optional"}},
		{Name: "text", Type: onnxtest.String},
	}
	got, err := read1(m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var what []string
	for _, in := range got.Inputs {
		what = append(what, in.String()+": "+in.What())
	}
	want := []string{
		"seq sequence of float32[4]: a sequence of float32", "maps sequence of map of float32[]: a sequence of maps of float32",
		"maybe optional of int64[-1,0,?,unk__12,?,batch]: an optional int64", "text string[]: text",
	}
	if !slices.Equal(what, want) {
		t.Errorf("%q", what)
	}
	var anonymous []bool
	for _, d := range got.Inputs[2].Dims {
		anonymous = append(anonymous, d.Anonymous())
	}
	if !slices.Equal(anonymous, []bool{false, false, true, true, true, false}) {
		t.Errorf("anonymous %v", anonymous)
	}
}

func TestInputsThatIndexATableHaveALimit(t *testing.T) {
	table := func(name string, rows int64) onnxtest.Tensor {
		return onnxtest.Tensor{Name: name, Type: onnxtest.Float, Dims: []int64{rows, 2}, Data: onnxtest.Noise(int(2*rows), 1)}
	}
	ids := func(name string) onnxtest.Value {
		return onnxtest.Value{Name: name, Type: onnxtest.Int64, Dims: []onnxtest.Dim{"N", "T"}}
	}
	m := onnxtest.Model{Graph: onnxtest.Graph{
		Nodes: []onnxtest.Node{
			{Op: "Gather", Inputs: []string{"words", "ids"}, Outputs: []string{"a"}},
			{Op: "Cast", Inputs: []string{"types"}, Outputs: []string{"cast"}, Attributes: [][]byte{onnxtest.Int("to", onnxtest.Int32)}},
			{Op: "Gather", Inputs: []string{"kinds", "cast"}, Outputs: []string{"b"}},
			{Op: "Gather", Inputs: []string{"wide", "columns"}, Outputs: []string{"c"}, Attributes: [][]byte{onnxtest.Int("axis", -1)}},
			{Op: "Add", Inputs: []string{"a", "b"}, Outputs: []string{"y"}},
		},
		Inputs:       []onnxtest.Value{ids("ids"), ids("types"), ids("columns"), ids("mask")},
		Outputs:      []onnxtest.Value{{Name: "y", Type: onnxtest.Float, Dims: []onnxtest.Dim{"N", "T", 2}}},
		Initializers: []onnxtest.Tensor{table("words", 1000), table("kinds", 2), table("wide", 7)},
	}}
	got, err := read1(m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int64{1000, 2, 2, 0} {
		if got.Inputs[i].Limit != want {
			t.Errorf("%s: limit %d, want %d", got.Inputs[i], got.Inputs[i].Limit, want)
		}
	}
}

func TestReadFileNamesTheFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := ReadFile(name)
	if err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("%v does not name %s", err, name)
	}
	if _, err := ReadFile(filepath.Dir(name)); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("folder: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, m := range []onnxtest.Model{
		onnxtest.Classifier(2, 3, 2), onnxtest.Branches(), onnxtest.Quantized(2, 2), onnxtest.Custom(), onnxtest.NonZero(3),
	} {
		f.Add(m.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := read(bytes.NewReader(b), int64(len(b)), true)
		if err != nil {
			var e *engine.Error
			if !errors.As(err, &e) || e.Kind != engine.KindInvalidModel {
				t.Fatalf("not an invalid model: %v", err)
			}
			return
		}
		if named, err := RenameDims(b, func(input string, _ int, name string) string { return input + name }); err == nil {
			if again, err := read(bytes.NewReader(named), int64(len(named)), true); err != nil || len(again.Inputs) != len(g.Inputs) || again.Nodes != g.Nodes {
				t.Fatalf("with other names it is another model: %+v, %v", again, err)
			}
		}
		var sum int
		for _, n := range g.Operators {
			sum += n
		}
		if g.Nodes != len(g.List) || sum != g.Nodes || g.TotalWeightBytes() < 0 || len(g.Outputs) == 0 {
			t.Fatalf("inconsistent: %+v", g)
		}
	})
}
