package tensorio

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
)

func TestArraysThatNoInputAsksForAreNotRead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.npz")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for _, m := range []struct {
		name string
		data []byte
	}{{"x.npy", npy(head("|u1", "False", "(1,)"), 1)}, {"meta.npy", npy(head("|O", "False", "(1,)"), 0x80)}} {
		w, err := z.Create(m.name)
		if err == nil {
			_, err = w.Write(m.data)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := ReadNPZ(name, ForInputs([]engine.TensorInfo{info("x", engine.Uint8, 1)}))
	if err != nil || len(got) != 2 || got[0].Len() != 1 || !slices.Equal(Unread(got), []string{"meta"}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ReadNPZ(name, nil); err == nil || !strings.Contains(err.Error(), "dtype=str") {
		t.Errorf("all of them: %v", err)
	}
}

func TestGeneratedPositionsLieInTheirTable(t *testing.T) {
	in := info("types", engine.Int64, 100)
	in.Limit = 2
	got, err := Generate([]engine.TensorInfo{in}, [][]int64{{100}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	ones := 0.0
	for i := range 100 {
		if v := got[0].At(i); v < 0 || v > 1 {
			t.Fatalf("%v", v)
		}
		ones += got[0].At(i)
	}
	if ones == 0 || ones == 100 {
		t.Errorf("%v of 100 are 1", ones)
	}
}

func TestWhatIsNoTensorIsReadFromItsParts(t *testing.T) {
	in := func(kinds ...engine.Container) []engine.TensorInfo {
		return []engine.TensorInfo{{Name: "s", DType: engine.Uint8, In: kinds}}
	}
	for name, c := range map[string]struct {
		inputs []engine.TensorInfo
		arrays []engine.Tensor
		want   string
	}{
		"a sequence":         {in(engine.Sequence), []engine.Tensor{array("s/0", 2), array("s/1", 3)}, "sequence of 2"},
		"an empty sequence":  {in(engine.Sequence), nil, "sequence of 0"},
		"an optional value":  {in(engine.Optional), []engine.Tensor{array("s", 2)}, " of 0"},
		"an absent one":      {in(engine.Optional), nil, "optional of 0"},
		"a map":              {in(engine.Map), []engine.Tensor{array("s/keys", 2), array("s/values", 2)}, "map of 2"},
		"a map without keys": {in(engine.Map), []engine.Tensor{array("s/values", 2)}, `error: it has no arrays "s/keys" and "s/values"`},
		"maps in a sequence": {in(engine.Sequence, engine.Map), nil, "error: a sequence of maps of uint8, which arrays cannot hold"},
	} {
		calls, err := Calls("inputs.npz", c.inputs, [][]int64{nil}, c.arrays)
		if want, refused := strings.CutPrefix(c.want, "error: "); refused {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
			continue
		}
		if err != nil || len(calls) != 1 || fmt.Sprintf("%s of %d", calls[0][0].Container, len(calls[0][0].Items)) != c.want {
			t.Errorf("%s: %+v, %v", name, calls, err)
		}
	}
}

func info(name string, dtype engine.DType, dims ...any) engine.TensorInfo {
	t := engine.TensorInfo{Name: name, DType: dtype}
	for _, d := range dims {
		switch d := d.(type) {
		case int:
			t.Dims = append(t.Dims, engine.Dim{Size: int64(d)})
		case string:
			t.Dims = append(t.Dims, engine.Dim{Size: -1, Name: d})
		}
	}
	return t
}

func TestShapes(t *testing.T) {
	f := engine.Float32
	for name, c := range map[string]struct {
		s       Shapes
		inputs  []engine.TensorInfo
		want    [][]int64
		refusal string
	}{
		"fixed":                             {Shapes{Batch: 4}, []engine.TensorInfo{info("x", f, 1, 3)}, [][]int64{{1, 3}}, ""},
		"the first dimension is the batch":  {Shapes{Batch: 4}, []engine.TensorInfo{info("x", f, "N", 3), info("y", f, "batch_size")}, [][]int64{{4, 3}, {4}}, ""},
		"so is a first one of size -1":      {Shapes{Batch: 4}, []engine.TensorInfo{info("x", f, "-1", 3)}, [][]int64{{4, 3}}, ""},
		"-1 elsewhere is an unknown":        {Shapes{Batch: 4}, []engine.TensorInfo{info("x", f, "-1", "-1")}, nil, `write dims: {"x/1": SIZE}`},
		"names that say nothing":            {Shapes{Batch: 4}, []engine.TensorInfo{info("x", f, "?", 3, "?", "None"), info("y", f, "unk__12", "")}, nil, `write dims: {"x/2": SIZE, "x/3": SIZE, "y/1": SIZE}`},
		"config.pbtxt says so as well":      {Shapes{Batch: 4, InputDims: map[string][]int64{"x": {3}}}, []engine.TensorInfo{info("x", f, "?", 3)}, [][]int64{{4, 3}}, ""},
		"one name that says nothing":        {Shapes{Batch: 4, Dims: map[string]int64{"?": 7, "x/1": 8, "x/2": 9}}, []engine.TensorInfo{info("x", f, "N", "?", "?")}, [][]int64{{4, 8, 9}}, ""},
		"several inputs":                    {Shapes{Batch: 1}, []engine.TensorInfo{info("ids", f, "N", "T"), info("mask", f, "N", "T"), info("past", f, "N", "P")}, nil, `write dims: {"T": SIZE, "P": SIZE}`},
		"a sequence has no shape":           {Shapes{Batch: 1}, []engine.TensorInfo{{Name: "s", DType: f, Dims: []engine.Dim{{Size: -1}}, In: []engine.Container{engine.Sequence}}}, [][]int64{nil}, ""},
		"its symbol elsewhere, too":         {Shapes{Batch: 4}, []engine.TensorInfo{info("x", f, "N", 3), info("state", f, 2, "N")}, [][]int64{{4, 3}, {2, 4}}, ""},
		"by symbol":                         {Shapes{Batch: 1, Dims: map[string]int64{"T": 9}}, []engine.TensorInfo{info("x", f, "N", "T")}, [][]int64{{1, 9}}, ""},
		"by position, which goes first":     {Shapes{Batch: 1, Dims: map[string]int64{"T": 9, "x/1": 7}}, []engine.TensorInfo{info("x", f, "N", "T")}, [][]int64{{1, 7}}, ""},
		"by config.pbtxt without the batch": {Shapes{Batch: 2, InputDims: map[string][]int64{"x": {5, -1}}, Dims: map[string]int64{"T": 9}}, []engine.TensorInfo{info("x", f, "N", "C", "T")}, [][]int64{{2, 5, 9}}, ""},
		"by config.pbtxt with the batch":    {Shapes{Batch: 2, InputDims: map[string][]int64{"x": {8, 5}}}, []engine.TensorInfo{info("x", f, "N", "C")}, [][]int64{{8, 5}}, ""},
		"a scalar":                          {Shapes{Batch: 2}, []engine.TensorInfo{info("x", f)}, [][]int64{{}}, ""},
		"no size":                           {Shapes{Batch: 1}, []engine.TensorInfo{info("x", f, "N", "T")}, nil, `"T", dimension 1 of x float32[N,T]: write dims: {"T": SIZE}`},
		"no size and no name":               {Shapes{Batch: 1}, []engine.TensorInfo{info("x", f, "N", "")}, nil, `write dims: {"x/1": SIZE}`},
		"a size against the model":          {Shapes{Batch: 1, Dims: map[string]int64{"x/1": 4}}, []engine.TensorInfo{info("x", f, "N", 3)}, nil, "dimension 1 is fixed to 3 in the model and given as 4"},
		"config.pbtxt of another rank":      {Shapes{Batch: 1, InputDims: map[string][]int64{"x": {1, 2, 3, 4}}}, []engine.TensorInfo{info("x", f, "N", 3)}, nil, "config.pbtxt gives 4"},
		"a size of zero, an empty cache":    {Shapes{Batch: 1, Dims: map[string]int64{"T": 0}}, []engine.TensorInfo{info("x", f, "N", "T")}, [][]int64{{1, 0}}, ""},
	} {
		got, err := c.s.Resolve(c.inputs)
		if c.refusal != "" {
			if err == nil || !strings.Contains(err.Error(), c.refusal) {
				t.Errorf("%s: %v, want %q", name, err, c.refusal)
			}
		} else if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v %v, want %v", name, got, err, c.want)
		}
	}
}

func TestGenerate(t *testing.T) {
	inputs := []engine.TensorInfo{info("x", engine.Float32, 100, 100), info("k", engine.Int64, 1000), info("m", engine.Bool, 1000), info("h", engine.Float16, 1000)}
	shapes := [][]int64{{100, 100}, {1000}, {1000}, {1000}}
	a, err := Generate(inputs, shapes, 1)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := Generate(inputs, shapes, 1)
	other, _ := Generate(inputs, shapes, 2)
	if !reflect.DeepEqual(a, again) || reflect.DeepEqual(a, other) {
		t.Error("the seed does not decide")
	}
	var sum, square float64
	for i := range a[0].Len() {
		sum, square = sum+a[0].At(i), square+a[0].At(i)*a[0].At(i)
	}
	if math.Abs(sum/1e4) > 0.05 || math.Abs(square/1e4-1) > 0.05 {
		t.Errorf("mean %v, variance %v", sum/1e4, square/1e4)
	}
	for i := range 1000 {
		if k, m, h := a[1].At(i), a[2].At(i), a[3].At(i); k < 0 || k > 9 || m*(1-m) != 0 || math.Abs(h) > 6 {
			t.Fatalf("%v %v %v", k, m, h)
		}
	}
	if _, err := Generate([]engine.TensorInfo{info("s", engine.String, 1)}, [][]int64{{1}}, 1); err == nil || !strings.Contains(err.Error(), "inputs.npz") {
		t.Errorf("text: %v", err)
	}
}

func TestConvert(t *testing.T) {
	double := engine.Tensor{DType: engine.Float64, Shape: []int64{1}, Data: []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x3f}}
	if got, err := convert(double, engine.Float32); err != nil || got.At(0) != 1.5 {
		t.Errorf("%v %v", got, err)
	}
	long := engine.Tensor{DType: engine.Int64, Shape: []int64{1}, Data: []byte{0x2c, 1, 0, 0, 0, 0, 0, 0}}
	if got, err := convert(long, engine.Int32); err != nil || got.At(0) != 300 {
		t.Errorf("%v %v", got, err)
	}
	for to, want := range map[engine.DType]string{engine.Uint8: "300, which does not fit", engine.Float32: "it is int64 and the model expects float32", engine.Bool: "expects bool"} {
		if _, err := convert(long, to); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("to %s: %v", to, err)
		}
	}
}

func array(name string, shape ...int64) engine.Tensor {
	n, _ := engine.Elements(shape)
	t := engine.Tensor{Name: name, DType: engine.Uint8, Shape: append([]int64{}, shape...), Data: make([]byte, n)}
	for i := range t.Data {
		t.Data[i] = byte(i)
	}
	return t
}

func TestCalls(t *testing.T) {
	u := engine.Uint8
	x := info("x", u, "N", 2)
	for name, c := range map[string]struct {
		inputs []engine.TensorInfo
		batch  int64
		arrays []engine.Tensor
		want   string // shapes of each call
	}{
		"samples along the batch":          {[]engine.TensorInfo{x}, 1, []engine.Tensor{array("x", 3, 2)}, "[1 2] [1 2] [1 2]"},
		"in batches, the last one smaller": {[]engine.TensorInfo{x}, 2, []engine.Tensor{array("x", 3, 2)}, "[2 2] [1 2]"},
		"a fixed batch must divide":        {[]engine.TensorInfo{info("x", u, 2, 2)}, 1, []engine.Tensor{array("x", 3, 2)}, "error: does not divide into [2 2]"},
		"a fixed batch that divides":       {[]engine.TensorInfo{info("x", u, 2, 2)}, 1, []engine.Tensor{array("x", 4, 2)}, "[2 2] [2 2]"},
		"an axis of samples in front":      {[]engine.TensorInfo{info("x", u, 1, 2)}, 1, []engine.Tensor{array("x", 2, 1, 2)}, "[1 2] [1 2]"},
		"an axis in front, larger batches": {[]engine.TensorInfo{x}, 2, []engine.Tensor{array("x", 3, 1, 2)}, "[2 2] [1 2]"},
		"scalars by sample":                {[]engine.TensorInfo{x, info("s", u)}, 1, []engine.Tensor{array("x", 2, 2), array("s", 2)}, "[1 2][] [1 2][]"},
		"one scalar for all":               {[]engine.TensorInfo{x, info("s", u)}, 1, []engine.Tensor{array("x", 2, 2), array("s")}, "[1 2][] [1 2][]"},
		"a state that all share":           {[]engine.TensorInfo{x, info("h", u, 3, "N", 2)}, 1, []engine.Tensor{array("x", 2, 2), array("h", 3, 1, 2)}, "[1 2][3 1 2] [1 2][3 1 2]"},
		"different numbers":                {[]engine.TensorInfo{x, info("y", u, "N")}, 1, []engine.Tensor{array("x", 4, 2), array("y", 3)}, "error: makes 3 calls where another input's makes 4"},
		"another shape":                    {[]engine.TensorInfo{x}, 1, []engine.Tensor{array("x", 3, 5)}, "error: shape [3 5], which does not divide into [1 2]"},
		"none":                             {[]engine.TensorInfo{x}, 1, []engine.Tensor{array("y", 3, 2)}, `error: inputs.npz, which has no array named "x", only "y"`},
		"no samples":                       {[]engine.TensorInfo{x}, 1, []engine.Tensor{array("x", 0, 2)}, "error: does not divide"},
		"the wrong type":                   {[]engine.TensorInfo{info("x", engine.Float32, "N", 2)}, 1, []engine.Tensor{array("x", 1, 2)}, `error: inputs.npz, array "x": it is uint8 and the model expects float32`},
	} {
		s := Shapes{Batch: c.batch, Dims: DimsOf(c.inputs, c.arrays)}
		shapes, err := s.Resolve(c.inputs)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		calls, err := Calls("inputs.npz", c.inputs, shapes, c.arrays)
		if want, refused := strings.CutPrefix(c.want, "error: "); refused {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
			continue
		}
		var got []string
		var data []byte
		for _, call := range calls {
			s := ""
			for _, t := range call {
				s += fmt.Sprint(t.Shape)
			}
			got = append(got, s)
			data = append(data, call[0].Data...)
		}
		if strings.Join(got, " ") != c.want || err != nil {
			t.Errorf("%s: %v %v, want %s", name, got, err, c.want)
		}
		if !bytes.Equal(data, c.arrays[0].Data) {
			t.Errorf("%s: the calls do not hold the array", name)
		}
	}
}

func TestConcatUndoesCalls(t *testing.T) {
	a := array("x", 5, 2)
	calls, err := Calls("inputs.npz", []engine.TensorInfo{info("x", engine.Uint8, "N", 2)}, [][]int64{{2, 2}}, []engine.Tensor{a})
	if err != nil {
		t.Fatal(err)
	}
	var parts []engine.Tensor
	for _, c := range calls {
		parts = append(parts, c[0])
	}
	if got := Concat(parts); !reflect.DeepEqual(got, a) {
		t.Errorf("%+v", got)
	}
	if got := Concat([]engine.Tensor{array("s"), array("s")}); !reflect.DeepEqual(got.Shape, []int64{2}) {
		t.Errorf("scalars: %v", got.Shape)
	}
	if got := Concat([]engine.Tensor{array("v", 1, 2), array("v", 1, 3)}); !reflect.DeepEqual(got.Shape, []int64{5}) {
		t.Errorf("shapes that differ: %v", got.Shape)
	}
}
