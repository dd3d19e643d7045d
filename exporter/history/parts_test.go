package history

import (
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

func TestALongHistoryReadInPartsIsTheOneReadAtOnce(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "h.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 60 {
		r := rec(0, fmt.Sprint("model-", i%3), fmt.Sprint(1+i/3), engine.FP32, "env", 0, float64(i%7))
		r.Finished = t0.Add(time.Duration(i) * time.Hour)
		if _, err := s.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.db.ExecContext(t.Context(), "UPDATE entries SET iteration = iteration + 1 WHERE id IN (30, 41)"); err != nil { // damage
		t.Fatal(err)
	}
	layouts, err := readLayouts(t.Context(), s.db)
	if err != nil {
		t.Fatal(err)
	}
	f := Filter{Since: t0.Add(9 * time.Hour)}
	list := func(rows iter.Seq2[*entryRow, error]) (out []string) {
		for e, err := range rows {
			out = append(out, fmt.Sprint(e.Entry, err))
		}
		return out
	}
	want := list(newEntryReader(layouts).read(t.Context(), s.db, f))
	if len(want) != 51 {
		t.Fatalf("%d rows", len(want))
	}
	for _, size := range []int64{1, 7, 50, 51, 1000} {
		s.packSize = size
		if got := list(s.inParts(t.Context(), layouts, f)); !slices.Equal(got, want) {
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Errorf("in parts of %d row %d is\n%s\nwant\n%s", size, i, got[i], want[i])
				}
			}
			t.Errorf("in parts of %d: %d rows, want %d", size, len(got), len(want))
		}
	}
	n := 0
	s.packSize = 7
	for range s.inParts(t.Context(), layouts, f) {
		if n++; n == 10 {
			break // and the readers that are ahead end
		}
	}
	if got := list(s.inParts(t.Context(), layouts, Filter{Since: t0.AddDate(1, 0, 0)})); len(got) > 0 {
		t.Errorf("where nothing is recent: %q", got)
	}
}
