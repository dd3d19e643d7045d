package pass

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A library that was replaced by one of the same size and time is another one.
func TestAStampChangesWithTheFileItself(t *testing.T) {
	name := filepath.Join(t.TempDir(), "library.so")
	at := time.Date(2026, 1, 3, 12, 0, 0, 0, time.UTC)
	put := func(to string) {
		t.Helper()
		if err := errors.Join(os.WriteFile(to, []byte("content"), 0o644), os.Chtimes(to, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	of := func() string {
		var b strings.Builder
		stamp(&b, name)
		return b.String()
	}
	absent := of()
	put(name)
	first := of()
	if first == absent || of() != first {
		t.Errorf("absent %q, there %q, then %q", absent, first, of())
	}
	put(name + ".new")
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
	if of() == first {
		t.Errorf("a replaced file has the same stamp %q", first)
	}
}
