package candidate

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

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
		"a file that leads out":         {[]func(*repo){link("m/1/model.onnx", outside)}, nil, "m/1: m/1/model.onnx is a link out of the repository"},
		"a folder that leads out":       {[]func(*repo){model("one"), link("m/2", filepath.Dir(outside))}, map[string]string{"1": "one"}, "m/2: m/2 is a link out of the repository"},
		"a folder with one that does":   {[]func(*repo){blob, link("store/a/model.onnx", outside), link("m/1", "../store/a")}, nil, "m/1: m/1/model.onnx is a link out of the repository"},
		"a file for all that leads out": {[]func(*repo){model("one"), link("m/inputs.npz", outside)}, nil, "m/1: m/inputs.npz is a link out of the repository"},
		"one that leads to nothing":     {[]func(*repo){link("m/1/model.onnx", "../gone")}, nil, "m/1: m/1/model.onnx is a broken link"},
		"one that leads in a circle":    {[]func(*repo){link("m/1", "1")}, nil, "m/1: m/1 is a broken link"},
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
		"ok/3/.model.onnx.part", strings.Repeat("x", 101)+"/1/model.onnx")
	s := r.scan(9)
	if got := identified(s); !slices.Equal(got, []string{"ok/1"}) {
		t.Errorf("identified %v", got)
	}
	want := map[string]string{
		"-dash": "cannot be a model's name", "sp ace": "cannot be a model's name", "quote\"": "cannot be a model's name", "новая": "cannot be a model's name",
		strings.Repeat("x", 101): "cannot be a model's name", "ok/01": "cannot be a version", "ok/v2": "cannot be a version", "ok/0": "cannot be a version",
		"ok/model.onnx": "move it to ok/1/model.onnx", "ok/2/deep/model.onnx": "too deep",
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

func TestWhatIsNoFileNeitherHangsNorRefusesAVersion(t *testing.T) {
	r := newRepo(t, "beside/1/model.onnx", "other/1/model.onnx", "data/1/model.onnx")
	for _, name := range []string{"beside/1/weights.fifo", "beside/pipe", "top.fifo", "model/1/model.onnx", "data/inputs.npz"} {
		at := filepath.Join(r.dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), syscall.Mkfifo(at, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	s := r.scan(0)
	if got := identified(s); !slices.Equal(got, []string{"beside/1", "other/1"}) {
		t.Errorf("identified %v", got)
	}
	want := map[string]string{
		"model/1": "model/1/model.onnx is a named pipe (FIFO), not a file",
		"data/1":  "data/inputs.npz is a named pipe (FIFO), not a file",
	}
	for _, x := range s.Refused {
		if want[x.Path] != x.Reason {
			t.Errorf("refused %q: %s", x.Path, x.Reason)
		}
		delete(want, x.Path)
	}
	if len(want) > 0 {
		t.Errorf("not refused: %v", want)
	}
	// One that takes the place of a file between scan and staging does not hang either.
	c := s.Models["other"][0]
	at := filepath.Join(r.dir, "other/1/model.onnx")
	if err := errors.Join(os.Remove(at), syscall.Mkfifo(at, 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := r.Stage(t.Context(), c, t.TempDir()); err == nil || !strings.Contains(err.Error(), "named pipe") {
		t.Errorf("staging: %v", err)
	}
}

func TestWhatNobodyReadsIsNamed(t *testing.T) {
	r := newRepo(t, "net/1/model.onnx", "net/1/encoder.onnx", "net/input.npz", "net/1/labels.csv", "net/reference.npy", "net/old.onnx",
		"net/1/labels.txt", "net/notes.md", "resnet.onnx", "bert/bert.onnx", "README.md")
	s := r.scan(0)
	got := map[string]string{}
	for _, n := range s.Notes {
		got[n.Path] = n.Text
	}
	want := map[string]string{
		"net/input.npz":      "it is ignored: plancast reads inputs.npz",
		"net/1/labels.csv":   "it is ignored: plancast reads labels.npy",
		"net/1/labels.txt":   "it is ignored: plancast reads labels.npy",
		"net/reference.npy":  "it is ignored: plancast reads reference.npz",
		"net/old.onnx":       "a model belongs in a version's folder: move it to net/1/model.onnx",
		"net/1/encoder.onnx": "it is ignored: a version's model is named model.onnx",
	}
	if !maps.Equal(got, want) {
		t.Errorf("notes %v; want %v", got, want)
	}
	refused := map[string]string{}
	for _, x := range s.Refused {
		refused[x.Path] = x.Reason
	}
	if want := map[string]string{
		"resnet.onnx":    "a model belongs in a version's folder: move it to resnet/1/model.onnx",
		"bert/bert.onnx": "a model belongs in a version's folder: move it to bert/1/model.onnx",
	}; !maps.Equal(refused, want) {
		t.Errorf("refused %v; want %v", refused, want)
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

func TestARepositoryHoldsWhatIsThereUsableOrNot(t *testing.T) {
	s := Scan{
		Models:  map[string][]Candidate{"measured": {{Model: "measured"}}, "empty": nil},
		Pending: []Pending{{Model: "pending"}}, Refused: []Refusal{{Model: "refused", Path: "refused/1"}, {Path: "misnamed"}},
		Surplus: []string{"surplus", "too-many"},
	}
	for model, want := range map[string]bool{
		"measured": true, "pending": true, "refused": true, "misnamed": true, "surplus": true, "too-many": true, "empty": false, "absent": false,
	} {
		if s.Holds(model) != want {
			t.Errorf("%s: %v, want %v", model, !want, want)
		}
	}
}

func TestFoldersForWeightsHaveALimitInDepth(t *testing.T) {
	for below, found := range map[int]bool{deepest: true, deepest + 1: false} {
		weights := strings.Repeat("d/", below) + "w.bin"
		r := newRepo(t, "net/1/"+weights)
		r.write("net/1/model.onnx", "needs "+weights)
		if _, got := r.scan(0).Models["net"][0].Files[weights]; got != found {
			t.Errorf("%d folders below the version: found %v, want %v", below, got, found)
		}
	}
}

func TestTheInputsOfAModelAreKnownAlsoFromMemory(t *testing.T) {
	r := newRepo(t)
	r.write("net/1/model.onnx", "input x\n")
	for _, from := range []string{"the file", "memory"} {
		if got := r.scan(0).Models["net"][0].Inputs; len(got) != 1 || !slices.Equal(got["x"], []string{"batch", "3"}) {
			t.Errorf("from %s: %v", from, got)
		}
	}
}
