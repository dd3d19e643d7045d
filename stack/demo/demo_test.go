package demo_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/stack/demo"
)

var now = time.Now().UTC()

func records(t *testing.T) (dir string, out []history.Record) {
	t.Helper()
	dir = t.TempDir()
	if d := os.Getenv("DEMO_KEEP"); d != "" {
		dir = d
	}
	if err := demo.Write(t.Context(), demo.Options{Dir: dir, Now: now}); err != nil {
		t.Fatal(err)
	}
	s, err := history.OpenReadOnly(filepath.Join(dir, "state", "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for r, err := range s.Records(t.Context(), history.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return dir, out
}

func TestX(t *testing.T) {
	_, r := records(t)
	t.Log(len(r))
}
