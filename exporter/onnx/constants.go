package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// int32s are the elements of a constant; false when it is of another type.
func (f *folder32) int32s(tensor []byte) ([]int32, bool, error) {
	code, raw, packed, err := f.content(tensor, 5)
	if err != nil || code != 6 { // INT32
		return nil, false, err
	}
	var out []int32
	for len(raw) >= 4 {
		out, raw = append(out, int32(binary.LittleEndian.Uint32(raw))), raw[4:]
	}
	for _, p := range packed {
		for len(p) > 0 {
			v, n := protowire.ConsumeVarint(p)
			if n < 0 {
				return nil, false, protowire.ParseError(n)
			}
			out, p = append(out, int32(v)), p[n:]
		}
	}
	return out, true, nil
}

// floats are the elements of a float32 constant by name; none when it is no such.
func (f *folder32) floats(name string) ([]float32, error) {
	tensor, ok := f.constants[name]
	if !ok {
		return nil, nil
	}
	code, raw, packed, err := f.content(tensor, 4)
	if err != nil || code != 1 { // FLOAT
		return nil, err
	}
	for _, p := range packed {
		raw = append(raw, p...)
	}
	var out []float32
	for len(raw) >= 4 {
		out, raw = append(out, math.Float32frombits(binary.LittleEndian.Uint32(raw))), raw[4:]
	}
	return out, nil
}

// content is the element type of a tensor and where its elements are: in raw, or in
// the packed field given.
func (f *folder32) content(tensor []byte, field protowire.Number) (code uint64, raw []byte, packed [][]byte, err error) {
	var location string
	var offset, length int64
	err = eachField(tensor, func(num protowire.Number, whole, payload []byte) error {
		switch num {
		case 2:
			_, _, n := protowire.ConsumeTag(whole)
			code, _ = protowire.ConsumeVarint(whole[n:])
		case 9:
			raw = slices.Clone(payload)
		case field:
			if payload != nil {
				packed = append(packed, payload)
				break
			}
			_, _, n := protowire.ConsumeTag(whole) // one element, not packed
			packed = append(packed, whole[n:])
		case 13: // external_data
			key, err := textOf(payload, 1)
			if err != nil {
				return err
			}
			value, err := textOf(payload, 2)
			if err != nil {
				return err
			}
			switch key {
			case "location":
				location = value
			case "offset":
				offset, err = strconv.ParseInt(value, 10, 64)
			case "length":
				length, err = strconv.ParseInt(value, 10, 64)
			}
			return err
		}
		return nil
	})
	if err != nil || location == "" || (code != 6 && code != 1) {
		return code, raw, packed, err
	}
	raw, err = f.beside(location, offset, length)
	return code, raw, nil, err
}

// maxFolded bounds a constant that is read from beside the model: biases are small.
const maxFolded = 64 << 20

func (f *folder32) beside(location string, offset, length int64) ([]byte, error) {
	if err := checkLocation(location); err != nil {
		return nil, fmt.Errorf("external data %q: %w", location, err)
	}
	file, err := os.Open(filepath.Join(f.folder, filepath.FromSlash(location)))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if length == 0 {
		info, err := file.Stat()
		if err != nil {
			return nil, err
		}
		length = info.Size() - offset
	}
	if length < 0 || length > maxFolded {
		return nil, fmt.Errorf("external data %q: %d bytes from byte %d", location, length, offset)
	}
	b := make([]byte, length)
	_, err = file.ReadAt(b, offset)
	return b, err
}

func dimsOf(tensor []byte) (dims []int64, err error) {
	err = eachField(tensor, func(num protowire.Number, whole, payload []byte) error {
		if num != 1 {
			return nil
		}
		if payload == nil {
			_, _, n := protowire.ConsumeTag(whole)
			payload = whole[n:]
		}
		for len(payload) > 0 {
			v, n := protowire.ConsumeVarint(payload)
			if n < 0 {
				return protowire.ParseError(n)
			}
			dims, payload = append(dims, int64(v)), payload[n:]
		}
		return nil
	})
	return dims, err
}
