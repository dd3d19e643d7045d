package history_test

import (
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"
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
	r.Measurement.Layers.Unquantized, r.Measurement.Layers.NoEffect = []string{"a", "b"}, "none of the 2 layers that multiply runs in 8 bits"
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
	if !e.OK() || !e.Stable || !e.NoEffect || e.Unquantized != 2 || !e.Counts() || !e.Finished.Time().Equal(r.Finished) {
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

func TestEntriesAreThoseOfTheRecords(t *testing.T) {
	s := open(t, book(t, 2))
	got := entries(t, s, history.Filter{})
	for i, r := range all(t, s, history.Filter{}) {
		want := history.EntryOf(r)
		if a, b := fmt.Sprintf("%+v", got[i]), fmt.Sprintf("%+v", want); a != b { // NaN is not equal to itself
			t.Errorf("entry\n%s\nof a record with\n%s", a, b)
		}
	}
}

func TestAnEntryKeepsWhetherItsPrecisionHadAnEffect(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	for i, why := range []string{"", "none of the 2 layers that multiply runs in 8 bits"} {
		r := measured("m", fmt.Sprint(i+1), fmt.Sprint("d", i))
		r.Precision, r.Measurement.Layers = engine.INT8, &bench.LayerSummary{NoEffect: why}
		appended(t, s, r)
		if e := entries(t, s, history.Filter{})[i]; e.NoEffect != (why != "") {
			t.Errorf("an entry says %v of %q", e.NoEffect, why)
		}
	}
}

func TestAnEntryHoldsAnyText(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	for i, text := range []string{"plain", "", " ", "12 7", "a\x00b", "\x1f", "über 7", "\xff\xfe", "it's \"quoted\""} {
		r := measured(text, text+"v", text+"d")
		r.Fingerprint, r.Iteration = text+"f", -i // as after a damaged count
		appended(t, s, r)
	}
	got := entries(t, s, history.Filter{})
	for i, r := range all(t, s, history.Filter{}) {
		if a, b := fmt.Sprintf("%+v", got[i]), fmt.Sprintf("%+v", history.EntryOf(r)); a != b {
			t.Errorf("entry\n%s\nof a record with\n%s", a, b)
		}
	}
}

// A daemon reads 330,000 entries before it is ready. Only counts are looked at:
// they are the same on a busy machine.
func TestReadingEntriesAllocatesLittle(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	const records = 600
	_, err := s.AppendAll(t.Context(), func(yield func(history.Record, error) bool) {
		for i := range records {
			r := measured("m", fmt.Sprint(i/3), fmt.Sprint(i/3))
			r.Precision = engine.Precisions[i%3]
			if !yield(r, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	allocations := testing.AllocsPerRun(2, func() {
		n = 0
		for _, err := range s.Entries(t.Context(), history.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
	})
	if each := allocations / records; n != records || each > 10 {
		t.Errorf("%d entries with %.1f allocations each, want %d with 10 at most", n, each, records)
	}
}

func ids[T any](list []T, id func(T) int64) (out []int64) {
	for _, x := range list {
		out = append(out, id(x))
	}
	return out
}

func TestAFilterSelects(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	for day := range 6 {
		for _, p := range []engine.Precision{engine.FP32, engine.INT8} {
			for _, model := range []string{"a", "b"} {
				r := measured(model, fmt.Sprint(day+1), fmt.Sprint(model, day))
				r.Precision, r.Finished = p, noon.AddDate(0, 0, day)
				appended(t, s, r)
			}
		}
	}
	since := noon.AddDate(0, 0, 4)
	for _, c := range []struct {
		name string
		f    history.Filter
		want []int64
	}{
		{"the newest, ascending", history.Filter{Limit: 2}, []int64{23, 24}},
		{"the page before", history.Filter{Limit: 2, BeforeID: 23}, []int64{21, 22}},
		{"a model", history.Filter{Model: "a", Limit: 3}, []int64{19, 21, 23}},
		{"a version of a model", history.Filter{Model: "b", Version: "2"}, []int64{6, 8}},
		{"a candidate at one precision", history.Filter{Model: "b", Digest: "b1", Precision: engine.INT8}, []int64{8}},
		{"an environment", history.Filter{Fingerprint: "other"}, nil},
		{"one", history.Filter{ID: 7}, []int64{7}},
		{"several", history.Filter{IDs: []int64{9, 7, 99}}, []int64{7, 9}},
		{"several, read past all", history.Filter{IDs: []int64{9, 7, 99}, Whole: true}, []int64{7, 9}},
		{"none of several", history.Filter{IDs: []int64{}}, nil},
		{"after one", history.Filter{AfterID: 22}, []int64{23, 24}},
		{"a time", history.Filter{Since: since}, []int64{17, 18, 19, 20, 21, 22, 23, 24}},
		{"a model of the whole", history.Filter{Model: "a", Whole: true, AfterID: 20}, []int64{21, 23}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ids(entries(t, s, c.f), func(e history.Entry) int64 { return e.ID }); !slices.Equal(got, c.want) {
				t.Errorf("entries %v; want %v", got, c.want)
			}
			if got := ids(all(t, s, c.f), func(r history.Record) int64 { return r.ID }); !slices.Equal(got, c.want) {
				t.Errorf("records %v; want %v", got, c.want)
			}
		})
	}
}

// However old it is, what says how a model stands is there.
func TestTheStandingOfEachModelIsKnownWhateverItsAge(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	day := func(n int) time.Time { return noon.AddDate(0, 0, n) }
	put := func(r history.Record, p engine.Precision, n int) int64 {
		r.Precision, r.Finished = p, day(n)
		return appended(t, s, r).ID
	}
	put(measured("old", "1", "o1"), engine.FP32, 0) // replaced long ago
	var want []int64
	want = append(want, put(measured("old", "2", "o2"), engine.FP32, 1))
	want = append(want, put(measured("old", "2", "o2"), engine.INT8, 1)) // the newest int8
	want = append(want, put(measured("old", "3", "o3"), engine.FP32, 2)) // the newest fp32, after it
	want = append(want, put(failed("old", "3", "o3"), engine.INT8, 2))   // of the same candidate
	put(failed("old", "4", "o4"), engine.FP32, 3)
	want = append(want, put(failed("old", "5", "o5"), engine.FP32, 4)) // the newest, which failed
	want = append(want, put(measured("new", "1", "n1"), engine.FP32, 9))
	// The first measurement stays for the change against it.
	excluded := put(measured("old", "6", "o6"), engine.FP32, 5) // a later iteration, taken out
	want = append(want, excluded)                               // it is the newest candidate all the same
	if _, err := s.Exclude(t.Context(), history.Filter{ID: excluded}, author); err != nil {
		t.Fatal(err)
	}
	got := ids(entries(t, s, history.Filter{Since: day(8), Standing: true}), func(e history.Entry) int64 { return e.ID })
	for _, id := range want {
		if !slices.Contains(got, id) {
			t.Errorf("record %d is not among %v", id, got)
		}
	}
	if slices.Contains(got, 1) {
		t.Errorf("%v holds what no answer needs", got)
	}
	if !slices.IsSorted(got) {
		t.Errorf("%v does not ascend", got)
	}
}

func TestTotalsCountEveryRecord(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "h.db"))
	hit := true
	r := measured("m", "1", "d1")
	r.Measurement.Plan.TimingCacheHit = &hit
	appended(t, s, r)
	r = measured("m", "2", "d2")
	r.Finished = noon.Add(time.Hour)
	appended(t, s, r)
	appended(t, s, failed("m", "3", "d3"))
	got, err := s.Totals(t.Context())
	want := map[string][]history.Totals{"m": {
		{Count: 2, CacheKnown: 1, CacheHits: 1, Newest: noon.Add(time.Hour)},
		{Failure: engine.KindCrashed, Count: 1, Newest: noon.Add(2 * time.Second)},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
}
