package tensorio

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
)

// Generate makes one tensor for each input: floats from a standard normal
// distribution, integers uniform in 0..9 and below the size of the table that they
// are looked up in, booleans evenly. The same seed, names, types and shapes give the
// same values anywhere. What no values can be made for is of KindUnsupportedInput.
func Generate(inputs []engine.TensorInfo, shapes [][]int64, seed uint64) ([]engine.Tensor, error) {
	tensors := make([]engine.Tensor, len(inputs))
	for i, in := range inputs {
		if len(in.In) > 0 || in.DType.Bits() == 0 {
			return nil, notGenerated(in)
		}
		n, err := engine.Elements(shapes[i])
		if err == nil && n > MaxBytes/8 {
			err = fmt.Errorf("%d elements are too many to generate", n)
		}
		if err != nil {
			e := engine.Errorf(engine.KindInvalidInput, "generate input", in.String(), "%v", err)
			e.Hint = "make its dimensions smaller, in models[].dims, a workload's dims or config.pbtxt"
			return nil, e
		}
		t, err := engine.NewTensor(in.Name, in.DType, shapes[i])
		if err != nil {
			return nil, engine.Errorf(engine.KindInvalidInput, "generate input", in.String(), "%v", err)
		}
		below := 10
		switch {
		case in.DType == engine.Bool, in.DType == engine.Int2:
			below = 2
		case in.DType == engine.Uint2:
			below = 4
		case in.DType == engine.Int4:
			below = 8
		case in.Limit > 0:
			below = int(min(in.Limit, 10))
		}
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		for k := range t.Len() {
			if in.DType.Float() {
				set(t, k, r.NormFloat64())
			} else {
				set(t, k, float64(r.IntN(below)))
			}
		}
		tensors[i] = t
	}
	return tensors, nil
}

// notGenerated says what to put into inputs.npz for an input of no plain type.
func notGenerated(in engine.TensorInfo) error {
	e := engine.Errorf(engine.KindUnsupportedInput, "generate input", in.String(), "input %q is %s, for which no values can be generated", in.Name, in.What())
	switch {
	case slices.Contains(in.In, engine.Map):
		e.Hint = fmt.Sprintf("put inputs.npz beside the model, with the arrays %q and %q", in.Name+"/keys", in.Name+"/values")
	case slices.Contains(in.In, engine.Sequence):
		e.Hint = fmt.Sprintf("put inputs.npz beside the model, with an array for each item: %q, %q, …", in.Name+"/0", in.Name+"/1")
	case in.DType == engine.String:
		e.Hint = fmt.Sprintf("put inputs.npz beside the model, with an array %q of text (NumPy's dtype str)", in.Name)
	default:
		e.Hint = fmt.Sprintf("put inputs.npz beside the model, with an array %q", in.Name)
	}
	return e
}

// Fill stores value(i), which fits, in each element i of a tensor of zeros.
func Fill(t engine.Tensor, value func(i int) float64) {
	for i := range t.Len() {
		set(t, i, value(i))
	}
}

// set stores v, which fits, in element i.
func set(t engine.Tensor, i int, v float64) {
	le := binary.LittleEndian
	switch t.DType {
	case engine.Float16:
		le.PutUint16(t.Data[2*i:], halfBits(v))
	case engine.BFloat16:
		le.PutUint16(t.Data[2*i:], bfloatBits(v))
	case engine.Float32:
		le.PutUint32(t.Data[4*i:], math.Float32bits(float32(v)))
	case engine.Float64:
		le.PutUint64(t.Data[8*i:], math.Float64bits(v))
	case engine.Int8:
		t.Data[i] = byte(int8(v))
	case engine.Uint8, engine.Bool:
		t.Data[i] = byte(v)
	case engine.Int16:
		le.PutUint16(t.Data[2*i:], uint16(int16(v)))
	case engine.Uint16:
		le.PutUint16(t.Data[2*i:], uint16(v))
	case engine.Int32:
		le.PutUint32(t.Data[4*i:], uint32(int32(v)))
	case engine.Uint32:
		le.PutUint32(t.Data[4*i:], uint32(v))
	case engine.Int64:
		le.PutUint64(t.Data[8*i:], uint64(int64(v)))
	case engine.Uint64:
		le.PutUint64(t.Data[8*i:], uint64(v))
	case engine.Uint4, engine.Int4:
		t.Data[i/2] |= byte(int8(v)) & 0xf << (4 * (i % 2)) // the elements are zero before
	case engine.Uint2, engine.Int2:
		t.Data[i/4] |= byte(int8(v)) & 3 << (2 * (i % 4))
	case engine.Float4E2M1:
		t.Data[i/2] |= nearest(t.DType, 16, v) << (4 * (i % 2))
	case engine.Float8E4M3FN, engine.Float8E4M3FNUZ, engine.Float8E5M2, engine.Float8E5M2FNUZ:
		t.Data[i] = nearest(t.DType, 256, v)
	}
}

// nearest is the code below codes of the number of a small type that is nearest to v.
func nearest(dtype engine.DType, codes int, v float64) byte {
	best, distance := byte(0), math.Inf(1)
	for code := range codes {
		x := engine.Tensor{DType: dtype, Shape: []int64{1}, Data: []byte{byte(code)}}.At(0)
		if x == v && math.Signbit(x) == math.Signbit(v) || math.IsNaN(x) && math.IsNaN(v) {
			return byte(code)
		}
		if d := math.Abs(x - v); d < distance {
			best, distance = byte(code), d
		}
	}
	return best
}

// bfloatBits is the bfloat16 nearest to f, ties to even.
func bfloatBits(f float64) uint16 {
	b := math.Float32bits(float32(f))
	if math.IsNaN(f) {
		return 0x7fc0
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// ranges of the integer types that At and set carry exactly.
var ranges = map[engine.DType][2]float64{
	engine.Int8: {-1 << 7, 1<<7 - 1}, engine.Int16: {-1 << 15, 1<<15 - 1}, engine.Int32: {-1 << 31, 1<<31 - 1}, engine.Int64: {-1 << 53, 1 << 53},
	engine.Uint8: {0, 1<<8 - 1}, engine.Uint16: {0, 1<<16 - 1}, engine.Uint32: {0, 1<<32 - 1}, engine.Uint64: {0, 1 << 53},
}

// smallest are the ranges of integers that NumPy has no type for.
var smallest = map[engine.DType][2]float64{engine.Uint4: {0, 15}, engine.Int4: {-8, 7}, engine.Uint2: {0, 3}, engine.Int2: {-2, 1}}

// convert gives t another element type when that is harmless: between floating
// point types (NumPy's default is float64, models want float32), and between
// integer types when every value fits.
func convert(t engine.Tensor, dtype engine.DType) (engine.Tensor, error) {
	if t.DType == dtype {
		return t, nil
	}
	_, fromInt := ranges[t.DType]
	bounds, toInt := ranges[dtype]
	_, narrow := smallest[dtype]
	if !(t.DType.Float() && dtype.Float()) && !(fromInt && (toInt || narrow)) {
		return t, fmt.Errorf("it is %s and the model expects %s", t.DType, dtype)
	}
	if narrow {
		bounds, toInt = smallest[dtype], true
	}
	out, err := engine.NewTensor(t.Name, dtype, t.Shape)
	if err != nil {
		return t, err
	}
	for i := range out.Len() {
		v := t.At(i)
		if toInt && (v < bounds[0] || v > bounds[1]) {
			return t, fmt.Errorf("element %d is %.0f, which does not fit the model's %s", i, v, dtype)
		}
		set(out, i, v)
	}
	return out, nil
}

func find(arrays []engine.Tensor, name string) (engine.Tensor, bool) {
	for _, a := range arrays {
		if a.Name == name {
			return a, true
		}
	}
	return engine.Tensor{}, false
}

// Calls cuts evaluation arrays into the inputs of successive calls.
//
// An array with the input's rank holds samples along its first dimension,
// which must be a multiple of the first dimension of the input's shape; an
// array with one dimension more holds one whole input a call; an array of
// exactly the input's shape serves every call when the others hold more. All
// inputs must come to the same number of calls. Where the first dimension is
// symbolic the last call may be smaller. file names the arrays in errors.
func Calls(file string, inputs []engine.TensorInfo, shapes [][]int64, arrays []engine.Tensor) ([][]engine.Tensor, error) {
	bad := func(in engine.TensorInfo, format string, args ...any) error {
		// Reports show the message without the path.
		return engine.Errorf(engine.KindInvalidInput, "read "+file+" for input", in.String(), file+", "+format, args...)
	}
	parts := make([][]engine.Tensor, len(inputs))
	calls := 1
	for i, in := range inputs {
		if len(in.In) > 0 {
			t, err := held(in, arrays)
			if err != nil {
				return nil, bad(in, "input %q: %v", in.Name, err)
			}
			parts[i] = []engine.Tensor{t}
			continue
		}
		a, ok := find(arrays, in.Name)
		if !ok {
			names := make([]string, len(arrays))
			for k, a := range arrays {
				names[k] = strconv.Quote(a.Name)
			}
			return nil, bad(in, "which has no array named %q, only %s", in.Name, listed(names, 8))
		}
		a, err := convert(a, in.DType)
		if err != nil {
			return nil, bad(in, "array %q: %v", in.Name, err)
		}
		part, err := cut(a, shapes[i], len(in.Dims) > 0 && in.Dims[0].Size < 0)
		if err != nil {
			return nil, bad(in, "array %q: %v", in.Name, err)
		}
		parts[i] = part
		calls = max(calls, len(part))
	}
	for i, in := range inputs {
		switch len(parts[i]) {
		case calls:
		case 1:
			parts[i] = slices.Repeat(parts[i], calls)
		default:
			return nil, bad(in, "array %q makes %d calls where another input's makes %d", in.Name, len(parts[i]), calls)
		}
	}
	out := make([][]engine.Tensor, calls)
	for c := range out {
		for i := range inputs {
			out[c] = append(out[c], parts[i][c])
		}
	}
	return out, nil
}

func listed(list []string, most int) string {
	if len(list) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
	}
	return strings.Join(list, ", ")
}

// held makes the value of an input that is no tensor: the items of a sequence are
// the arrays "name/0", "name/1" and so on, a map is "name/keys" and "name/values",
// and an optional value without arrays is absent.
func held(in engine.TensorInfo, arrays []engine.Tensor) (engine.Tensor, error) {
	kinds := in.In
	optional := kinds[0] == engine.Optional
	if optional {
		kinds = kinds[1:]
	}
	item := func(part string, dtype engine.DType) (engine.Tensor, bool, error) {
		a, ok := find(arrays, in.Name+part)
		if !ok {
			return a, false, nil
		}
		t, err := convert(a, dtype)
		return t, true, err
	}
	switch {
	case len(kinds) == 0:
		t, ok, err := item("", in.DType)
		if !ok {
			return engine.Tensor{Name: in.Name, Container: engine.Optional}, nil
		}
		return t, err
	case len(kinds) == 1 && kinds[0] == engine.Sequence:
		t := engine.Tensor{Name: in.Name, Container: engine.Sequence}
		for {
			next, ok, err := item(fmt.Sprintf("/%d", len(t.Items)), in.DType)
			switch {
			case err != nil:
				return t, err
			case ok:
				t.Items = append(t.Items, next)
				continue
			case optional && len(t.Items) == 0:
				t.Container = engine.Optional
			}
			return t, nil
		}
	case len(kinds) == 1 && kinds[0] == engine.Map:
		keys, okKeys := find(arrays, in.Name+"/keys")
		values, ok, err := item("/values", in.DType)
		if !okKeys || !ok {
			return keys, fmt.Errorf("it has no arrays %q and %q", in.Name+"/keys", in.Name+"/values")
		}
		return engine.Tensor{Name: in.Name, Container: engine.Map, Items: []engine.Tensor{keys, values}}, err
	}
	return engine.Tensor{}, fmt.Errorf("the input is %s, which arrays cannot hold", in.What())
}

// cut splits a into tensors of the given shape along its first dimension.
func cut(a engine.Tensor, shape []int64, partial bool) ([]engine.Tensor, error) {
	n, err := engine.Elements(shape)
	if err != nil {
		return nil, err
	}
	if partial && len(a.Shape) == len(shape)+1 && a.Shape[1] == 1 && slices.Equal(a.Shape[2:], shape[1:]) {
		// Samples of the shape [1, ...] on an axis of their own: one batch axis.
		a.Shape = append([]int64{a.Shape[0]}, a.Shape[2:]...)
	}
	misfit := fmt.Errorf("its array has the shape %v, which does not divide into %v", a.Shape, shape)
	if len(a.Shape) == len(shape)+1 && slices.Equal(a.Shape[1:], shape) {
		return split(a, append([]int64{1}, shape...), n, false, true, misfit)
	}
	if len(a.Shape) != len(shape) {
		return nil, misfit
	}
	if len(shape) == 0 || a.DType.Bits()%8 != 0 && slices.Equal(a.Shape, shape) {
		return []engine.Tensor{a}, nil
	}
	if a.DType.Bits()%8 != 0 {
		return nil, fmt.Errorf("an array of %s holds one call: its shape is %v and not %v", a.DType, a.Shape, shape)
	}
	if !slices.Equal(a.Shape[1:], shape[1:]) {
		return nil, misfit
	}
	return split(a, shape, n, partial, false, misfit)
}

func split(a engine.Tensor, shape []int64, elements int64, partial, drop bool, misfit error) ([]engine.Tensor, error) {
	rows, step := a.Shape[0], shape[0]
	if rows == 0 && step == 0 {
		return []engine.Tensor{a}, nil
	}
	if rows == 0 || step == 0 || (rows%step != 0 && !partial) {
		return nil, misfit
	}
	var parts []engine.Tensor
	row := elements / step
	for at := int64(0); at < rows; at += step {
		n := min(step, rows-at)
		part := engine.Tensor{Name: a.Name, DType: a.DType, Shape: append([]int64{n}, shape[1:]...)}
		if drop {
			part.Shape = part.Shape[1:]
		}
		if a.DType == engine.String {
			part.Strings = a.Strings[at*row : (at+n)*row]
		} else {
			size := int64(a.DType.Size())
			part.Data = a.Data[at*row*size : (at+n)*row*size]
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// Concat joins the tensors of one name from successive calls along the first
// dimension; scalars become a vector. Where the shapes of the calls do not fit
// one another it falls back to one flat vector.
func Concat(parts []engine.Tensor) engine.Tensor {
	first := parts[0]
	out := engine.Tensor{Name: first.Name, DType: first.DType}
	var rows, elements int64
	fits := true
	for _, p := range parts {
		out.Data = append(out.Data, p.Data...)
		out.Strings = append(out.Strings, p.Strings...)
		elements += int64(p.Len())
		switch {
		case len(p.Shape) != len(first.Shape):
			fits = false
		case len(p.Shape) == 0:
			rows++
		default:
			rows += p.Shape[0]
			fits = fits && slices.Equal(p.Shape[1:], first.Shape[1:])
		}
	}
	switch {
	case !fits:
		out.Shape = []int64{elements}
	case len(first.Shape) == 0:
		out.Shape = []int64{rows}
	default:
		out.Shape = append([]int64{rows}, first.Shape[1:]...)
	}
	return out
}
