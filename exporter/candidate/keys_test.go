package candidate

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A bucket holds any key; a folder gives only some of these.
func TestWhatTheKeyOfAFileMakesOfIt(t *testing.T) {
	for key, want := range map[string]string{
		"net/1/model.onnx":            "net/1 has model.onnx",
		"net/1/model.onnx/model.onnx": "net/1 has model.onnx/model.onnx",
		"net/1/weights/w.bin":         "net/1 has weights/w.bin",
		"net/1/.weights/w.bin":        "net/1 has .weights/w.bin", // a model may name it
		"net/1/deep/model.onnx":       "net/1/deep/model.onnx is refused",
		"net/v1/model.onnx":           "net/v1 is refused",
		"net/v1/deep/model.onnx":      "net/v1/deep/model.onnx is refused",
		"net/0/model.onnx":            "net/0 is refused",
		"net/v1/notes.txt":            "",
		// Temporary files of copying programs, and what tools keep.
		".git/1/model.onnx":       "",
		"net/.staging/model.onnx": "",
		"net/.net.onnx":           "",
		"net/1/.sync/model.onnx":  "",
		// No honest writer names a file like this.
		"net/1/../w.bin": "",
		"net/1/./w.bin":  "",
		"net/1//w.bin":   "",
	} {
		l := &lister{models: map[string]*listing{}, refused: map[string]Refusal{}, notes: map[string]Note{}}
		l.add(object{key: key})
		var got []string
		for model, m := range l.models {
			for version, files := range m.versions {
				for file := range files {
					got = append(got, model+"/"+version+" has "+file)
				}
			}
		}
		for at := range l.refused {
			got = append(got, at+" is refused")
		}
		for at := range l.notes {
			got = append(got, at+" is noted")
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s: %q; want %q", key, text, want)
		}
	}
}

func TestAFileThatIsGoneIsForgotten(t *testing.T) {
	r := newRepo(t, "net/1/model.onnx")
	r.writeAt("net/2/model.onnx", "of a clock that is ahead", noon.Add(time.Hour))
	r.scan(9)
	r.now = noon.Add(10 * time.Minute)
	r.scan(9)
	known := func() []string { return slices.Sorted(maps.Keys(r.facts)) }
	stay, leave := "net/1/model.onnx", "net/2/model.onnx"
	if got := known(); !slices.Equal(got, []string{stay, leave}) || len(r.first) != 1 || len(r.memory.facts) != 2 {
		t.Fatalf("%v are known and %v remembered; %d times of first sight", got, r.memory.facts, len(r.first))
	}
	if err := os.RemoveAll(filepath.Join(r.dir, "net", "2")); err != nil {
		t.Fatal(err)
	}
	r.scan(9)
	if got := known(); !slices.Equal(got, []string{stay}) || len(r.first) != 0 {
		t.Errorf("%v are known, and %d times of first sight; want %s alone", got, len(r.first), stay)
	}
	if _, gone := r.memory.facts[leave]; gone || len(r.memory.facts) != 1 {
		t.Errorf("%v are remembered", r.memory.facts)
	}
}

// What each kind of file says is remembered beyond the process: a configuration's
// shapes and why a change.yml is of no use as well.
func TestAllThatWasReadIsRemembered(t *testing.T) {
	r := newTraced(t, "net/1/model.onnx")
	r.write("net/config.pbtxt", `input { name: "x" dims: [ 3 ] }`)
	r.write("net/1/change.yml", "bad")
	before := r.scan(0)
	r.open() // another process
	r.opts.ParseChange = parseAuthor
	after := r.scan(0)
	if before.Read != 3 || after.Read != 0 || !slices.Equal(after.Notes, before.Notes) || len(after.Notes) != 1 {
		t.Errorf("%d files are read, then %d; notes %v and %v", before.Read, after.Read, before.Notes, after.Notes)
	}
}

func TestAMemoryThatSaysNothingIsReadAgainFromTheFile(t *testing.T) {
	r := newRepo(t, "net/1/model.onnx")
	before, key := r.scan(0), "net/1/model.onnx"
	var f fact
	if err := json.Unmarshal([]byte(r.memory.facts[key]), &f); err != nil {
		t.Fatal(err)
	}
	f.Digest = ""
	empty, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(empty), "{}", "rubbish"} {
		r.memory.facts[key] = text
		r.open() // another process
		if s := r.scan(0); s.Read != 1 || s.Models["net"][0].Digest != before.Models["net"][0].Digest {
			t.Errorf("remembered %s: %d files are read, %+v", text, s.Read, s.Models["net"])
		}
	}
}
