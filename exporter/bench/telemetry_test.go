package bench

import (
	"context"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
)

// scripted plays a device: each window sees the next of script, and the last one
// from then on.
type scripted struct {
	t       *testing.T
	script  []Telemetry
	idle    []float64 // SM activity at each look at the idle device, the last one from then on; nil is none
	looks   int
	windows int
	open    bool
}

func (s *scripted) Idle(context.Context, float64) Idle {
	if s.open {
		s.t.Error("the device is not idle while a window is timed")
	}
	s.looks++
	i := Idle{Took: 200 * time.Millisecond}
	if len(s.idle) > 0 {
		i.SMActivity = &s.idle[min(s.looks, len(s.idle))-1]
	}
	return i
}

func (s *scripted) Start() func() Telemetry {
	if s.open {
		s.t.Error("two windows at once")
	}
	s.open = true
	return func() Telemetry {
		s.open = false
		s.windows++
		return s.script[min(s.windows, len(s.script))-1]
	}
}

// device is what a GPU does in one window.
func device(reasons ...ThrottleReason) Telemetry {
	v := func(x float64) *float64 { return &x }
	t := Telemetry{
		Device: "GPU-a", Duration: 2, Utilization: v(0.9), SMClock: v(1.98e9), Power: v(500), Energy: v(1000), Temperature: v(60), TensorActivity: v(0.4),
	}
	for _, r := range reasons {
		if t.Throttled == nil {
			t.Throttled = map[ThrottleReason]float64{}
		}
		t.Throttled[r] = 0.25
	}
	return t
}

func repeat(n int, t Telemetry) (out []Telemetry) {
	for range n {
		out = append(out, t)
	}
	return out
}

func TestThrottledWindowsAreMeasuredAgain(t *testing.T) {
	cool := device()
	for name, c := range map[string]struct {
		script                       []Telemetry
		stable                       bool
		windows, discarded, suffered int
		warning                      string
	}{
		"nothing happens":                 {[]Telemetry{cool}, true, 2, 0, 0, ""},
		"heat passes":                     {[]Telemetry{device(Thermal), device(Thermal), cool}, true, 2, 2, 0, ""},
		"a power brake in between":        {[]Telemetry{cool, device(PowerBrake), cool}, true, 2, 1, 0, ""},
		"in the latency":                  {[]Telemetry{cool, cool, device(Thermal), cool}, true, 2, 1, 0, ""},
		"heat stays":                      {[]Telemetry{device(Thermal)}, false, 2, 3, 3, "throttled by heat 25 % of the time in windows that count, after 3 were discarded"},
		"heat comes after the sweep":      {[]Telemetry{cool, cool, device(Thermal)}, false, 2, 3, 1, "throttled by heat 12 % of the time in windows that count"},
		"heat passes after the sweep":     {append(repeat(4, device(Thermal)), cool), false, 2, 3, 1, "throttled by heat 25 % of the time at batch 1 and concurrency 2"},
		"a power cap is usual":            {[]Telemetry{device(PowerCap)}, true, 2, 0, 0, "at its power limit 25 % of the time, which is usual under full load"},
		"a slowdown of unknown cause":     {[]Telemetry{device(Hardware, SyncBoost)}, true, 2, 0, 0, ""},
		"a device that is not told of it": {[]Telemetry{{Device: "GPU-a", Duration: 2, Problem: "the driver hangs"}}, true, 2, 0, 0, "throttling may have gone unnoticed: the driver hangs"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scripted{t: t, script: c.script}
			m, err := Measure(context.Background(), fake.New(), job(t, fake.Script{Latency: ms(2)[0]}), nil, Watched(s))
			if err != nil {
				t.Fatal(err)
			}
			x := m.Telemetry
			if m.Stable != c.stable || m.Windows != c.windows || x.Discarded != c.discarded || x.Suffered != c.suffered {
				t.Errorf("stable %t after %d windows, %d discarded, %d suffered", m.Stable, m.Windows, x.Discarded, x.Suffered)
			}
			// Two windows of the latency and one point of the sweep stand.
			if s.windows != 3+c.discarded || len(m.Sweep) != 2 {
				t.Errorf("%d windows timed, sweep %+v", s.windows, m.Sweep)
			}
			if (c.warning == "") != (len(m.Warnings) == 0) || !slices.ContainsFunc(append(m.Warnings, ""), func(w string) bool { return strings.Contains(w, c.warning) }) {
				t.Errorf("warnings %q, want %q", m.Warnings, c.warning)
			}
			if c.suffered > 0 && slices.ContainsFunc(m.Warnings, func(w string) bool { return strings.Contains(w, "did not settle") }) {
				t.Errorf("the windows agreed: %q", m.Warnings)
			}
		})
	}
}

func TestThrownAwayQueriesDoNotCount(t *testing.T) {
	// The warm-up's latency stands first; the throttled window took ten times as long.
	s := &scripted{t: t, script: []Telemetry{device(Thermal), device()}}
	var messages []string
	j := job(t, fake.Script{Latencies: ms(1, 10, 1, 1)})
	j.Options.Concurrency = nil
	m, err := Measure(context.Background(), fake.New(), j, func(p engine.Progress) {
		if strings.Contains(p.Message, "discarded") {
			messages = append(messages, p.Stage+": "+p.Message)
		}
	}, Watched(s))
	if err != nil {
		t.Fatal(err)
	}
	if m.Latency.Max > 0.0011 || m.Windows != 2 {
		t.Errorf("%d windows, slowest query %v s", m.Windows, m.Latency.Max)
	}
	if want := []string{"latency: discarded and measured again: the device was throttled by heat 25 % of the time"}; !reflect.DeepEqual(messages, want) {
		t.Errorf("messages %q", messages)
	}
}

func TestTelemetryIsThatOfTheAcceptedWindows(t *testing.T) {
	v := func(x float64) *float64 { return &x }
	first, second, third := device(), device(), device()
	first.Power = v(9999)
	second.Duration, second.Power, second.Energy, second.Temperature = 1, v(300), v(300), v(70)
	third.Duration, third.Power, third.Energy, third.Utilization, third.EnergyIntegrated = 3, v(700), v(2100), nil, true
	third.Throttled = map[ThrottleReason]float64{PowerCap: 0.04}
	s := &scripted{t: t, script: []Telemetry{first, second, third}}
	j := job(t, fake.Script{Latencies: ms(1, 5, 1, 1)})
	j.Options.Concurrency = nil
	m, err := Measure(context.Background(), fake.New(), j, nil, Watched(s))
	if err != nil {
		t.Fatal(err)
	}
	want := Telemetry{
		Device: "GPU-a", Duration: 4, Utilization: v(0.9), SMClock: v(1.98e9), Power: v(600), Energy: v(2400), EnergyIntegrated: true, Temperature: v(70),
		TensorActivity: v(0.4), Throttled: map[ThrottleReason]float64{PowerCap: 0.03},
	}
	got, _ := json.Marshal(m.Telemetry)
	if wanted, _ := json.Marshal(want); string(got) != string(wanted) {
		t.Errorf("%s\nwant %s", got, wanted)
	}
	if e, ok := m.EnergyPerInference(); !ok || math.Abs(e-2400/float64(m.Latency.Queries)) > 1e-12 {
		t.Errorf("energy per inference %v, %t", e, ok)
	}
	if len(m.Warnings) != 0 {
		t.Errorf("a power cap of a moment is reported: %q", m.Warnings)
	}
}

func TestWithoutASamplerNothingIsKnown(t *testing.T) {
	m, err := Measure(context.Background(), fake.New(), job(t, fake.Script{Latency: ms(2)[0]}), nil, Watched(nil))
	if err != nil || m.Telemetry != nil {
		t.Errorf("%+v, %v", m.Telemetry, err)
	}
	if _, ok := m.EnergyPerInference(); ok {
		t.Error("energy of an unwatched device")
	}
	text, err := json.Marshal(m)
	if err != nil || strings.Contains(string(text), "telemetry") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestTheWatchEndsWithAFailedWindow(t *testing.T) {
	s := &scripted{t: t, script: []Telemetry{device(Thermal)}}
	ctx, cancel := context.WithCancel(context.Background())
	j := job(t, fake.Script{})
	j.Options.Concurrency = nil
	_, err := Measure(ctx, fake.New(), j, func(p engine.Progress) {
		if p.Stage == "latency" {
			cancel()
		}
	}, Watched(s))
	if err == nil || s.open || s.windows != 1 {
		t.Errorf("%v after %d windows, still watching: %t", err, s.windows, s.open)
	}
}
