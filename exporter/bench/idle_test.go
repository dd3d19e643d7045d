package bench

import (
	"cmp"
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
)

// A container's process list holds plancast alone, so a neighbor on the GPU shows
// by what the device does while plancast gives it nothing to do.
func TestANeighborShowsOnTheIdleGPU(t *testing.T) {
	for name, c := range map[string]struct {
		idle             []float64 // before the first window, then after each and while waiting
		limit            float64   // 0 is the default
		timed, discarded int
		cause            string
	}{
		"nobody":                                {[]float64{0}, 0, 2, 0, ""},
		"the display's share":                   {[]float64{0.04}, 0, 2, 0, ""},
		"a device without counters":             {nil, 0, 2, 0, ""},
		"a neighbor that stays":                 {[]float64{0.43}, 0, 3, 1, "another process on the GPU (SM activity 43 % while plancast was idle)"},
		"one that goes while plancast waits":    {[]float64{0.43, 0.43, 0.43, 0}, 0, 3, 1, ""},
		"one that comes with a window":          {[]float64{0, 0.43, 0}, 0, 3, 1, ""},
		"max_disturbance of 100 % lets it pass": {[]float64{0.43}, 1, 2, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h, s := &scriptedHost{loads: []Load{load(nil)}}, &scripted{t: t, script: []Telemetry{device()}, idle: c.idle}
			j := job(t, fake.Script{Latency: ms(2)[0]})
			j.Options.Concurrency, j.Guard.Patience = nil, 5*time.Second
			if c.limit != 0 {
				j.Guard.MaxDisturbance = c.limit
			}
			m, err := Measure(context.Background(), fake.New(), j, nil, On(h), Watched(s))
			if err != nil {
				t.Fatal(err)
			}
			if m.Disturbed() != (c.cause != "") || c.cause != "" && m.Disturbance.Cause != c.cause || s.windows != c.timed || m.Disturbance.Discarded != c.discarded {
				t.Errorf("%d windows timed, %+v", s.windows, m.Disturbance)
			}
			if m.Disturbance.Spent > 5+2.1 || len(h.waited) > 0 {
				t.Errorf("%v s of patience were spent, %v of them on the processors", m.Disturbance.Spent, h.waited)
			}
		})
	}
}

// An engine's queries take the same of the device in each turn; what a turn takes
// more belongs to others. Clocks that change are not taken for that.
func TestASurplusOfActivityIsOthers(t *testing.T) {
	itself := &struct{ engine.Engine }{}
	turn := func(activity, clock float64, queries int) (Telemetry, engine.Window) {
		return Telemetry{SMActivity: &activity, SMClock: &clock, Duration: 1}, engine.Window{Latencies: make([]float64, queries), Elapsed: 0.9}
	}
	for name, c := range map[string]struct {
		activity, clock float64
		queries         int
		low, high       float64
		watched         float64 // seconds; 0 is 1
	}{
		"the same again": {0.4, 2e9, 1000, 0, 1e-9, 0},
		"a moment before and after it is watched": {0.32, 2e9, 1000, 0, 1e-9, 1.25},
		"less of such a moment":                   {0.42, 2e9, 1000, 0, 1e-9, 0.4 / 0.42},
		"fewer queries, less activity":            {0.2, 2e9, 500, 0, 1e-9, 0},
		"a lower clock, SM bound":                 {0.4, 1.8e9, 900, 0, 1e-9, 0},
		"a lower clock, memory bound":             {0.4, 1.8e9, 1000, 0, 1e-9, 0},
		"a neighbor for a fifth of the time":      {0.45, 2e9, 900, 0.0899, 0.0901, 0},
		"a neighbor that takes half the GPU":      {0.7, 2e9, 500, 0.499, 0.501, 0},
		"a device that does not say what it did":  {-1, 2e9, 500, 0, 1e-9, 0},
	} {
		e := efforts{}
		tel, w := turn(0.4, 2e9, 1000)
		e.surplus(itself, tel, w)
		tel, w = turn(c.activity, c.clock, c.queries)
		if c.activity < 0 {
			tel.SMActivity = nil
		}
		tel.Duration = cmp.Or(c.watched, 1)
		if got := e.surplus(itself, tel, w); got < c.low || got > c.high {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// The counters lag: a turn after a pause seems to take less, and one after a partner that
// keeps more of the device at work seems to take more.
func TestWhatTheCountersOweIsNoSurplus(t *testing.T) {
	itself, partner := &struct{ engine.Engine }{}, &struct{ engine.Engine }{}
	clock, e := 2e9, efforts{}
	for i, turn := range []struct {
		after                      engine.Engine
		activity, seconds, surplus float64
	}{
		{nil, 0.01, 0.2, 0}, // hardly any of it is counted yet
		{itself, 0.4, 0.2, 0}, {partner, 0.46, 0.2, 0}, {itself, 0.4, 0.2, 0}, {partner, 0.46, 0.2, 0},
		{nil, 0.36, 2, 0}, {nil, 0.4, 2, 0}, // a tenth of it may not be counted
		{partner, 0.56, 0.2, 0.1}, {nil, 0.5, 2, 0.1},
	} {
		w := engine.Window{Latencies: make([]float64, int(5000*turn.seconds))}
		got := e.surplus(turn.after, Telemetry{SMActivity: &turn.activity, SMClock: &clock, Duration: turn.seconds}, w)
		if math.Abs(got-turn.surplus) > 1e-9 {
			t.Errorf("turn %d: %v; want %v", i+1, got, turn.surplus)
		}
	}
}

func TestABurstOnTheGPUDisturbsItsWindow(t *testing.T) {
	at := func(activity float64) Telemetry { x := device(); x.SMActivity = &activity; return x }
	s := &scripted{t: t, script: []Telemetry{at(0.3), at(0.5), at(0.3)}, idle: []float64{0}}
	var said []string
	j := job(t, fake.Script{Latency: ms(2)[0]})
	j.Options.Concurrency = nil
	m, err := Measure(context.Background(), fake.New(), j, func(p engine.Progress) { said = append(said, p.Message) }, On(&scriptedHost{loads: []Load{load(nil)}}), Watched(s))
	if err != nil {
		t.Fatal(err)
	}
	// 20 %, less the tenth of the first window that the counters may not have shown.
	want := "discarded because another process on the GPU (SM activity 17 % beyond what plancast's queries take): waiting for a quiet moment, for at most 28s"
	if m.Disturbance.Discarded != 1 || m.Disturbed() || !slices.Contains(said, want) {
		t.Errorf("%+v, %q", m.Disturbance, said)
	}
}
