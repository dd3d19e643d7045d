package onnx

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// eachField visits the fields of a message; payload is nil for numbers.
func eachField(message []byte, visit func(num protowire.Number, whole, payload []byte) error) error {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeField(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		whole := message[:n]
		message = message[n:]
		var payload []byte
		if typ == protowire.BytesType {
			_, _, head := protowire.ConsumeTag(whole)
			if payload, _ = protowire.ConsumeBytes(whole[head:]); payload == nil {
				payload = []byte{}
			}
		}
		if err := visit(num, whole, payload); err != nil {
			return err
		}
	}
	return nil
}

// each visits the fields that have a payload.
func each(message []byte, visit func(num protowire.Number, payload []byte) error) error {
	return eachField(message, func(num protowire.Number, _, payload []byte) error {
		if payload == nil {
			return nil
		}
		return visit(num, payload)
	})
}

func textOf(message []byte, field protowire.Number) (s string, err error) {
	err = each(message, func(num protowire.Number, payload []byte) error {
		if num == field {
			s = string(payload)
		}
		return nil
	})
	return s, err
}

func fieldOf(message []byte, field protowire.Number) (out []byte, err error) {
	err = each(message, func(num protowire.Number, payload []byte) error {
		if num == field {
			out = payload
		}
		return nil
	})
	if err == nil && out == nil {
		err = errors.New("the model has no graph")
	}
	return out, err
}
