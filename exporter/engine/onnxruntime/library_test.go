package onnxruntime

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
)

func TestWhereTheLibraryIsSearched(t *testing.T) {
	dir := t.TempDir()
	touch := func(name string) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("PLANCAST_CACHE", dir)
	t.Setenv(LibraryVariable, "")
	old, newer := touch("onnxruntime/1.9.0/libonnxruntime.so"), touch("onnxruntime/1.32.0/libonnxruntime.so")
	other := touch("other/libonnxruntime.so")
	if got, err := FindLibrary(""); got != newer {
		t.Errorf("the newest of the cache: %s, %v", got, err)
	}
	if got, _ := FindLibrary(old); got != old {
		t.Errorf("the configured one: %s", got)
	}
	t.Setenv(LibraryVariable, other)
	if got, _ := FindLibrary(""); got != other {
		t.Errorf("the variable's: %s", got)
	}
	t.Setenv(LibraryVariable, filepath.Join(dir, "nowhere"))
	if _, err := FindLibrary(""); err == nil || !strings.Contains(err.Error(), LibraryVariable) || !strings.Contains(err.Error(), "make setup") {
		t.Errorf("a variable that names nothing: %v", err)
	}
	t.Setenv(LibraryVariable, "")
	t.Setenv("PLANCAST_CACHE", filepath.Join(dir, "empty"))
	systemFolders = []string{filepath.Join(dir, "lib")}
	_, err := FindLibrary("")
	if e := engine.AsError(err); e.Kind != engine.KindUnavailable || !strings.Contains(e.Message, filepath.Join(dir, "lib")) || !strings.Contains(e.Message, filepath.Join(dir, "empty")) {
		t.Errorf("nothing anywhere: %v", err)
	}
}

// A confined process reads the library's folder, and no folder above it.
func TestTheLibraryIsFoundWhenTheBackendIsMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "onnxruntime", "1.99.0")
	library := filepath.Join(dir, "libonnxruntime.so")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(library, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv(LibraryVariable, "")
	t.Setenv("PLANCAST_CACHE", filepath.Dir(filepath.Dir(dir)))
	b := New(Options{})
	t.Setenv("PLANCAST_CACHE", "/nonexistent")
	if got := b.Places().Libraries; b.opts.Library != library || !slices.Contains(got, dir) {
		t.Errorf("library %q, places %q", b.opts.Library, got)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}
