package workload

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

func read(text string) (Workload, error) {
	w := Workload{Name: "replayed", Concurrency: 1}
	err := w.ReadTrace(strings.NewReader(text))
	return w, err
}

func TestATraceIsReplayedAsItWasRecorded(t *testing.T) {
	w, err := read(`{"at": 1700000000.5, "dims": {"sequence": 32}}
{"at": 1700000000.75, "dims": {"sequence": 128}}

{"at": 1700000001.5, "dims": {"sequence": 32}}

`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := w.String(), "66.7 % sequence 32, 33.3 % 128, 3 requests as recorded, at 2 requests a second"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	want := []engine.Request{{At: 0}, {At: 250 * time.Millisecond, Input: 1}, {At: time.Second}}
	s := w.Sequence(1)
	for range 2 {
		if got := s.Draw(3, w.Rate); !slices.Equal(got, want) {
			t.Errorf("replayed as %v, want %v", got, want)
		}
	}
	// The closed loop that says what the engine keeps up with draws from the same mix.
	if closed := s.Draw(1000, 0); len(closed) != 1000 || closed[999].At != 0 {
		t.Errorf("%d requests for a closed loop", len(closed))
	}
}

func TestABadTraceIsRefusedWithItsLine(t *testing.T) {
	many := func(n int, line func(int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i) + "\n")
		}
		return b.String()
	}
	for name, c := range map[string]struct{ text, says string }{
		"not JSON":                    {"{\"at\": 0}\nsoon\n", "line 2: it is not a request such as"},
		"no time":                     {`{"dims": {"n": 3}}`, `line 1: it has no "at"`},
		"out of order":                {"{\"at\": 2}\n{\"at\": 1}\n", "line 2: it is earlier than the request before"},
		"a negative size":             {`{"at": 0, "dims": {"n": -1}}`, "line 1: n is -1"},
		"a key that it does not know": {`{"at": 0, "dim": {"n": 3}}`, `line 1: it is not a request such as {"at": 0.25, "dims": {"sequence": 32}}: unknown field "dim"`},
		"two requests in a line":      {`{"at": 0} {"at": 1}`, "text follows the object"},
		"a size that is text":         {`{"at": 0, "dims": {"n": "x"}}`, "a size is a string, and a whole number is needed"},
		"half a size":                 {`{"at": 0, "dims": {"n": 1.5}}`, "a size is a number 1.5, and a whole number is needed"},
		"a time that is text":         {`{"at": "0"}`, `"at" is a string, and a time in seconds is needed`},
		"a list":                      {`[0, 1]`, "array stands where an object is needed"},
		"a line of sizes":             {`{"at": 0, "dims": [3]}`, "array stands where an object is needed"},
		"a batch of 0":                {`{"at": 0, "dims": {"batch": 0}}`, "line 1: batch is 0"},
		"nothing":                     {"", "it needs two requests at different times"},
		"one moment":                  {"{\"at\": 1}\n{\"at\": 1}\n", "it needs two requests at different times"},
		"too long":                    {"{\"at\": 1}\n{\"at\": 1e300}\n", "line 2: it is more than 1h0m0s after the first"},
		"too many":                    {many(10_001, func(i int) string { return fmt.Sprintf(`{"at": %d.5}`, i/100) }), "more than 10000 requests"},
		"too many shapes":             {many(65, func(i int) string { return fmt.Sprintf(`{"at": %d, "dims": {"n": %d}}`, i, i) }), "more than 64 shapes"},
		"a long line":                 {`{"at": 0, "x": "` + strings.Repeat("x", 70_000) + `"}`, "token too long"},
	} {
		if _, err := read(c.text); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add("{\"at\": 0}\n{\"at\": 1, \"dims\": {\"n\": 3}}\n")
	f.Add("{\"at\": 1e308}\n{\"at\": -1e308}\n")
	f.Fuzz(func(t *testing.T, text string) {
		w, err := read(text)
		if err != nil {
			return
		}
		if w.Replayed != len(w.Trace) || !(w.Rate > 0) || len(w.Shapes) == 0 || w.String() == "" {
			t.Errorf("%+v", w)
		}
		for i, r := range w.Sequence(1).Draw(w.Replayed, w.Rate) {
			if r.At < 0 || r.Input < 0 || r.Input >= len(w.Shapes) || i > 0 && r.At < w.Trace[i-1].At {
				t.Fatalf("request %d is %+v", i, r)
			}
		}
	})
}
