package onnx

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/onnx/onnxtest"
)

func ints(values ...int32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return b
}

func TestFoldBiases(t *testing.T) {
	tensor := func(name string, typ int, data []byte, dims ...int64) onnxtest.Tensor {
		return onnxtest.Tensor{Name: name, Type: typ, Data: data, Dims: dims}
	}
	bias := tensor("b", onnxtest.Int32, ints(10, -20, 30), 3)
	scale := tensor("s", onnxtest.Float, onnxtest.Floats(0.5))
	for name, c := range map[string]struct {
		constants []onnxtest.Tensor
		inputs    []string
		attribute [][]byte
		want      []byte // nil stays as it is
		rest      bool
	}{
		"one scale":                  {[]onnxtest.Tensor{bias, scale}, []string{"b", "s"}, nil, onnxtest.Floats(5, -10, 15), false},
		"a scale for each":           {[]onnxtest.Tensor{bias, tensor("s", onnxtest.Float, onnxtest.Floats(1, 0.5, 0.25), 3)}, []string{"b", "s"}, [][]byte{onnxtest.Int("axis", 0)}, onnxtest.Floats(10, -10, 7.5), false},
		"a zero point":               {[]onnxtest.Tensor{bias, scale, tensor("z", onnxtest.Int32, ints(2))}, []string{"b", "s", "z"}, nil, onnxtest.Floats(4, -11, 14), false},
		"along the second dimension": {[]onnxtest.Tensor{tensor("b", onnxtest.Int32, ints(1, 2, 3, 4, 5, 6), 2, 3), tensor("s", onnxtest.Float, onnxtest.Floats(1, 10, 100), 3)}, []string{"b", "s"}, [][]byte{onnxtest.Int("axis", 1)}, onnxtest.Floats(1, 20, 300, 4, 50, 600), false},
		"8-bit weights stay":         {[]onnxtest.Tensor{tensor("b", onnxtest.Int8, []byte{1, 2, 3}, 3), scale}, []string{"b", "s"}, nil, nil, false},
		"a scale that is computed":   {[]onnxtest.Tensor{bias}, []string{"b", "x"}, nil, nil, true},
		"scales that do not fit":     {[]onnxtest.Tensor{bias, tensor("s", onnxtest.Float, onnxtest.Floats(1, 2), 2)}, []string{"b", "s"}, nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			m := onnxtest.Elementwise("Relu", onnxtest.Float, 1)
			m.Graph.Nodes = append(m.Graph.Nodes, onnxtest.Node{Op: "DequantizeLinear", Name: "dq", Inputs: c.inputs, Outputs: []string{"bias"}, Attributes: c.attribute})
			m.Graph.Initializers = c.constants
			whole := m.Bytes()
			out, folded, rest, err := FoldBiases(whole, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if (len(rest) > 0) != c.rest || c.rest && rest[0] != "dq" {
				t.Errorf("left are %q", rest)
			}
			if c.want == nil {
				if folded != 0 || !bytes.Equal(out, whole) {
					t.Errorf("%d were folded", folded)
				}
				return
			}
			m.Graph.Nodes = m.Graph.Nodes[:1]
			m.Graph.Initializers = append(slices.Clone(c.constants), onnxtest.Tensor{Name: "bias", Type: onnxtest.Float, Dims: c.constants[0].Dims, Data: c.want})
			if folded != 1 || !strings.Contains(string(out), string(c.want)) {
				t.Errorf("%d folded, or to other values", folded)
			}
			got, err := read(bytes.NewReader(out), int64(len(out)), true)
			want, errWant := read(bytes.NewReader(m.Bytes()), int64(len(m.Bytes())), true)
			if err != nil || errWant != nil || len(got.List) != 1 || got.TotalWeightBytes() != want.TotalWeightBytes() || got.Types["bias"] != "float32" {
				t.Errorf("%v: %+v", err, got)
			}
		})
	}
}

func TestBiasesBesideTheModelAreFolded(t *testing.T) {
	m := onnxtest.Elementwise("Relu", onnxtest.Float, 1)
	m.Graph.Nodes = append(m.Graph.Nodes, onnxtest.Node{Op: "DequantizeLinear", Inputs: []string{"b", "s"}, Outputs: []string{"bias"}})
	m.Graph.Initializers = []onnxtest.Tensor{
		{Name: "b", Type: onnxtest.Int32, Dims: []int64{2}, External: "w.bin"}, {Name: "s", Type: onnxtest.Float, Data: onnxtest.Floats(2)},
	}
	dir := t.TempDir()
	if _, _, _, err := FoldBiases(m.Bytes(), dir); err == nil {
		t.Error("weights that are not there")
	}
	if err := os.WriteFile(filepath.Join(dir, "w.bin"), ints(3, -4), 0o600); err != nil {
		t.Fatal(err)
	}
	out, folded, _, err := FoldBiases(m.Bytes(), dir)
	if err != nil || folded != 1 || !bytes.Contains(out, onnxtest.Floats(6, -8)) {
		t.Errorf("%d folded, %v", folded, err)
	}
	if _, _, _, err := FoldBiases([]byte{0x3a, 0xff}, dir); err == nil {
		t.Error("damage")
	}
}
