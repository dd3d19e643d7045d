package history_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// measured is a small but complete record.
func measured(model, version, digest string) history.Record {
	upper, weights := 0.013, int64(1<<20)
	return history.Record{
		Model: model, Version: version, Digest: digest, Precision: engine.FP32, Backend: "onnxruntime", Device: "cpu",
		Environment: engine.Environment{Backend: "onnxruntime", BackendVersion: "1", Device: "cpu", Cores: 2, Platform: "linux/amd64"},
		Settings:    engine.Settings{Threads: 2, GraphOptimization: "all"}, Fingerprint: "f1",
		CandidateTime: noon, Started: noon.Add(time.Second), Finished: noon.Add(2 * time.Second),
		Measurement: &bench.Measurement{
			Plan: engine.Plan{Path: "p", Precision: engine.FP32, SizeBytes: 7, Duration: time.Second},
			Latency: bench.Latency{Batch: 1, Queries: 662, Mean: 0.01,
				Quantiles: []bench.Quantile{{Q: 0.99, Value: 0.012, Upper: &upper}}, Buckets: map[int]int64{-200: 600, -199: 62}},
			Throughput: 100, Stable: true, Windows: 2, Memory: engine.Memory{WeightsBytes: &weights},
			Layers: &bench.LayerSummary{Total: 1, ByPrecision: map[engine.Precision]int{engine.FP32: 1}, Layers: []engine.Layer{{Name: "conv", Type: "Conv", Precision: engine.FP32}}},
		},
	}
}

func failed(model, version, digest string) history.Record {
	r := measured(model, version, digest)
	r.Measurement = nil
	r.Failure = &history.Failure{Error: *engine.Errorf(engine.KindCrashed, "run worker", "", "it died"), Log: []string{"the end of the log"}}
	return r
}

func open(t *testing.T, path string) *history.Store {
	t.Helper()
	s, err := history.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func all(t *testing.T, s *history.Store, f history.Filter) []history.Record {
	t.Helper()
	var out []history.Record
	for r, err := range s.Records(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func TestARecordComesBackAsItWent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "history.db")
	s := open(t, path)
	want := []history.Record{measured("a", "1", "d1"), failed("b", "1", "d2")}
	for i := range want {
		got, err := s.Append(t.Context(), want[i])
		if err != nil {
			t.Fatal(err)
		}
		want[i].ID, want[i].Iteration = int64(i+1), 1
		if got.ID != want[i].ID || got.Iteration != 1 {
			t.Errorf("appended as %d, iteration %d", got.ID, got.Iteration)
		}
	}
	other := open(t, path) // what is durable, not what is remembered
	if got := all(t, other, history.Filter{Layers: true}); !reflect.DeepEqual(got, want) {
		t.Errorf("read\n%+v\nwant\n%+v", got, want)
	}
	if got := all(t, other, history.Filter{Model: "b"}); len(got) != 1 || got[0].Model != "b" {
		t.Errorf("model b: %+v", got)
	}
	if got := all(t, other, history.Filter{AfterID: 1}); len(got) != 1 || got[0].ID != 2 {
		t.Errorf("after 1: %+v", got)
	}
	if got := all(t, other, history.Filter{}); got[0].Measurement.Layers.Layers != nil || got[0].Measurement.Layers.Total != 1 {
		t.Error("layers are read although nobody asked, or their summary is lost")
	}
}

// What was decided about a result is decided in this history, not brought along.
func TestARecordComesWithoutDecisionsAboutIt(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	r := measured("a", "1", "d1")
	r.Excluded, r.SupersededBy = &history.Exclusion{Because: "elsewhere", By: "ann"}, 7
	got := appended(t, s, r)
	kept := all(t, s, history.Filter{})
	if got.Excluded != nil || got.SupersededBy != 0 || kept[0].Excluded != nil || kept[0].SupersededBy != 0 {
		t.Errorf("appended %+v, kept %+v", got, kept[0])
	}
}

func TestIterationsCountCandidates(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	type step struct {
		version, digest string
		precision       engine.Precision
		fingerprint     string
		want            int
	}
	for i, c := range []step{
		{"1", "d1", engine.FP32, "f1", 1},
		{"1", "d1", engine.INT8, "f1", 1}, // another precision of the same candidate
		{"3", "d3", engine.FP32, "f1", 2}, // the next one
		{"2", "d2", engine.FP32, "f1", 0}, // out of order: an older version after a newer one
		{"2", "d2", engine.INT8, "f1", 0},
		{"3", "d3b", engine.FP32, "f1", 3}, // replaced: the same version, other content
		{"4", "d1", engine.FP16, "f1", 1},  // renamed: known content under a new version
		{"10", "d10", engine.FP32, "f1", 4},
		{"9", "d9", engine.FP32, "f1", 0}, // 9 is older than 10, whatever the alphabet says
		{"3", "d3", engine.FP32, "f2", 1}, // another environment counts afresh
		{"11", "d11", engine.FP32, "f2", 2},
	} {
		r := failed("m", c.version, c.digest)
		r.Precision, r.Fingerprint = c.precision, c.fingerprint
		got, err := s.Append(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if got.Iteration != c.want {
			t.Errorf("step %d, %+v: iteration %d", i, c, got.Iteration)
		}
	}
}

// The newest candidate may leave iterations for older ones that are measured later.
func TestIterationsCanBeLeftFree(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	for i, c := range []struct {
		version   string
		precision engine.Precision
		free      int
		want      int
	}{
		{"7", engine.FP32, 3, 4},
		{"7", engine.INT8, 3, 4},
		{"4", engine.FP32, 0, 1},
		{"4", engine.INT8, 0, 1},
		{"8", engine.FP32, 0, 5},
		{"6", engine.FP32, 0, 2},
		{"5", engine.FP32, 0, 0}, // between neighbors with none between them
		{"3", engine.FP32, 0, 0},
		{"6", engine.INT8, 0, 2},
		{"11", engine.FP32, 2, 8},
		{"9", engine.FP32, 0, 6},
		{"10", engine.FP32, 0, 7},
	} {
		r := failed("m", c.version, "d"+c.version)
		r.Precision = c.precision
		got, err := s.AppendAhead(t.Context(), r, c.free)
		if err != nil {
			t.Fatal(err)
		}
		if got.Iteration != c.want {
			t.Errorf("step %d, %+v: iteration %d", i, c, got.Iteration)
		}
	}
}

func TestNothingIsMeasuredTwice(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	if _, err := s.Append(t.Context(), failed("m", "1", "d")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), measured("m", "1", "d")); err != nil {
		t.Fatalf("a failure may be followed by a success: %v", err)
	}
	if _, err := s.Append(t.Context(), measured("m", "2", "d")); !errors.Is(err, history.ErrDuplicate) {
		t.Errorf("the same content again: %v", err)
	}
	if _, err := s.Append(t.Context(), history.Record{Model: "m"}); err == nil {
		t.Error("a record with neither measurement nor failure is taken")
	}
	if got := len(all(t, s, history.Filter{})); got != 2 {
		t.Errorf("%d records; want 2", got)
	}
}

func TestTwoStoresMayAppendAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.db")
	a, b := open(t, path), open(t, path)
	var wg sync.WaitGroup
	const each = 20
	for i, s := range []*history.Store{a, b} {
		wg.Go(func() {
			for j := range each {
				if _, err := s.Append(context.Background(), measured(fmt.Sprint("m", i), "1", fmt.Sprint(j))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	ro, err := history.OpenReadOnly(path)
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	_ = all(t, ro, history.Filter{}) // reading does not block writing
	wg.Wait()
	if got := len(all(t, a, history.Filter{})); got != 2*each {
		t.Errorf("%d records; want %d", got, 2*each)
	}
}

// snapshot is the content of every file of a folder.
func snapshot(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	out := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		out[p] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFilesThatCannotBeUsedAreRefusedAndNotTouched(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "h.db")
	s, err := history.Open(whole)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		if _, err := s.Append(t.Context(), measured("m", fmt.Sprint(i+1), fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(t.TempDir(), "other.db")
	db, err := sql.Open("sqlite", foreign)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE t (x)"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	other, err := os.ReadFile(foreign)
	if err != nil {
		t.Fatal(err)
	}
	newer := append([]byte(nil), good...)
	newer[63] = 99 // user_version, big endian at 60
	scrambled := append([]byte(nil), good...)
	for i := 4096; i < len(scrambled)-4096; i++ {
		scrambled[i] ^= 0x5a
	}
	for _, c := range []struct {
		name    string
		content []byte
		want    error
		says    string
	}{
		{"a newer schema", newer, history.ErrNewer, "update plancast"},
		{"text", []byte(strings.Repeat("hello ", 40)), history.ErrNotHistory, "name another file"},
		{"another program's database", other, history.ErrNotHistory, "another program's"},
		{"torn within the header", good[:50], history.ErrDamaged, "restore a backup"},
		{"truncated", good[:len(good)/2], history.ErrDamaged, "restore a backup"},
		{"scrambled", scrambled, history.ErrDamaged, "restore a backup"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "h.db")
			if err := os.WriteFile(path, c.content, 0o644); err != nil {
				t.Fatal(err)
			}
			before := snapshot(t, dir)
			for name, try := range map[string]func(string) (*history.Store, error){"Open": history.Open, "OpenReadOnly": history.OpenReadOnly} {
				s, err := try(path)
				if err == nil {
					s.Close()
				}
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
					t.Errorf("%s: %v; want %v that names the file and says %q", name, err, c.want, c.says)
				}
			}
			if after := snapshot(t, dir); !reflect.DeepEqual(before, after) {
				t.Errorf("the folder changed: %d files before, %d after", len(before), len(after))
			}
		})
	}
}

func TestReadingNeedsAHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.db")
	if _, err := history.OpenReadOnly(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Error("reading made the file")
	}
}

func TestAnEmptyFileBecomesAHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if _, err := s.Append(t.Context(), measured("m", "1", "d")); err != nil {
		t.Error(err)
	}
}

func TestAPathWithOddCharactersIsOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b%20?mode=memory&x#y.db")
	s := open(t, path)
	if _, err := s.Append(t.Context(), measured("m", "1", "d")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestFactsOfFilesAreRememberedAndForgotten(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	facts := map[string]string{"m/1/model.onnx": `{"digest":"d"}`}
	if err := s.Remember(t.Context(), facts, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Files(t.Context()); err != nil || !maps.Equal(got, facts) {
		t.Errorf("%+v, %v", got, err)
	}
	if err := s.Remember(t.Context(), nil, []string{"m/1/model.onnx"}); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Files(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}
