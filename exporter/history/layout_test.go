package history

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
)

// outdated makes a history as a plancast left it that knew the first quantities only, with
// that many records; record 2 is excluded.
func outdated(t *testing.T, quantities, records int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "h.db")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		r := rec(0, fmt.Sprint("m", i%7), fmt.Sprint(i/7+1), engine.FP32, "e", 0, 0.25)
		r.Measurement.Throughput = float64(i + 1)
		if _, err := s.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Exclude(t.Context(), Filter{ID: 2}, Author{Who: "ann", Because: "noise", At: t0}); err != nil {
		t.Fatal(err)
	}
	err = s.write(t.Context(), func(tx *sql.Tx) error {
		for id := range int64(records) {
			if err := editEntry(t.Context(), tx, id+1, func(e *entryRow) { e.quantities = e.quantities[:8*quantities] }); err != nil {
				return err
			}
		}
		names := strings.Split(strings.TrimSuffix(quantityNames(), figuresFollow), ",")[:quantities]
		return setProperty(t.Context(), tx, propertyQuantities, strings.Join(names, ","))
	})
	if err == nil { // its schema had no packs either
		_, err = s.db.ExecContext(t.Context(), "DROP TABLE packs; DROP TRIGGER unpack_new; DROP TRIGGER unpack_changed; DROP TRIGGER unpack_removed; PRAGMA user_version=4")
	}
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// knows counts the entries that have a P99 and those that have a throughput.
func knows(t *testing.T, s *Store) (p99 int, throughput []int64) {
	t.Helper()
	for e, err := range s.Entries(t.Context(), Filter{Whole: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if v, ok := e.Value("p99"); ok && v == 0.25 {
			p99++
		}
		if v, ok := e.Value("throughput"); ok && v == float64(e.ID) {
			throughput = append(throughput, e.ID)
		}
		if e.Excluded != (e.ID == 2) {
			t.Errorf("entry %d is excluded: %t", e.ID, e.Excluded)
		}
	}
	return p99, throughput
}

const untilP99 = 5 // quantities: the throughput is none of them

func TestAfterAnUpgradeAHistoryIsReadAtOnceAndDerivedInSteps(t *testing.T) {
	const records = 2*batch + 10
	s, err := OpenWith(outdated(t, untilP99, records), Options{Later: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if p99, throughput := knows(t, s); p99 != records || len(throughput) != 0 {
		t.Errorf("%d entries have a P99 and %d a throughput, want %d and none yet", p99, len(throughput), records)
	}
	if v, err := Verify(t.Context(), s.Path()); err != nil || !v.OK() {
		t.Errorf("before it is derived: %+v, %v", v, err)
	}
	r := rec(0, "m0", "999", engine.FP32, "e", 0, 0.25)
	r.Measurement.Throughput = records + 1
	if _, err := s.Append(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{batch, batch, 10, 0} {
		got, err := s.Tidy(t.Context())
		if err != nil || got.Derived != want {
			t.Fatalf("a step derived %+v, %v; want %d", got, err, want)
		}
		_, throughput := knows(t, s)
		if !slices.Contains(throughput, records+1) || want > 0 && throughput[0] > records+1-int64(want) || len(throughput) > 0 && int64(len(throughput)) != records+2-throughput[0] {
			t.Errorf("derived are %d entries from %d on, want the newest first", len(throughput), throughput[0])
		}
	}
	if p99, throughput := knows(t, s); p99 != records+1 || len(throughput) != records+1 {
		t.Errorf("in the end %d have a P99 and %d a throughput, want all", p99, len(throughput))
	}
	if v, err := Verify(t.Context(), s.Path()); err != nil || !v.OK() {
		t.Errorf("%+v, %v", v, err)
	}
}

// What was derived is not derived again, not even looked at.
func TestAnUpgradeThatIsThroughIsNotBegunAgain(t *testing.T) {
	path := outdated(t, untilP99, 20)
	for _, want := range []int64{0, 20} {
		s, err := OpenWith(path, Options{Later: true})
		if err != nil {
			t.Fatal(err)
		}
		for done := false; !done; {
			step, err := s.Tidy(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			done = step.Done
		}
		if s.lacks.floor != want {
			t.Errorf("it looked for entries above %d, want %d", s.lacks.floor, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever judges at once, as plancast run does, derives at once.
func TestAnUpgradeIsWholeUnlessItIsLeftForLater(t *testing.T) {
	var progress [][2]int64
	s, err := OpenWith(outdated(t, untilP99, 20), Options{Progress: func(done, total int64) { progress = append(progress, [2]int64{done, total}) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, throughput := knows(t, s); len(throughput) != 20 || !slices.Equal(progress, [][2]int64{{20, 20}}) {
		t.Errorf("%d entries have a throughput, progress %v", len(throughput), progress)
	}
}

func TestADamagedRecordHoldsUpNoUpgrade(t *testing.T) {
	path := outdated(t, untilP99, 20)
	s, err := OpenWith(path, Options{Later: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, query := range []string{"UPDATE records SET body='{}' WHERE id=5", "UPDATE entries SET iteration=77 WHERE id=9", "DELETE FROM records WHERE id=12"} {
		if _, err := s.db.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	if step, err := s.Tidy(t.Context()); err != nil || step.Derived != 20 {
		t.Fatalf("%+v, %v", step, err)
	}
	var without, damaged []int64
	for e, err := range s.Entries(t.Context(), Filter{}) {
		if _, ok := e.Value("throughput"); err != nil {
			damaged = append(damaged, e.ID)
		} else if !ok {
			without = append(without, e.ID)
		}
	}
	if !slices.Equal(damaged, []int64{9}) || !slices.Equal(without, []int64{5, 12}) {
		t.Errorf("damaged %d, without a throughput %d", damaged, without)
	}
}
