package fake

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/enginetest"
)

func TestContract(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, s Script) string {
		path := filepath.Join(dir, name)
		if err := Write(path, s); err != nil {
			t.Fatal(err)
		}
		return path
	}
	invalid := filepath.Join(dir, "invalid")
	if err := os.WriteFile(invalid, []byte("not a script"), 0o600); err != nil {
		t.Fatal(err)
	}
	enginetest.TestBackend(t, func(testing.TB) engine.Backend { return New() }, enginetest.Fixtures{
		Model:       write("healthy", Script{Precisions: []engine.Precision{engine.FP32, engine.FP16}, Layers: []engine.Layer{{Name: "copy", Type: "Identity"}}}),
		Invalid:     invalid,
		Unsupported: write("unsupported", Script{Fault: UnsupportedOperator}),
		Refused:     engine.INT8,
		Int8:        write("int8", Script{}),
		Half:        write("half", Script{}),
		Layers:      true,
	})
}
