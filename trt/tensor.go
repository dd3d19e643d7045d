package trt

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// DType is the type of a tensor's elements.
type DType int

// The element types, as TensorRT numbers them.
const (
	Float32 DType = iota
	Float16
	Int8
	Int32
	Bool
	Uint8
	FP8
	BFloat16
	Int64
	Int4
	FP4
	E8M0
)

var dtypes = [...]struct {
	name string
	bits int
}{
	{"fp32", 32}, {"fp16", 16}, {"int8", 8}, {"int32", 32}, {"bool", 8}, {"uint8", 8},
	{"fp8", 8}, {"bf16", 16}, {"int64", 64}, {"int4", 4}, {"fp4", 4}, {"e8m0", 8},
}

func (d DType) String() string {
	if d >= 0 && int(d) < len(dtypes) {
		return dtypes[d].name
	}
	return fmt.Sprintf("dtype(%d)", int(d))
}

// Bits of one element; 0 for an unknown type.
func (d DType) Bits() int {
	if d >= 0 && int(d) < len(dtypes) {
		return dtypes[d].bits
	}
	return 0
}

// bytes is how many bytes that many elements take.
func (d DType) bytes(elements int64) int64 { return (elements*int64(d.Bits()) + 7) / 8 }

// Shape is a tensor's dimensions; -1 stands for one fixed only at run time.
type Shape []int64

// Elements is the product of the dimensions, or -1 when one is not fixed or the
// product overflows. A scalar has one.
func (s Shape) Elements() int64 {
	n := int64(1)
	for _, d := range s {
		if d < 0 {
			return -1
		}
		if d != 0 && n > math.MaxInt64/d {
			return -1
		}
		n *= d
	}
	return n
}

// Dynamic reports whether a dimension is fixed only at run time.
func (s Shape) Dynamic() bool {
	for _, d := range s {
		if d < 0 {
			return true
		}
	}
	return false
}

func (s Shape) String() string {
	if len(s) == 0 {
		return "scalar"
	}
	parts := make([]string, len(s))
	for i, d := range s {
		if d < 0 {
			parts[i] = "?"
		} else {
			parts[i] = fmt.Sprint(d)
		}
	}
	return strings.Join(parts, "x")
}

// TensorInfo describes an input or output of a network or an engine.
type TensorInfo struct {
	Name  string
	Input bool
	DType DType
	Shape Shape
	// Host: the values lie in host memory, because they decide shapes.
	Host bool
	// Profiles are the shape ranges of an engine's input, one per optimization
	// profile; nil for outputs and for a network.
	Profiles []Range
	// Format is TensorRT's description of the memory layout; engines only.
	Format string
}

// Range is the smallest, the tuned-for and the largest shape of an input.
type Range struct{ Min, Opt, Max Shape }

// Tensor holds values in row-major order, little endian.
type Tensor struct {
	DType DType
	Shape Shape
	Data  []byte // (Elements·Bits + 7) / 8 bytes
}

// NewTensor makes a tensor of zeros. It panics on a shape that is not fixed.
func NewTensor(d DType, s Shape) Tensor {
	n := s.Elements()
	if n < 0 || d.Bits() == 0 {
		panic(fmt.Sprintf("trt: NewTensor of %v %v", d, s))
	}
	return Tensor{DType: d, Shape: append(Shape{}, s...), Data: make([]byte, d.bytes(n))}
}

// FromFloat32 makes a tensor of the given type from float32 values: fp16, bf16
// and fp32 are rounded to nearest even, integer types to the nearest integer.
func FromFloat32(d DType, s Shape, v []float32) (Tensor, error) {
	if n := s.Elements(); n != int64(len(v)) {
		return Tensor{}, invalidf("%d values for shape %v", len(v), s)
	}
	var t Tensor
	switch d {
	case Float32, Float16, BFloat16, Int8, Uint8, Bool, Int32, Int64:
		t = NewTensor(d, s)
	default:
		return Tensor{}, fmt.Errorf("%w: filling a tensor of type %v", ErrUnsupported, d)
	}
	for i, x := range v {
		switch d {
		case Float32:
			binary.LittleEndian.PutUint32(t.Data[4*i:], math.Float32bits(x))
		case Float16:
			binary.LittleEndian.PutUint16(t.Data[2*i:], float16bits(x))
		case BFloat16:
			binary.LittleEndian.PutUint16(t.Data[2*i:], bfloat16bits(x))
		case Int8:
			t.Data[i] = byte(int8(math.RoundToEven(float64(x))))
		case Uint8:
			t.Data[i] = byte(math.RoundToEven(float64(x)))
		case Bool:
			if x != 0 {
				t.Data[i] = 1
			}
		case Int32:
			binary.LittleEndian.PutUint32(t.Data[4*i:], uint32(int32(math.RoundToEven(float64(x)))))
		case Int64:
			binary.LittleEndian.PutUint64(t.Data[8*i:], uint64(int64(math.RoundToEven(float64(x)))))
		}
	}
	return t, nil
}

// Float32s gives the values as float32.
func (t Tensor) Float32s() ([]float32, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	out := make([]float32, t.Shape.Elements())
	for i := range out {
		switch t.DType {
		case Float32:
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		case Float16:
			out[i] = float16from(binary.LittleEndian.Uint16(t.Data[2*i:]))
		case BFloat16:
			out[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(t.Data[2*i:])) << 16)
		case Int8:
			out[i] = float32(int8(t.Data[i]))
		case Uint8, Bool:
			out[i] = float32(t.Data[i])
		case Int32:
			out[i] = float32(int32(binary.LittleEndian.Uint32(t.Data[4*i:])))
		case Int64:
			out[i] = float32(int64(binary.LittleEndian.Uint64(t.Data[8*i:])))
		default:
			return nil, fmt.Errorf("%w: reading a tensor of type %v", ErrUnsupported, t.DType)
		}
	}
	return out, nil
}

func (t Tensor) check() error {
	n := t.Shape.Elements()
	if n < 0 {
		return invalidf("shape %v is not fixed", t.Shape)
	}
	if want := t.DType.bytes(n); want != int64(len(t.Data)) {
		return invalidf("%d bytes for %v of %v, want %d", len(t.Data), t.Shape, t.DType, want)
	}
	return nil
}

// RandomTensor fills a tensor for a benchmark: floating point uniform in [-1, 1),
// integers 0 or 1, always the same for the same seed. Values that are all equal
// would let the GPU run cooler and faster than production does.
func RandomTensor(d DType, s Shape, seed uint64) (Tensor, error) {
	n := s.Elements()
	if n < 0 {
		return Tensor{}, invalidf("shape %v is not fixed", s)
	}
	r := rand.New(rand.NewPCG(seed, 0x7e5))
	v := make([]float32, n)
	for i := range v {
		switch d {
		case Float32, Float16, BFloat16:
			v[i] = r.Float32()*2 - 1
		default:
			v[i] = float32(r.IntN(2))
		}
	}
	return FromFloat32(d, s, v)
}

func bfloat16bits(x float32) uint16 {
	b := math.Float32bits(x)
	if x != x {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + (b>>16)&1) >> 16)
}

// float16bits rounds to nearest, ties to even, as IEEE 754 binary16.
func float16bits(x float32) uint16 {
	b := math.Float32bits(x)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // NaN
		return sign | 0x7e00
	case b >= 0x47800000: // too large
		return sign | 0x7c00
	case b >= 0x38800000: // normal
		b -= 112 << 23
		return sign + uint16((b+0xfff+(b>>13)&1)>>13)
	case b >= 0x33000000: // subnormal
		m := uint64(b&0x7fffff | 0x800000)
		shift := 126 - b>>23
		half := uint64(1) << (shift - 1)
		return sign | uint16((m+half-1+(m>>shift)&1)>>shift)
	}
	return sign
}

func float16from(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, frac := uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch {
	case exp == 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case exp != 0:
		return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
	}
	v := float32(frac) / (1 << 24)
	if sign != 0 {
		v = -v
	}
	return v
}
