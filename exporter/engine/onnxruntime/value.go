package onnxruntime

import (
	"fmt"
	"runtime"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/plancast/plancast/exporter/engine"
)

// alignment of tensor data: what ONNX Runtime's own allocator gives, so that
// vectorized kernels see in our buffers what they see in production.
const alignment = 64

// value is an OrtValue over Go memory that stays where it is for as long as C
// may look at it.
type value struct {
	ort.Value
	dtype engine.DType
	shape []int64
	data  []byte
	pin   runtime.Pinner
}

// newValue makes a value of the given type and shape, holding a copy of data,
// or zeros when data is nil.
func newValue(dtype engine.DType, shape []int64, data []byte) (*value, error) {
	n, err := engine.Elements(shape)
	if err != nil {
		return nil, err
	}
	size := int(n) * dtype.Size()
	if dtype.Size() == 0 {
		return nil, fmt.Errorf("element type %q cannot be passed to ONNX Runtime", dtype)
	}
	if data != nil && len(data) != size {
		return nil, fmt.Errorf("%s%v needs %d bytes and has %d", dtype, shape, size, len(data))
	}
	block := make([]byte, size+alignment)
	skip := int(-uintptr(unsafe.Pointer(&block[0])) % alignment)
	v := &value{dtype: dtype, shape: shape, data: block[skip : skip+size : skip+size]}
	v.pin.Pin(&block[0])
	copy(v.data, data)
	if len(shape) == 0 {
		err = v.scalar()
	} else {
		err = v.tensor()
	}
	if err != nil {
		v.pin.Unpin()
		return nil, err
	}
	return v, nil
}

func typed[T ort.TensorData](v *value) (err error) {
	var zero T
	n := len(v.data) / int(unsafe.Sizeof(zero))
	v.Value, err = ort.NewTensor(ort.Shape(v.shape), unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(v.data))), n))
	return err
}

func (v *value) tensor() (err error) {
	switch v.dtype {
	case engine.Float32:
		return typed[float32](v)
	case engine.Float64:
		return typed[float64](v)
	case engine.Int8:
		return typed[int8](v)
	case engine.Int16:
		return typed[int16](v)
	case engine.Int32:
		return typed[int32](v)
	case engine.Int64:
		return typed[int64](v)
	case engine.Uint8:
		return typed[uint8](v)
	case engine.Uint16:
		return typed[uint16](v)
	case engine.Uint32:
		return typed[uint32](v)
	case engine.Uint64:
		return typed[uint64](v)
	case engine.Bool:
		return typed[bool](v)
	case engine.Float16:
		v.Value, err = ort.NewCustomDataTensor(ort.Shape(v.shape), v.data, ort.TensorElementDataTypeFloat16)
		return err
	case engine.BFloat16:
		v.Value, err = ort.NewCustomDataTensor(ort.Shape(v.shape), v.data, ort.TensorElementDataTypeBFloat16)
		return err
	}
	return fmt.Errorf("element type %q cannot be passed to ONNX Runtime", v.dtype)
}

// scalar makes a tensor of rank 0, which the binding has a type of its own for.
// That type keeps the element in memory of its own.
func (v *value) scalar() (err error) {
	p := unsafe.Pointer(unsafe.SliceData(v.data))
	switch v.dtype {
	case engine.Float32:
		v.Value, err = ort.NewScalar(*(*float32)(p))
	case engine.Float64:
		v.Value, err = ort.NewScalar(*(*float64)(p))
	case engine.Int8:
		v.Value, err = ort.NewScalar(*(*int8)(p))
	case engine.Int16:
		v.Value, err = ort.NewScalar(*(*int16)(p))
	case engine.Int32:
		v.Value, err = ort.NewScalar(*(*int32)(p))
	case engine.Int64:
		v.Value, err = ort.NewScalar(*(*int64)(p))
	case engine.Uint8:
		v.Value, err = ort.NewScalar(*(*uint8)(p))
	case engine.Uint16:
		v.Value, err = ort.NewScalar(*(*uint16)(p))
	case engine.Uint32:
		v.Value, err = ort.NewScalar(*(*uint32)(p))
	case engine.Uint64:
		v.Value, err = ort.NewScalar(*(*uint64)(p))
	case engine.Bool:
		v.Value, err = ort.NewScalar(*(*bool)(p))
	default:
		return fmt.Errorf("the ONNX Runtime binding has no scalars of type %s", v.dtype)
	}
	return err
}

func (v *value) destroy() {
	if v == nil {
		return
	}
	if v.Value != nil {
		_ = v.Value.Destroy()
	}
	v.pin.Unpin()
}

// bytes returns a copy of the elements of x.
func bytesOf(x ort.Value) (engine.DType, []byte, error) {
	switch t := x.(type) {
	case *value:
		if len(t.shape) > 0 {
			return t.dtype, append([]byte(nil), t.data...), nil
		}
		return bytesOf(t.Value)
	case *ort.Tensor[float32]:
		return engine.Float32, raw(t.GetData()), nil
	case *ort.Tensor[float64]:
		return engine.Float64, raw(t.GetData()), nil
	case *ort.Tensor[int8]:
		return engine.Int8, raw(t.GetData()), nil
	case *ort.Tensor[int16]:
		return engine.Int16, raw(t.GetData()), nil
	case *ort.Tensor[int32]:
		return engine.Int32, raw(t.GetData()), nil
	case *ort.Tensor[int64]:
		return engine.Int64, raw(t.GetData()), nil
	case *ort.Tensor[uint8]:
		return engine.Uint8, raw(t.GetData()), nil
	case *ort.Tensor[uint16]:
		return engine.Uint16, raw(t.GetData()), nil
	case *ort.Tensor[uint32]:
		return engine.Uint32, raw(t.GetData()), nil
	case *ort.Tensor[uint64]:
		return engine.Uint64, raw(t.GetData()), nil
	case *ort.Tensor[bool]:
		return engine.Bool, raw(t.GetData()), nil
	case *ort.Scalar[float32]:
		return engine.Float32, one(t.GetData()), nil
	case *ort.Scalar[float64]:
		return engine.Float64, one(t.GetData()), nil
	case *ort.Scalar[int8]:
		return engine.Int8, one(t.GetData()), nil
	case *ort.Scalar[int16]:
		return engine.Int16, one(t.GetData()), nil
	case *ort.Scalar[int32]:
		return engine.Int32, one(t.GetData()), nil
	case *ort.Scalar[int64]:
		return engine.Int64, one(t.GetData()), nil
	case *ort.Scalar[uint8]:
		return engine.Uint8, one(t.GetData()), nil
	case *ort.Scalar[uint16]:
		return engine.Uint16, one(t.GetData()), nil
	case *ort.Scalar[uint32]:
		return engine.Uint32, one(t.GetData()), nil
	case *ort.Scalar[uint64]:
		return engine.Uint64, one(t.GetData()), nil
	case *ort.Scalar[bool]:
		return engine.Bool, one(t.GetData()), nil
	}
	return "", nil, fmt.Errorf("it is a %T, not a tensor plancast can read", x)
}

// raw copies elements as bytes; every platform plancast runs on is little endian.
func raw[T any](s []T) []byte {
	if len(s) == 0 {
		return []byte{}
	}
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))...)
}

func one[T any](v T) []byte { return raw([]T{v}) }
