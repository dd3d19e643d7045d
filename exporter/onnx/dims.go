package onnx

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// SplitDims returns a copy of a model in which the dimensions of its inputs that
// have one of the names given have a name each: the old one and a number.
func SplitDims(model []byte, names map[string]bool) ([]byte, error) {
	split := 0
	dim := func(dim []byte) ([]byte, error) {
		return edit(dim, 2, func(name []byte) ([]byte, error) {
			if !names[string(name)] {
				return name, nil
			}
			split++
			return fmt.Appendf(nil, "%s#%d", name, split), nil
		})
	}
	// model.graph.input.type.tensor_type.shape.dim
	rewrite := dim
	for _, field := range []protowire.Number{1, 2, 1, 2, 11, 7} {
		inner := rewrite
		rewrite = func(message []byte) ([]byte, error) { return edit(message, field, inner) }
	}
	out, err := rewrite(model)
	if err != nil {
		return nil, fmt.Errorf("tell dimensions apart: %w", err)
	}
	return out, nil
}

// edit copies a message with each payload of one of its fields replaced.
func edit(message []byte, field protowire.Number, replace func([]byte) ([]byte, error)) ([]byte, error) {
	out := make([]byte, 0, len(message))
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeField(message)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		whole := message[:n]
		message = message[n:]
		if num != field || typ != protowire.BytesType {
			out = append(out, whole...)
			continue
		}
		_, _, head := protowire.ConsumeTag(whole)
		payload, _ := protowire.ConsumeBytes(whole[head:])
		replaced, err := replace(payload)
		if err != nil {
			return nil, err
		}
		out = protowire.AppendBytes(protowire.AppendTag(out, num, typ), replaced)
	}
	return out, nil
}
