package history_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/history"
)

func entry(receiver, key string) history.OutboxEntry {
	return history.OutboxEntry{Receiver: receiver, Key: key, Topic: "t", Created: noon, Due: noon, Body: []byte(`{"text":"x"}`)}
}

// waiting are the messages for receivers a and b that are due within an hour.
func waiting(t *testing.T, s *history.Store) (list []history.OutboxEntry) {
	t.Helper()
	for _, receiver := range []string{"a", "b"} {
		part, _, err := s.Due(t.Context(), receiver, noon.Add(time.Hour), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, part...)
	}
	return list
}

func add(t *testing.T, s *history.Store, entries ...history.OutboxEntry) {
	t.Helper()
	if err := s.UpdateOutbox(t.Context(), func(tx *history.OutboxTx) error {
		for _, e := range entries {
			if _, err := tx.Add(e); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func keys(list []history.OutboxEntry) (keys string) {
	for _, e := range list {
		keys += e.Key + " "
	}
	return strings.TrimSpace(keys)
}

func TestDueMessagesComeWithTheFewestAttemptsFirst(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	at := func(key string, due time.Duration) history.OutboxEntry {
		e := entry("a", key)
		e.Due = noon.Add(due)
		return e
	}
	add(t, s, at("first", 0), at("second", -time.Minute), at("soon", time.Minute), at("later", time.Hour), at("clock set back", time.Hour+1), entry("b", "other"))
	for range 2 {
		if err := s.Postpone(t.Context(), 1, noon); err != nil {
			t.Fatal(err)
		}
	}
	list, next, err := s.Due(t.Context(), "a", noon, time.Hour)
	if got := keys(list); err != nil || got != "second clock set back first" || !next.Equal(noon.Add(time.Minute)) {
		t.Errorf("%s, next %s, %v", got, next, err)
	}
	if list, next, err = s.Due(t.Context(), "c", noon, time.Hour); len(list) != 0 || !next.IsZero() || err != nil {
		t.Errorf("a receiver without messages: %s, next %s, %v", keys(list), next, err)
	}
	queued, err := s.Queued(t.Context())
	if err != nil || len(queued) != 2 || len(queued["a"]) != 5 || len(queued["b"]) != 1 || !queued["b"][0].Equal(noon) {
		t.Errorf("queued %v, %v", queued, err)
	}
}

func TestAFullQueueDropsItsOldest(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	add(t, s, entry("a", "1"), entry("b", "1"), entry("a", "2"), entry("a", "3"))
	if err := s.UpdateOutbox(t.Context(), func(tx *history.OutboxTx) error {
		for _, c := range []struct {
			most int
			want int64
		}{{3, 0}, {2, 1}} {
			if dropped, err := tx.Bound("a", c.most, noon); dropped != c.want || err != nil {
				t.Errorf("bounded to %d: %d dropped, %v", c.most, dropped, err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if got := keys(waiting(t, s)); got != "2 3 1" {
		t.Errorf("left: %s", got)
	}
}

func TestNewsAreQueuedOncePerReceiver(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	if err := s.UpdateOutbox(t.Context(), func(tx *history.OutboxTx) error {
		for _, c := range []struct {
			receiver, key string
			want          bool
		}{{"a", "k", true}, {"a", "k", false}, {"b", "k", true}, {"a", "l", true}} {
			if added, err := tx.Add(entry(c.receiver, c.key)); err != nil || added != c.want {
				t.Errorf("%s %s: added %v, %v", c.receiver, c.key, added, err)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	list := waiting(t, s)
	if keys(list) != "k l k" || list[0].Receiver != "a" || !list[0].Due.Equal(noon) || list[0].State != history.OutboxWaiting || string(list[0].Body) != `{"text":"x"}` {
		t.Fatalf("waiting: %+v", list)
	}
	if err := s.Settle(t.Context(), list[0].ID, history.OutboxSent, noon); err != nil {
		t.Fatal(err)
	}
	if err := s.Postpone(t.Context(), list[1].ID, noon.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	list = waiting(t, s)
	if keys(list) != "l k" || list[0].Attempts != 1 || !list[0].Due.Equal(noon.Add(time.Minute)) {
		t.Errorf("after one was sent and one failed: %+v", list)
	}
	// What was sent is still known, so it is not queued again; until it is old.
	again := func() bool {
		var added bool
		if err := s.UpdateOutbox(t.Context(), func(tx *history.OutboxTx) error {
			var err error
			added, err = tx.Add(entry("a", "k"))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return added
	}
	if again() {
		t.Error("sent news is queued again")
	}
	if err := s.PruneOutbox(t.Context(), noon); err != nil {
		t.Fatal(err)
	}
	if again() {
		t.Error("pruned too early")
	}
	if err := s.PruneOutbox(t.Context(), noon.Add(1)); err != nil {
		t.Fatal(err)
	}
	if len(waiting(t, s)) != 2 || !again() {
		t.Error("pruning took what waits, or left what is settled")
	}
}

func TestAnErrorUndoesTheWholeUpdate(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	no := errors.New("no")
	err := s.UpdateOutbox(t.Context(), func(tx *history.OutboxTx) error {
		if _, err := tx.Add(entry("a", "k")); err != nil {
			return err
		}
		if err := errors.Join(tx.SetObserved(7), tx.SetNote("x", "y")); err != nil {
			return err
		}
		return no
	})
	if !errors.Is(err, no) || len(waiting(t, s)) != 0 {
		t.Errorf("%v, %+v", err, waiting(t, s))
	}
	_ = s.UpdateOutbox(t.Context(), func(tx *history.OutboxTx) error {
		if observed, err := tx.Observed(); observed != 0 || err != nil {
			t.Errorf("observed %d, %v", observed, err)
		}
		if _, ok, err := tx.Note("x"); ok || err != nil {
			t.Errorf("note %v, %v", ok, err)
		}
		return nil
	})
}

func TestRepeatsAreCountedOnWhatWaits(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	err := s.UpdateOutbox(t.Context(), func(tx *history.OutboxTx) error {
		for _, k := range []string{"1", "2"} {
			if _, err := tx.Add(entry("a", k)); err != nil {
				return err
			}
		}
		e, ok, err := tx.Newest("a", "t")
		if err != nil || !ok || e.Key != "2" {
			t.Errorf("newest %+v, %v, %v", e, ok, err)
		}
		if err := tx.Repeat(e.ID, []byte(`{}`)); err != nil {
			return err
		}
		if e, _, _ = tx.Newest("a", "t"); e.Repeats != 1 || string(e.Body) != "{}" {
			t.Errorf("repeated %+v", e)
		}
		if _, ok, _ = tx.Newest("b", "t"); ok {
			t.Error("another receiver's message is found")
		}
		// The mark only goes forward.
		if err := errors.Join(tx.SetObserved(5), tx.SetObserved(3)); err != nil {
			return err
		}
		if observed, _ := tx.Observed(); observed != 5 {
			t.Errorf("observed %d; want 5", observed)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.UpdateOutbox(ctx, func(*history.OutboxTx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled update: %v", err)
	}
}
