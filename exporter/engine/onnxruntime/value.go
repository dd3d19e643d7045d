package onnxruntime

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/ort"
)

// codes are ONNX Runtime's numbers of element types.
var codes = map[engine.DType]int{
	engine.Float32: 1, engine.Uint8: 2, engine.Int8: 3, engine.Uint16: 4, engine.Int16: 5, engine.Int32: 6, engine.Int64: 7,
	engine.String: ort.StringType, engine.Bool: 9, engine.Float16: 10, engine.Float64: 11, engine.Uint32: 12, engine.Uint64: 13,
	engine.BFloat16: 16, engine.Float8E4M3FN: 17, engine.Float8E4M3FNUZ: 18, engine.Float8E5M2: 19, engine.Float8E5M2FNUZ: 20,
	engine.Uint4: 21, engine.Int4: 22, engine.Float4E2M1: 23, engine.Uint2: 24, engine.Int2: 25,
}

func dtypeOf(code int) (engine.DType, bool) {
	for dtype, c := range codes {
		if c == code {
			return dtype, true
		}
	}
	return "", false
}

// newValue hands t to ONNX Runtime as what info says it is.
func newValue(info engine.TensorInfo, t engine.Tensor) (*ort.Value, error) {
	switch t.Container {
	case "":
		return newTensor(t)
	case engine.Sequence:
		if len(t.Items) == 0 {
			return ort.Made(emptySequence(codes[info.DType]), "y")
		}
		items, err := newValues(engine.TensorInfo{Name: info.Name, DType: info.DType}, t.Items)
		if err != nil {
			return nil, err
		}
		return ort.NewSequence(items)
	case engine.Map:
		if len(t.Items) != 2 {
			return nil, errors.New("a map needs keys and values")
		}
		items, err := newValues(engine.TensorInfo{Name: info.Name, DType: info.DType}, t.Items)
		if err != nil {
			return nil, err
		}
		return ort.NewMap(items[0], items[1])
	case engine.Optional:
		return nil, errors.New("the C API of ONNX Runtime has no absent optional values") // it crashes
	}
	return nil, fmt.Errorf("a value of kind %q cannot be created", t.Container)
}

func newValues(info engine.TensorInfo, items []engine.Tensor) ([]*ort.Value, error) {
	var values []*ort.Value
	for _, item := range items {
		v, err := newValue(info, item)
		if err != nil {
			freeAll(values)
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

func newTensor(t engine.Tensor) (*ort.Value, error) {
	n, err := engine.Elements(t.Shape)
	if err != nil {
		return nil, err
	}
	code, ok := codes[t.DType]
	switch {
	case !ok:
		return nil, fmt.Errorf("element type %q cannot be passed to ONNX Runtime", t.DType)
	case t.DType == engine.String && int64(len(t.Strings)) != n:
		return nil, fmt.Errorf("%s%v has %d elements", t.DType, t.Shape, len(t.Strings))
	case t.DType == engine.String:
		return ort.NewStrings(t.Shape, t.Strings)
	case int64(len(t.Data)) != t.DType.Bytes(n):
		return nil, fmt.Errorf("%s%v needs %d bytes and has %d", t.DType, t.Shape, t.DType.Bytes(n), len(t.Data))
	}
	return ort.NewTensor(code, t.Shape, t.Data)
}

// blank is a tensor for ONNX Runtime to write into.
func blank(dtype engine.DType, shape []int64) (*ort.Value, error) {
	t, err := engine.NewTensor("", dtype, shape)
	if err != nil {
		return nil, err
	}
	return newTensor(t)
}

func freeAll(values []*ort.Value) {
	for _, v := range values {
		v.Free()
	}
}

// tensorOf copies what ONNX Runtime returned.
func tensorOf(name string, v *ort.Value) (engine.Tensor, error) {
	t := engine.Tensor{Name: name}
	kind, err := v.Kind()
	if err != nil {
		return t, err
	}
	switch kind {
	case ort.None:
		t.Container = engine.Optional
		return t, nil
	case ort.Tensor:
		return denseOf(t, v)
	case ort.Sequence, ort.Map:
		t.Container = engine.Sequence
		if kind == ort.Map {
			t.Container = engine.Map
		}
		items, err := v.Items()
		defer freeAll(items)
		if err != nil {
			return t, err
		}
		for _, item := range items {
			x, err := tensorOf("", item)
			if err != nil {
				return t, err
			}
			t.Items = append(t.Items, x)
		}
		return t, nil
	}
	return t, fmt.Errorf("ONNX Runtime returned a value of kind %d, which plancast cannot read", kind)
}

func denseOf(t engine.Tensor, v *ort.Value) (engine.Tensor, error) {
	code, shape, err := v.Head()
	if err != nil {
		return t, err
	}
	dtype, ok := dtypeOf(code)
	if !ok {
		return t, fmt.Errorf("ONNX Runtime returned the element type %d, which plancast cannot read", code)
	}
	t.DType, t.Shape = dtype, shape
	n, err := engine.Elements(shape)
	if err != nil {
		return t, err
	}
	if dtype == engine.String {
		t.Strings, err = v.Strings(int(n))
	} else {
		t.Data, err = v.Bytes(int(dtype.Bytes(n)))
	}
	return t, err
}

// The C API cannot make a sequence without items; a model of one node can. Field
// numbers are those of onnx.proto.

func emptySequence(dtype int) []byte {
	sequence := message(nil, 4, message(nil, 1, message(nil, 1, number(nil, 1, dtype))))
	return oneNode("SequenceEmpty", number(number(text(nil, 1, "dtype"), 3, dtype), 20, 2), sequence)
}

func oneNode(op string, attribute, output []byte) []byte {
	node := message(text(text(nil, 2, "y"), 4, op), 5, attribute)
	graph := message(text(message(nil, 1, node), 2, "g"), 12, message(text(nil, 1, "y"), 2, output))
	return message(message(number(nil, 1, 8), 7, graph), 8, number(text(nil, 1, ""), 2, 17))
}

func message(b []byte, num protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), body)
}

func text(b []byte, num protowire.Number, s string) []byte { return message(b, num, []byte(s)) }

func number(b []byte, num protowire.Number, v int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
}
