package history

import (
	"path/filepath"
	"strings"
	"testing"
)

// What is known of one model's changes is found in an index, however many there
// are, and comes sorted from there.
func TestTheChangesOfAModelAreFoundInAnIndex(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	where, args := ofModel("net")
	rows, err := s.db.Query("EXPLAIN QUERY PLAN "+changesQuery(where), args...)
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
	if got := strings.Join(plan, "; "); !strings.Contains(got, "SEARCH changes USING INDEX changes_of (model=?)") || strings.Contains(got, "TEMP B-TREE") {
		t.Errorf("the plan is: %s", got)
	}
}
