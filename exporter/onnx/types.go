package onnx

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plancast/plancast/exporter/engine"
)

func (d *decoder) valueInfo(f field) (engine.TensorInfo, error) {
	var info engine.TensorInfo
	at := f.at
	var fields once
	err := d.message(f, "value", func(f field) (err error) {
		if err := fields.check(f, "value", 1, 2); err != nil {
			return err
		}
		switch f.num {
		case 1:
			info.Name, err = d.text(f, "value name")
		case 2:
			err = d.valueType(f, &info)
		}
		return err
	})
	if err == nil && info.Name == "" {
		return info, errorf(at, "an input or output without a name")
	}
	return info, err
}

// maxContainers bounds types inside types.
const maxContainers = 8

// valueType reads a TypeProto: a tensor, or what holds one.
func (d *decoder) valueType(f field, info *engine.TensorInfo) error {
	if len(info.In) > maxContainers {
		return errorf(f.at, "value %q: types are nested more than %d deep", info.Name, maxContainers)
	}
	return d.message(f, "type", func(f field) error {
		held := func(container engine.Container, inner protowire.Number) error {
			info.In = append(info.In, container)
			return d.message(f, string(container)+" type", func(f field) error {
				if f.num != inner {
					return nil
				}
				return d.valueType(f, info)
			})
		}
		switch f.num {
		case 1: // tensor_type
			return d.tensorType(f, info)
		case 4: // sequence_type
			return held(engine.Sequence, 1)
		case 5: // map_type, whose field 2 is the type of its values
			return held(engine.Map, 2)
		case 7: // opaque_type
			info.In = append(info.In, engine.Opaque)
		case 8: // sparse_tensor_type
			info.In = append(info.In, engine.Sparse)
			return d.tensorType(f, info)
		case 9: // optional_type
			return held(engine.Optional, 1)
		}
		return nil
	})
}

func (d *decoder) tensorType(f field, info *engine.TensorInfo) error {
	return d.message(f, "tensor type", func(f field) error {
		switch f.num {
		case 1:
			code, err := enum(f, "element type")
			info.DType = dtypeName(code)
			return err
		case 2:
			return d.message(f, "shape", func(f field) error {
				if f.num != 1 {
					return nil
				}
				if len(info.Dims) >= maxRank {
					return errorf(f.at, "value %q: more than %d dimensions", info.Name, maxRank)
				}
				dim, err := d.dim(f)
				info.Dims = append(info.Dims, dim)
				return err
			})
		}
		return nil
	})
}

func (d *decoder) dim(f field) (engine.Dim, error) {
	dim := engine.Dim{Size: -1}
	err := d.message(f, "dimension", func(f field) (err error) {
		switch f.num {
		case 1: // dim_value; negative ones stand for a batch in old exporters
			if v := int64(f.value); v >= 0 {
				dim.Size = v
			} else {
				dim.Name = engine.MinusOne
			}
		case 2:
			dim.Name, err = d.text(f, "dimension name")
		}
		return err
	})
	if dim.Size >= 0 {
		dim.Name = ""
	}
	return dim, err
}

// quantized reports whether activations are quantized: operators on integers, or
// pairs of QuantizeLinear and DequantizeLinear. Weights alone behind a
// DequantizeLinear save memory and not arithmetic, so they do not count.
func quantized(operators map[Operator]int) bool {
	var q, dq bool
	for op := range operators {
		switch {
		case strings.HasPrefix(op.Type, "QLinear"),
			op.Type == "MatMulInteger", op.Type == "ConvInteger", op.Type == "DynamicQuantizeLinear",
			op.Domain == "com.microsoft" && (op.Type == "DynamicQuantizeMatMul" || op.Type == "MatMulIntegerToFloat" ||
				op.Type == "DynamicQuantizeLSTM" || op.Type == "QAttention" || op.Type == "QGemm"):
			return true
		case op.Type == "QuantizeLinear":
			q = true
		case op.Type == "DequantizeLinear":
			dq = true
		}
	}
	return q && dq
}

// precision is what the candidate was shipped as: int8 when its activations
// are quantized; fp16 when most of its floating-point weights (or, without
// any, its floating-point inputs and outputs) are float16; fp32 otherwise.
func (d *decoder) precision() engine.Precision {
	if d.g.Quantized {
		return engine.INT8
	}
	half, single := d.floats[engine.Float16], d.floats[engine.Float32]+d.floats[engine.Float64]+d.floats[engine.BFloat16]
	if half+single == 0 {
		for _, t := range slices.Concat(d.g.Inputs, d.g.Outputs) {
			switch t.DType {
			case engine.Float16:
				half++
			case engine.Float32, engine.Float64, engine.BFloat16:
				single++
			}
		}
	}
	if half > single {
		return engine.FP16
	}
	return engine.FP32
}

var dtypes = map[int64]engine.DType{
	1: engine.Float32, 2: engine.Uint8, 3: engine.Int8, 4: engine.Uint16, 5: engine.Int16, 6: engine.Int32, 7: engine.Int64,
	8: engine.String, 9: engine.Bool, 10: engine.Float16, 11: engine.Float64, 12: engine.Uint32, 13: engine.Uint64,
	14: "complex64", 15: "complex128", 16: engine.BFloat16,
	17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz",
	21: "uint4", 22: "int4", 23: "float4e2m1", 24: "float8e8m0", 25: "uint2", 26: "int2",
}

func dtypeName(code int64) engine.DType {
	if t, ok := dtypes[code]; ok {
		return t
	}
	return engine.DType(fmt.Sprintf("type%d", code))
}

// elementBits is the size of an element of a TensorProto.DataType, or 0 where
// it has none or is not known.
func elementBits(code int64) int {
	switch code {
	case 14:
		return 64
	case 15:
		return 128
	case 17, 18, 19, 20, 24:
		return 8
	case 21, 22, 23:
		return 4
	case 25, 26:
		return 2
	}
	return 8 * dtypes[code].Size()
}
