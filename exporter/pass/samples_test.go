package pass

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// The newest results of each precision keep their samples, whichever has the
// shorter number.
func TestFewResultsKeepTheirSamples(t *testing.T) {
	r := &Runner{Options: Options{Config: config.Config{State: t.TempDir()}}}
	written := samplesPath(t.TempDir())
	keep := func(id int64, p engine.Precision, ok bool) {
		t.Helper()
		if err := os.WriteFile(written, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		rec := history.Record{ID: id, Model: "net", Precision: p}
		if ok {
			rec.Measurement = &bench.Measurement{}
		}
		if err := r.keepSamples(rec, written); err != nil {
			t.Fatal(err)
		}
	}
	for id := range int64(12) {
		keep(id, engine.FP32, true)
	}
	keep(12, engine.FP32, false)
	keep(3, engine.INT8, true)
	for id := range int64(13) {
		_, err := os.Stat(SamplesFile(r.Config.State, "net", engine.FP32, id))
		if want := id >= 9 && id < 12; (err == nil) != want {
			t.Errorf("the samples of %d are kept: %v; want %v", id, err == nil, want)
		}
	}
	if _, err := os.Stat(SamplesFile(r.Config.State, "net", engine.INT8, 3)); err != nil {
		t.Error("another precision's are gone: ", err)
	}
	if entries, _ := os.ReadDir(filepath.Join(r.Config.State, samplesDir, "net")); len(entries) != 4 {
		t.Errorf("%d files", len(entries))
	}
}
