package tensorio

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
)

// Shapes resolves the symbolic dimensions of a model's inputs. A dimension is
// looked up, in this order, in InputDims, as "input/position" in Dims, as its
// symbol in Dims, and last it is the batch: when it is the first of an input, or bears
// the name of one. A name that says nothing ("?", "None", "unk__12", none at all) is
// not the name of anything: such a dimension is the batch by its place alone, and
// elsewhere an unknown of its own.
type Shapes struct {
	Batch     int64
	Dims      map[string]int64
	InputDims map[string][]int64
}

// Resolve gives every input its concrete shape; those that are no tensors have
// none. Errors are *engine.Error of KindInvalidInput, name every size that is
// missing and say what to write where.
func (s Shapes) Resolve(inputs []engine.TensorInfo) ([][]int64, error) {
	batch := s.batchSymbols(inputs)
	shapes := make([][]int64, len(inputs))
	var open unknowns
	for i, in := range inputs {
		if len(in.In) > 0 {
			continue
		}
		shape, err := s.resolve(in, batch, &open)
		if err != nil {
			return nil, err
		}
		shapes[i] = shape
	}
	return shapes, open.err()
}

// With lets sizes, by symbol or "input/position", go before everything that is known
// of them. A size that no input asks for is an error of KindInvalidInput.
func (s Shapes) With(inputs []engine.TensorInfo, sizes map[string]int64) (Shapes, error) {
	out := Shapes{Batch: s.Batch, Dims: maps.Clone(s.Dims), InputDims: maps.Clone(s.InputDims)}
	if out.Dims == nil {
		out.Dims = map[string]int64{}
	}
	used := map[string]bool{}
	for _, in := range inputs {
		given := slices.Clone(out.InputDims[in.Name])
		for i, d := range in.Dims {
			place := fmt.Sprintf("%s/%d", in.Name, i)
			size, ok := sizes[place]
			used[place] = ok
			if bySymbol, named := sizes[d.Name]; named {
				used[d.Name] = true
				if !ok { // a place goes before the symbol
					size, ok = bySymbol, true
				}
			}
			if !ok {
				continue
			}
			out.Dims[place] = size
			if k := i + len(given) - len(in.Dims); k >= 0 && k < len(given) { // config.pbtxt may leave the batch out
				given[k] = -1
			}
		}
		if given != nil {
			out.InputDims[in.Name] = given
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		if !used[name] {
			e := engine.Errorf(engine.KindInvalidInput, "resolve the shapes of the inputs", "", "no input has a dimension %q", name)
			e.Hint = "name a symbolic dimension of the model, or one by input and position"
			return out, e
		}
	}
	return out, nil
}

// Batched reports whether the batch can be chosen: whether some dimension of an
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
		if len(in.Dims) > 0 && in.Dims[0].Size < 0 && !in.Dims[0].Anonymous() && in.Dims[0].Name != engine.MinusOne {
			symbols[in.Dims[0].Name] = true
		}
	}
	return symbols
}

// unknowns are the sizes that are missing.
type unknowns struct {
	keys  []string // as the configuration takes them, each once
	named []string // with what they belong to
}

func (u *unknowns) add(in engine.TensorInfo, position int) {
	d := in.Dims[position]
	key, named := fmt.Sprintf("%s/%d", in.Name, position), fmt.Sprintf("dimension %d of %s", position, in)
	if !d.Anonymous() && d.Name != engine.MinusOne {
		key, named = d.Name, fmt.Sprintf("%q, dimension %d of %s", d.Name, position, in)
	}
	if !slices.Contains(u.keys, key) {
		u.keys, u.named = append(u.keys, key), append(u.named, named)
	}
}

func (u *unknowns) err() error {
	if len(u.keys) == 0 {
		return nil
	}
	entries := make([]string, len(u.keys))
	for i, key := range u.keys {
		entries[i] = fmt.Sprintf("%q: SIZE", key)
	}
	what := "the size of this dimension is"
	if len(u.keys) > 1 {
		what = "the sizes of these dimensions are"
	}
	e := engine.Errorf(engine.KindInvalidInput, "resolve the shapes of the inputs", "", "%s not known: %s", what, strings.Join(u.named, "; "))
	e.Hint = fmt.Sprintf("write dims: {%s} for this model in the configuration, or its dims in config.pbtxt, or put inputs.npz beside the model", strings.Join(entries, ", "))
	return e
}

func (s Shapes) resolve(in engine.TensorInfo, batchSymbols map[string]bool, open *unknowns) ([]int64, error) {
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
		size := int64(-1)
		if ok {
			size = given[i]
		}
		if v, found := s.Dims[fmt.Sprintf("%s/%d", in.Name, i)]; found && size < 0 {
			size = v
		}
		if v, found := s.Dims[d.Name]; found && size < 0 && d.Size < 0 && !d.Anonymous() && d.Name != engine.MinusOne {
			size = v
		}
		switch {
		case d.Size >= 0 && size >= 0 && size != d.Size:
			return nil, bad("remove it, or correct it", "dimension %d is fixed to %d in the model and given as %d", i, d.Size, size)
		case d.Size >= 0:
			size = d.Size
		case size >= 0:
		case i == 0 || batchSymbols[d.Name]:
			size = s.Batch
		default:
			open.add(in, i)
		}
		shape[i] = size
	}
	return shape, nil
}

// Unnamed are the inputs whose first dimension is taken for the batch by its place
// alone: it has neither a size nor a name that says anything.
func (s Shapes) Unnamed(inputs []engine.TensorInfo) []engine.TensorInfo {
	var out []engine.TensorInfo
	for _, in := range inputs {
		_, given := s.InputDims[in.Name]
		_, sized := s.Dims[in.Name+"/0"]
		if len(in.In) == 0 && len(in.Dims) > 0 && in.Dims[0].Anonymous() && !given && !sized {
			out = append(out, in)
		}
	}
	return out
}

// DimsOf takes sizes for symbolic dimensions from evaluation inputs: entries
// "input/position" for the dimensions whose size an array says. The first one is
// the batch, and left open.
func DimsOf(inputs []engine.TensorInfo, arrays []engine.Tensor) map[string]int64 {
	dims := map[string]int64{}
	for _, in := range inputs {
		a, ok := find(arrays, in.Name)
		if !ok || len(in.In) > 0 || len(in.Dims) == 0 {
			continue
		}
		shape := a.Shape
		from := 1
		if len(shape) == len(in.Dims)+1 {
			// One whole input a call: its first dimension is said as well, unless
			// it is a batch of one, which may be regrouped.
			if shape = shape[1:]; shape[0] != 1 {
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
