package candidate

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestIdentityIsWhatABuildReads(t *testing.T) {
	const odd = "w+b (1): é.data"
	r := newRepo(t, "plain/1/model.onnx")
	r.write("a/1/model.onnx", "needs weights.bin\nneeds ./sub/more.bin\nneeds .hidden.data\nneeds "+odd+"\nneeds ../outside.bin\n")
	for _, name := range []string{"weights.bin", "sub/more.bin", ".hidden.data", odd} {
		r.write("a/1/"+name, "first")
	}
	if c := r.scan(0).Models["plain"][0]; c.Digest != sum("content of plain/1/model.onnx") || c.DataDigest != "" {
		t.Errorf("alone: %+v", c)
	}
	for _, c := range []struct {
		file         string
		digest, data bool // changes
	}{
		{"a/1/weights.bin", true, false},
		{"a/1/sub/more.bin", true, false},
		{"a/1/.hidden.data", true, false},
		{"a/1/" + odd, true, false},
		{"a/1/calibration.npz", true, false},
		{"a/calibration.npz", false, false}, // the version has its own
		{"a/inputs.npz", false, true},
		{"a/1/inputs.npz", false, true}, // takes the place of the shared one
		{"a/labels.npy", false, true},
		{"a/README.md", false, false},
		{"a/1/README.md", false, false},
		{"a/1/benchmark.log", false, false},
		{"a/1/model.onnx~", false, false},
		{"a/1/#model.onnx#", false, false},
		{"a/1/model (copy).onnx", false, false},
		{"a/1/vocab+merges:x.txt", false, false},
		{"a/1/lisez-moi-é.txt", false, false},
		{"a/1/sub/unused.bin", false, false},
		{"a/outside.bin", false, false},
	} {
		before := r.scan(0).Models["a"][0]
		r.write(c.file, "content of "+c.file)
		s := r.scan(0)
		if len(s.Models["a"]) == 0 || len(s.Refused) > 0 || len(s.Pending) > 0 {
			t.Fatalf("%s: refused %v, pending %v", c.file, s.Refused, s.Pending)
		}
		after := s.Models["a"][0]
		if (before.Digest != after.Digest) != c.digest || (before.DataDigest != after.DataDigest) != c.data {
			t.Errorf("%s: digest changes: %t, data digest changes: %t; want %t, %t", c.file, before.Digest != after.Digest, before.DataDigest != after.DataDigest, c.digest, c.data)
		}
	}
	dir := t.TempDir()
	if err := r.Stage(t.Context(), r.scan(0).Models["a"][0], dir); err != nil {
		t.Fatal(err)
	}
	var staged []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(dir, path)
			staged = append(staged, rel)
		}
		return err
	})
	want := []string{".hidden.data", "calibration.npz", "inputs.npz", "labels.npy", "model.onnx", "sub/more.bin", odd, "weights.bin"}
	slices.Sort(want)
	slices.Sort(staged)
	if err != nil || !slices.Equal(staged, want) {
		t.Errorf("staged %q, %v; want %q", staged, err, want)
	}
}

func TestAFolderNamedLikeTheModelHoldsItsFiles(t *testing.T) {
	r := newRepo(t)
	r.write("encoder/1/model.onnx/model.onnx", "needs model.onnx.data")
	r.write("encoder/1/model.onnx/model.onnx.data", "weights")
	c := r.scan(0).Models["encoder"]
	if len(c) != 1 || c[0].Files["model.onnx.data"] != "encoder/1/model.onnx/model.onnx.data" {
		t.Fatalf("%+v", c)
	}
	dir := t.TempDir()
	if err := r.Stage(t.Context(), c[0], dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "model.onnx.data")); err != nil || string(text) != "weights" {
		t.Errorf("staged %q, %v", text, err)
	}
}

func TestSameSizeAndTimeButOtherContent(t *testing.T) {
	r := newRepo(t)
	r.write("net/1/model.onnx", "trained")
	before := r.scan(0).Models["net"][0]
	r.write("new", "retrain")
	if err := os.Rename(filepath.Join(r.dir, "new"), filepath.Join(r.dir, "net/1/model.onnx")); err != nil {
		t.Fatal(err)
	}
	if after := r.scan(0).Models["net"][0]; after.Digest == before.Digest || !after.Modified.Equal(before.Modified) {
		t.Errorf("the replaced file is not noticed: %+v", after)
	}
}

// A file whose every mark is unchanged is read again from time to time.
func TestUnchangedMarksAreNotTrustedForever(t *testing.T) {
	r := newRepo(t, "net/1/model.onnx", "net/2/model.onnx")
	s := r.scan(9)
	key := "net/1/model.onnx"
	f := r.facts[key]
	f.Digest = sum("what it was before the disk rotted")
	r.facts[key] = f
	r.now = noon.Add(verifyEvery - time.Second)
	if c := r.scan(9).Models["net"][0]; c.Digest != f.Digest {
		t.Error("it is read before its time")
	}
	r.now = noon.Add(verifyEvery)
	r.scan(9) // reads one file
	r.scan(9) // and the other
	if c := r.scan(9).Models["net"][0]; c.Digest != s.Models["net"][0].Digest {
		t.Errorf("digest %s", c.Digest)
	}
}

func TestShapesComeFromTritonsConfiguration(t *testing.T) {
	r := newRepo(t, "a/1/model.onnx", "b/1/model.onnx")
	r.write("a/config.pbtxt", `
name: "a"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [
  { name: "x" data_type: TYPE_FP32 dims: [ 3, -1 ] },
  { name: "n" data_type: TYPE_INT64 dims: 1 reshape { shape: [ ] } }
]
output { name: "y" data_type: TYPE_FP32 dims: [ 10 ] }
instance_group [ { count: 2 kind: KIND_CPU } ]
`)
	r.write("b/config.pbtxt", `input { name: "x" dims: [ 0 ] }`)
	s := r.scan(0)
	want := Shapes{MaxBatch: 8, Inputs: map[string][]int64{"x": {3, -1}, "n": {}}}
	if got := s.Models["a"][0].Shapes; !reflect.DeepEqual(got, want) {
		t.Errorf("shapes %+v; want %+v", got, want)
	}
	if len(s.Refused) != 1 || s.Refused[0].Model != "b" || s.Refused[0].Version != "1" || !strings.Contains(s.Refused[0].Reason, `b/config.pbtxt cannot be used: input "x": dimension 0 is 0`) {
		t.Errorf("refused %+v", s.Refused)
	}
	// One that was just written may still be half a file.
	r.writeAt("b/config.pbtxt", `input { name: "x" di`, noon.Add(-10*time.Second))
	if s := r.scan(0); len(s.Refused) != 0 || len(s.Pending) != 1 || !s.Pending[0].Until.Equal(noon.Add(50*time.Second)) {
		t.Errorf("soon after: refused %+v, pending %+v", s.Refused, s.Pending)
	}
	r.write("b/config.pbtxt", "\ufeffmax_batch_size: 4")
	if s := r.scan(0); len(s.Models["b"]) != 1 || s.Models["b"][0].Shapes.MaxBatch != 4 {
		t.Errorf("with a byte order mark: %+v, refused %+v", s.Models["b"], s.Refused)
	}
	r.open()
	if got := r.scan(0).Models["a"][0].Shapes; !reflect.DeepEqual(got, want) {
		t.Errorf("from memory: %+v; want %+v", got, want)
	}
}

func FuzzParseShapes(f *testing.F) {
	f.Add([]byte(`max_batch_size: 8 input [ { name: "x" dims: [ 3, -1 ] } ]`))
	f.Add([]byte(`input { name: "x" reshape: { shape: [ ] } }`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseShapes(text)
		if err != nil {
			return
		}
		for name, dims := range s.Inputs {
			for _, d := range dims {
				if d == 0 || d < -1 {
					t.Fatalf("input %q has dimension %d", name, d)
				}
			}
		}
	})
}
