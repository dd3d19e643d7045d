//go:build !tensorrt || !cgo

package trt_test

import (
	"errors"
	"testing"

	"github.com/plancast/plancast/trt"
)

func TestOpenWithoutBinding(t *testing.T) {
	l, err := trt.Open(trt.Options{LibraryPath: []string{"/nowhere"}})
	const want = "TensorRT is not available: this binary was built without it; build with cgo and -tags tensorrt"
	if l != nil || !errors.Is(err, trt.ErrUnavailable) || err.Error() != want {
		t.Errorf("got %v, %v, want %q", l, err, want)
	}
}
