package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plancast/plancast/exporter/engine"
)

// FoldBiases returns a copy of a model in which constant INT32 values behind a
// DequantizeLinear, as quantizers write biases, are the float32 initializers that they
// stand for: (x - zero point) * scale, exactly as ONNX defines it. folded counts them.
// rest are the DequantizeLinear nodes on INT32 that are left, because something of
// theirs is not constant or not float32. Weights beside the model are read from folder.
func FoldBiases(model []byte, folder string) (out []byte, folded int, rest []string, err error) {
	graph, err := fieldOf(model, 7)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("fold biases: %w", err)
	}
	f := folder32{folder: folder, constants: map[string][]byte{}}
	if err := f.collect(graph); err != nil {
		return nil, 0, nil, fmt.Errorf("fold biases: %w", err)
	}
	out, err = edit(model, 7, func(graph []byte) ([]byte, error) {
		graph, tensors, err := f.fold(graph)
		for _, t := range tensors {
			graph = protowire.AppendBytes(protowire.AppendTag(graph, 5, protowire.BytesType), t)
		}
		folded = len(tensors)
		return graph, err
	})
	if err != nil {
		return nil, 0, nil, fmt.Errorf("fold biases: %w", err)
	}
	return out, folded, f.rest, nil
}

// folder32 folds the INT32 dequantizations of one graph.
type folder32 struct {
	folder    string
	constants map[string][]byte // TensorProto by name
	rest      []string
}

// collect finds the constants: initializers, and the values of Constant nodes.
func (f *folder32) collect(graph []byte) error {
	return each(graph, func(num protowire.Number, payload []byte) error {
		switch num {
		case 5: // initializer
			name, err := textOf(payload, 8)
			f.constants[name] = payload
			return err
		case 1: // node
			n, err := parseNode(payload)
			if err == nil && n.Type == "Constant" && len(n.Outputs) == 1 && n.value != nil {
				f.constants[n.Outputs[0]] = n.value
			}
			return err
		}
		return nil
	})
}

// fold copies the graph without the nodes that it turns into tensors.
func (f *folder32) fold(graph []byte) (out []byte, tensors [][]byte, err error) {
	err = eachField(graph, func(num protowire.Number, whole, payload []byte) error {
		if num == 1 {
			n, err := parseNode(payload)
			if err != nil {
				return err
			}
			if n.Type == "DequantizeLinear" && n.Domain == "" && len(n.Inputs) >= 2 && len(n.Outputs) == 1 {
				t, err := f.dequantized(n)
				switch {
				case err != nil:
					return err
				case t != nil:
					tensors = append(tensors, t)
					return nil
				}
			}
		}
		out = append(out, whole...)
		return nil
	})
	return out, tensors, err
}

// dequantized is the tensor that a node computes; nil when it is not on INT32, or
// cannot be computed here.
func (f *folder32) dequantized(n foldNode) ([]byte, error) {
	x, ok := f.constants[n.Inputs[0]]
	if !ok {
		return nil, nil // computed: its type is not known here
	}
	values, ok, err := f.int32s(x)
	if err != nil || !ok {
		return nil, err
	}
	left := func() ([]byte, error) {
		name := n.Name
		if name == "" {
			name = n.Outputs[0]
		}
		f.rest = append(f.rest, name)
		return nil, nil
	}
	scales, err := f.floats(n.Inputs[1])
	if err != nil {
		return nil, err
	}
	var zero []int32
	if len(n.Inputs) > 2 && n.Inputs[2] != "" {
		z, known := f.constants[n.Inputs[2]]
		if known {
			if zero, known, err = f.int32s(z); err != nil {
				return nil, err
			}
		}
		if !known {
			return left()
		}
	}
	dims, err := dimsOf(x)
	if err != nil {
		return nil, err
	}
	at, ok := perAxis(len(values), dims, n.axis, len(scales))
	if !ok || len(zero) > 1 && len(zero) != len(scales) {
		return left()
	}
	data := make([]byte, 0, 4*len(values))
	for i, v := range values {
		k, z := at(i), int32(0)
		switch len(zero) {
		case 0:
		case 1:
			z = zero[0]
		default:
			z = zero[k]
		}
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(int64(v)-int64(z))*scales[k]))
	}
	var t []byte
	for _, d := range dims {
		t = protowire.AppendVarint(protowire.AppendTag(t, 1, protowire.VarintType), uint64(d))
	}
	t = protowire.AppendVarint(protowire.AppendTag(t, 2, protowire.VarintType), 1) // FLOAT
	t = protowire.AppendString(protowire.AppendTag(t, 8, protowire.BytesType), n.Outputs[0])
	return protowire.AppendBytes(protowire.AppendTag(t, 9, protowire.BytesType), data), nil
}

// perAxis says which scale belongs to element i.
func perAxis(elements int, dims []int64, axis int64, scales int) (func(i int) int, bool) {
	if scales == 1 {
		return func(int) int { return 0 }, true
	}
	if axis < 0 {
		axis += int64(len(dims))
	}
	if len(dims) == 1 {
		axis = 0 // the default of the attribute is 1
	}
	if axis < 0 || axis >= int64(len(dims)) || dims[axis] != int64(scales) {
		return nil, false
	}
	inner := 1
	for _, d := range dims[axis+1:] {
		inner *= int(d)
	}
	if inner == 0 || elements == 0 {
		return func(int) int { return 0 }, true
	}
	return func(i int) int { return i / inner % scales }, true
}

// foldNode is what folding must know of a node.
type foldNode struct {
	Node
	axis  int64
	value []byte // of a Constant: a TensorProto
}

func parseNode(b []byte) (foldNode, error) {
	n := foldNode{axis: 1}
	err := each(b, func(num protowire.Number, payload []byte) error {
		switch num {
		case 1:
			n.Inputs = append(n.Inputs, string(payload))
		case 2:
			n.Outputs = append(n.Outputs, string(payload))
		case 3:
			n.Name = string(payload)
		case 4:
			n.Type = string(payload)
		case 7:
			n.Domain = canonical(string(payload))
		case 5:
			name, err := textOf(payload, 1)
			if err != nil {
				return err
			}
			return eachField(payload, func(num protowire.Number, whole, payload []byte) error {
				switch {
				case name == "axis" && num == 3:
					_, _, k := protowire.ConsumeTag(whole)
					v, _ := protowire.ConsumeVarint(whole[k:])
					n.axis = int64(v)
				case name == "value" && num == 5:
					n.value = payload
				}
				return nil
			})
		}
		return nil
	})
	return n, err
}

// DequantizesInt32 is the refusal of a model whose INT32 dequantizations could not be
// folded, for a runtime that has none.
func DequantizesInt32(path string, nodes []string) *engine.Error {
	e := engine.Errorf(engine.KindUnsupportedOperator, "prepare quantized model", path,
		"TensorRT dequantizes no INT32, and %d biases are not constants that could be folded: %s", len(nodes), strings.Join(nodes[:min(len(nodes), 5)], ", "))
	e.Operator, e.Node = "DequantizeLinear", nodes[0]
	e.Hint = "quantize without biases: with onnxruntime.quantization, extra_options={'QuantizeBias': False}"
	return e
}
