package history

import (
	"path/filepath"
	"strings"
	"testing"
)

// planOf is how SQLite answers a query in a new history.
func planOf(t *testing.T, query string, args ...any) string {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rows, err := s.db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "; ")
}

// What is known of one model's changes is found in an index, however many there
// are, and comes sorted from there.
func TestTheChangesOfAModelAreFoundInAnIndex(t *testing.T) {
	where, args := ofModel("net")
	if got := planOf(t, changesQuery(where), args...); !strings.Contains(got, "SEARCH changes USING INDEX changes_of (model=?)") || strings.Contains(got, "TEMP B-TREE") {
		t.Errorf("the plan is: %s", got)
	}
}

// A correction reads one model again, and no other.
func TestRecentEntriesOfAModelAreFoundByIt(t *testing.T) {
	query, args := Filter{Model: "net", Since: t0}.query()
	if got := planOf(t, query, args...); !strings.Contains(got, "(model=?") || strings.Contains(got, "by_time") {
		t.Errorf("the plan is: %s", got)
	}
}

// A record takes the same to store in a long history as in a short one: a candidate's
// earlier records are found by its digest and not among all of its model.
func TestEarlierRecordsOfACandidateAreFoundByItsDigest(t *testing.T) {
	for _, query := range iterationOf {
		if got := planOf(t, query, "net", "digest", "fingerprint"); !strings.Contains(got, "(model=? AND digest=?") {
			t.Errorf("the plan is: %s", got)
		}
	}
}
