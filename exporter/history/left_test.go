package history_test

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/history"
)

func TestWhatLeftTheRepositoryIsRemembered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s, err := history.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := s.Left(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("at first %v, %v", left, err)
	}
	want := map[string]time.Time{"a": time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), "b": time.Date(2026, 3, 2, 0, 0, 0, 1, time.UTC)}
	for _, list := range []map[string]time.Time{{"c": time.Now()}, want} {
		if err := s.SetLeft(t.Context(), list); err != nil {
			t.Fatal(err)
		}
	}
	deleted := []history.Deleted{{Model: "a", Version: "3", Digest: "d", Fingerprint: "f", Iteration: 2, Since: want["a"], Ended: true}}
	if err := s.SetDeleted(t.Context(), deleted); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = history.OpenReadOnly(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if left, err := s.Left(t.Context()); err != nil || !maps.EqualFunc(left, want, time.Time.Equal) {
		t.Errorf("left %v, %v; want %v", left, err, want)
	}
	if got, err := s.Deleted(t.Context()); err != nil || !slices.Equal(got, deleted) {
		t.Errorf("deleted %+v, %v; want %+v", got, err, deleted)
	}
}
