package candidate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/history"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// forgetful remembers in memory and counts.
type memory struct{ facts map[string]history.Remembered }

func (m *memory) Files(context.Context) (map[string]history.Remembered, error) {
	return maps.Clone(m.facts), nil
}

func (m *memory) Remember(_ context.Context, facts []history.Remembered, gone []string) error {
	for _, f := range facts {
		m.facts[f.Path] = f
	}
	for _, p := range gone {
		delete(m.facts, p)
	}
	return nil
}

// repo is a model repository in a folder, with a clock.
type repo struct {
	*Repository
	t      *testing.T
	dir    string
	now    time.Time
	memory *memory
	torn   bool     // what Whole says
	beside []string // what it needs
}

func newRepo(t *testing.T, files ...string) *repo {
	t.Helper()
	r := &repo{t: t, dir: t.TempDir(), now: noon, memory: &memory{map[string]history.Remembered{}}}
	for _, f := range files {
		r.write(f, "content of "+f)
	}
	r.open()
	return r
}

func (r *repo) open() {
	r.t.Helper()
	var err error
	r.Repository, err = Open(r.t.Context(), Options{
		URL: r.dir, Quiet: 5 * time.Second, Memory: r.memory, Now: func() time.Time { return r.now },
		Whole: func(io.ReaderAt, int64) ([]string, error) {
			if r.torn {
				return nil, errors.New("it ends within node 7")
			}
			return r.beside, nil
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { r.Repository.Close() })
}

// write makes a file an hour old.
func (r *repo) write(name, content string) { r.writeAt(name, content, noon.Add(-time.Hour)) }

func (r *repo) writeAt(name, content string, modified time.Time) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chtimes(path, modified, modified); err != nil {
		r.t.Fatal(err)
	}
}

func (r *repo) scan(backlog int) Scan {
	r.t.Helper()
	s, err := r.Scan(r.t.Context(), backlog)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// identified lists "model/version" of what has a digest.
func identified(s Scan) []string {
	var out []string
	for _, m := range slices.Sorted(maps.Keys(s.Models)) {
		for _, c := range s.Models[m] {
			if c.Digest != "" {
				out = append(out, m+"/"+c.Version)
			}
		}
	}
	return out
}

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func TestTheNewestVersionAndItsBacklogAreWanted(t *testing.T) {
	r := newRepo(t, "a/1/model.onnx", "a/2/model.onnx", "a/10/model.onnx", "b/7/model.onnx", "README.md", "a/notes.txt", "c/1/model.pt")
	for backlog, want := range map[int][]string{0: {"a/10", "b/7"}, 1: {"a/2", "a/10", "b/7"}, 99: {"a/1", "a/2", "a/10", "b/7"}} {
		if got := identified(r.scan(backlog)); !slices.Equal(got, want) {
			t.Errorf("backlog %d: %v; want %v", backlog, got, want)
		}
	}
	s := r.scan(0)
	if s.Versions != 4 || len(s.Models["a"]) != 3 || len(s.Refused) != 0 {
		t.Errorf("scan is %+v", s)
	}
	if got := s.Models["a"][2].Digest; got != sum("content of a/10/model.onnx") {
		t.Errorf("digest %s is not the file's own SHA-256", got)
	}
}

func TestAnUnchangedFileIsReadOnce(t *testing.T) {
	r := newRepo(t, "a/1/model.onnx", "a/1/inputs.npz", "b/1/model.onnx")
	if got := r.scan(0).Read; got != 3 {
		t.Errorf("the first scan read %d files; want 3", got)
	}
	if got := r.scan(0).Read; got != 0 {
		t.Errorf("the second scan read %d files; want none", got)
	}
	r.open() // another process, the same memory
	if got := r.scan(0).Read; got != 0 {
		t.Errorf("after a restart %d files were read; want none", got)
	}
	r.writeAt("a/1/model.onnx", "new content, same place", noon.Add(-time.Minute))
	if s := r.scan(0); s.Read != 1 || s.Models["a"][0].Digest != sum("new content, same place") {
		t.Errorf("after a change: read %d, %+v", s.Read, s.Models["a"])
	}
	if err := os.RemoveAll(filepath.Join(r.dir, "a")); err != nil {
		t.Fatal(err)
	}
	if s := r.scan(0); len(s.Models) != 1 || len(r.memory.facts) != 1 {
		t.Errorf("after the deletion: %+v; remembered %v", s.Models, r.memory.facts)
	}
}

func TestAFileThatMayStillBeCopiedIsLeftAlone(t *testing.T) {
	r := newRepo(t, "a/1/model.onnx")
	r.writeAt("a/2/model.onnx", "half", noon.Add(-2*time.Second))
	s := r.scan(0)
	if got := identified(s); !slices.Equal(got, []string{"a/1"}) {
		t.Errorf("identified %v; want the version before it", got)
	}
	if len(s.Pending) != 1 || s.Pending[0].Version != "2" || !strings.Contains(s.Pending[0].Reason, "changed less than 5s ago") {
		t.Errorf("pending %+v", s.Pending)
	}
	r.now = noon.Add(4 * time.Second)
	if got := identified(r.scan(0)); !slices.Equal(got, []string{"a/2"}) {
		t.Errorf("quiet for 6 s: %v", got)
	}
}

func TestAFileFromTheFutureIsWatchedInstead(t *testing.T) {
	r := newRepo(t)
	r.writeAt("a/1/model.onnx", "x", noon.Add(24*time.Hour))
	if s := r.scan(0); len(s.Pending) != 1 {
		t.Errorf("at first sight: %+v", s)
	}
	r.now = r.now.Add(6 * time.Second)
	if got := identified(r.scan(0)); !slices.Equal(got, []string{"a/1"}) {
		t.Errorf("unchanged for 6 s: %v", got)
	}
}

func TestATornFileIsWaitedForButNotForEver(t *testing.T) {
	r := newRepo(t)
	r.torn = true
	r.writeAt("a/1/model.onnx", "torn", noon.Add(-10*time.Second))
	if s := r.scan(0); len(s.Pending) != 1 || !strings.Contains(s.Pending[0].Reason, "not whole yet: it ends within node 7") {
		t.Errorf("soon after: %+v", s)
	}
	r.now = noon.Add(2 * time.Minute)
	if got := identified(r.scan(0)); !slices.Equal(got, []string{"a/1"}) {
		t.Errorf("two minutes later it is what it is: %v", got)
	}
}

func TestWeightsInAnotherFileAreWaitedFor(t *testing.T) {
	r := newRepo(t)
	r.beside = []string{"weights.bin"}
	r.writeAt("a/1/model.onnx", "graph", noon.Add(-10*time.Second))
	if s := r.scan(0); len(s.Pending) != 1 || !strings.Contains(s.Pending[0].Reason, "keeps weights in weights.bin, which is not there yet") {
		t.Errorf("without them: %+v", s)
	}
	r.writeAt("a/1/weights.bin", "weights", noon.Add(-9*time.Second))
	if got := identified(r.scan(0)); !slices.Equal(got, []string{"a/1"}) {
		t.Errorf("with them: %v", got)
	}
}

func TestLinksAndOtherNamesAreRefusedByName(t *testing.T) {
	r := newRepo(t, "a/1/Model.onnx", "real/1/model.onnx")
	if err := os.Symlink(filepath.Join(r.dir, "real"), filepath.Join(r.dir, "linked")); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a/1": "it holds Model.onnx", "linked": "links are not followed"}
	s := r.scan(0)
	for _, x := range s.Refused {
		if !strings.Contains(x.Reason, want[x.Path]) || want[x.Path] == "" {
			t.Errorf("refused %q: %s", x.Path, x.Reason)
		}
		delete(want, x.Path)
	}
	if len(want) > 0 || len(s.Models) != 1 {
		t.Errorf("not refused: %v; models %v", want, s.Models)
	}
}

func TestLinksInsideTheRepositoryAreFollowed(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	model := func(content string) func(r *repo) {
		return func(r *repo) { r.writeAt("m/1/model.onnx", content, noon.Add(-time.Hour)) }
	}
	link := func(name, to string) func(r *repo) {
		return func(r *repo) {
			at := filepath.Join(r.dir, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(strings.ReplaceAll(to, "ROOT", r.dir), at); err != nil {
				t.Fatal(err)
			}
		}
	}
	blob := func(r *repo) { r.writeAt("blobs/abc", "shared", noon.Add(-time.Hour)) }
	for name, c := range map[string]struct {
		make    []func(r *repo)
		want    map[string]string // identified version of m to the content of its model
		refused string            // path: reason
	}{
		"a version's file":              {[]func(*repo){blob, link("m/1/model.onnx", "../../blobs/abc")}, map[string]string{"1": "shared"}, ""},
		"an absolute link":              {[]func(*repo){blob, link("m/1/model.onnx", "ROOT/blobs/abc")}, map[string]string{"1": "shared"}, ""},
		"a version's folder":            {[]func(*repo){model("one"), link("m/2", "1")}, map[string]string{"1": "one", "2": "one"}, ""},
		"an alias is no version":        {[]func(*repo){model("one"), link("m/latest", "1")}, map[string]string{"1": "one"}, ""},
		"a file that leads out":         {[]func(*repo){link("m/1/model.onnx", outside)}, nil, "m/1: m/1/model.onnx is a link that leads out of the repository"},
		"a folder that leads out":       {[]func(*repo){model("one"), link("m/2", filepath.Dir(outside))}, map[string]string{"1": "one"}, "m/2: m/2 is a link that leads out of the repository"},
		"a folder with one that does":   {[]func(*repo){blob, link("store/a/model.onnx", outside), link("m/1", "../store/a")}, nil, "m/1: m/1 is a link to a folder whose model.onnx is a link that leads out"},
		"a file for all that leads out": {[]func(*repo){model("one"), link("m/inputs.npz", outside)}, nil, "m/inputs.npz: m/inputs.npz is a link that leads out"},
		"one that leads to nothing":     {[]func(*repo){link("m/1/model.onnx", "../gone")}, nil, "m/1: m/1/model.onnx is a link that leads to nothing"},
		"one that leads in a circle":    {[]func(*repo){link("m/1", "1")}, nil, "m/1: m/1 is a link that leads to nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			for _, make := range c.make {
				make(r)
			}
			s := r.scan(9)
			got := map[string]string{}
			for _, v := range s.Models["m"] {
				dir := t.TempDir()
				if err := r.Stage(t.Context(), v, dir); err != nil {
					t.Error(err)
				}
				text, err := os.ReadFile(filepath.Join(dir, ModelFile))
				if err != nil || v.Digest != sum(string(text)) {
					t.Errorf("version %s: %v, digest %s", v.Version, err, v.Digest)
				}
				got[v.Version] = string(text)
			}
			if !maps.Equal(got, c.want) {
				t.Errorf("found %v; want %v; refused %v, pending %v", got, c.want, s.Refused, s.Pending)
			}
			refused := ""
			for _, x := range s.Refused {
				if x.Model == "m" {
					refused += x.Path + ": " + x.Reason
				}
			}
			if !strings.HasPrefix(refused, c.refused) || (refused == "") != (c.refused == "") {
				t.Errorf("refused %q; want %q", refused, c.refused)
			}
		})
	}
}

func TestNamesAreRefusedByName(t *testing.T) {
	r := newRepo(t, "ok/1/model.onnx", "-dash/1/model.onnx", "sp ace/1/model.onnx", "quote\"/1/model.onnx", "новая/1/model.onnx",
		"ok/01/model.onnx", "ok/v2/model.onnx", "ok/0/model.onnx", "ok/model.onnx", "ok/2/deep/model.onnx", ".hidden/1/model.onnx",
		"ok/3/.model.onnx.part", "ok/4/we\tird", strings.Repeat("x", 101)+"/1/model.onnx")
	s := r.scan(9)
	if got := identified(s); !slices.Equal(got, []string{"ok/1"}) {
		t.Errorf("identified %v", got)
	}
	want := map[string]string{
		"-dash": "cannot be a model's name", "sp ace": "cannot be a model's name", "quote\"": "cannot be a model's name", "новая": "cannot be a model's name",
		strings.Repeat("x", 101): "cannot be a model's name", "ok/01": "cannot be a version", "ok/v2": "cannot be a version", "ok/0": "cannot be a version",
		"ok/model.onnx": "move it to ok/1/model.onnx", "ok/2/deep/model.onnx": "too deep", "ok/4": "cannot be staged",
	}
	for _, x := range s.Refused {
		if w, ok := want[x.Path]; !ok || !strings.Contains(x.Reason, w) {
			t.Errorf("refused %q: %s", x.Path, x.Reason)
		}
		delete(want, x.Path)
	}
	if len(want) > 0 {
		t.Errorf("not refused: %v", want)
	}
}

func TestKeysWithPathTricksAreRefused(t *testing.T) {
	r, err := Open(t.Context(), Options{URL: "mem://", Memory: &memory{map[string]history.Remembered{}}, Now: func() time.Time { return time.Now().Add(time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, key := range []string{"../1/model.onnx", "m/../model.onnx", "m/1/../../../etc/passwd", "m/1/..", "m/1/model.onnx", "m/2/a\\b", "m/2/model.onnx", "m/3/model.onnx"} {
		if err := r.bucket.WriteAll(t.Context(), key, []byte("x"), nil); err != nil {
			t.Fatal(err)
		}
	}
	s, err := r.Scan(t.Context(), 9)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Models["m"] {
		for name := range c.Files {
			if name != ModelFile {
				t.Errorf("version %s would stage %q", c.Version, name)
			}
		}
	}
	if got := slices.Sorted(maps.Keys(s.Models)); !slices.Equal(got, []string{"m"}) {
		t.Errorf("models %v", got)
	}
	dir := t.TempDir()
	if err := r.Stage(t.Context(), s.Models["m"][0], dir); err != nil {
		t.Error(err)
	}
}

func TestIdentityIsContent(t *testing.T) {
	r := newRepo(t, "a/1/model.onnx")
	alone := r.scan(0).Models["a"][0]
	if alone.Digest != sum("content of a/1/model.onnx") || alone.DataDigest != "" {
		t.Errorf("alone: %+v", alone)
	}
	for _, c := range []struct {
		file         string
		digest, data bool // changes
	}{
		{"a/1/weights.bin", true, false},
		{"a/1/calibration.npz", true, false},
		{"a/calibration.npz", false, false}, // the version has its own
		{"a/inputs.npz", false, true},
		{"a/1/inputs.npz", false, true}, // takes the place of the shared one
		{"a/labels.npy", false, true},
		{"a/README.md", false, false},
	} {
		before := r.scan(0).Models["a"][0]
		r.write(c.file, "content of "+c.file)
		after := r.scan(0).Models["a"][0]
		if (before.Digest != after.Digest) != c.digest || (before.DataDigest != after.DataDigest) != c.data {
			t.Errorf("%s: digest changes: %t, data digest changes: %t; want %t, %t", c.file, before.Digest != after.Digest, before.DataDigest != after.DataDigest, c.digest, c.data)
		}
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
	if len(s.Pending) != 1 || !strings.Contains(s.Pending[0].Reason, `b/config.pbtxt: input "x": dimension 0 is 0`) {
		t.Errorf("pending %+v", s.Pending)
	}
	r.open()
	if got := r.scan(0).Models["a"][0].Shapes; !reflect.DeepEqual(got, want) {
		t.Errorf("from memory: %+v; want %+v", got, want)
	}
}

func TestStageCopiesAndProves(t *testing.T) {
	r := newRepo(t, "a/1/model.onnx", "a/1/model.onnx.data", "a/inputs.npz")
	c := r.scan(0).Models["a"][0]
	dir := t.TempDir()
	if err := r.Stage(t.Context(), c, dir); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"model.onnx": "a/1/model.onnx", "model.onnx.data": "a/1/model.onnx.data", "inputs.npz": "a/inputs.npz"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != "content of "+from {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	r.write("a/1/model.onnx.data", "replaced meanwhile")
	if err := r.Stage(t.Context(), c, t.TempDir()); !errors.Is(err, ErrChanged) {
		t.Errorf("after a replacement: %v", err)
	}
	if err := os.Remove(filepath.Join(r.dir, "a/1/model.onnx")); err != nil {
		t.Fatal(err)
	}
	if err := r.Stage(t.Context(), c, t.TempDir()); !errors.Is(err, ErrChanged) {
		t.Errorf("after a deletion: %v", err)
	}
}

func TestABucketIsARepositoryToo(t *testing.T) {
	m := &memory{map[string]history.Remembered{}}
	r, err := Open(t.Context(), Options{URL: "mem://", Memory: m, Quiet: time.Second, Now: func() time.Time { return time.Now().Add(time.Minute) }})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for key, content := range map[string]string{"a/1/model.onnx": "one", "a/2/model.onnx": "two", "a/inputs.npz": "in"} {
		if err := r.bucket.WriteAll(t.Context(), key, []byte(content), nil); err != nil {
			t.Fatal(err)
		}
	}
	s, err := r.Scan(t.Context(), 0)
	if err != nil || !slices.Equal(identified(s), []string{"a/2"}) {
		t.Fatalf("scan %+v, %v", s, err)
	}
	dir := t.TempDir()
	if err := r.Stage(t.Context(), s.Models["a"][1], dir); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "inputs.npz")); err != nil || !bytes.Equal(got, []byte("in")) {
		t.Errorf("staged %q, %v", got, err)
	}
}

func TestTheRepositoryMayBeALink(t *testing.T) {
	r := newRepo(t, "a/1/model.onnx")
	link := filepath.Join(t.TempDir(), "models")
	if err := os.Symlink(r.dir, link); err != nil {
		t.Fatal(err)
	}
	r.dir = link
	r.open()
	if got := identified(r.scan(0)); !slices.Equal(got, []string{"a/1"}) {
		t.Errorf("through the link: %v", got)
	}
}

func TestOpenSaysWhatToDo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"/nonexistent/models": "create it, or set repository.url",
		file:                  "it is a file: repository.url must name the folder",
		"nosuch://bucket":     "nosuch",
	} {
		if _, err := Open(t.Context(), Options{URL: url}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), url) {
			t.Errorf("Open(%s): %v; want one that says %q", url, err, want)
		}
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

// The figure to reach is a second for 2,000 versions of which none changed.
func BenchmarkScanUnchanged2000(b *testing.B) {
	dir := b.TempDir()
	for m := range 20 {
		for v := range 100 {
			path := filepath.Join(dir, fmt.Sprintf("model%d/%d", m, v+1))
			if err := os.MkdirAll(path, 0o755); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(path, ModelFile), []byte(path), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	r, err := Open(b.Context(), Options{URL: dir, Memory: &memory{map[string]history.Remembered{}}, Now: func() time.Time { return time.Now().Add(time.Hour) }})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Scan(b.Context(), 1000); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := r.Scan(b.Context(), 1000)
		if err != nil || s.Versions != 2000 || s.Read != 0 {
			b.Fatal(s.Versions, s.Read, err)
		}
	}
}
