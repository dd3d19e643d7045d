package history_test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// ann is a change; n tells several apart.
func ann(n int) change.Change {
	return change.Change{Author: "ann", Commit: fmt.Sprintf("c%d", n), Kinds: []change.Kind{change.Quantization}}
}

func traced(version string, o history.Origin, c change.Change) history.Traced {
	return history.Traced{Model: "net", Version: version, Digest: "d" + version, Origin: o, Change: c}
}

// tracedStore is a history with versions 1 and 2 of a model.
func tracedStore(t *testing.T) (*history.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history.db")
	s := open(t, path)
	for _, version := range []string{"1", "2"} {
		appended(t, s, measured("net", version, "d"+version))
	}
	return s, path
}

// database is the file itself.
func database(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func trace(t *testing.T, s *history.Store, c ...history.Traced) []string {
	t.Helper()
	models, err := s.Trace(t.Context(), c, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	return models
}

func TestARecordHasTheNewestContentOfItsChange(t *testing.T) {
	s, _ := tracedStore(t)
	for _, c := range []struct {
		name  string
		trace history.Traced
		news  bool
		want  *change.Change
	}{
		{"nothing is said", traced("2", history.OriginRepository, change.Change{}), false, nil},
		{"said for the first time", traced("2", history.OriginRepository, ann(1)), true, new(ann(1))},
		{"said again", traced("2", history.OriginRepository, ann(1)), false, new(ann(1))},
		{"edited", traced("2", history.OriginRepository, ann(2)), true, new(ann(2))},
		{"the run outweighs the file", traced("2", history.OriginRun, change.Change{Branch: "b", Commit: "c9"}), true,
			new(change.Change{Branch: "b", Commit: "c9"}.Over(ann(2)))},
		{"the table that it came from does not", traced("2", history.OriginImport, change.Change{Author: "eve", Link: "https://x"}), true,
			new(change.Change{Branch: "b", Commit: "c9", Link: "https://x"}.Over(ann(2)))},
		{"another file with the same version", history.Traced{"net", "2", "other", history.OriginRepository, ann(5)}, true,
			new(change.Change{Branch: "b", Commit: "c9", Link: "https://x"}.Over(ann(2)))},
		{"a version by its name alone", history.Traced{"net", "2", "", history.OriginRepository, ann(3)}, true,
			new(change.Change{Branch: "b", Commit: "c9", Link: "https://x"}.Over(ann(3)))},
		{"a version without results by its name alone", history.Traced{"net", "7", "", history.OriginRepository, ann(3)}, false,
			new(change.Change{Branch: "b", Commit: "c9", Link: "https://x"}.Over(ann(3)))},
	} {
		if models := trace(t, s, c.trace); (len(models) == 1) != c.news {
			t.Errorf("%s: news of %v; want %v", c.name, models, c.news)
		}
		r, err := s.Record(t.Context(), 2)
		if err != nil || !reflect.DeepEqual(r.Change, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, r.Change, err, c.want)
		}
	}
	if r, _ := s.Record(t.Context(), 1); r.Change != nil {
		t.Errorf("version 1 has the change of version 2: %+v", r.Change)
	}
}

// Editing what is said of a change makes no new iteration, and what is appended
// later has it.
func TestAChangeIsNoPartOfTheCandidate(t *testing.T) {
	s, _ := tracedStore(t)
	trace(t, s, traced("2", history.OriginRepository, ann(1)))
	r := measured("net", "2", "d2")
	r.Precision = engine.INT8
	if r = appended(t, s, r); r.Iteration != 2 || r.Change == nil || r.Change.Commit != "c1" {
		t.Errorf("iteration %d with %+v", r.Iteration, r.Change)
	}
}

func TestResultsAreSelectedByTheirChange(t *testing.T) {
	s, _ := tracedStore(t)
	trace(t, s, traced("1", history.OriginRepository, change.Change{Author: "bob", Branch: "main"}), traced("2", history.OriginRepository, ann(1)), traced("2", history.OriginRun, change.Change{Branch: "int8"}))
	for _, c := range []struct {
		by   history.By
		want []int64
	}{
		{history.By{}, []int64{1, 2}},
		{history.By{Author: "bob"}, []int64{1}},
		{history.By{Author: "ann", Branch: "int8"}, []int64{2}},
		{history.By{Author: "ann", Branch: "main"}, nil},
		{history.By{Kind: change.Quantization}, []int64{2}},
		{history.By{Commit: "c1"}, []int64{2}},
		{history.By{Author: "nobody"}, nil},
	} {
		for _, f := range []history.Filter{{By: c.by}, {By: c.by, Model: "net"}, {By: c.by, Whole: true}, {By: c.by, Limit: 5}} {
			var ids []int64
			for e, err := range s.Entries(t.Context(), f) {
				if err != nil {
					t.Fatal(err)
				}
				ids = append(ids, e.ID)
			}
			if !slices.Equal(ids, c.want) {
				t.Errorf("%+v: %v; want %v", f, ids, c.want)
			}
		}
	}
}

// A file that is written again and again fills no disk.
func TestFewContentsOfAChangeAreKept(t *testing.T) {
	s, path := tracedStore(t)
	const kept = 20
	for n := range 3 * kept {
		trace(t, s, traced("2", history.OriginRepository, ann(n)), traced("1", history.OriginRepository, ann(-n)))
	}
	var n int
	if err := database(t, path).QueryRow("SELECT COUNT(*) FROM changes WHERE version='2'").Scan(&n); err != nil || n != kept {
		t.Errorf("%d contents, %v; want %d", n, err, kept)
	}
	if r, _ := s.Record(t.Context(), 2); r.Change.Commit != ann(3*kept-1).Commit {
		t.Errorf("the newest is %+v", r.Change)
	}
}

func TestDamageOfAChangeHidesNoResult(t *testing.T) {
	s, path := tracedStore(t)
	trace(t, s, traced("1", history.OriginRepository, ann(1)), traced("2", history.OriginRepository, ann(2)))
	if _, err := database(t, path).Exec("UPDATE changes SET body=REPLACE(body, 'ann', 'bob') WHERE version='2'"); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Record(t.Context(), 2); err != nil || r.Change != nil {
		t.Errorf("a damaged change is shown: %+v, %v", r.Change, err)
	}
	v, err := history.Verify(t.Context(), path)
	if err != nil || len(v.Other) != 1 || !errors.Is(v.Other[0], history.ErrDamaged) || v.Records != 2 {
		t.Errorf("verify: %+v, %v", v, err)
	}
	saved := filepath.Join(t.TempDir(), "saved.db")
	if _, err := history.Salvage(t.Context(), path, saved, history.Author{"ann", "damage", time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	s = open(t, saved)
	if r, err := s.Record(t.Context(), 1); err != nil || r.Change == nil || r.Change.Commit != "c1" {
		t.Errorf("salvaged: %+v, %v", r.Change, err)
	}
}

func TestAChangeGoesWithTheLastResultOfItsCandidate(t *testing.T) {
	s, _ := tracedStore(t)
	trace(t, s, traced("1", history.OriginRepository, ann(1)), traced("2", history.OriginRepository, ann(2)), traced("3", history.OriginRepository, ann(3))) // 3 is not measured yet
	appended(t, s, measured("net", "4", "d4"))
	if n, err := s.Prune(t.Context(), history.PruneOptions{Before: time.Now().Add(1e6 * time.Hour), Keep: 1}, history.Author{"ann", "space", time.Unix(1, 0)}); err != nil || n != 1 {
		t.Fatalf("pruned %d, %v", n, err)
	}
	var left []string
	for c, err := range s.Changes(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, c.Version)
	}
	if want := []string{"2", "3"}; !slices.Equal(left, want) {
		t.Errorf("changes of versions %v are left; want %v", left, want)
	}
}

// An export brings its changes along, and an import takes them over.
func TestChangesTravelWithTheResults(t *testing.T) {
	s, _ := tracedStore(t)
	trace(t, s, traced("2", history.OriginRepository, ann(1)))
	r, err := s.Record(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back history.Record
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	other := open(t, filepath.Join(t.TempDir(), "history.db"))
	if _, err := other.Import(t.Context(), []history.Record{back}, history.Author{"ann", "move", time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	if got, err := other.Record(t.Context(), 1); err != nil || got.Change == nil || !got.Change.Equal(ann(1)) {
		t.Errorf("imported: %+v, %v", got.Change, err)
	}
}
