package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/plancast/plancast/bench/torture/dose"
	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/history"
)

// killed runs plancast run, with args, as a process of its own and kills it, with
// SIGKILL, after the delay. It returns the jobs that it reported as measured and
// whether it came to its end first.
func (s *site) killed(delay time.Duration, args ...string) (reported []string, ended bool) {
	s.t.Helper()
	args = append([]string{"run", "--once", "--config.file", s.File(), "--output", filepath.Join(s.Dir, "report.txt")}, args...)
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), actAsProgram+"=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	timer := time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	measured := regexp.MustCompile(`msg="Job measured" model=(\S+) version=(\S+)`)
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if m := measured.FindStringSubmatch(lines.Text()); m != nil {
			reported = append(reported, m[1]+"/"+m[2])
		}
	}
	err = cmd.Wait()
	return reported, err == nil
}

func TestKilledAnywhereNothingIsLostHalfOrTwice(t *testing.T) {
	const seed = 1
	random := rand.New(rand.NewPCG(seed, seed))
	least := dose.Of(t, "kills", 1)
	kills, reported := 0, 0
	for kills < least && !t.Failed() {
		k, r := killedUntilDone(t, random)
		kills, reported = kills+k, reported+r
	}
	for deadline := time.Now().Add(5 * time.Minute); len(daemontest.Orphans(t)) > 0 && time.Now().Before(deadline); {
		<-time.After(20 * time.Millisecond)
	}
	if left := daemontest.Orphans(t); len(left) > 0 {
		t.Errorf("workers left behind: %v", left)
	}
	dose.Done(t, "kills", kills, "of %d results that were reported before a kill none was lost, half recorded or recorded twice; no worker and no file was left", reported)
}

// killedUntilDone measures 48 candidates in runs that are killed until one comes to
// its end, and returns how many were killed and how many results they reported.
func killedUntilDone(t *testing.T, random *rand.Rand) (kills, results int) {
	s := newSite(t, "")
	var want []string
	for m := range 12 {
		for v := range 4 {
			name, version := fmt.Sprint("m", m), fmt.Sprint(v+1)
			s.Push(name, version, fake.Script{})
			want = append(want, fmt.Sprintf("%s/%s %d measured", name, version, v+1))
		}
	}
	var reported []string
	ended := false
	for ; !ended && kills < 100; kills++ {
		var news []string
		news, ended = s.killed(time.Duration(random.IntN(20*(kills+4))) * time.Millisecond)
		reported = append(reported, news...)
		s.holds(reported, kills)
	}
	if !ended {
		if _, ended = s.killed(time.Hour); !ended {
			t.Fatal("the undisturbed run failed")
		}
	}
	got := s.Records()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("records %q; want %q", got, want)
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir, "state", "work", "*")); len(left) > 0 {
		t.Errorf("work left behind: %v", left)
	}
	return kills, len(reported)
}

// holds fails the test unless the history has all that was reported, whole.
func (s *site) holds(reported []string, kills int) {
	s.t.Helper()
	if _, err := os.Stat(filepath.Join(s.Dir, "state", "history.db")); err != nil {
		return // killed before there was one
	}
	store, err := history.Open(filepath.Join(s.Dir, "state", "history.db"))
	if err != nil {
		s.t.Fatalf("after kill %d: %v", kills, err)
	}
	var got []string
	for r, err := range store.Records(s.t.Context(), history.Filter{Layers: true}) {
		if err != nil {
			s.t.Fatalf("after kill %d: a record is half there: %v", kills, err)
		}
		got = append(got, r.Model+"/"+r.Version)
	}
	if err := store.Close(); err != nil {
		s.t.Fatal(err)
	}
	for _, x := range reported {
		if !slices.Contains(got, x) {
			s.t.Errorf("after kill %d: %s was reported and is lost", kills, x)
		}
	}
}

// However a repetition ends, each job has exactly one result that counts, and what
// was reported is there.
func TestKilledWhileMeasuringAgainEachJobKeepsOneResult(t *testing.T) {
	s := newSite(t, "")
	const models = 6
	for m := range models {
		s.Push(fmt.Sprint("m", m), "1", fake.Script{})
	}
	if _, ended := s.killed(time.Hour); !ended {
		t.Fatal("the first run failed")
	}
	random := rand.New(rand.NewPCG(2, 2))
	measured, ends := models, 0
	for kills := 0; ends < 2 && kills < 60; kills++ {
		reported, ended := s.killed(time.Duration(random.IntN(40*(kills+1)))*time.Millisecond, "--again")
		measured += len(reported)
		if ended {
			ends++
		}
		store, err := history.Open(filepath.Join(s.Dir, "state", "history.db"))
		if err != nil {
			t.Fatal(err)
		}
		counting, stored := map[string]int{}, 0
		for e, err := range store.Entries(t.Context(), history.Filter{Whole: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if stored++; e.Counts() {
				counting[e.Model]++
			}
		}
		trail, err := store.Audit(t.Context(), 0)
		if err := errors.Join(err, store.Close()); err != nil {
			t.Fatal(err)
		}
		if stored < measured || len(trail) != stored-models {
			t.Errorf("kill %d: %d results were reported, %d are stored, with %d lines in the trail", kills, measured, stored, len(trail))
		}
		measured = stored // what was killed between storing and saying so
		for m, n := range counting {
			if n != 1 {
				t.Errorf("kill %d: %d results of %s count", kills, n, m)
			}
		}
		if len(counting) != models {
			t.Errorf("kill %d: only %v count", kills, counting)
		}
	}
	if ends < 2 {
		t.Errorf("%d of the runs came to their end", ends)
	}
}
