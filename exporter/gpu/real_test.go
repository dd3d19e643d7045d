//go:build gpu

package gpu

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// These tests need an NVIDIA driver and a GPU that is not split:
//
//	go test -tags gpu -v ./exporter/gpu -run Real
//	go test -tags gpu ./exporter/gpu -run '^$' -bench Real

// plausible are the bounds of each figure on any GPU of a data center, and its name.
var plausible = map[Quantity]struct {
	name     string
	low, top float64
	needed   bool
}{
	Utilization: {"utilization", 0, 1, true}, MemoryUtilization: {"memory utilization", 0, 1, true},
	MemoryUsed: {"memory used, B", 0, 1e12, true}, MemorySize: {"memory size, B", 1e9, 1e12, true},
	Power: {"power, W", 5, 2000, true}, PowerLimit: {"power limit, W", 20, 2000, true}, Energy: {"energy, J", 1, 1e13, true},
	Temperature: {"temperature, °C", 5, 110, true},
	SMClock:     {"SM clock, Hz", 1e8, 4e9, true}, SMClockMax: {"highest SM clock, Hz", 5e8, 4e9, true},
	MemoryClock: {"memory clock, Hz", 1e8, 2e10, true}, MemoryClockMax: {"highest memory clock, Hz", 5e8, 2e10, true},
	ECCCorrected: {"ECC errors, corrected", 0, 1e9, false}, ECCUncorrected: {"ECC errors, uncorrected", 0, 1e6, false},
	SMActivity: {"SM activity", 0, 1, false}, SMOccupancy: {"SM occupancy", 0, 1, false},
	TensorActivity: {"tensor activity", 0, 1, false}, DRAMBandwidth: {"DRAM bandwidth", 0, 1, false},
}

// hasCounters goes by the names of GPUs that have GPM.
func hasCounters(name string) bool {
	return slices.ContainsFunc([]string{"H100", "H200", "H800", "GH200", "B100", "B200", "B300"}, func(s string) bool { return strings.Contains(name, s) })
}

func TestRealMonitor(t *testing.T) {
	const interval = 500 * time.Millisecond
	var log bytes.Buffer
	m := NewMonitor(Options{Interval: interval, Log: slog.New(slog.NewTextHandler(&log, nil))})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx)
	}()
	complete := func() bool {
		states := m.States()
		return len(states) > 0 && !slices.ContainsFunc(states, func(s State) bool {
			_, counters := s.Values[SMActivity]
			return s.Values == nil || s.MIG != MIGEnabled && hasCounters(s.Name) && !counters
		})
	}
	for !complete() && ctx.Err() == nil {
		select {
		case <-done:
			t.Fatal(log.String())
		case <-time.After(interval / 5):
		}
	}
	states := m.States()
	cancel()
	<-done
	t.Logf("log:\n%s", log.String())
	if len(states) == 0 {
		t.Fatal("no GPU")
	}
	for _, s := range states {
		t.Logf("%+v, %d errors, sampled %v ago, throttled %v", s.Info, s.Errors, time.Since(s.Time).Round(time.Millisecond), s.Throttled)
		if s.Errors != 0 {
			t.Errorf("%s: %d errors", s.GPU, s.Errors)
		}
		for _, q := range slices.Sorted(maps.Keys(plausible)) {
			p := plausible[q]
			v, ok := s.Values[q]
			switch {
			case !ok && (p.needed || q >= SMActivity && hasCounters(s.Name)) && s.MIG != MIGEnabled && s.MIG != MIGInstance:
				t.Errorf("%s: %s is not reported", s.GPU, p.name)
			case !ok:
				t.Logf("%s: %-26s not reported", s.GPU, p.name)
			case v < p.low || v > p.top:
				t.Errorf("%s: %s is %g", s.GPU, p.name, v)
			default:
				t.Logf("%s: %-26s %g", s.GPU, p.name, v)
			}
		}
		if s.Throttled == nil && s.MIG != MIGInstance {
			t.Errorf("%s does not say whether it is throttled", s.GPU)
		}
	}
	if strings.Contains(log.String(), "level=WARN") {
		t.Error("warnings in the log, see above")
	}
	compare(t, states)
}

// compare holds identity and power limit against nvidia-smi, where it is there.
func compare(t *testing.T, states []State) {
	out, err := exec.Command("nvidia-smi", "--query-gpu=index,uuid,name,driver_version,pci.bus_id", "--format=csv,noheader").Output()
	if err != nil {
		t.Logf("nvidia-smi: %v", err)
		return
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		f := strings.Split(line, ", ")
		i := slices.IndexFunc(states, func(s State) bool { return len(f) == 5 && s.UUID == f[1] })
		if i < 0 || states[i].GPU != f[0] || states[i].Name != f[2] || states[i].Driver != f[3] || !strings.HasSuffix(strings.ToLower(f[4]), states[i].PCIBusID) {
			t.Errorf("nvidia-smi says %q", line)
		}
	}
}

func TestRealWatcher(t *testing.T) {
	s, err := open(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	first := s.gpus[0].Info
	s.close()
	for name, id := range map[string]ID{"UUID": {UUID: first.UUID}, "PCI": {PCIBusID: first.PCIBusID}} {
		w, err := NewWatcher(Options{}, id)
		if err != nil {
			t.Fatalf("by %s: %v", name, err)
		}
		stop := w.Start()
		time.Sleep(2 * time.Second) // the window
		got := stop()
		w.Close()
		text, _ := json.Marshal(got)
		t.Logf("by %s: %s", name, text)
		if got.Device != first.UUID || got.Problem != "" || got.Power == nil || got.Energy == nil || got.EnergyIntegrated || got.Temperature == nil || got.SMClock == nil || got.Utilization == nil {
			t.Errorf("by %s: something is missing", name)
		}
		if hasCounters(first.Name) && (got.SMActivity == nil || got.TensorActivity == nil || got.DRAMBandwidth == nil) {
			t.Errorf("by %s: the counters are missing", name)
		}
	}
}

// What a sample within a window costs, to hold against the 100 ms between two.
func BenchmarkRealWindowSample(b *testing.B) {
	s, err := open(nil, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	for b.Loop() {
		if _, errs := s.gpus[0].read(windowReadings); len(errs) != 0 {
			b.Fatal(errs)
		}
	}
}

// What surrounds a window.
func BenchmarkRealWindow(b *testing.B) {
	s, err := open(nil, 0)
	if err != nil {
		b.Fatal(err)
	}
	id := ID{UUID: s.gpus[0].UUID}
	s.close()
	w, err := NewWatcher(Options{}, id)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	for b.Loop() {
		w.Start()()
	}
}

// What other processes do on the GPU is seen: start two that keep it at work, and
// set PLANCAST_GPU_LOAD to their number. In a container the driver counts
// processes as the host does, and the busiest is taken for this one.
func TestRealOthers(t *testing.T) {
	devices, err := open(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	id := ID{UUID: devices.gpus[0].UUID}
	devices.close()
	w, err := NewWatcher(Options{}, id)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	stop := w.Start()
	time.Sleep(3 * time.Second)
	got := stop()
	if got.Problem != "" {
		t.Error(got.Problem)
	}
	share := "not known"
	if got.OthersUtilization != nil {
		share = fmt.Sprintf("%.2f", *got.OthersUtilization)
	}
	t.Logf("%d other processes kept the GPU at work for a share of %s", got.Others, share)
	if os.Getenv("PLANCAST_GPU_LOAD") != "" && (got.Others == 0 || got.OthersUtilization == nil || *got.OthersUtilization < 0.1) {
		t.Error("the load was not seen")
	}
}

// What others do shows on a GPU to which this process gives nothing to do, in a
// container as well: set PLANCAST_GPU_LOAD to the number of processes that keep it
// at work, and leave it unset where there is none.
func TestRealIdle(t *testing.T) {
	devices, err := open(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	first := devices.gpus[0].Info
	devices.close()
	w, err := NewWatcher(Options{}, ID{UUID: first.UUID})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	const limit = 0.05
	loaded := os.Getenv("PLANCAST_GPU_LOAD") != ""
	for range 10 {
		i := w.Idle(t.Context(), limit)
		text, _ := json.Marshal(i)
		t.Logf("%s", text)
		busy := i.SMActivity != nil && *i.SMActivity > limit || i.Utilization != nil && *i.Utilization > limit
		if busy != loaded {
			t.Errorf("others at work: %t, want %t", busy, loaded)
		}
		if hasCounters(first.Name) && i.SMActivity == nil {
			t.Error("the counters are missing")
		}
	}
}
