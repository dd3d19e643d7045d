package tensorio

import (
	"archive/zip"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
)

// npy assembles a file of version 1.0 around a header and data.
func npy(header string, data ...byte) []byte {
	b := append([]byte(magic+"\x01\x00"), byte(len(header)), byte(len(header)>>8))
	return append(append(b, header...), data...)
}

func head(descr, order, shape string) string {
	return fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", descr, order, shape)
}

func TestReadNPY(t *testing.T) {
	for name, c := range map[string]struct {
		file  []byte
		dtype engine.DType
		shape []int64
		want  []float64
	}{
		"float32":                 {npy(head("<f4", "False", "(2,)"), 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0), engine.Float32, []int64{2}, []float64{1, -2}},
		"float16":                 {npy(head("<f2", "False", "(3,)"), 0, 0x3c, 0xff, 0x7b, 1, 0), engine.Float16, []int64{3}, []float64{1, 65504, 0x1p-24}},
		"big endian":              {npy(head(">i2", "False", "(2,)"), 1, 0, 0xff, 0xff), engine.Int16, []int64{2}, []float64{256, -1}},
		"bool":                    {npy(head("|b1", "False", "(2,)"), 0, 1), engine.Bool, []int64{2}, []float64{0, 1}},
		"a scalar":                {npy(head("|u1", "False", "()"), 7), engine.Uint8, []int64{}, []float64{7}},
		"nothing":                 {npy(head("|u1", "False", "(0, 3)")), engine.Uint8, []int64{0, 3}, nil},
		"Fortran order":           {npy(head("|u1", "True", "(2, 3)"), 0, 3, 1, 4, 2, 5), engine.Uint8, []int64{2, 3}, []float64{0, 1, 2, 3, 4, 5}},
		"Fortran order, rank 3":   {npy(head("|u1", "True", "(2, 1, 2)"), 0, 2, 1, 3), engine.Uint8, []int64{2, 1, 2}, []float64{0, 1, 2, 3}},
		"keys in another order":   {npy("{'shape': (1,), 'fortran_order': False, 'descr': '|i1'}", 0xff), engine.Int8, []int64{1}, []float64{-1}},
		"double quotes, long int": {npy(`{"descr": "|i1", "fortran_order": False, "shape": (1L,)}`, 3), engine.Int8, []int64{1}, []float64{3}},
	} {
		got, err := readNPY(bytes.NewReader(c.file), 1<<20)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var values []float64
		for i := range got.Len() {
			values = append(values, got.At(i))
		}
		if got.DType != c.dtype || !reflect.DeepEqual(got.Shape, c.shape) || !reflect.DeepEqual(values, c.want) {
			t.Errorf("%s: %s%v %v", name, got.DType, got.Shape, values)
		}
	}
}

func TestReadNPYRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":                     {nil, "not a NumPy array"},
		"text":                      {[]byte("1,2,3,4,5,6,7,8,9"), "not a NumPy array"},
		"a future version":          {append([]byte(magic), 9, 0, 0, 0), "version 9.0"},
		"a header cut off":          {npy(head("<f4", "False", "(2,)"))[:30], "cut off"},
		"a header bomb":             {append([]byte(magic), 2, 0, 0xff, 0xff, 0xff, 0x7f), "header has 2147483647 bytes"},
		"pickled objects":           {npy(head("|O", "False", "(1,)"), 0x80), "pickle"},
		"a structured array":        {npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}"), "structured"},
		"complex elements":          {npy(head("<c8", "False", "(1,)")), `"<c8"`},
		"a size bomb":               {npy(head("<f4", "False", "(1000000, 1000000)")), "takes more than"},
		"an overflowing size":       {npy(head("<f4", "False", "(4611686018427387904, 4)")), "too many elements"},
		"a negative size":           {npy(head("<f4", "False", "(-1,)")), "tuple"},
		"too little data":           {npy(head("<f4", "False", "(2,)"), 0, 0, 0, 0), "needs 8 bytes and has 4"},
		"too much data":             {npy(head("|u1", "False", "(1,)"), 1, 2), "bytes behind"},
		"a boolean that is neither": {npy(head("|b1", "False", "(1,)"), 7), "is 7"},
		"a key twice":               {npy("{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': ()}", 1), "two"},
		"an unknown key":            {npy("{'descr': '|u1', 'x': False, 'shape': ()}", 1), `unknown "x"`},
		"a missing key":             {npy("{'descr': '|u1', 'shape': ()}", 1), "fortran_order"},
		"code behind the header":    {npy("{'descr': '|u1', 'fortran_order': False, 'shape': ()}; import os", 1), "behind the header"},
	} {
		if _, err := readNPY(bytes.NewReader(c.file), 1<<20); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	var tensors []engine.Tensor
	for _, d := range []engine.DType{
		engine.Float16, engine.Float32, engine.Float64, engine.Int8, engine.Int16, engine.Int32, engine.Int64,
		engine.Uint8, engine.Uint16, engine.Uint32, engine.Uint64, engine.Bool,
	} {
		for i, shape := range [][]int64{{}, {3}, {0}, {2, 3}, {1, 2, 3, 4}} {
			in := engine.TensorInfo{Name: fmt.Sprintf("%s/%d", d, i), DType: d, Dims: make([]engine.Dim, len(shape))}
			g, err := Generate([]engine.TensorInfo{in}, [][]int64{shape}, 5)
			if err != nil {
				t.Fatal(err)
			}
			tensors = append(tensors, g[0])
		}
	}
	name := filepath.Join(t.TempDir(), "x.npz")
	if err := WriteNPZ(name, tensors); err != nil {
		t.Fatal(err)
	}
	got, err := ReadNPZ(name, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range tensors {
		if !bytes.Equal(got[i].Data, tensors[i].Data) || got[i].Name != tensors[i].Name || got[i].DType != tensors[i].DType || !slices.Equal(got[i].Shape, tensors[i].Shape) {
			t.Errorf("%+v became %+v", tensors[i], got[i])
		}
	}
}

func TestTextIsWrittenAndRead(t *testing.T) {
	want := engine.Tensor{Name: "s", DType: engine.String, Shape: []int64{2, 2}, Strings: []string{"a", "", "Übung 試", "long enough"}}
	name := filepath.Join(t.TempDir(), "x.npz")
	if err := WriteNPZ(name, []engine.Tensor{want}); err != nil {
		t.Fatal(err)
	}
	got, err := ReadNPZ(name, nil)
	if err != nil || !reflect.DeepEqual(got[0], want) {
		t.Errorf("%+v, %v", got, err)
	}
	bytes, err := readNPY(strings.NewReader(string(npy(head("|S3", "False", "(2,)"), 'a', 'b', 'c', 'd', 0, 0))), 1<<20)
	if err != nil || !slices.Equal(bytes.Strings, []string{"abc", "d"}) {
		t.Errorf("bytes: %+v, %v", bytes, err)
	}
	columns, err := readNPY(strings.NewReader(string(npy(head("|S1", "True", "(2, 2)"), 'a', 'b', 'c', 'd'))), 1<<20)
	if err != nil || !slices.Equal(columns.Strings, []string{"a", "c", "b", "d"}) {
		t.Errorf("column-major: %+v, %v", columns, err)
	}
}

func TestTypesThatNumPyLacksAreWidened(t *testing.T) {
	small := engine.Tensor{Name: "q", DType: engine.Int4, Shape: []int64{3}, Data: []byte{0xf1, 0x07}} // 1, -1, 7
	name := filepath.Join(t.TempDir(), "x.npz")
	if err := WriteNPZ(name, []engine.Tensor{small}); err != nil {
		t.Fatal(err)
	}
	got, err := ReadNPZ(name, nil)
	if err != nil || got[0].DType != engine.Int8 || !slices.Equal(got[0].Data, []byte{1, 0xff, 7}) {
		t.Errorf("%+v, %v", got, err)
	}
	if back, err := convert(got[0], engine.Int4); err != nil || !slices.Equal(back.Data, small.Data) {
		t.Errorf("back: %+v, %v", back, err)
	}
}

func TestFilesThatAreNotArraysAreNamed(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
	_, inputs := ReadNPZ(file("inputs.npz", pointer), nil)
	_, labels := ReadNPYFile(file("labels.npy", pointer))
	_, single := ReadNPZ(file("single.npz", string(npy(head("|u1", "False", "(1,)"), 1))), nil)
	for err, want := range map[error]string{
		inputs: "inputs.npz is a Git LFS pointer: run git lfs pull", labels: "labels.npy is a Git LFS pointer: run git lfs pull",
		single: "single.npz is a single NumPy array (.npy), not an .npz: write it with numpy.savez",
	} {
		if err == nil || !strings.Contains(err.Error(), want) || engine.AsError(err).Kind != engine.KindInvalidInput {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestHeadersAreAlignedAsNumPyWritesThem(t *testing.T) {
	var b bytes.Buffer
	if err := WriteNPY(&b, engine.Tensor{DType: engine.Float32, Shape: []int64{2, 3}, Data: make([]byte, 24)}); err != nil {
		t.Fatal(err)
	}
	if (b.Len()-24)%64 != 0 || !strings.Contains(b.String(), "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }") {
		t.Errorf("%s", hex.Dump(b.Bytes()))
	}
}

func TestReadNPZRefuses(t *testing.T) {
	dir := t.TempDir()
	archive := func(members ...string) string {
		f, err := os.CreateTemp(dir, "*.npz")
		if err != nil {
			t.Fatal(err)
		}
		z := zip.NewWriter(f)
		for i := 0; i+1 < len(members); i += 2 {
			w, err := z.Create(members[i])
			if err == nil {
				_, err = io.WriteString(w, members[i+1])
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(z.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		return f.Name()
	}
	good := string(npy(head("|u1", "False", "(1,)"), 1))
	text := filepath.Join(dir, "text.npz")
	if err := os.WriteFile(text, []byte("not a zip"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, want string }{
		"missing":             {filepath.Join(dir, "none.npz"), "no such file"},
		"no archive":          {text, "not an .npz"},
		"empty":               {archive(), "no arrays"},
		"another member":      {archive("x.txt", "hi"), `"x.txt"`},
		"a name twice":        {archive("x.npy", good, "x.npy", good), `"x" appears twice`},
		"a damaged array":     {archive("x.npy", good[:20]), `array "x"`},
		"a bomb behind a lie": {archive("x.npy", string(npy(head("|u1", "False", "(1,)"), 1))+strings.Repeat("\x00", 1<<20)), `array "x": there are bytes behind`},
	} {
		_, err := ReadNPZ(c.path, nil)
		if e := engine.AsError(err); err == nil || e.Kind != engine.KindInvalidInput || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestHalvesRoundToTheNearest(t *testing.T) {
	for f, want := range map[float64]uint16{
		0: 0, 1: 0x3c00, -2: 0xc000, 65504: 0x7bff, 65519.9: 0x7bff, 65520: 0x7c00, 1e9: 0x7c00, 0x1p-24: 1, 0x1p-25: 0, 0x1.8p-24: 2,
		1 + 0x1p-11: 0x3c00, 1 + 0x1.8p-10: 0x3c02, 0x1.ff8p-15: 0x3ff, 0x1.ffep-15: 0x400, math.Inf(-1): 0xfc00,
	} {
		if got := halfBits(f); got != want {
			t.Errorf("%v is %#04x, want %#04x", f, got, want)
		}
	}
	h := engine.Tensor{DType: engine.Float16, Data: make([]byte, 2)}
	for bits := range 1 << 16 {
		h.Data[0], h.Data[1] = byte(bits), byte(bits>>8)
		if v := h.At(0); !math.IsNaN(v) && halfBits(v) != uint16(bits) {
			t.Fatalf("%#04x is %v is %#04x", bits, v, halfBits(v))
		}
	}
}

func FuzzReadNPY(f *testing.F) {
	f.Add(npy(head("<f4", "False", "(1,)"), 0, 0, 0x80, 0x3f))
	f.Add(npy(head(">i2", "True", "(2, 1)"), 1, 0, 2, 0))
	f.Add(npy(head("|O", "False", "()")))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := readNPY(bytes.NewReader(b), 1<<16)
		if err != nil {
			return
		}
		if n, err := engine.Elements(a.Shape); err != nil || int(n) != a.Len() {
			t.Fatalf("%v with %d elements", a.Shape, a.Len())
		}
		var out bytes.Buffer
		if err := WriteNPY(&out, a); err != nil {
			t.Fatal(err)
		}
		again, err := readNPY(&out, 1<<16)
		if err != nil || !bytes.Equal(again.Data, a.Data) || !reflect.DeepEqual(again.Shape, a.Shape) {
			t.Fatalf("%+v became %+v, %v", a, again, err)
		}
	})
}
