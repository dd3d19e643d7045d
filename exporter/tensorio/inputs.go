package tensorio

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
)

// Shapes resolves the symbolic dimensions of a model's inputs. A dimension is
// looked up, in this order, in InputDims, as "input/position" in Dims, as its
// symbol in Dims, and last, when it is the first of an input or bears the same
// symbol as one, it is the batch.
type Shapes struct {
	Batch     int64
	Dims      map[string]int64
	InputDims map[string][]int64
}

// Resolve gives every input its concrete shape. Errors are *engine.Error of
// KindInvalidInput and say what to write where.
func (s Shapes) Resolve(inputs []engine.TensorInfo) ([][]int64, error) {
	batch := s.batchSymbols(inputs)
	shapes := make([][]int64, len(inputs))
	for i, in := range inputs {
		shape, err := s.resolve(in, batch)
		if err != nil {
			return nil, err
		}
		shapes[i] = shape
	}
	return shapes, nil
}

// Batched tells whether the batch can be chosen: whether some dimension of an
// input follows Batch.
func (s Shapes) Batched(inputs []engine.TensorInfo) bool {
	one, two := s, s
	one.Batch, two.Batch = 1, 2
	a, errA := one.Resolve(inputs)
	b, errB := two.Resolve(inputs)
	return errA == nil && errB == nil && !slices.EqualFunc(a, b, slices.Equal[[]int64])
}

// batchSymbols are the names of first dimensions.
func (s Shapes) batchSymbols(inputs []engine.TensorInfo) map[string]bool {
	symbols := map[string]bool{}
	for _, in := range inputs {
		if len(in.Dims) > 0 && in.Dims[0].Size < 0 && in.Dims[0].Name != "" {
			symbols[in.Dims[0].Name] = true
		}
	}
	return symbols
}

func (s Shapes) resolve(in engine.TensorInfo, batchSymbols map[string]bool) ([]int64, error) {
	bad := func(hint, format string, args ...any) error {
		e := engine.Errorf(engine.KindInvalidInput, "resolve the shape of input", in.String(), format, args...)
		e.Hint = hint
		return e
	}
	given, ok := s.InputDims[in.Name]
	if ok && len(given) == len(in.Dims)-1 {
		given = append([]int64{-1}, given...) // config.pbtxt leaves the batch out
	}
	if ok && len(given) != len(in.Dims) {
		return nil, bad("correct its dims in config.pbtxt", "it has %d dimensions and config.pbtxt gives %d", len(in.Dims), len(given))
	}
	shape := make([]int64, len(in.Dims))
	for i, d := range in.Dims {
		place := fmt.Sprintf("%s/%d", in.Name, i)
		size := int64(-1)
		if ok {
			size = given[i]
		}
		if v, found := s.Dims[place]; found && size < 0 {
			size = v
		}
		if v, found := s.Dims[d.Name]; found && size < 0 && d.Name != "" && d.Size < 0 {
			size = v
		}
		switch {
		case d.Size >= 0 && size >= 0 && size != d.Size:
			return nil, bad("leave it out, or correct it", "dimension %d is fixed to %d in the model and given as %d", i, d.Size, size)
		case d.Size >= 0:
			size = d.Size
		case size >= 0:
		case i == 0 || batchSymbols[d.Name]:
			size = s.Batch
		default:
			key, name := place, "no name"
			if d.Name != "" {
				key, name = d.Name, fmt.Sprintf("the name %q", d.Name)
			}
			return nil, bad(fmt.Sprintf("write dims: {%q: SIZE} for this model in the configuration, or its dims in config.pbtxt, or put inputs.npz beside the model", key),
				"dimension %d has no size, only %s", i, name)
		}
		if size < 1 {
			return nil, bad("give a size of at least 1", "dimension %d is given as %d", i, size)
		}
		shape[i] = size
	}
	return shape, nil
}

// Generate makes one tensor for each input: floats from a standard normal
// distribution, integers uniform in 0..9, unsigned likewise, booleans evenly.
// The same seed, names, types and shapes give the same values anywhere.
func Generate(inputs []engine.TensorInfo, shapes [][]int64, seed uint64) ([]engine.Tensor, error) {
	tensors := make([]engine.Tensor, len(inputs))
	for i, in := range inputs {
		n, err := engine.Elements(shapes[i])
		if err == nil && in.DType.Size() == 0 {
			err = fmt.Errorf("elements of type %q cannot be generated: put inputs.npz beside the model", in.DType)
		}
		if err == nil && n > MaxBytes/8 {
			err = fmt.Errorf("%d elements are too many to generate", n)
		}
		if err != nil {
			return nil, engine.Errorf(engine.KindInvalidInput, "generate input", in.String(), "%v", err)
		}
		t, err := engine.NewTensor(in.Name, in.DType, shapes[i])
		if err != nil {
			return nil, engine.Errorf(engine.KindInvalidInput, "generate input", in.String(), "%v", err)
		}
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		float := strings.Contains(string(in.DType), "float")
		for k := range t.Len() {
			switch {
			case float:
				set(t, k, r.NormFloat64())
			case in.DType == engine.Bool:
				set(t, k, float64(r.IntN(2)))
			default:
				set(t, k, float64(r.IntN(10)))
			}
		}
		tensors[i] = t
	}
	return tensors, nil
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
	}
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

// Convert gives t another element type when that is harmless: between floating
// point types (NumPy's default is float64, models want float32), and between
// integer types when every value fits.
func Convert(t engine.Tensor, dtype engine.DType) (engine.Tensor, error) {
	if t.DType == dtype {
		return t, nil
	}
	_, fromInt := ranges[t.DType]
	bounds, toInt := ranges[dtype]
	fromFloat := strings.Contains(string(t.DType), "float")
	toFloat := strings.Contains(string(dtype), "float")
	if !(fromFloat && toFloat) && !(fromInt && toInt) {
		return t, fmt.Errorf("it is %s and the model wants %s", t.DType, dtype)
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

// DimsOf takes sizes for symbolic dimensions from evaluation inputs: entries
// "input/position" for the dimensions whose size an array says. The first one is
// the batch, and left open.
func DimsOf(inputs []engine.TensorInfo, arrays []engine.Tensor) map[string]int64 {
	dims := map[string]int64{}
	for _, in := range inputs {
		a, ok := find(arrays, in.Name)
		if !ok {
			continue
		}
		shape := a.Shape
		from := 1
		if len(shape) == len(in.Dims)+1 {
			// One whole input a call: its first dimension is said as well, unless
			// it is a batch of one, which may be regrouped.
			if shape = shape[1:]; len(shape) > 0 && shape[0] != 1 {
				from = 0
			}
		}
		if len(shape) != len(in.Dims) {
			continue
		}
		for i := from; i < len(shape); i++ {
			if in.Dims[i].Size < 0 {
				dims[fmt.Sprintf("%s/%d", in.Name, i)] = shape[i]
			}
		}
	}
	return dims
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
		return engine.Errorf(engine.KindInvalidInput, "read "+file+" for input", in.String(), format, args...)
	}
	parts := make([][]engine.Tensor, len(inputs))
	calls := 1
	for i, in := range inputs {
		a, ok := find(arrays, in.Name)
		if !ok {
			names := make([]string, len(arrays))
			for k, a := range arrays {
				names[k] = a.Name
			}
			return nil, bad(in, "it has no array of that name, only %s", strings.Join(names, ", "))
		}
		a, err := Convert(a, in.DType)
		if err != nil {
			return nil, bad(in, "%v", err)
		}
		part, err := cut(a, shapes[i], len(in.Dims) > 0 && in.Dims[0].Size < 0)
		if err != nil {
			return nil, bad(in, "%v", err)
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
			return nil, bad(in, "its array makes %d calls where another input's makes %d", len(parts[i]), calls)
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

// cut splits a into tensors of the given shape along its first dimension.
func cut(a engine.Tensor, shape []int64, partial bool) ([]engine.Tensor, error) {
	n, err := engine.Elements(shape)
	if err != nil {
		return nil, err
	}
	bytes := n * int64(a.DType.Size())
	if partial && len(a.Shape) == len(shape)+1 && a.Shape[1] == 1 && slices.Equal(a.Shape[2:], shape[1:]) {
		// Samples of the shape [1, ...] on an axis of their own: one batch axis.
		a.Shape = append([]int64{a.Shape[0]}, a.Shape[2:]...)
	}
	misfit := fmt.Errorf("its array has the shape %v, which does not divide into %v", a.Shape, shape)
	if len(a.Shape) == len(shape)+1 && slices.Equal(a.Shape[1:], shape) {
		return split(a, append([]int64{1}, shape...), bytes, false, true, misfit)
	}
	if len(a.Shape) != len(shape) {
		return nil, misfit
	}
	if len(shape) == 0 {
		return []engine.Tensor{a}, nil
	}
	if !slices.Equal(a.Shape[1:], shape[1:]) {
		return nil, misfit
	}
	return split(a, shape, bytes, partial, false, misfit)
}

func split(a engine.Tensor, shape []int64, bytes int64, partial, drop bool, misfit error) ([]engine.Tensor, error) {
	rows, step := a.Shape[0], shape[0]
	if rows == 0 || (rows%step != 0 && !partial) {
		return nil, misfit
	}
	var parts []engine.Tensor
	row := bytes / step
	for at := int64(0); at < rows; at += step {
		n := min(step, rows-at)
		s := append([]int64{n}, shape[1:]...)
		if drop {
			s = s[1:]
		}
		parts = append(parts, engine.Tensor{Name: a.Name, DType: a.DType, Shape: s, Data: a.Data[at*row : (at+n)*row]})
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
