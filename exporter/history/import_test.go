package history_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/history"
)

func TestATableFromElsewhereIsImported(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	own := appended(t, s, measured("net", "1", "d"))
	records, skipped, err := history.ReadCSV(strings.NewReader("\ufeffDate,P99,throughput_per_second,result\n"+
		"2026-02-01,8 ms,120,success\n2026-01-01,12ms,,\n2026-01-15,,,crashed\n"), history.ImportOptions{Model: "net", Environment: "old rig", Source: "sheet.csv"})
	if err != nil || len(records) != 2 || skipped != 1 {
		t.Fatalf("%+v, %d, %v", records, skipped, err)
	}
	if n, err := s.Import(t.Context(), records, author); err != nil || n != 2 {
		t.Fatalf("%d, %v", n, err)
	}
	got := all(t, s, history.Filter{AfterID: own.ID})
	if len(got) != 2 || got[0].Finished.Month() != time.January || got[0].Source != "sheet.csv" || got[0].Environment.Device != "old rig" || got[0].Device != "old rig" || got[0].Backend != "imported" || got[0].Fingerprint == own.Fingerprint {
		t.Fatalf("%+v", got)
	}
	e := history.EntryOf(got[0])
	if v, ok := e.Value("p99"); !ok || v != 0.012 {
		t.Errorf("p99 %v, %v", v, ok)
	}
	for _, q := range []string{"throughput", "mean", "size", "accuracy_deviation", "build_duration", "memory"} {
		if v, ok := e.Value(q); ok {
			t.Errorf("%s was not measured, and is %v", q, v)
		}
	}
	// The same again is refused as a whole.
	if n, err := s.Import(t.Context(), records, author); !errors.Is(err, history.ErrDuplicate) || n != 0 || !strings.Contains(err.Error(), "nothing is imported") {
		t.Errorf("again: %d, %v", n, err)
	}
	if trail, err := s.Audit(t.Context(), 0); err != nil || len(trail) != 1 || trail[0].Action != history.ActionImport {
		t.Errorf("trail %+v, %v", trail, err)
	}
}

func TestWhatIsImportedIsNoNewsAndLosesNone(t *testing.T) {
	for _, c := range []struct {
		name           string
		observed, want int64
	}{{"all is known", 1, 3}, {"a record is still to be reported", 0, 0}} {
		s := open(t, filepath.Join(t.TempDir(), "h.db"))
		appended(t, s, measured("net", "1", "d"))
		observed := func(set int64) (id int64) {
			if err := s.UpdateOutbox(t.Context(), func(tx *history.OutboxTx) error {
				if err := tx.SetObserved(set); err != nil {
					return err
				}
				var err error
				id, err = tx.Observed()
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return id
		}
		observed(c.observed)
		a, b := measured("a", "1", "a"), measured("b", "1", "b")
		if _, err := s.Import(t.Context(), []history.Record{a, b}, author); err != nil {
			t.Fatal(err)
		}
		if got := observed(0); got != c.want {
			t.Errorf("%s: looked at up to %d; want %d", c.name, got, c.want)
		}
	}
}

func TestAnExportIsImportedElsewhere(t *testing.T) {
	from := open(t, book(t, 2))
	to := open(t, filepath.Join(t.TempDir(), "h.db"))
	var b bytes.Buffer
	if err := history.WriteJSONLines(&b, from.Records(t.Context(), history.Filter{})); err != nil {
		t.Fatal(err)
	}
	records, skipped, err := history.ReadJSONLines(&b, history.ImportOptions{Source: "other.jsonl"})
	if err != nil || skipped != 2 { // one is excluded, one superseded
		t.Fatalf("%d left out, %v", skipped, err)
	}
	if n, err := to.Import(t.Context(), records, author); err != nil || n != 35 {
		t.Fatalf("%d, %v", n, err)
	}
	for _, r := range all(t, to, history.Filter{}) {
		if r.Source != "other.jsonl" || r.Fingerprint != "f1" || r.Excluded != nil {
			t.Errorf("record %+v", r)
		}
	}
}

func TestATableThatCannotBeReadSaysWhy(t *testing.T) {
	for _, c := range []struct{ table, says string }{
		{"", "read the head"},
		{"model,p99\nm,1ms\n", `no column "finished"`},
		{"date,color\n2026-01-01,red\n", "names no quantity"},
		{"date,p99\nyesterday,1ms\n", `line 2: "yesterday" is not a time`},
		{"date,p99\n2026-01-01,12\n", `line 2: p99: "12" is not a time such as "50ms"`},
		{"date,p99_seconds\n2026-01-01,NaN\n", `line 2: p99_seconds: "NaN" is not a number`},
		{"date,p99,model\n2026-01-01,1ms,m\n2026-01-02\n", "wrong number of fields"},
		{"date,p99\n2026-01-01,\n", "line 2: no quantity has a value"},
		{"date,p99\n2026-01-01,1ms\n", "line 2: no model is named"},
		{"date,p99,model,precision\n2026-01-01,1ms,m,int3\n", "line 2"},
		{"date,top1,model\n2026-01-01,90%,m\n", "give both or neither"},
	} {
		if _, _, err := history.ReadCSV(strings.NewReader(c.table), history.ImportOptions{}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v; want %q", c.table, err, c.says)
		}
	}
}

func FuzzReadCSV(f *testing.F) {
	f.Add("date,p99,model\n2026-01-01,1ms,m\n")
	f.Add("finished,p99_seconds,version,precision\n2026-01-01T00:00:00Z,1e9,1,int8\n")
	f.Fuzz(func(t *testing.T, table string) {
		records, _, err := history.ReadCSV(strings.NewReader(table), history.ImportOptions{Model: "m"})
		if err != nil {
			return
		}
		for _, r := range records {
			if r.Model == "" || r.Version == "" || r.Finished.IsZero() || !r.OK() {
				t.Errorf("%q gives %+v", table, r)
			}
		}
	})
}
