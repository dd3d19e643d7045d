package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

// version1 makes a history as the first plancast left it, with n records.
func version1(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history.db")
	db, err := sql.Open("sqlite", dsn(path, "rwc", "WAL")+"&_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(fmt.Sprintf("BEGIN; %s PRAGMA application_id=%d; PRAGMA user_version=1; COMMIT;", migrations[0], applicationID)); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		if _, err := db.Exec(`INSERT INTO records (model, version, digest, precision, fingerprint, iteration, backend, device, candidate_time, started, finished, outcome, body)
			VALUES ('m', ?, ?, 'fp32', 'f', ?, 'b', 'd', 0, 0, 0, 'crashed', '{"failure":{"kind":"crashed","op":"x","message":"y"}}')`, fmt.Sprint(i+1), fmt.Sprint(i), i+1); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// schemaOf reads version and tables straight from the file.
func schemaOf(t *testing.T, path string) (version int, tables string) {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path, "ro", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRow("SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_master WHERE type='table' AND name NOT LIKE 'sqlite_%' ORDER BY name)").Scan(&tables); err != nil {
		t.Fatal(err)
	}
	return version, tables
}

func observed(t *testing.T, s *Store) (id int64) {
	t.Helper()
	if err := s.UpdateOutbox(t.Context(), func(tx *OutboxTx) (err error) { id, err = tx.Observed(); return err }); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAnOlderHistoryIsUpgraded(t *testing.T) {
	path := version1(t, 3)
	// Reading alone changes nothing.
	ro, err := OpenReadOnly(path)
	if err != nil {
		t.Fatal(err)
	}
	ro.Close()
	if v, _ := schemaOf(t, path); v != 1 {
		t.Fatalf("reading upgraded to %d", v)
	}
	var wg sync.WaitGroup
	for range 3 { // who comes first upgrades, and the others find it done
		wg.Go(func() {
			s, err := Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			s.Close()
		})
	}
	wg.Wait()
	if v, tables := schemaOf(t, path); v != schemaVersion || tables != "audit changes entries files gaps outbox outbox_notes packs properties records totals" {
		t.Errorf("version %d with %s", v, tables)
	}
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n := 0
	for r, err := range s.Records(t.Context(), Filter{}) {
		if err != nil || r.Failure == nil {
			t.Fatalf("%+v, %v", r, err)
		}
		n++
	}
	if n != 3 || observed(t, s) != 3 {
		t.Errorf("%d records, observed up to %d; want 3 and no old news", n, observed(t, s))
	}
	// The version stands in the header, where an older plancast looks.
	header := make([]byte, 64)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read(header); err != nil || header[63] != schemaVersion {
		t.Errorf("header says version %d, %v", header[63], err)
	}
}

func TestAFreshHistoryIsAnUpgradedOne(t *testing.T) {
	fresh := filepath.Join(t.TempDir(), "h.db")
	s, err := Open(fresh)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	old := version1(t, 0)
	u, err := Open(old)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	dump := func(path string) (out string) {
		db, err := sql.Open("sqlite", dsn(path, "ro", ""))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.QueryRow("SELECT group_concat(sql, char(10)) FROM (SELECT sql FROM sqlite_master ORDER BY type, name)").Scan(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if a, b := dump(fresh), dump(old); a != b {
		t.Errorf("fresh:\n%s\nupgraded:\n%s", a, b)
	}
	if observed(t, s) != 0 || observed(t, u) != 0 {
		t.Error("an empty history has observed records")
	}
}

func TestAFailedUpgradeLeavesTheFileAsItWas(t *testing.T) {
	path := version1(t, 2)
	db, err := sql.Open("sqlite", dsn(path, "rw", "WAL"))
	if err != nil {
		t.Fatal(err)
	}
	// The last statement of the upgrade will fail on this.
	if _, err := db.Exec("CREATE TABLE outbox_notes (x)"); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := Open(path); err == nil || !strings.Contains(err.Error(), "from version 1 to 2") || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	if v, tables := schemaOf(t, path); v != 1 || tables != "files outbox_notes records" {
		t.Errorf("half upgraded: version %d with %s", v, tables)
	}
}

func TestAVersionInTheLogAloneIsRead(t *testing.T) {
	path := version1(t, 1)
	db, err := sql.Open("sqlite", dsn(path, "rw", "WAL"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() // until then the change stays in the write-ahead log
	if _, err := db.ExecContext(context.Background(), "PRAGMA user_version=99"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrNewer) {
		t.Errorf("error %v; want ErrNewer", err)
	}
}

// An upgraded history holds what one holds that was written by this plancast.
func TestAnUpgradedHistoryHasTheEntriesOfAFreshOne(t *testing.T) {
	fresh := filepath.Join(t.TempDir(), "h.db")
	s, err := Open(fresh)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 600 { // more than are read at once
		r := rec(0, fmt.Sprint("m", i%7), fmt.Sprint(i+1), engine.FP32, "e", 0, float64(i%5)/4)
		r.Digest = fmt.Sprint(i)
		if _, err := s.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	old := version1(t, 0)
	db, err := sql.Open("sqlite", dsn(old, "rw", "WAL"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("ATTACH ? AS fresh", fresh); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO records SELECT * FROM fresh.records; UPDATE records SET body='broken' WHERE id=5; DELETE FROM records WHERE id=9"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var observed [][2]int64
	u, err := OpenWith(old, Options{Progress: func(done, total int64) { observed = append(observed, [2]int64{done, total}) }})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if len(observed) < 2 || observed[len(observed)-1] != [2]int64{599, 599} {
		t.Errorf("progress %v", observed)
	}
	read := func(s *Store) (out []string, bad []int64) {
		for e, err := range Skip(s.Entries(t.Context(), Filter{Whole: true}), func(err error) {
			var one *RecordError
			if errors.As(err, &one) {
				bad = append(bad, one.ID)
			}
		}) {
			if err != nil {
				t.Fatal(err)
			}
			if e.ID != 5 && e.ID != 9 {
				out = append(out, fmt.Sprintf("%+v", e))
			}
		}
		return out, bad
	}
	want, _ := read(s)
	got, bad := read(u)
	if !slices.Equal(got, want) || !slices.Equal(bad, []int64{5}) {
		t.Errorf("%d entries, damaged %v; want the %d of a fresh history, and the record that was broken before named", len(got), bad, len(want))
	}
}

// A plancast that knows other quantities derives them again, and keeps what was decided.
func TestEntriesFollowTheQuantitiesOfThisPlancast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), rec(0, "m", "1", engine.FP32, "e", 0, 0.25)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Exclude(t.Context(), Filter{ID: 1}, Author{Who: "ann", Because: "noise", At: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := s.write(t.Context(), func(tx *sql.Tx) error { // as another plancast left it
		if err := editEntry(t.Context(), tx, 1, func(e *entryRow) { e.quantities = e.quantities[:8] }); err != nil {
			return err
		}
		_, err := tx.Exec("UPDATE properties SET value='beauty' WHERE name=?", propertyQuantities)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for e, err := range s.Entries(t.Context(), Filter{}) {
		if v, ok := e.Value("p99"); err != nil || !ok || v != 0.25 || !e.Excluded {
			t.Errorf("entry %+v, %v", e, err)
		}
	}
}

func TestAnOlderHistoryIsReadWithoutBeingUpgraded(t *testing.T) {
	s, err := OpenReadOnly(version1(t, 9))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []int64
	for e, err := range s.Entries(t.Context(), Filter{Model: "m", BeforeID: 9, Limit: 2}) {
		if err != nil || e.OK() {
			t.Fatalf("%+v, %v", e, err)
		}
		got = append(got, e.ID)
	}
	if !slices.Equal(got, []int64{7, 8}) {
		t.Errorf("entries %v", got)
	}
	if r, err := s.Record(t.Context(), 4); err != nil || r.Version != "4" {
		t.Errorf("%+v, %v", r, err)
	}
}
