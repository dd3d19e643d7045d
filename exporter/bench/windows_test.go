package bench

import (
	"slices"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

// paced is a run whose warm-up had queries of so many seconds.
func paced(pace float64, o Options) *run {
	return &run{job: Job{Options: o, Guard: DefaultGuard()}, warm: engine.Window{Latencies: make([]float64, 10), Elapsed: 10 * pace}}
}

func TestTurnsFillAWindow(t *testing.T) {
	for name, c := range map[string]struct {
		pace, window float64 // seconds
		want         int
	}{
		"as many as the window has room for": {0.001, 1, 10},
		"never more than needed":             {0.001, 60, mostTurns},
		"of slow queries the fewest":         {0.1, 1, fewestTurns},
		"each with queries enough":           {0.004, 2.9, 14},
		"an even number":                     {0.001, 1.1, 10},
	} {
		o := Options{MinWindow: time.Duration(c.window * float64(time.Second)), MaxWindow: time.Hour}
		if got := paced(c.pace, o).turns(); got != c.want {
			t.Errorf("%s: %d turns, want %d", name, got, c.want)
		}
	}
}

func TestAWindowLastsUntilItHasItsQueries(t *testing.T) {
	o := Options{MinWindow: time.Second, MinQueries: 100, MaxWindow: 5 * time.Second}
	for pace, want := range map[float64]float64{0.001: 1, 0.02: 2, 1: 5} {
		if got := paced(pace, o).window(); got != want {
			t.Errorf("queries of %g s: a window takes %g s, want %g", pace, got, want)
		}
	}
	for turn, want := range map[time.Duration]time.Duration{100 * time.Millisecond: 10 * time.Millisecond, time.Second: 50 * time.Millisecond} {
		if got := settling(turn); got != want {
			t.Errorf("a turn of %v settles for %v, want %v", turn, got, want)
		}
	}
}

func TestTheOverheadOfPartsIsTheHighest(t *testing.T) {
	parts := []engine.Window{{Overhead: 1}, {Overhead: 3}, {Overhead: 2}}
	if got := joined(parts).Overhead; got != 3 {
		t.Errorf("%g, want 3", got)
	}
}

func TestThroughputsAgreeWithinAShareOfTheHigher(t *testing.T) {
	rate := func(perSecond int) engine.Window {
		return engine.Window{Latencies: make([]float64, perSecond), Elapsed: 1}
	}
	for _, c := range []struct {
		other int
		want  bool
	}{{100, true}, {75, true}, {74, false}, {133, true}, {134, false}} {
		if got := agree(rate(100), rate(c.other), 0.25); got != c.want {
			t.Errorf("100/s and %d/s agree: %t", c.other, got)
		}
	}
}

// steady is a round of so many queries, all of the same latency.
func steady(queries int, latency float64, suffered bool) round {
	w := engine.Window{Latencies: slices.Repeat([]float64{latency}, queries), Elapsed: float64(queries) * latency}
	return round{own: []engine.Window{w}, suffered: suffered}
}

func TestQuietRoundsDecideWhereThereAreTwo(t *testing.T) {
	const n = 500
	fast, slow := steady(n, 0.001, false), steady(n, 0.002, true)
	alike := steady(n, 0.001, true)
	for name, c := range map[string]struct {
		rounds   []round
		accepted int
		stable   bool
	}{
		"two quiet ones":                      {[]round{fast, slow, fast}, 2, true},
		"one, and a disturbed one like it":    {[]round{alike, fast}, 2, true},
		"one, and a disturbed one unlike it":  {[]round{slow, fast}, 2, false},
		"the last in a row that agree":        {[]round{steady(n, 0.002, false), fast, fast}, 2, true},
		"one alone shows nothing":             {[]round{fast}, 1, false},
		"disturbed ones that agree, no other": {[]round{alike, alike}, 2, true},
	} {
		accepted, stable := paced(0.001, DefaultOptions()).settled(c.rounds)
		if len(accepted) != c.accepted || stable != c.stable {
			t.Errorf("%s: %d rounds, stable %t; want %d, %t", name, len(accepted), stable, c.accepted, c.stable)
		}
	}
}

// A machine that does not come to rest is given up once patience is used.
func TestWithoutPatienceTwoDisturbedRoundsAreEnough(t *testing.T) {
	first, second := steady(500, 0.001, true), steady(500, 0.002, true)
	for name, c := range map[string]struct {
		rounds   []round
		patience time.Duration
		want     bool
	}{
		"two":                    {[]round{first, second}, 0, true},
		"two, but patience left": {[]round{first, second}, time.Second, false},
		"one":                    {[]round{first}, 0, false},
	} {
		r := paced(0.001, DefaultOptions())
		r.job.Guard.Patience = c.patience
		if got := r.enough(c.rounds); got != c.want {
			t.Errorf("%s: enough is %t", name, got)
		}
	}
}

func TestThePercentileThatDecidesIsKnownWithinHalfItsInterval(t *testing.T) {
	x := steady(1000, 1, false)
	for i := range x.own[0].Latencies {
		x.own[0].Latencies[i] = 1 + 0.001*float64(i*7919%1000)
		if i%25 == 0 {
			x.own[0].Latencies[i] = 2 + float64(i) // a slow tail
		}
	}
	samples := x.own[0].Latencies
	known := func(percentile, tolerance float64) bool { return narrow(samples, percentile, tolerance) }
	low, high, _ := intervalOf(samples, 0.5)
	relative := (high - low) / NearestRank(slices.Sorted(slices.Values(samples)), 0.5)
	if !known(0.5, 0.51*relative) || known(0.5, 0.49*relative) {
		t.Errorf("the median is known within %g, and half of that is to decide", relative)
	}
	if known(0.99, 0.51*relative) {
		t.Error("the tail is as well known as the median")
	}
	// With the fewest queries that a median takes, and with one less.
	for queries, want := range map[int]bool{MinQueries(0.5): true, MinQueries(0.5) - 1: false} {
		if got := narrow(pooled([]round{steady(queries, 1, false)}), defaultPercentile, 0.01); got != want {
			t.Errorf("%d queries: narrow is %t", queries, got)
		}
	}
}

func TestWhatMakesAFigureDoubtfulIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		spread, overhead float64 // shares of the mean
		host             Host
		want             int
	}{
		"a spread of a 10th":           {spread: 0.1},
		"more":                         {spread: 0.11, want: 1},
		"more, on a watched machine":   {spread: 0.11, host: &scriptedHost{}},
		"an overhead of a hundredth":   {overhead: 0.01},
		"an overhead of more than one": {overhead: 0.02, want: 1},
	} {
		r := paced(1, DefaultOptions())
		r.host = c.host
		r.m.Stable, r.m.Overhead, r.m.Latency = true, c.overhead, Latency{Queries: minQueriesForBound(0.99), Mean: 1, StdDev: c.spread}
		r.judge(r.job.Options, 2, false)
		if len(r.m.Warnings) != c.want {
			t.Errorf("%s: %q", name, r.m.Warnings)
		}
	}
}
