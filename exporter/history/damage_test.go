package history_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/bench/torture/dose"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

var author = history.Author{Who: "ann", Because: "a noisy neighbor", At: noon}

// book makes a history with measurements, failures, an exclusion and a result
// that was measured again, closes it and returns its path.
func book(t *testing.T, models int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "h.db")
	s, err := history.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for m := range models {
		for v := range 6 {
			for i, p := range engine.Precisions {
				r := measured(fmt.Sprint("model-", m), fmt.Sprint(v+1), fmt.Sprintf("%064d", 10*m+v))
				if p == engine.FP16 {
					r = failed(r.Model, r.Version, r.Digest)
				}
				r.Precision = p
				if r.OK() {
					r.Measurement.Throughput = float64(1000*m+100*v+i) + 0.5
				}
				if _, err := s.Append(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if _, err := s.Exclude(t.Context(), history.Filter{ID: 3}, author); err != nil {
		t.Fatal(err)
	}
	again := measured("model-0", "1", fmt.Sprintf("%064d", 0))
	again.Measurement.Throughput = 77
	if _, err := s.Supersede(t.Context(), again, author); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// export is every record as a line of JSON, by ID, and the IDs that are damaged.
func export(s *history.Store, t *testing.T) (lines map[int64]string, damaged []int64, err error) {
	lines = map[int64]string{}
	for r, err := range s.Records(t.Context(), history.Filter{Whole: true, Layers: true}) {
		var one *history.RecordError
		if errors.As(err, &one) {
			damaged = append(damaged, one.ID)
			continue
		}
		if err != nil {
			return lines, damaged, err
		}
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		lines[r.ID] = string(text)
	}
	return lines, damaged, nil
}

// Every flipped bit is noticed or does no harm: no export differs without an
// error, and a damaged record hides no other.
func TestNoFlippedBitChangesAnExportUnnoticed(t *testing.T) {
	path := book(t, 3)
	s := open(t, path)
	want, _, err := export(s, t)
	if err != nil || len(want) != 55 {
		t.Fatalf("%d records, %v", len(want), err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flips := dose.Of(t, "flips", 300)
	if testing.Short() {
		flips = 60
	}
	random := rand.New(rand.NewPCG(1, 2))
	refused, named, harmless := 0, 0, 0
	for i := range flips {
		at, bit := random.IntN(len(good)), random.IntN(8)
		if i == 0 { // few bytes keep a file from being opened, and a short run meets none by chance
			at = 0
		}
		bad := bytes.Clone(good)
		bad[at] ^= 1 << bit
		path := filepath.Join(t.TempDir(), "h.db")
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := history.OpenReadOnly(path)
		if err != nil {
			refused++
			continue
		}
		got, damaged, err := export(s, t)
		for id, line := range got {
			if line != want[id] {
				t.Errorf("byte %d bit %d changed record %d unnoticed:\n%s\nwas\n%s", at, bit, id, line, want[id])
			}
		}
		switch {
		case err != nil:
			refused++
		case len(damaged) > 0:
			named++
			if len(got)+len(damaged) < len(want) {
				t.Errorf("byte %d bit %d: damaged %v, and of %d records only %d are left", at, bit, damaged, len(want), len(got))
			}
		case len(got) != len(want):
			t.Errorf("byte %d bit %d: %d of %d records without an error", at, bit, len(got), len(want))
		default:
			harmless++
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	dose.Done(t, "flips", flips, "%d files refused, %d files named the damaged record and gave all others, %d flips harmless; no record changed unnoticed", refused, named, harmless)
	if named == 0 || harmless == 0 || refused == 0 {
		t.Error("the flips were all of one kind: they prove nothing")
	}
}

// flipIn flips a bit of the last byte of text, wherever it stands in the file:
// pages keep old copies.
func flipIn(t *testing.T, path, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(text)
	flipped[len(text)-1] ^= 1
	if !bytes.Contains(b, []byte(text)) {
		t.Fatalf("%q is not in the file", text)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(b, []byte(text), flipped), 0o644); err != nil {
		t.Fatal(err)
	}
}

// inOne stands in one record of a book only.
const inOne = `"throughput_per_s":202.5`

func TestADamagedRecordIsNamedAndHidesNoOther(t *testing.T) {
	for _, c := range []struct{ name, text string }{
		{"its JSON is broken", inOne + ","},
		{"its JSON is whole and says something else", inOne},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := book(t, 1)
			flipIn(t, path, c.text)
			s, err := history.Open(path)
			if err != nil {
				t.Fatalf("one record keeps the file from being opened: %v", err)
			}
			defer s.Close()
			lines, damaged, err := export(s, t)
			if err != nil || len(damaged) != 1 || len(lines) != 18 {
				t.Fatalf("%d records, damaged %v, %v; want one damaged and 18 others", len(lines), damaged, err)
			}
			_, err = s.Record(t.Context(), damaged[0])
			var one *history.RecordError
			if !errors.Is(err, history.ErrDamaged) || !errors.As(err, &one) || one.ID != damaged[0] || !strings.Contains(err.Error(), "plancast history salvage") {
				t.Errorf("error %v; want one that names the record and what to do", err)
			}
			// Records can still be added.
			if _, err := s.Append(t.Context(), measured("other", "1", "d")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestVerifyFindsWhatIsDamaged(t *testing.T) {
	path := book(t, 1)
	if v, err := history.Verify(t.Context(), path); err != nil || !v.OK() || v.Records != 19 {
		t.Fatalf("a good file: %+v, %v", v, err)
	}
	before := snapshot(t, filepath.Dir(path))
	flipIn(t, path, inOne)
	v, err := history.Verify(t.Context(), path)
	if err != nil || len(v.Damaged) != 1 || v.Records != 18 || len(v.Other) != 0 {
		t.Errorf("%+v, %v", v, err)
	}
	flipIn(t, path, author.Because)
	if v, err := history.Verify(t.Context(), path); err != nil || len(v.Other) == 0 || !strings.Contains(v.Other[0].Error(), "audit trail") {
		t.Errorf("a damaged reason: %+v, %v", v, err)
	}
	if after := snapshot(t, filepath.Dir(path)); len(after) != len(before) {
		t.Error("verifying left files behind")
	}
}

func TestSalvageKeepsEveryRecordThatCanBeProven(t *testing.T) {
	path := book(t, 2)
	s := open(t, path)
	want, _, err := export(s, t)
	if err != nil {
		t.Fatal(err)
	}
	flipIn(t, path, inOne)
	to := filepath.Join(t.TempDir(), "saved.db")
	got, err := history.Salvage(t.Context(), path, to, author)
	if err != nil || len(got.Lost) != 1 || got.Kept != len(want)-1 || len(got.Unproven) != 0 || len(got.Other) != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	saved := open(t, to)
	lines, damaged, err := export(saved, t)
	if err != nil || len(damaged) != 0 {
		t.Fatalf("the new file: damaged %v, %v", damaged, err)
	}
	delete(want, got.Lost[0])
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("%d records; want the %d others as they were", len(lines), len(want))
	}
	if v, err := history.Verify(t.Context(), to); err != nil || !v.OK() {
		t.Errorf("%+v, %v", v, err)
	}
	trail, err := saved.Audit(t.Context(), 0)
	if err != nil || len(trail) != 3 || trail[2].Action != history.ActionSalvage {
		t.Errorf("audit trail %+v, %v", trail, err)
	}
	// No ID is given twice.
	if r, err := saved.Append(t.Context(), measured("new", "1", "d")); err != nil || r.ID != int64(len(want)+2) {
		t.Errorf("appended as %d, %v", r.ID, err)
	}
	if _, err := history.Salvage(t.Context(), path, to, author); err == nil || !strings.Contains(err.Error(), "name a new file") {
		t.Errorf("a file that is there is overwritten: %v", err)
	}
}

// A full disk, a folder without the right to write: the history is as good as before, and
// must not be moved away.
func TestAFileThatCannotBeReadNowIsNotDamaged(t *testing.T) {
	path := book(t, 20)
	for _, dir := range []string{path + "-wal", path + "-shm"} { // SQLite can make neither
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s, err := history.Open(path)
	if err == nil {
		s.Close()
	}
	if err == nil || errors.Is(err, history.ErrDamaged) || !strings.Contains(err.Error(), "the right to write") {
		t.Errorf("error %v", err)
	}
}

func TestSalvageReadsAFileThatCannotBeOpened(t *testing.T) {
	path := book(t, 20)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b[:len(b)/2/4096*4096], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := history.OpenReadOnly(path); !errors.Is(err, history.ErrDamaged) || !strings.Contains(err.Error(), "salvage") {
		t.Fatalf("error %v", err)
	}
	if v, err := history.Verify(t.Context(), path); err != nil || v.OK() {
		t.Errorf("verification of half a file: %+v, %v", v, err)
	}
	to := filepath.Join(t.TempDir(), "saved.db")
	got, err := history.Salvage(t.Context(), path, to, author)
	if err != nil || got.Kept == 0 || len(got.Lost) == 0 {
		t.Fatalf("%+v, %v", got, err)
	}
	if v, err := history.Verify(t.Context(), to); err != nil || !v.OK() || v.Records != got.Kept {
		t.Errorf("%+v, %v", v, err)
	}
	t.Logf("half of the file gave %d records, %d of them unproven", got.Kept, len(got.Unproven))
}

// Every record of a long history comes back, once and as it was written.
func TestALongHistoryComesBackWhole(t *testing.T) {
	n, start := dose.Of(t, "records", 3000), time.Now()
	path := filepath.Join(t.TempDir(), "h.db")
	s := open(t, path)
	throughput := func(i int) float64 { return float64(i) + 0.5 }
	const batch = 10_000
	for first := 0; first < n; first += batch {
		records := func(yield func(history.Record, error) bool) {
			for i := first; i < min(first+batch, n); i++ {
				r := measured(fmt.Sprint("model-", i%300), fmt.Sprint(i/300+1), fmt.Sprintf("%064d", i))
				r.Measurement.Throughput = throughput(i)
				if !yield(r, nil) {
					return
				}
			}
		}
		if _, err := s.AppendAll(t.Context(), records); err != nil {
			t.Fatal(err)
		}
	}
	seen := make([]bool, n)
	for r, err := range s.Records(t.Context(), history.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		i, err := strconv.Atoi(r.Digest)
		if err != nil || i >= n || seen[i] || r.Measurement.Throughput != throughput(i) {
			t.Fatalf("record %d of %s version %s: throughput %v, there before: %t", r.ID, r.Model, r.Version, r.Measurement.Throughput, i < n && seen[i])
		}
		seen[i] = true
	}
	if i := slices.Index(seen, false); i >= 0 {
		t.Errorf("record %d is lost", i)
	}
	if v, err := history.Verify(t.Context(), path); err != nil || !v.OK() || v.Records != n {
		t.Errorf("%+v, %v", v, err)
	}
	dose.Done(t, "records", n, "each came back once, as it was written; none failed its checksum; written, read back and verified within %s", time.Since(start).Round(time.Second))
}
