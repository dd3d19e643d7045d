package onnx

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// RenameDims returns a copy of a model in which the named dimensions of its inputs
// have the names that rename gives them.
func RenameDims(model []byte, rename func(input string, position int, name string) string) ([]byte, error) {
	inputs := func(graph []byte) ([]byte, error) {
		return edit(graph, 11, func(input []byte) ([]byte, error) {
			var of string
			// Nothing is changed: the name may stand behind the type.
			if _, err := edit(input, 1, func(name []byte) ([]byte, error) { of = string(name); return name, nil }); err != nil {
				return nil, err
			}
			position := -1
			rewrite := func(dim []byte) ([]byte, error) {
				position++
				return edit(dim, 2, func(name []byte) ([]byte, error) { return []byte(rename(of, position, string(name))), nil })
			}
			for _, field := range []protowire.Number{1, 2, 1, 2} { // input.type.tensor_type.shape.dim
				inner := rewrite
				rewrite = func(message []byte) ([]byte, error) { return edit(message, field, inner) }
			}
			return rewrite(input)
		})
	}
	out, err := edit(model, 7, inputs)
	if err != nil {
		return nil, fmt.Errorf("rename dimensions: %w", err)
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
