package engine

import (
	"fmt"
	"slices"
)

// Flatten makes tensors of outputs that are none, so that they can be compared and
// kept: the items of a sequence become "name/0", "name/1" and so on, a map's keys
// and values "name/keys" and "name/values". A sequence of maps with the same keys,
// such as the ZipMap of a tree model, becomes one table: a row of values for each
// map. An absent optional value becomes nothing.
func Flatten(outputs []Tensor) []Tensor {
	var flat []Tensor
	for _, t := range outputs {
		flat = append(flat, flatten(t)...)
	}
	return flat
}

func flatten(t Tensor) []Tensor {
	named := func(item Tensor, part any) Tensor {
		item.Name = fmt.Sprintf("%s/%v", t.Name, part)
		return item
	}
	switch t.Container {
	case "":
		return []Tensor{t}
	case Sequence:
		if table, ok := table(t); ok {
			return []Tensor{table}
		}
		var flat []Tensor
		for i, item := range t.Items {
			flat = append(flat, flatten(named(item, i))...)
		}
		return flat
	case Map:
		if len(t.Items) != 2 {
			return nil
		}
		return slices.Concat(flatten(named(t.Items[0], "keys")), flatten(named(t.Items[1], "values")))
	}
	return nil
}

// table joins the values of maps with the same keys.
func table(t Tensor) (Tensor, bool) {
	if len(t.Items) == 0 {
		return Tensor{}, false
	}
	var keys Tensor
	out := Tensor{Name: t.Name}
	for i, m := range t.Items {
		if m.Container != Map || len(m.Items) != 2 || m.Items[1].Container != "" || m.Items[1].DType.Size() == 0 {
			return Tensor{}, false
		}
		if i == 0 {
			keys, out.DType = m.Items[0], m.Items[1].DType
			out.Shape = []int64{int64(len(t.Items)), int64(m.Items[1].Len())}
		}
		same := m.Items[0].DType == keys.DType && slices.Equal(m.Items[0].Data, keys.Data) && slices.Equal(m.Items[0].Strings, keys.Strings)
		if !same || m.Items[1].DType != out.DType || int64(m.Items[1].Len()) != out.Shape[1] {
			return Tensor{}, false
		}
		out.Data = append(out.Data, m.Items[1].Data...)
	}
	return out, true
}
