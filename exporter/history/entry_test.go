package history_test

import (
	"math"
	"testing"
	"unsafe"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

func TestAnEntryHoldsEveryQuantityOfItsRecord(t *testing.T) {
	if n := len(history.Values{}); n != len(history.Quantities) {
		t.Fatalf("entries have room for %d quantities, and there are %d: set quantityCount", n, len(history.Quantities))
	}
	r := measured("m", "1", "d")
	r.Measurement.Accuracy = &bench.Accuracy{Deviation: 0.25}
	r.Measurement.Layers.Unquantized = []string{"a", "b"}
	e := history.EntryOf(r)
	for i, q := range history.Quantities {
		want, ok := q.Of(r)
		got, measured := e.Value(q.Name)
		if measured != ok || ok && got != want || math.IsNaN(e.Values[i]) == ok {
			t.Errorf("%s is %v, %v in the entry and %v, %v in the record", q.Name, got, measured, want, ok)
		}
	}
	if _, ok := e.Value("beauty"); ok {
		t.Error("an unknown quantity has a value")
	}
	if !e.OK() || !e.Stable || e.Unquantized != 2 || !e.Counts() || !e.Finished.Time().Equal(r.Finished) {
		t.Errorf("entry %+v", e)
	}
}

func TestAnEntryOfAFailureHasItsKindAndNoValues(t *testing.T) {
	e := history.EntryOf(failed("m", "1", "d"))
	if e.OK() || e.Failure != engine.KindCrashed || e.Unsupported() || e.Stable {
		t.Errorf("entry %+v", e)
	}
	for i, v := range e.Values {
		if !math.IsNaN(v) {
			t.Errorf("a failure has %s %v", history.Quantities[i].Name, v)
		}
	}
}

func TestAnEntryIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(history.Entry{}); n > 256 {
		t.Errorf("an entry takes %d bytes: a daemon that holds 330,000 of them would pass its 250 MB", n)
	}
}
