package trt

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestSearchOrder(t *testing.T) {
	env := func(k string) string {
		if k == LibraryPathVariable {
			return "/env/a:/env/b"
		}
		return ""
	}
	glob := func(string) ([]string, error) { return []string{"/wheel"}, nil }
	s := newSearchPath(Options{LibraryPath: []string{"/option/", "/env/a"}}, env, glob)
	if want := []string{"/option", "/env/a", "/env/b"}; !reflect.DeepEqual(s.first, want) {
		t.Errorf("before the loader: %q, want %q", s.first, want)
	}
	var tried []string
	where, err := s.open("libnvinfer.so.10", func(p string) bool { return p == "/wheel/libnvinfer.so.10" || p == "/env/b/other" }, func(p string) error {
		tried = append(tried, p)
		if p == "/wheel/libnvinfer.so.10" {
			return nil
		}
		return errors.New("no such file")
	})
	if err != nil || where != "/wheel/libnvinfer.so.10" {
		t.Errorf("found %q, %v", where, err)
	}
	if want := []string{"libnvinfer.so.10", "/wheel/libnvinfer.so.10"}; !reflect.DeepEqual(tried, want) {
		t.Errorf("tried %q, want %q", tried, want)
	}
}

func TestMissingLibraryIsExplained(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "libnvinfer.so.8"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := searchPath{first: []string{dir}, last: []string{"/last"}}
	_, err := s.open("libnvinfer.so.10", fileExists, func(p string) error { return errors.New(p + ": cannot open shared object file") })
	want := "TensorRT is not available: cannot open libnvinfer.so.10: libnvinfer.so.10: cannot open shared object file; looked in " +
		dir + ", the dynamic loader's path, /last; found instead " + dir + "/libnvinfer.so.8; set TRT_LIBRARY_PATH or Options.LibraryPath to the folder that holds it"
	if !errors.Is(err, ErrUnavailable) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	// A file that is there and cannot be opened is the reason, not the places after it.
	if err := os.WriteFile(filepath.Join(dir, "libnvinfer.so.10"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = s.open("libnvinfer.so.10", fileExists, func(string) error { return errors.New("file too short") })
	if err == nil || !strings.Contains(err.Error(), "file too short") || strings.Contains(err.Error(), "/last") {
		t.Errorf("a damaged library: %v", err)
	}
}
