package engine_test

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
)

func TestEveryKindHasATitle(t *testing.T) {
	titles := map[string]bool{}
	for _, k := range engine.Kinds {
		title := k.Title()
		if title == "" || strings.Contains(title, "_") || titles[title] {
			t.Errorf("%s: %q", k, title)
		}
		titles[title] = true
	}
}

func TestSmallNumbers(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		dtype engine.DType
		data  []byte
		want  []float64
	}{
		{engine.Int4, []byte{0x8f, 0x07}, []float64{-1, -8, 7}},
		{engine.Uint4, []byte{0x8f, 0x07}, []float64{15, 8, 7}},
		{engine.Int2, []byte{0b10_01_11_00}, []float64{0, -1, 1, -2}},
		{engine.Uint2, []byte{0b10_01_11_00}, []float64{0, 3, 1, 2}},
		{engine.Float4E2M1, []byte{0x7f, 0x10}, []float64{-6, 6, 0, 0.5}},
		{engine.Float8E4M3FN, []byte{0x38, 0x7e, 0x01, 0xff}, []float64{1, 448, 0x1p-9, nan}},
		{engine.Float8E4M3FNUZ, []byte{0x40, 0x80, 0xc0}, []float64{1, nan, -1}},
		{engine.Float8E5M2, []byte{0x3c, 0x7b, 0x7c, 0x7e}, []float64{1, 57344, math.Inf(1), nan}},
		{engine.Float8E5M2FNUZ, []byte{0x40, 0x7f, 0x80}, []float64{1, 57344, nan}},
	} {
		x := engine.Tensor{DType: c.dtype, Shape: []int64{int64(len(c.want))}, Data: c.data}
		if x.Len() != len(c.want) {
			t.Errorf("%s: %d elements", c.dtype, x.Len())
			continue
		}
		for i, want := range c.want {
			if got := x.At(i); got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
				t.Errorf("%s: element %d is %v, want %v", c.dtype, i, got, want)
			}
		}
	}
}

func TestFlatten(t *testing.T) {
	floats := func(values ...byte) engine.Tensor {
		return engine.Tensor{DType: engine.Uint8, Shape: []int64{int64(len(values))}, Data: values}
	}
	row := func(keys string, values ...byte) engine.Tensor {
		return engine.Tensor{Container: engine.Map, Items: []engine.Tensor{{DType: engine.String, Shape: []int64{2}, Strings: strings.Split(keys, " ")}, floats(values...)}}
	}
	named := func(x engine.Tensor, name string) engine.Tensor { x.Name = name; return x }
	sequence := func(items ...engine.Tensor) engine.Tensor {
		return engine.Tensor{Name: "s", Container: engine.Sequence, Items: items}
	}
	for name, c := range map[string]struct {
		in   engine.Tensor
		want []string
	}{
		"a tensor":                 {named(floats(1), "y"), []string{"y [1] [1]"}},
		"a sequence":               {sequence(floats(1), floats(2, 3)), []string{"s/0 [1] [1]", "s/1 [2] [2 3]"}},
		"a map":                    {named(row("a b", 1, 2), "m"), []string{"m/keys [2] []", "m/values [2] [1 2]"}},
		"a ZipMap's table":         {sequence(row("a b", 1, 2), row("a b", 3, 4)), []string{"s [2 2] [1 2 3 4]"}},
		"maps with different keys": {sequence(row("a b", 1, 2), row("a c", 3, 4)), []string{"s/0/keys [2] []", "s/0/values [2] [1 2]", "s/1/keys [2] []", "s/1/values [2] [3 4]"}},
		"nothing":                  {engine.Tensor{Name: "o", Container: engine.Optional}, nil},
	} {
		var got []string
		for _, x := range engine.Flatten([]engine.Tensor{c.in}) {
			got = append(got, fmt.Sprintf("%s %v %v", x.Name, x.Shape, x.Data))
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
