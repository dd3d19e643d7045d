package ort

// #include <stdlib.h>
// #include "api.h"
import "C"

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"
)

// Kind is what a value is.
type Kind int

// The kinds that models take and give.
const (
	Tensor   Kind = 1
	Sequence Kind = 2
	Map      Kind = 3
	Sparse   Kind = 5
	None     Kind = -1 // an optional value that is absent
)

// StringType is the element type of strings; all types are numbered as in ONNX's
// TensorProto up to 16.
const StringType = 8

// alignment of tensor data: what ONNX Runtime's own allocator gives, so that
// vectorized kernels see in our buffers what they see in production.
const alignment = 64

// Value is an input or output. Its memory is not Go's.
type Value struct {
	p    *C.ort_value
	data unsafe.Pointer // of a tensor made here; nil otherwise
	size int            // bytes of data
	held []*Value       // what a sequence or map made here shares
}

// NewTensor makes a tensor that holds a copy of data.
func NewTensor(elementType int, shape []int64, data []byte) (*Value, error) {
	room := (len(data) + 2*alignment) / alignment * alignment // at least one block: a tensor without elements has an address too
	v := &Value{data: C.aligned_alloc(alignment, C.size_t(room)), size: len(data)}
	if v.data == nil {
		return nil, fmt.Errorf("failed to allocate memory: %d bytes", room)
	}
	copy(unsafe.Slice((*byte)(v.data), len(data)), data)
	if err := v.wrap(elementType, shape, v.data, len(data)); err != nil {
		C.free(v.data)
		return nil, err
	}
	return v, nil
}

// View makes a tensor of the first n bytes of one that NewTensor made, whose memory it
// shares and which must outlive it.
func (v *Value) View(elementType int, shape []int64, n int) (*Value, error) {
	if v.data == nil || n < 0 || n > v.size {
		return nil, fmt.Errorf("a view of %d bytes into a tensor of %d", n, v.size)
	}
	view := &Value{}
	return view, view.wrap(elementType, shape, v.data, n)
}

func (v *Value) wrap(elementType int, shape []int64, data unsafe.Pointer, n int) error {
	dims := append(slices.Clone(shape), 0)
	return failed(C.ort_tensor(C.int(elementType), (*C.int64_t)(&dims[0]), C.size_t(len(shape)), data, C.size_t(n), &v.p))
}

// NewStrings makes a tensor of strings.
func NewStrings(shape []int64, text []string) (*Value, error) {
	list := newNames(text)
	defer list.free()
	v := &Value{}
	dims := append(slices.Clone(shape), 0)
	return v, failed(C.ort_strings((*C.int64_t)(&dims[0]), C.size_t(len(shape)), list.at, C.size_t(len(text)), &v.p))
}

// NewSequence makes a sequence of one or more values, which become the sequence's.
func NewSequence(items []*Value) (*Value, error) { return combine(Sequence, items) }

// NewMap makes a map of a vector of keys and one of values, which become the map's.
func NewMap(keys, values *Value) (*Value, error) { return combine(Map, []*Value{keys, values}) }

func combine(kind Kind, items []*Value) (*Value, error) {
	list := make([]*C.ort_value, len(items))
	for i, item := range items {
		list[i] = item.p
	}
	v := &Value{held: items}
	if err := failed(C.ort_combine(C.int(kind), &list[0], C.size_t(len(list)), &v.p)); err != nil {
		v.Free()
		return nil, err
	}
	return v, nil
}

// Made runs a model without inputs and returns its only output. The C API has no
// other way to an empty sequence.
func Made(model []byte, output string) (*Value, error) {
	s, err := newSessionOf(model, nil, []string{output})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	out, err := s.Run(nil, nil)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

// Free releases the value.
func (v *Value) Free() {
	if v == nil {
		return
	}
	if v.p != nil {
		C.ort_value_free(v.p)
	}
	for _, item := range v.held {
		item.Free()
	}
	C.free(v.data)
	*v = Value{}
}

// Kind says what the value is.
func (v *Value) Kind() (Kind, error) {
	if v.p == nil {
		return None, nil
	}
	var kind, has C.int
	if err := failed(C.ort_value_kind(v.p, &kind, &has)); err != nil {
		return 0, err
	}
	if has == 0 {
		return None, nil
	}
	return Kind(kind), nil
}

const maxRank = 64

// Head is the element type and the shape of a tensor.
func (v *Value) Head() (elementType int, shape []int64, err error) {
	var typ C.int
	var rank C.size_t
	var dims [maxRank]C.int64_t
	if err := failed(C.ort_value_head(v.p, &typ, &dims[0], maxRank, &rank)); err != nil {
		return 0, nil, err
	}
	shape = make([]int64, rank)
	for i := range shape {
		shape[i] = int64(dims[i])
	}
	return int(typ), shape, nil
}

// Bytes returns a copy of the first n bytes of a tensor's elements.
func (v *Value) Bytes(n int) ([]byte, error) {
	out := make([]byte, n)
	if n == 0 {
		return out, nil
	}
	var data unsafe.Pointer
	if err := failed(C.ort_value_data(v.p, &data)); err != nil {
		return nil, err
	}
	if data == nil {
		return nil, errors.New("the tensor has no data")
	}
	copy(out, unsafe.Slice((*byte)(data), n))
	return out, nil
}

// Strings returns the n elements of a tensor of strings.
func (v *Value) Strings(n int) ([]string, error) {
	out := make([]string, n)
	if n == 0 {
		return out, nil
	}
	var size C.size_t
	if err := failed(C.ort_value_text_size(v.p, &size)); err != nil {
		return nil, err
	}
	text, offsets := make([]byte, size+1), make([]C.size_t, n+1)
	offsets[n] = size
	if err := failed(C.ort_value_text(v.p, unsafe.Pointer(&text[0]), size, &offsets[0], C.size_t(n))); err != nil {
		return nil, err
	}
	for i := range out {
		out[i] = string(text[offsets[i]:offsets[i+1]])
	}
	return out, nil
}

// Items are the values of a sequence, or the keys and the values of a map; the
// caller frees them.
func (v *Value) Items() ([]*Value, error) {
	var n C.size_t
	if err := failed(C.ort_value_count(v.p, &n)); err != nil {
		return nil, err
	}
	items := make([]*Value, n)
	for i := range items {
		items[i] = &Value{}
		if err := failed(C.ort_value_item(v.p, C.int(i), &items[i].p)); err != nil {
			return items, err
		}
	}
	return items, nil
}
