//go:build tensorrt && cgo

package trt

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Libnvinfer opens the builder's kernels by bare name, which the dynamic loader
// finds only in LD_LIBRARY_PATH or the system's folders: the binding has to make the
// name known when the libraries lie elsewhere. In a process of its own, since
// LD_LIBRARY_PATH is read at its start.
func TestBuilderResourceIsFoundBesideLibnvinfer(t *testing.T) {
	l, err := Open(Options{})
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	v := strings.Split(l.Versions().TensorRT, ".")
	name := "libnvinfer_builder_resource.so." + strings.Join(v[:3], ".")
	lib := l.n.(*library)
	dir := filepath.Dir(lib.paths["libnvinfer.so."+v[0]])
	if !fileExists(filepath.Join(dir, name)) {
		t.Skipf("this edition of TensorRT has no %s in %s", name, dir)
	}
	if os.Getenv("LD_LIBRARY_PATH") != "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestBuilderResourceIsFoundBesideLibnvinfer$")
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH=", LibraryPathVariable+"="+dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if err := lib.builderResource(); err != nil {
		t.Fatal(err)
	}
	if _, err := dlopen(name); err != nil {
		t.Errorf("by bare name: %v", err)
	}
	if err := lib.builderResource(); err != nil {
		t.Errorf("a second time: %v", err)
	}
}
