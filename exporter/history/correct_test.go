package history_test

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

	"github.com/plancast/plancast/exporter/history"
)

func entries(t *testing.T, s *history.Store, f history.Filter) []history.Entry {
	t.Helper()
	var out []history.Entry
	for e, err := range s.Entries(t.Context(), f) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func appended(t *testing.T, s *history.Store, r history.Record) history.Record {
	t.Helper()
	r, err := s.Append(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnExcludedResultStaysAndDoesNotCount(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	appended(t, s, measured("m", "1", "d1"))
	noisy := appended(t, s, measured("m", "2", "d2"))
	if n, err := s.Exclude(t.Context(), history.Filter{ID: noisy.ID}, author); err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	got := entries(t, s, history.Filter{})
	if len(got) != 2 || !got[0].Counts() || got[1].Counts() || !got[1].Excluded {
		t.Errorf("entries %+v", got)
	}
	r, err := s.Record(t.Context(), noisy.ID)
	if err != nil || r.Excluded == nil || r.Excluded.Because != author.Because || r.Excluded.By != "ann" || !r.Excluded.At.Equal(noon) {
		t.Errorf("record %+v, %v", r.Excluded, err)
	}
	// A second time changes nothing, and is no line in the trail.
	if n, err := s.Exclude(t.Context(), history.Filter{ID: noisy.ID}, author); err != nil || n != 0 {
		t.Errorf("again: %d, %v", n, err)
	}
	if n, err := s.Restore(t.Context(), history.Filter{Model: "m"}, author); err != nil || n != 1 {
		t.Errorf("restored %d, %v", n, err)
	}
	if got := entries(t, s, history.Filter{}); !got[1].Counts() {
		t.Errorf("restored: %+v", got[1])
	}
	trail, err := s.Audit(t.Context(), 0)
	if err != nil || len(trail) != 2 || trail[0].Action != history.ActionExclude || trail[1].Action != history.ActionRestore || trail[1].Record != noisy.ID {
		t.Errorf("trail %+v, %v", trail, err)
	}
	if later, err := s.Audit(t.Context(), trail[0].ID); err != nil || len(later) != 1 {
		t.Errorf("what is new: %+v, %v", later, err)
	}
}

func TestWhatIsExcludedMustBeNamed(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	appended(t, s, measured("m", "1", "d1"))
	for _, c := range []struct {
		name string
		f    history.Filter
		by   history.Author
		says string
	}{
		{"everything", history.Filter{}, author, "name an ID"},
		{"another model", history.Filter{Model: "other"}, author, "model other: no such record"},
		{"another version", history.Filter{Model: "m", Version: "7"}, author, "version 7 of model m: no such record"},
		{"another record", history.Filter{ID: 99}, author, "record 99: no such record"},
		{"without a reason", history.Filter{ID: 1}, history.Author{Who: "ann", At: noon}, "no reason"},
		{"by nobody", history.Filter{ID: 1}, history.Author{Because: "x", At: noon}, "no author is given"},
	} {
		if n, err := s.Exclude(t.Context(), c.f, c.by); err == nil || !strings.Contains(err.Error(), c.says) || n != 0 {
			t.Errorf("%s: %d, %v; want %q", c.name, n, err, c.says)
		}
	}
	if trail, err := s.Audit(t.Context(), 0); err != nil || len(trail) != 0 {
		t.Errorf("trail %+v, %v", trail, err)
	}
}

func TestANewerResultOfTheSameJobCounts(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	first := appended(t, s, measured("m", "1", "d"))
	if first, err := s.Append(t.Context(), measured("m", "1", "d")); !errors.Is(err, history.ErrDuplicate) {
		t.Fatalf("%+v, %v", first, err)
	}
	second, err := s.Supersede(t.Context(), measured("m", "1", "d"), author)
	if err != nil || second.Iteration != first.Iteration {
		t.Fatalf("%+v, %v", second, err)
	}
	broken, err := s.Supersede(t.Context(), failed("m", "1", "d"), author)
	if err != nil || broken.SupersededBy != second.ID {
		t.Fatalf("a failure takes the place of a measurement: %+v, %v", broken, err)
	}
	third, err := s.Supersede(t.Context(), measured("m", "1", "d"), author)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int64]int64{first.ID: second.ID, second.ID: third.ID, broken.ID: second.ID, third.ID: 0}
	for _, r := range all(t, s, history.Filter{}) {
		if r.SupersededBy != want[r.ID] {
			t.Errorf("record %d is superseded by %d; want %d", r.ID, r.SupersededBy, want[r.ID])
		}
	}
	counting := 0
	for _, e := range entries(t, s, history.Filter{}) {
		if e.Counts() {
			counting++
		}
	}
	if counting != 1 {
		t.Errorf("%d results count", counting)
	}
	// What has no result yet is simply measured.
	if r, err := s.Supersede(t.Context(), measured("m", "2", "d2"), author); err != nil || r.SupersededBy != 0 || r.Iteration != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	if trail, err := s.Audit(t.Context(), 0); err != nil || len(trail) != 3 {
		t.Errorf("trail %+v, %v", trail, err)
	}
}

func TestTheAuditTrailOnlyGrows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.db")
	s := open(t, path)
	appended(t, s, measured("m", "1", "d"))
	if _, err := s.Exclude(t.Context(), history.Filter{ID: 1}, author); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, statement := range []string{"DELETE FROM audit", "UPDATE audit SET because='none'"} {
		if _, err := db.Exec(statement); err == nil || !strings.Contains(err.Error(), "only grows") {
			t.Errorf("%s: %v", statement, err)
		}
	}
}

// Several processes exclude, restore and measure again at once: every state
// fits the trail.
func TestCorrectionsAtOnceLeaveOneResultCounting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.db")
	stores := []*history.Store{open(t, path), open(t, path), open(t, path)}
	appended(t, stores[0], measured("m", "1", "d"))
	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() {
			for range 5 {
				var err error
				switch i {
				case 0:
					_, err = s.Exclude(context.Background(), history.Filter{Model: "m"}, author)
				case 1:
					_, err = s.Restore(context.Background(), history.Filter{Model: "m"}, author)
				default:
					_, err = s.Supersede(context.Background(), measured("m", "1", "d"), author)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s := stores[0]
	if _, err := s.Restore(t.Context(), history.Filter{Model: "m"}, author); err != nil {
		t.Fatal(err)
	}
	got := entries(t, s, history.Filter{})
	for i, e := range got {
		if e.Counts() != (i == len(got)-1) {
			t.Errorf("entry %+v of %d", e, len(got))
		}
	}
	if v, err := history.Verify(t.Context(), path); err != nil || !v.OK() || len(got) != 6 {
		t.Errorf("%d entries, %+v, %v", len(got), v, err)
	}
}

func TestNothingIsCommittedIntoAFileThatIsGone(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(path string) error
	}{
		{"deleted", os.Remove},
		{"renamed", func(path string) error { return os.Rename(path, path+".old") }},
		{"replaced", func(path string) error {
			if err := os.Rename(path, path+".old"); err != nil {
				return err
			}
			return os.WriteFile(path, nil, 0o644)
		}},
		{"its folder is renamed", func(path string) error { return os.Rename(filepath.Dir(path), filepath.Dir(path)+".old") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "state")
			path := filepath.Join(dir, "h.db")
			s := open(t, path)
			appended(t, s, measured("m", "1", "d"))
			if err := c.do(path); err != nil {
				t.Fatal(err)
			}
			for name, write := range map[string]func() error{
				"append": func() error { _, err := s.Append(t.Context(), measured("m", "2", "d2")); return err },
				"files": func() error {
					return s.Remember(t.Context(), map[string]string{"p": "f"}, nil)
				},
				"outbox":  func() error { return s.PruneOutbox(t.Context(), noon) },
				"exclude": func() error { _, err := s.Exclude(t.Context(), history.Filter{ID: 1}, author); return err },
			} {
				if err := write(); !errors.Is(err, history.ErrReplaced) || !strings.Contains(err.Error(), path) {
					t.Errorf("%s: %v; want ErrReplaced that names the file", name, err)
				}
			}
		})
	}
}

func TestWhatAKilledFirstStartLeftIsRemoved(t *testing.T) {
	dir := t.TempDir()
	stray := filepath.Join(dir, ".plancast-new-123.db")
	for _, f := range []string{stray, stray + "-journal"} {
		if err := os.WriteFile(f, []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open(t, filepath.Join(dir, "h.db"))
	if left, _ := filepath.Glob(filepath.Join(dir, ".plancast-new-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFirstStartsAtOnceMakeOneHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.db")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := history.Open(path)
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestPruningKeepsHowEachModelStands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "h.db")
	s := open(t, path)
	for i := range 40 {
		r := measured("busy", fmt.Sprint(i+1), fmt.Sprint("b", i))
		r.Finished = noon.AddDate(0, 0, i)
		appended(t, s, r)
	}
	r := measured("asleep", "1", "a") // old, and all there is of its model
	appended(t, s, r)
	n, err := s.Prune(t.Context(), history.PruneOptions{Before: noon.AddDate(0, 0, 30), Keep: 3}, author)
	if err != nil || n != 30 {
		t.Fatalf("%d pruned, %v; want the 30 of a busy model", n, err)
	}
	if n, err := s.Prune(t.Context(), history.PruneOptions{Before: noon.AddDate(1, 0, 0), Keep: 3}, author); err != nil || n != 7 {
		t.Errorf("%d pruned, %v; want all but the newest 3", n, err)
	}
	got := ids(entries(t, s, history.Filter{}), func(e history.Entry) int64 { return e.ID })
	if want := []int64{38, 39, 40, 41}; !slices.Equal(got, want) {
		t.Errorf("left %v; want %v", got, want)
	}
	// What was pruned is not missing, and what is counted is still counted.
	if v, err := history.Verify(t.Context(), path); err != nil || !v.OK() {
		t.Errorf("%+v, %v", v, err)
	}
	if totals, err := s.Totals(t.Context()); err != nil || totals["busy"][0].Count != 40 {
		t.Errorf("totals %+v, %v", totals, err)
	}
	if r := appended(t, s, measured("busy", "41", "b40")); r.Iteration != 41 || r.ID != 42 {
		t.Errorf("the next is record %d, iteration %d", r.ID, r.Iteration)
	}
	before, err := s.Size()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Vacuum(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, err := s.Size(); err != nil || after >= before {
		t.Errorf("%d bytes before, %d after, %v", before, after, err)
	}
	if v, err := history.Verify(t.Context(), path); err != nil || !v.OK() {
		t.Errorf("vacuumed: %+v, %v", v, err)
	}
	if trail, err := s.Audit(t.Context(), 0); err != nil || len(trail) != 2 || trail[0].Action != history.ActionPrune {
		t.Errorf("trail %+v, %v", trail, err)
	}
}

func TestABackupIsWholeWhileOthersWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "h.db")
	s, writer := open(t, path), open(t, path)
	appended(t, s, measured("m", "0", "first"))
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			if _, err := writer.Append(context.Background(), measured("m", fmt.Sprint(i+1), fmt.Sprint(i))); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 3 {
		to := filepath.Join(dir, fmt.Sprint("copy", i))
		if err := s.Backup(t.Context(), to); err != nil {
			t.Fatal(err)
		}
		if v, err := history.Verify(t.Context(), to); err != nil || !v.OK() || v.Records < 1 {
			t.Errorf("%+v, %v", v, err)
		}
	}
	close(done)
	wg.Wait()
	if err := s.Backup(t.Context(), path); err == nil || !strings.Contains(err.Error(), "name a new file") {
		t.Errorf("error %v", err)
	}
	c := open(t, filepath.Join(dir, "copy0"))
	appended(t, c, measured("other", "1", "d"))
	if left, _ := filepath.Glob(filepath.Join(dir, "*.part")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
