package bench

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
)

// scriptedHost plays a machine: each window sees the next of loads, and the last
// one from then on. Waiting for quiet takes what it may, or quiet.
type scriptedHost struct {
	loads   []Load
	quiet   time.Duration // how long it takes until it is; 0 never becomes quiet
	windows int
	waited  []time.Duration
}

func (h *scriptedHost) Start() func() Load {
	return func() Load {
		h.windows++
		return h.loads[min(h.windows, len(h.loads))-1]
	}
}

func (h *scriptedHost) Quiet(_ context.Context, _ float64, most time.Duration) time.Duration {
	took := most
	if h.quiet > 0 {
		took = min(most, h.quiet)
	}
	h.waited = append(h.waited, took)
	return took
}

// load is a machine of two cores during a window of 2 s.
func load(change func(*Load)) Load {
	l := Load{Duration: 2, Cores: 2, Ran: 2, Waited: 0.001, Others: 0.01}
	if change != nil {
		change(&l)
	}
	return l
}

func TestDisturbedWindowsAreMeasuredAgain(t *testing.T) {
	quiet := load(nil)
	neighbor := load(func(l *Load) { l.Others = 1.86 })
	for name, c := range map[string]struct {
		loads                      []Load
		becomesQuiet               time.Duration
		discarded, suffered, timed int
		stable                     bool
		cause                      string
	}{
		"a quiet machine":                    {[]Load{quiet}, 0, 0, 0, 2, true, ""},
		"a neighbor that goes":               {[]Load{neighbor, quiet}, time.Second, 1, 0, 3, true, ""},
		"a neighbor between windows":         {[]Load{quiet, neighbor, quiet}, time.Second, 1, 0, 3, true, ""},
		"a neighbor that stays":              {[]Load{neighbor}, 0, 1, 2, 3, false, "other processes took 93 % of a core"},
		"a neighbor that comes and goes":     {[]Load{neighbor}, time.Second, 10, 2, 12, false, "other processes took 93 % of a core"},
		"two neighbors":                      {[]Load{load(func(l *Load) { l.Others = 2.6 })}, 0, 1, 2, 3, false, "other processes took 1.3 of 2 cores"},
		"short interruptions":                {[]Load{load(func(l *Load) { l.Waited, l.Others, l.Switches = 0.03, 0.06, 15 })}, 0, 1, 2, 3, false, "other processes took 3 % of a core and interrupted 1.5 % of the queries"},
		"many short waits for a wake-up":     {[]Load{load(func(l *Load) { l.Waited, l.Others = 0.06, 0.06 })}, 0, 0, 0, 2, true, ""},
		"interruptions too short to matter":  {[]Load{load(func(l *Load) { l.Waited, l.Others, l.Switches = 0.0009, 0.06, 90 })}, 0, 0, 0, 2, true, ""},
		"few interruptions":                  {[]Load{load(func(l *Load) { l.Waited, l.Others, l.Switches = 0.03, 0.08, 4 })}, 0, 0, 0, 2, true, ""},
		"waiting for long":                   {[]Load{load(func(l *Load) { l.Waited, l.Others, l.Switches = 0.15, 0.18, 4 })}, 0, 1, 2, 3, false, "other processes took 9 % of a core, for which the timed threads waited 7.0 % of their time"},
		"threads that wait for each other":   {[]Load{load(func(l *Load) { l.Waited = 3 })}, 0, 0, 0, 2, true, ""},
		"a hypervisor that gives cores away": {[]Load{load(func(l *Load) { l.Stolen = 0.4 })}, 0, 1, 2, 3, false, "the hypervisor gave 10.0 % of the cores to others"},
		"work on cores that nobody times on": {[]Load{load(func(l *Load) { l.Cores, l.Others = 64, 2 })}, 0, 0, 0, 2, true, ""},
		"a machine that cannot be looked at": {[]Load{{Duration: 2, Cores: 2, Problem: "proc/stat is gone"}}, 0, 0, 0, 2, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := &scriptedHost{loads: c.loads, quiet: c.becomesQuiet}
			j := job(t, fake.Script{Latency: ms(2)[0], Jitter: 0.01})
			j.Options.Concurrency = nil
			m, err := Measure(context.Background(), fake.New(), j, nil, On(h))
			if err != nil {
				t.Fatal(err)
			}
			d := m.Disturbance
			if m.Stable != c.stable || m.Disturbed() == c.stable || d.Discarded != c.discarded || d.Suffered != c.suffered || h.windows != c.timed {
				t.Errorf("stable %t, %d discarded, %d suffered, %d timed: %+v", m.Stable, d.Discarded, d.Suffered, h.windows, d)
			}
			if c.cause != "" && (d.Cause != c.cause || d.Excess <= 1 || !strings.Contains(strings.Join(m.Warnings, "\n"), "disturbed: "+c.cause)) {
				t.Errorf("cause %q, excess %v, warnings %q", d.Cause, d.Excess, m.Warnings)
			}
			if problem := c.loads[0].Problem; (problem != "") != strings.Contains(strings.Join(m.Warnings, "\n"), "disturbance may have gone unnoticed: proc/stat is gone") {
				t.Errorf("warnings %q", m.Warnings)
			}
			var spent time.Duration
			for _, w := range h.waited {
				spent += w
			}
			if bound := j.Guard.Patience; spent > bound {
				t.Errorf("it waited %v of at most %v", spent, bound)
			}
		})
	}
}

// Windows that were discarded are part of what patience allows, so that a job
// ends in bounded time whatever the machine does.
func TestPatienceBoundsTheWholeJob(t *testing.T) {
	for _, patience := range []time.Duration{0, time.Second, 10 * time.Second, time.Minute} {
		h := &scriptedHost{loads: []Load{load(func(l *Load) { l.Others = 2 })}, quiet: 100 * time.Millisecond}
		j := job(t, fake.Script{Latency: ms(2)[0]})
		j.Guard.Patience = patience
		m, err := Measure(context.Background(), fake.New(), j, nil, On(h))
		if err != nil {
			t.Fatal(err)
		}
		const window = 2.1 // seconds, the last one may begin just before the end
		if spent := m.Disturbance.Spent; spent > patience.Seconds()+window || !m.Disturbed() {
			t.Errorf("patience %v: %v s were spent: %+v", patience, spent, m.Disturbance)
		}
	}
}

// Two quiet windows are enough: what was disturbed beside them does not count.
func TestQuietWindowsCountAlone(t *testing.T) {
	h := &scriptedHost{loads: []Load{load(nil), load(func(l *Load) { l.Others = 2 }), load(nil)}}
	j := job(t, fake.Script{Latencies: ms(1, 1, 5, 1)})
	j.Options.Concurrency, j.Guard.Patience = nil, 0
	m, err := Measure(context.Background(), fake.New(), j, nil, On(h))
	if err != nil {
		t.Fatal(err)
	}
	if !m.Stable || m.Disturbed() || m.Windows != 3 || m.Latency.Max > 0.0011 {
		t.Errorf("stable %t, disturbed %t after %d windows, slowest query %v s", m.Stable, m.Disturbed(), m.Windows, m.Latency.Max)
	}
}

// A disturbed point of the sweep makes the throughput doubtful, and the result
// with it; it may use half of the patience.
func TestADisturbedSweepIsSaid(t *testing.T) {
	busy, quiet := load(func(l *Load) { l.Others = 1 }), load(nil)
	h := &scriptedHost{loads: []Load{busy, busy, quiet}}
	var messages []string
	m, err := Measure(context.Background(), fake.New(), job(t, fake.Script{Latency: ms(2)[0]}), func(p engine.Progress) {
		if strings.Contains(p.Message, "discarded") {
			messages = append(messages, p.Stage+": "+p.Message)
		}
	}, On(h))
	if err != nil {
		t.Fatal(err)
	}
	if !m.Disturbed() || m.Stable || m.Disturbance.Suffered != 1 || m.Disturbance.Cause != "other processes took 50 % of a core" {
		t.Errorf("%+v", m.Disturbance)
	}
	if want := []string{"throughput: discarded because other processes took 50 % of a core: waiting for a quiet moment, for at most 13s"}; !slices.Equal(messages, want) {
		t.Errorf("messages %q", messages)
	}
}

// The throughput is a mean, which brief interruptions hardly change; and at a higher
// concurrency the engine's own threads interrupt each other.
func TestASweepIsNotDisturbedByBriefInterruptions(t *testing.T) {
	brief := load(func(l *Load) { l.Waited, l.Others, l.Switches = 0.9, 0.06, 1200 })
	m, err := Measure(t.Context(), fake.New(), job(t, fake.Script{Latency: ms(2)[0]}), nil, On(&scriptedHost{loads: []Load{brief, load(nil)}}))
	if err != nil || m.Disturbed() || m.Disturbance.Discarded != 0 {
		t.Errorf("%+v, %v", m.Disturbance, err)
	}
}

// The limit on interruptions follows the percentile that decides.
func TestTheLimitFollowsThePercentile(t *testing.T) {
	for percentile, want := range map[float64]bool{0.99: true, 0.5: false} {
		h := &scriptedHost{loads: []Load{load(func(l *Load) { l.Waited, l.Others, l.Switches = 0.02, 0.02, 20 })}}
		j := job(t, fake.Script{Latency: ms(2)[0]})
		j.Guard.Percentile, j.Guard.Patience = percentile, 0
		m, err := Measure(context.Background(), fake.New(), j, nil, On(h))
		if err != nil || m.Disturbed() != want {
			t.Errorf("P%v and threads that waited 1 %% of the time: disturbed %t, %v", 100*percentile, m.Disturbed(), err)
		}
	}
}

func TestOnAGPUOtherProcessesThereCount(t *testing.T) {
	half := 0.5
	shared := device()
	shared.Others, shared.OthersUtilization = 1, &half
	for name, c := range map[string]struct {
		device Telemetry
		load   Load
		cause  string
	}{
		"another process on the GPU":          {shared, load(nil), "other processes kept the GPU at work 50 % of the time"},
		"work on the host alone":              {device(), load(func(l *Load) { l.Others = 1.9 }), ""},
		"enqueueing threads that had to wait": {device(), load(func(l *Load) { l.Others, l.Waited = 1.9, 0.2 }), "other processes took 95 % of a core, for which the timed threads waited 9.1 % of their time"},
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t, fake.Script{Latency: ms(2)[0]})
			m, err := Measure(context.Background(), fake.New(), j, nil, On(&scriptedHost{loads: []Load{c.load}}), Watched(&scripted{t: t, script: []Telemetry{c.device}}))
			if err != nil {
				t.Fatal(err)
			}
			if m.Disturbed() != (c.cause != "") || c.cause != "" && m.Disturbance.Cause != c.cause {
				t.Errorf("%+v", m.Disturbance)
			}
		})
	}
}

func TestADisturbedComparisonHasNoVerdict(t *testing.T) {
	j := job(t, fake.Script{Latency: ms(1)[0]})
	j.Partner, j.Guard.Patience = before(t, fake.Script{Latency: ms(2)[0]}), 0
	m, err := Measure(context.Background(), fake.New(), j, nil, On(&scriptedHost{loads: []Load{load(func(l *Load) { l.Others = 2 })}}))
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := m.Comparison.Of("p99"); !ok || !m.Comparison.Disturbed || c.Verdict != Inconclusive || c.Ratio > 0.51 {
		t.Errorf("%+v", m.Comparison)
	}
}

func TestQueriesAreLateByInterruptionsThatTookTime(t *testing.T) {
	var o observation
	o.timed(engine.Window{Latencies: make([]float64, 6), Elapsed: 2}, 3)
	o.timed(engine.Window{Latencies: make([]float64, 4), Elapsed: 4}, 0)
	if o.queries != 10 || o.spent != 10 {
		t.Errorf("%d queries took %g s in all; want 10 of 1 s", o.queries, o.spent)
	}
	for name, c := range map[string]struct {
		load Load
		want float64
	}{
		"no more than interruptions":                {Load{Switches: 3, Waited: 1, Others: 1}, 3},
		"no more than the time can delay by a 10th": {Load{Switches: 100, Waited: 0.5, Others: 5}, 5},
		"nor than others ran":                       {Load{Switches: 100, Waited: 5, Others: 0.5}, 5},
	} {
		o.load = c.load
		if got := o.late(); got != c.want {
			t.Errorf("%s: %g late; want %g", name, got, c.want)
		}
	}
	if got := (observation{load: Load{Switches: 1, Waited: 1, Others: 1}}).late(); got != 0 {
		t.Errorf("%g of no queries are late", got)
	}
}

func TestWindowsAreCondensedIntoOneDisturbance(t *testing.T) {
	windows := func(loads ...Load) Disturbance {
		var observed []observation
		for _, l := range loads {
			l.Duration = 2
			observed = append(observed, observation{load: l})
		}
		return DefaultGuard().disturbance(observed...)
	}
	d := windows(Load{Cores: 4, Clock: new(2e9), Switches: 1}, Load{Cores: 2, Clock: new(3e9), Switches: 2}, Load{Cores: 2})
	if d.Cores != 4 || d.Clock == nil || *d.Clock != 2.5e9 || d.Switches != 3 || d.Excess != 0 {
		t.Errorf("%+v", d)
	}
	for name, c := range map[string]struct {
		load   Load
		others float64
		cause  string
	}{
		"a trace":                  {Load{Cores: 2, Others: 0.002}, 0.0005, "other processes took 1 % of a core"},
		"half a core":              {Load{Cores: 2, Others: 1}, 0.25, "other processes took 50 % of a core"},
		"a core":                   {Load{Cores: 2, Others: 2}, 0.5, "other processes took 1.0 of 2 cores"},
		"more than there is":       {Load{Cores: 2, Others: 5}, 1, "other processes took 2.5 of 2 cores"},
		"less than nothing":        {Load{Cores: 2, Others: -1}, 0, ""},
		"cores that are not known": {Load{Others: 1}, 0, ""},
	} {
		if d := windows(c.load); d.Others != c.others || d.Share != c.others || d.Cause != c.cause {
			t.Errorf("%s: %+v; want %g, %q", name, d, c.others, c.cause)
		}
	}
}

func TestInterruptionsMatterFromHalfOfWhatThePercentileLeaves(t *testing.T) {
	for _, c := range []struct{ most, percentile, want float64 }{
		{0.05, 0.75, 0.05}, {0.25, 0.75, 0.125}, {0.001, 0.99, 0.001}, {1, 0.75, 1},
	} {
		if got := (Guard{MaxDisturbance: c.most, Percentile: c.percentile}).interruption(); got != c.want {
			t.Errorf("P%g with %g let pass: %g; want %g", 100*c.percentile, c.most, got, c.want)
		}
	}
	// Many late queries are none to speak of while the threads hardly waited.
	o := observation{load: Load{Duration: 2, Cores: 2, Ran: 2, Waited: 0.008, Others: 0.008, Switches: 1000}, queries: 20000, spent: 2}
	if d := DefaultGuard().disturbance(o); d.Late < 0.03 || d.Excess > 1 {
		t.Errorf("%+v", d)
	}
	o.load.Waited, o.load.Others = 0.02, 0.02
	if d := DefaultGuard().disturbance(o); d.Excess <= 1 {
		t.Errorf("%+v", d)
	}
}

func TestWhatPassesPassesToTheLast(t *testing.T) {
	j := job(t, fake.Script{Latency: ms(2)[0]})
	j.Guard.MaxDisturbance = 0.25
	m, err := Measure(t.Context(), fake.New(), j, nil, On(&scriptedHost{loads: []Load{load(func(l *Load) { l.Others = 1 })}}))
	if err != nil || m.Disturbance.Excess != 1 || m.Disturbed() || m.Disturbance.Discarded != 0 {
		t.Errorf("%+v, %v", m.Disturbance, err)
	}
}
