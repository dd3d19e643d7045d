package engine

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
)

// DType is an element type, in NumPy's names.
type DType string

// The element types that plancast moves in and out of engines.
const (
	Float16  DType = "float16"
	BFloat16 DType = "bfloat16"
	Float32  DType = "float32"
	Float64  DType = "float64"
	Int8     DType = "int8"
	Int16    DType = "int16"
	Int32    DType = "int32"
	Int64    DType = "int64"
	Uint8    DType = "uint8"
	Uint16   DType = "uint16"
	Uint32   DType = "uint32"
	Uint64   DType = "uint64"
	Bool     DType = "bool"
	String   DType = "string" // known, and refused: no engine takes it
)

// Size is the number of bytes of one element, or 0 for a type of no fixed size.
func (d DType) Size() int {
	switch d {
	case Int8, Uint8, Bool:
		return 1
	case Float16, BFloat16, Int16, Uint16:
		return 2
	case Float32, Int32, Uint32:
		return 4
	case Float64, Int64, Uint64:
		return 8
	}
	return 0
}

// Dim is one dimension: a size, or Size -1 with the symbol's name, if any.
type Dim struct {
	Size int64  `json:"size"`
	Name string `json:"name,omitempty"`
}

// TensorInfo describes an input or output of a model.
type TensorInfo struct {
	Name  string `json:"name"`
	DType DType  `json:"dtype"`
	Dims  []Dim  `json:"dims"`
}

// Dynamic tells whether any dimension is symbolic.
func (t TensorInfo) Dynamic() bool {
	for _, d := range t.Dims {
		if d.Size < 0 {
			return true
		}
	}
	return false
}

// String reads like "input float32[N,3,224,224]".
func (t TensorInfo) String() string {
	dims := make([]string, len(t.Dims))
	for i, d := range t.Dims {
		switch {
		case d.Size >= 0:
			dims[i] = fmt.Sprint(d.Size)
		case d.Name != "":
			dims[i] = d.Name
		default:
			dims[i] = "?"
		}
	}
	return fmt.Sprintf("%s %s[%s]", t.Name, t.DType, strings.Join(dims, ","))
}

// Tensor is a dense array: Data holds the elements row by row, little endian.
type Tensor struct {
	Name  string
	DType DType
	Shape []int64
	Data  []byte
}

// Elements is the number of elements that shape spans; a scalar has one. It
// fails on a negative dimension and on a product that does not fit.
func Elements(shape []int64) (int64, error) {
	n := int64(1)
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v has a dimension that is not known", shape)
		}
		if d > 0 && n > math.MaxInt64/8/d {
			return 0, fmt.Errorf("shape %v has too many elements", shape)
		}
		n *= d
	}
	return n, nil
}

// NewTensor allocates a zeroed tensor.
func NewTensor(name string, dtype DType, shape []int64) (Tensor, error) {
	n, err := Elements(shape)
	if err != nil {
		return Tensor{}, fmt.Errorf("tensor %q: %w", name, err)
	}
	if dtype.Size() == 0 {
		return Tensor{}, fmt.Errorf("tensor %q: element type %q has no fixed size", name, dtype)
	}
	return Tensor{Name: name, DType: dtype, Shape: append([]int64(nil), shape...), Data: make([]byte, n*int64(dtype.Size()))}, nil
}

// Len is the number of elements held.
func (t Tensor) Len() int {
	if s := t.DType.Size(); s > 0 {
		return len(t.Data) / s
	}
	return 0
}

// At returns element i as a float64. Integers above 2^53 lose digits.
func (t Tensor) At(i int) float64 {
	le := binary.LittleEndian
	switch t.DType {
	case Float32:
		return float64(math.Float32frombits(le.Uint32(t.Data[4*i:])))
	case Float64:
		return math.Float64frombits(le.Uint64(t.Data[8*i:]))
	case Float16:
		return halfToFloat(le.Uint16(t.Data[2*i:]))
	case BFloat16:
		return float64(math.Float32frombits(uint32(le.Uint16(t.Data[2*i:])) << 16))
	case Int8:
		return float64(int8(t.Data[i]))
	case Uint8:
		return float64(t.Data[i])
	case Bool:
		if t.Data[i] != 0 {
			return 1
		}
		return 0
	case Int16:
		return float64(int16(le.Uint16(t.Data[2*i:])))
	case Uint16:
		return float64(le.Uint16(t.Data[2*i:]))
	case Int32:
		return float64(int32(le.Uint32(t.Data[4*i:])))
	case Uint32:
		return float64(le.Uint32(t.Data[4*i:]))
	case Int64:
		return float64(int64(le.Uint64(t.Data[8*i:])))
	case Uint64:
		return float64(le.Uint64(t.Data[8*i:]))
	}
	return math.NaN()
}

// halfToFloat converts an IEEE 754 binary16.
func halfToFloat(h uint16) float64 {
	sign, exp, frac := 1.0, int(h>>10&0x1f), float64(h&0x3ff)
	if h&0x8000 != 0 {
		sign = -1
	}
	switch exp {
	case 0:
		return sign * math.Ldexp(frac, -24)
	case 0x1f:
		if frac != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1+frac/1024, exp-15)
}
