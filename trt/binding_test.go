//go:build tensorrt && cgo

package trt_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plancast/plancast/trt"
)

// library opens TensorRT; tests that need it skip where it is missing.
func library(t *testing.T) *trt.Library {
	t.Helper()
	l, err := trt.Open(trt.Options{})
	if errors.Is(err, trt.ErrUnavailable) {
		t.Skipf("set %s to run this test: %v", trt.LibraryPathVariable, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestVersions(t *testing.T) {
	l := library(t)
	v := l.Versions()
	if strings.Count(v.TensorRT, ".") != 3 || v.TensorRT == "0.0.0.0" || v.Headers == "" {
		t.Errorf("versions %+v", v)
	}
	major, _, _ := strings.Cut(v.TensorRT, ".")
	if headers, _, _ := strings.Cut(v.Headers, "."); headers != major {
		t.Errorf("library %s with headers %s", v.TensorRT, v.Headers)
	}
	if err := (trt.Require{TensorRT: v.TensorRT}).Check(v); err != nil {
		t.Error(err)
	}
	if path := v.Libraries["libnvinfer.so."+major]; path == "" {
		t.Errorf("libraries %v", v.Libraries)
	}
	t.Logf("%+v", v)
}

func TestOpenTwiceGivesTheSame(t *testing.T) {
	l := library(t)
	again, err := trt.Open(trt.Options{LibraryPath: []string{"/nowhere"}})
	if err != nil || again.Versions().TensorRT != l.Versions().TensorRT {
		t.Errorf("got %v", err)
	}
}

// The libraries of a process stay open, so a missing or damaged one is tried in a
// process of its own.
func TestOpenReportsWhatIsMissing(t *testing.T) {
	if dir := os.Getenv("TRT_TEST_OPEN"); dir != "" {
		_, err := trt.Open(trt.Options{LibraryPath: []string{dir}})
		if !errors.Is(err, trt.ErrUnavailable) {
			t.Fatalf("opened: %v", err)
		}
		t.Logf("open: %v", err)
		return
	}
	empty, damaged := t.TempDir(), t.TempDir()
	for _, name := range []string{"libnvinfer.so.7", "libnvinfer.so.10", "libnvinfer.so.11"} {
		if err := os.WriteFile(filepath.Join(damaged, name), []byte("no library"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string][]string{
		empty:   {"cannot open libnvinfer.so.", "looked in " + empty},
		damaged: {"file too short", "looked in " + damaged, damaged + "/libnvinfer.so.7"},
	} {
		cmd := exec.Command(os.Args[0], "-test.run=^TestOpenReportsWhatIsMissing$", "-test.v")
		cmd.Env = append(os.Environ(), "TRT_TEST_OPEN="+dir, trt.LibraryPathVariable+"=", "LD_LIBRARY_PATH=")
		out, err := cmd.CombinedOutput()
		if err != nil && strings.Contains(string(out), "opened: <nil>") {
			t.Skip("TensorRT is installed where the loader finds it")
		}
		for _, w := range want {
			if err != nil || !strings.Contains(string(out), w) {
				t.Errorf("%v: no %q in\n%s", err, w, out)
			}
		}
	}
}

func TestNoDeviceIsACleanError(t *testing.T) {
	l := library(t)
	if _, err := l.Devices(); err == nil {
		t.Skip("this machine has a GPU")
	} else if !errors.Is(err, trt.ErrNoDevice) {
		t.Errorf("Devices: %v", err)
	}
	_, err := l.NewBuilder(0)
	if !errors.Is(err, trt.ErrNoDevice) {
		t.Errorf("NewBuilder: %v", err)
	}
	t.Log(err)
	if _, err := l.NewRuntime(0); !errors.Is(err, trt.ErrNoDevice) {
		t.Errorf("NewRuntime: %v", err)
	}
	if _, err := l.DeviceMemory(0); !errors.Is(err, trt.ErrNoDevice) {
		t.Errorf("DeviceMemory: %v", err)
	}
	if got := l.Live(); got != (trt.Objects{}) {
		t.Errorf("live %+v", got)
	}
}
