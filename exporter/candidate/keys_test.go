package candidate

import (
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
	known := func() []string {
		return slices.Sorted(maps.Keys(r.facts))
	}
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
