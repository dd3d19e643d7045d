package engine

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
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
	String   DType = "string" // its elements are in Tensor.Strings

	Float8E4M3FN   DType = "float8e4m3fn"
	Float8E4M3FNUZ DType = "float8e4m3fnuz"
	Float8E5M2     DType = "float8e5m2"
	Float8E5M2FNUZ DType = "float8e5m2fnuz"
	Uint4          DType = "uint4" // two elements a byte, the first in the low bits
	Int4           DType = "int4"
	Float4E2M1     DType = "float4e2m1"
	Uint2          DType = "uint2" // four elements a byte
	Int2           DType = "int2"
)

// Bits is the size of one element, or 0 for a type of no fixed size.
func (d DType) Bits() int {
	switch d {
	case Uint2, Int2:
		return 2
	case Uint4, Int4, Float4E2M1:
		return 4
	case Int8, Uint8, Bool, Float8E4M3FN, Float8E4M3FNUZ, Float8E5M2, Float8E5M2FNUZ:
		return 8
	case Float16, BFloat16, Int16, Uint16:
		return 16
	case Float32, Int32, Uint32:
		return 32
	case Float64, Int64, Uint64:
		return 64
	}
	return 0
}

// Size is the number of bytes of one element, or 0 for a type whose elements are
// not whole bytes.
func (d DType) Size() int { return d.Bits() / 8 }

// Bytes is what n elements take.
func (d DType) Bytes(n int64) int64 { return (n*int64(d.Bits()) + 7) / 8 }

// Float reports whether d is a floating-point type.
func (d DType) Float() bool { return strings.Contains(string(d), "float") }

// Dim is one dimension: a size, or Size -1 where it is open, with the symbol's name, if
// any. An engine that was built for one size of an open dimension gives both.
type Dim struct {
	Size int64  `json:"size"`
	Name string `json:"name,omitempty"`
}

// MinusOne is the name of a dimension whose size is given as -1.
const MinusOne = "-1"

// Anonymous reports whether the dimension's size is open and its name says nothing:
// exporters write "?", "None" or "unk__12" for each size that they do not know, so
// that two of one name need not be equal.
func (d Dim) Anonymous() bool {
	if d.Size >= 0 {
		return false
	}
	name := strings.ToLower(strings.TrimSpace(d.Name))
	digits := strings.TrimRight(name, "0123456789")
	return name == "" || slices.Contains([]string{"?", "none", "null", "unk", "unk_", "unk__", "unknown", "unknown_", "unknown__", "undefined", "dynamic"}, digits)
}

// Container is what holds tensors where an input or output is not a tensor itself.
type Container string

// The containers of ONNX.
const (
	Sequence Container = "sequence"
	Map      Container = "map" // of keys to values; the tensor described is that of the values
	Optional Container = "optional"
	Sparse   Container = "sparse tensor"
	Opaque   Container = "opaque type"
)

// TensorInfo describes an input or output of a model.
type TensorInfo struct {
	Name  string `json:"name"`
	DType DType  `json:"dtype"`
	Dims  []Dim  `json:"dims"`
	// In are the containers that hold the tensors described, the outermost first;
	// nil for a tensor.
	In []Container `json:"in,omitempty"`
	// Limit is the size of the table that an integer input is looked up in: its
	// values lie below. 0 is unknown.
	Limit int64 `json:"limit,omitempty"`
}

// Plain reports whether the input or output is a tensor of numbers or booleans: what
// every runtime takes and plancast can generate.
func (t TensorInfo) Plain() bool {
	return len(t.In) == 0 && t.DType.Size() > 0 && !strings.HasPrefix(string(t.DType), "float8")
}

// What says what the input or output is, in words: "a sequence of maps of float32".
func (t TensorInfo) What() string {
	words := []string{}
	for i, c := range t.In {
		name := string(c)
		switch {
		case i > 0:
			words = append(words, name+"s")
		case c == Optional || c == Opaque:
			words = append(words, "an "+name)
		default:
			words = append(words, "a "+name)
		}
	}
	what := string(t.DType)
	switch {
	case t.DType == String:
		what = "text"
	case what == "":
		what = "an unknown type"
	}
	text := strings.Join(append(words, what), " of ")
	// An optional value is a value: "an optional float32", not "of".
	return strings.ReplaceAll(strings.ReplaceAll(text, "optional of a ", "optional "), "optional of ", "optional ")
}

// Dynamic reports whether any dimension is symbolic.
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
	kind := ""
	for _, c := range t.In {
		kind += string(c) + " of "
	}
	return fmt.Sprintf("%s %s%s[%s]", t.Name, kind, t.DType, strings.Join(dims, ","))
}

// Tensor is a dense array: Data holds the elements row by row, little endian; those
// of strings are in Strings instead. What models give and take that is no tensor
// has a Container and Items.
type Tensor struct {
	Name    string
	DType   DType
	Shape   []int64
	Data    []byte
	Strings []string

	// Container is "" for a tensor; Items are the values of a Sequence, or the keys
	// and the values of a Map. An Optional has none: it is absent.
	Container Container
	Items     []Tensor
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
	if dtype.Bits() == 0 {
		return Tensor{}, fmt.Errorf("tensor %q: element type %q has no fixed size", name, dtype)
	}
	return Tensor{Name: name, DType: dtype, Shape: append([]int64(nil), shape...), Data: make([]byte, dtype.Bytes(n))}, nil
}

// Len is the number of elements held.
func (t Tensor) Len() int {
	if t.DType == String {
		return len(t.Strings)
	}
	if b := t.DType.Bits(); b > 0 && b < 8 {
		n, err := Elements(t.Shape)
		if err != nil {
			return 0
		}
		return int(n)
	}
	if s := t.DType.Size(); s > 0 {
		return len(t.Data) / s
	}
	return 0
}

// At returns element i as a float64: NaN where it is no number. Integers above
// 2^53 lose digits.
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
	case Uint4:
		return float64(t.Data[i/2] >> (4 * (i % 2)) & 0xf)
	case Int4:
		return float64(int8(t.Data[i/2]>>(4*(i%2))<<4) >> 4)
	case Float4E2M1:
		return smallFloat(t.Data[i/2]>>(4*(i%2))&0xf, 2, 1, 1)
	case Uint2:
		return float64(t.Data[i/4] >> (2 * (i % 4)) & 3)
	case Int2:
		return float64(int8(t.Data[i/4]>>(2*(i%4))<<6) >> 6)
	case Float8E4M3FN:
		if t.Data[i]&0x7f == 0x7f {
			return math.NaN()
		}
		return smallFloat(t.Data[i], 4, 3, 7)
	case Float8E4M3FNUZ:
		if t.Data[i] == 0x80 {
			return math.NaN()
		}
		return smallFloat(t.Data[i], 4, 3, 8)
	case Float8E5M2:
		return halfToFloat(uint16(t.Data[i]) << 8) // the upper half of a float16
	case Float8E5M2FNUZ:
		if t.Data[i] == 0x80 {
			return math.NaN()
		}
		return smallFloat(t.Data[i], 5, 2, 16)
	}
	return math.NaN()
}

// smallFloat converts a number of one sign bit, e exponent bits and m fraction bits
// that has neither infinities nor NaN.
func smallFloat(b byte, e, m, bias int) float64 {
	exp, frac := int(b>>m)&(1<<e-1), float64(b&(1<<m-1))/float64(int(1)<<m)
	v := math.Ldexp(frac, 1-bias)
	if exp > 0 {
		v = math.Ldexp(1+frac, exp-bias)
	}
	if b>>(e+m)&1 != 0 {
		v = -v
	}
	return v
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
