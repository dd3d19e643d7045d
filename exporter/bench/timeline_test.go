package bench

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
)

func TestTheTimelineShowsEachWindow(t *testing.T) {
	window := func(n int, latency float64) round {
		l := make([]float64, n)
		for i := range l {
			l[i] = latency * float64(i+1)
		}
		return round{own: []engine.Window{{Latencies: l, Elapsed: 2}}}
	}
	rounds := []round{window(100, 1), window(1000, 1), window(1000, 2)}
	rounds[1].suffered = true
	got := timeline(rounds, rounds[2:])
	for i, want := range []TimedWindow{
		{Queries: 100, Elapsed: 2, P50: 50},
		{Queries: 1000, Elapsed: 2, P50: 500, P99: new(990.0), Disturbed: true},
		{Queries: 1000, Elapsed: 2, P50: 1000, P99: new(1980.0), Accepted: true},
	} {
		x := got[i]
		if (x.P99 == nil) != (want.P99 == nil) || x.P99 != nil && *x.P99 != *want.P99 {
			t.Errorf("window %d: P99 %v; want %v", i+1, x.P99, want.P99)
		}
		if x.P99 = want.P99; x != want {
			t.Errorf("window %d: %+v; want %+v", i+1, x, want)
		}
	}
}

func TestSamplesAreBoundedAndInOrder(t *testing.T) {
	for _, c := range []struct {
		windows     [][]float64
		lines       int
		first, last string
	}{
		{nil, 0, "", ""},
		{[][]float64{{0.25, 0.5}, {1e-5}}, 3, "1,0.25", "2,1e-05"},
		{[][]float64{make([]float64, mostSamples), make([]float64, mostSamples)}, mostSamples, "1,0", "2,0"},
		{[][]float64{make([]float64, mostSamples+1)}, mostSamples/2 + 1, "1,0", "1,0"},
	} {
		var b bytes.Buffer
		if err := WriteSamples(&b, c.windows); err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(&b)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if lines[0] != "window,latency_seconds" || len(lines)-1 != c.lines {
			t.Errorf("%d lines below %q; want %d", len(lines)-1, lines[0], c.lines)
			continue
		}
		if c.lines > 0 && (lines[1] != c.first || lines[c.lines] != c.last) {
			t.Errorf("from %q to %q; want %q to %q", lines[1], lines[c.lines], c.first, c.last)
		}
	}
}
