package standing_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/standing"
)

// readersAgree is the law: whoever presents the state gives the same answers.
func readersAgree(t testing.TB, seed uint64) {
	t.Helper()
	w := newWorld(seed)
	s, err := standing.Derive(w.Evidence)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	presentersAgree(t, s)
	switch seed % 4 {
	case 0:
		withoutOne(t, w, s)
	case 1:
		failingElsewhere(t, w, s)
	}
	if t.Failed() {
		t.Fatalf("seed %d", seed)
	}
}

// presentersAgree holds every reader of a state to it.
func presentersAgree(t testing.TB, s *standing.State) {
	t.Helper()
	standing.Agree(t, s)
	v := report.Build(s)
	want := ofState(s)
	for reader, got := range map[string]answers{"the report": ofView(v), "its JSON": ofJSON(t, v), "the metrics": ofMetrics(t, s)} {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s says\n %+v, and the state is\n %+v", reader, got, want)
		}
	}
	for _, m := range v.Milestones {
		if m.Forecast != nil && (m.Forecast.Met != m.Met || m.Forecast.State != m.State) {
			t.Errorf("%s is met %v, %s, and its forecast says %v, %s", m.Name, m.Met, m.State, m.Forecast.Met, m.Forecast.State)
		}
	}
}

// failingElsewhere moves a model to an environment where its first build fails: that
// one counts, also for those who read only the metrics, and no milestone that looks
// there gets better odds.
func failingElsewhere(t testing.TB, w *world, s *standing.State) {
	if len(w.Models) == 0 {
		return
	}
	const elsewhere = "env-of-failures"
	e := w.Evidence
	e.Models = slices.Clone(e.Models)
	m := &e.Models[w.IntN(len(e.Models))]
	m.Fingerprint = elsewhere
	for _, p := range m.Precisions {
		e.Records = append(slices.Clip(e.Records), history.Record{
			ID: int64(len(e.Records) + 1), Model: m.Name, Version: "next", Digest: "next", Precision: p, Iteration: 1, Backend: "fake", Device: "device",
			Environment: engine.Environment{Backend: "fake", Device: "device"}, Fingerprint: elsewhere, Started: now, Finished: now,
			Failure: &history.Failure{Error: engine.Error{Kind: engine.KindTimeout}},
		})
	}
	moved, err := standing.Derive(e)
	if err != nil {
		t.Fatal(err)
	}
	presentersAgree(t, moved)
	if got := ofMetrics(t, moved).environments[m.Name]; got != elsewhere {
		t.Errorf("%s has only failures in %s, and the metrics say that %q counts", m.Name, elsewhere, got)
	}
	for i, x := range moved.Milestones {
		if before := s.Milestones[i]; x.ModelsReady > before.ModelsReady || x.Met && !before.Met {
			t.Errorf("%s with %s failing elsewhere: %d ready, before %d", x.Name, m.Name, x.ModelsReady, before.ModelsReady)
		}
	}
}

// withoutOne deletes a model from the repository: no milestone gets better odds.
func withoutOne(t testing.TB, w *world, s *standing.State) {
	if len(w.Models) == 0 {
		return
	}
	e := w.Evidence
	i := w.IntN(len(e.Models))
	gone := e.Models[i].Name
	e.Models = slices.Delete(slices.Clone(e.Models), i, i+1)
	if !slices.ContainsFunc(e.Records, func(r history.Record) bool { return r.Model == gone }) {
		return // nothing was ever known of it
	}
	e.Left = nil
	less, err := standing.Derive(e)
	if err != nil {
		t.Fatal(err)
	}
	standing.Agree(t, less)
	for i, m := range less.Milestones {
		before := s.Milestones[i]
		if m.ModelsTotal < before.ModelsTotal || m.ModelsReady > before.ModelsReady || m.Met && !before.Met {
			t.Errorf("%s without %s: %d of %d ready, before %d of %d", m.Name, gone, m.ModelsReady, m.ModelsTotal, before.ModelsReady, before.ModelsTotal)
		}
	}
}

// A daemon reads of a long history what the state rests on, and adds what is
// recorded: the state is that of the whole history.
func TestAHistoryIsLoadedAsWhatItIsAltogether(t *testing.T) {
	for seed := range uint64(40) {
		w := newWorld(seed)
		store, err := history.Open(filepath.Join(t.TempDir(), "history.db"))
		if err != nil {
			t.Fatal(err)
		}
		var stored []history.Record
		for _, r := range w.Records {
			r, err := store.Append(t.Context(), r) // which counts iterations again
			if errors.Is(err, history.ErrDuplicate) {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, r)
		}
		if w.Records = stored; len(stored) == 0 {
			continue
		}
		n := w.IntN(len(stored))
		var tracker standing.Tracker
		for e, err := range store.Entries(t.Context(), history.Filter{BeforeID: stored[n].ID, Since: standing.LookBack(now), Standing: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if e.ID < stored[n].ID {
				tracker.Load(e)
			}
		}
		for _, id := range tracker.Lacks() {
			r, err := store.Record(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			tracker.Supply(r)
		}
		for _, r := range stored[n:] {
			tracker.Add(r)
		}
		if lacks := tracker.Lacks(); len(lacks) > 0 {
			t.Errorf("seed %d: records %v are not at hand", seed, lacks)
		}
		loaded, err := tracker.Derive(w.Evidence)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		whole, err := standing.Derive(w.Evidence)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got, want := fmt.Sprint(ofState(loaded)), fmt.Sprint(ofState(whole)); got != want {
			t.Errorf("seed %d, loaded before record %d:\n got %s\nwant %s", seed, stored[n].ID, got, want)
		}
		store.Close()
	}
}

func TestReadersAgree(t *testing.T) {
	n := uint64(2000)
	if testing.Short() {
		n = 200
	}
	for seed := range n {
		readersAgree(t, seed)
	}
}

func TestNotificationsAgree(t *testing.T) {
	n, messages := newNotified(t), 0
	for seed := range uint64(60) {
		s, err := standing.Derive(newWorld(seed).Evidence)
		if err != nil {
			t.Fatal(err)
		}
		messages += n.agrees(t, s)
	}
	if messages < 20 {
		t.Errorf("only %d messages", messages)
	}
}

func FuzzReadersAgree(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { readersAgree(t, seed) })
}
