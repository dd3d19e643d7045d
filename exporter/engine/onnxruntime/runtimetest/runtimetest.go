// Package runtimetest is for tests that measure with ONNX Runtime.
package runtimetest

import (
	"os"
	"testing"

	"github.com/plancast/plancast/exporter/engine/onnxruntime"
)

// Need skips the test where ONNX Runtime is not installed, or fails it where
// PLANCAST_REQUIRE_ONNXRUNTIME says that it must be.
func Need(t testing.TB) {
	t.Helper()
	if _, err := onnxruntime.FindLibrary(""); err != nil {
		if os.Getenv("PLANCAST_REQUIRE_ONNXRUNTIME") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}
