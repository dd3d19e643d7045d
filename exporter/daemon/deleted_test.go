package daemon_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/standing"
)

const day = 24 * time.Hour

// deletions is a site at a time that the test sets.
type deletions struct {
	*testing.T
	*daemontest.Site
	now time.Time
}

// newDeletions is a site whose model has stood on each of the versions in turn. keep is
// repository.keep_deleted, "" its default.
func newDeletions(t *testing.T, keep string, versions ...string) *deletions {
	t.Helper()
	d := &deletions{t, daemontest.New(t, launchTarget), time.Now()}
	if keep != "" {
		d.Edit("backlog: 100", "backlog: 100, keep_deleted: "+keep)
	}
	for _, v := range versions {
		d.push(v)
		d.stands(time.Minute, v)
	}
	return d
}

// newEnded is a site with version 1, whose version 2 was deleted and ended at once.
func newEnded(t *testing.T) *deletions {
	t.Helper()
	d := newDeletions(t, "0s", "1", "2")
	d.remove("2")
	d.stands(time.Minute, "1")
	return d
}

func (d *deletions) remove(version string) {
	if err := os.RemoveAll(filepath.Join(d.Dir, "models", "net", version)); err != nil {
		d.Fatal(err)
	}
}

// stands makes one pass of a new daemon a while later and expects the model to stand
// on a version; "" is none.
func (d *deletions) stands(after time.Duration, version string) {
	d.Helper()
	d.now = d.now.Add(after)
	pass(d.T, d.Site, func(dm *daemon.Daemon) {
		m, got := dm.View().Models[0], ""
		if m.Candidate != nil {
			got = m.Candidate.Version
		}
		if got != version {
			d.Errorf("the model stands on version %q; want %q: %s", got, version, m.Headline)
		}
		if status := map[bool]standing.Status{true: standing.StatusNoResult, false: standing.StatusMet}[version == ""]; m.Status != status {
			d.Errorf("status %s; want %s", m.Status, status)
		}
	}, d.at)
}

func (d *deletions) at(o *daemon.Options) { o.Now = func() time.Time { return d.now } }

func (d *deletions) push(version string) {
	d.Push("net", version, fake.Script{Latency: daemontest.Milliseconds(4)})
}

// store opens the history between two passes.
func (d *deletions) store(use func(*history.Store)) {
	d.Helper()
	s, err := history.Open(filepath.Join(d.Dir, "state", "history.db"))
	if err != nil {
		d.Fatal(err)
	}
	use(s)
	if err := s.Close(); err != nil {
		d.Fatal(err)
	}
}

// excluded are the versions that do not count.
func (d *deletions) excluded() (out []string) {
	d.Helper()
	d.store(func(s *history.Store) {
		for r, err := range s.Records(d.Context(), history.Filter{}) {
			if err != nil {
				d.Fatal(err)
			}
			if r.Excluded != nil {
				out = append(out, r.Version)
			}
		}
	})
	return slices.Compact(out)
}

func TestADeletedVersionCountsForAWhile(t *testing.T) {
	d := newDeletions(t, "", "1", "2", "3")
	d.remove("3")
	d.stands(time.Hour, "3")
	d.stands(30*day-time.Minute, "3") // a restart does not restart the clock
	d.stands(2*time.Minute, "2")
	if got := d.excluded(); !slices.Equal(got, []string{"3"}) {
		t.Errorf("the history marks %q; want version 3", got)
	}
	d.push("3")
	d.stands(time.Minute, "3")
	if got := d.excluded(); len(got) != 0 {
		t.Errorf("version 3 is back, and the history marks %q", got)
	}
}

func TestADeletedVersionCanEndAtOnce(t *testing.T) {
	d := newEnded(t)
	if got := d.excluded(); !slices.Equal(got, []string{"2"}) {
		t.Errorf("the history marks %q; want version 2", got)
	}
}

func TestADeletedVersionIsHistoryOnceANewerOneHasAResult(t *testing.T) {
	d := newDeletions(t, "0s", "1", "2")
	d.remove("1") // cleared away, as people do
	d.stands(time.Minute, "2")
	if got := d.excluded(); len(got) != 0 {
		t.Errorf("an older version that was deleted is evidence, and the history marks %q", got)
	}
	d.push("3")
	d.remove("2")
	pass(t, d.Site, nil, d.at) // ends version 2, measures version 3
	d.stands(time.Minute, "3")
	if got := d.excluded(); len(got) != 0 {
		t.Errorf("version 3 has a result, and the history still marks %q", got)
	}
}

func TestWhatPeopleDecideOfADeletedVersionHolds(t *testing.T) {
	d := newEnded(t)
	by := history.Author{Who: "ann", Because: "it was right", At: d.now}
	of := history.Filter{Model: "net", Version: "2"}
	d.store(func(s *history.Store) {
		if n, err := s.Restore(t.Context(), of, by); err != nil || n == 0 {
			t.Fatal(n, err)
		}
	})
	d.stands(time.Minute, "2")
	d.store(func(s *history.Store) {
		if n, err := s.Exclude(t.Context(), of, by); err != nil || n == 0 {
			t.Fatal(n, err)
		}
	})
	d.push("2")
	d.stands(time.Minute, "1")
}

func TestImportedResultsAreNotTakenForDeleted(t *testing.T) {
	d := newDeletions(t, "0s", "1")
	d.store(func(s *history.Store) {
		var last history.Record
		for r, err := range s.Records(t.Context(), history.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			last = r
		}
		last.Version, last.Digest, last.Iteration, last.Source = "2", "elsewhere", 0, "old rig"
		if _, err := s.Append(t.Context(), last); err != nil {
			t.Fatal(err)
		}
	})
	d.stands(time.Minute, "2")
}

func TestAKilledDaemonsDeletionsAreCompleted(t *testing.T) {
	d := newEnded(t)
	d.store(func(s *history.Store) { // killed after it excluded the results
		noted, err := s.Deleted(t.Context())
		if err != nil || len(noted) != 1 || !noted[0].Ended {
			t.Fatalf("noted %+v, %v", noted, err)
		}
		noted[0].Ended = false
		if err := s.SetDeleted(t.Context(), noted); err != nil {
			t.Fatal(err)
		}
	})
	d.push("2")
	d.stands(time.Minute, "2")
}
