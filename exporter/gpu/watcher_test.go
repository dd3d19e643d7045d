package gpu

import (
	"math"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/plancast/plancast/exporter/bench"
)

func newTestWatcher(t *testing.T, h *host, id ID) *Watcher {
	t.Helper()
	w, err := NewWatcher(Options{NVML: h}, id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Close()
		if n := h.samples.Load(); n != 0 {
			t.Errorf("%d GPM samples were not freed", n)
		}
	})
	return w
}

func is(t *testing.T, name string, got *float64, want float64) {
	t.Helper()
	if got == nil || math.Abs(*got-want) > 1e-3*math.Abs(want) {
		t.Errorf("%s is %v, want %v", name, got, want)
	}
}

func TestWatchOfAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(2)
		w := newTestWatcher(t, h, ID{UUID: "GPU-b"})
		b := h.boards[1]
		degrees := uint32(50)
		b.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { degrees++; return min(degrees, 65), nvml.SUCCESS }
		stop := w.Start()
		time.Sleep(1050 * time.Millisecond)
		b.reasons.Store(nvml.ClocksEventReasonSwPowerCap)
		time.Sleep(950 * time.Millisecond)
		got := stop()
		if got.Device != "GPU-b" || got.Duration != 2 || got.Problem != "" || got.EnergyIntegrated {
			t.Errorf("%+v", got)
		}
		is(t, "utilization", got.Utilization, 0.8)
		is(t, "memory utilization", got.MemoryUtilization, 0.4)
		is(t, "SM clock", got.SMClock, 1.98e9)
		is(t, "memory clock", got.MemoryClock, 3.201e9)
		is(t, "energy", got.Energy, 1000)
		is(t, "power", got.Power, 500)
		is(t, "temperature", got.Temperature, 65)
		is(t, "tensor activity", got.TensorActivity, 0.5)
		// 11 samples before, at 0 to 1 s, and 9 or 10 after.
		if share := got.Throttled[bench.PowerCap]; len(got.Throttled) != 1 || share < 0.44 || share > 0.5 {
			t.Errorf("throttled %v", got.Throttled)
		}
	})
}

func TestEnergyIsIntegratedWithoutACounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newA100()
		h.boards[0].GetTotalEnergyConsumptionFunc = func() (uint64, nvml.Return) { return 0, nvml.ERROR_NOT_SUPPORTED }
		begun := time.Now()
		h.boards[0].GetPowerUsageFunc = func() (uint32, nvml.Return) { // rises by 100 W a second from 200 W
			return uint32(200_000 + 100*time.Since(begun).Milliseconds()), nvml.SUCCESS
		}
		w := newTestWatcher(t, h, ID{PCIBusID: "0000:1A:00.0"})
		stop := w.Start()
		time.Sleep(3050 * time.Millisecond)
		got := stop()
		if !got.EnergyIntegrated {
			t.Error("it is not said")
		}
		is(t, "energy", got.Energy, 200*3.05+100*3.05*3.05/2-100*0.05*0.05/2)
		if got.SMActivity != nil {
			t.Error("counters that an A100 does not have")
		}
	})
}

func TestWatchOfAnInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(1)
		h.boards[0].split(0, 2)
		h.boards[0].reasons.Store(nvml.ClocksEventReasonSwThermalSlowdown)
		w := newTestWatcher(t, h, ID{UUID: "MIG-GPU-a2", PCIBusID: "0000:1a:00.0"})
		if w.Info().GPU != "0:2" {
			t.Errorf("%+v", w.Info())
		}
		stop := w.Start()
		time.Sleep(time.Second)
		got := stop()
		if got.Device != "MIG-GPU-a2" || got.Energy != nil || got.Power != nil || got.Utilization != nil {
			t.Errorf("of the whole board: %+v", got)
		}
		is(t, "SM activity", got.SMActivity, 0.2)
		is(t, "temperature", got.Temperature, 61)
		if got.Throttled[bench.Thermal] != 1 {
			t.Errorf("throttled %v", got.Throttled)
		}
	})
}

func TestTheWatchedGPUIsFoundOrRefused(t *testing.T) {
	h := newHost(3)
	h.boards[2].split(1)
	for name, c := range map[string]struct {
		id   ID
		want string // UUID, or what the error says
	}{
		"by UUID":                  {ID{"GPU-b", "0000:1a:00.0"}, "GPU-b"},
		"by PCI address":           {ID{"", "0000:1B:00.0"}, "GPU-b"},
		"by NVML's address":        {ID{"", "00000000:1B:00.0"}, "GPU-b"},
		"an instance":              {ID{"MIG-GPU-c1", ""}, "MIG-GPU-c1"},
		"another machine's":        {ID{"GPU-x", "0000:99:00.0"}, `find the GPU GPU-x (PCI 0000:99:00.0) among NVML's: it has ["GPU-a" "GPU-b" "GPU-c" "MIG-GPU-c1"]`},
		"a split GPU by address":   {ID{"MIG-x", "0000:1c:00.0"}, "find the GPU MIG-x"},
		"nothing is no first GPU":  {ID{}, "find the GPU"},
		"an address is not a word": {ID{"", "gpu0"}, "find the GPU"},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := NewWatcher(Options{NVML: h}, c.id)
			if err != nil {
				if !strings.HasPrefix(err.Error(), c.want) {
					t.Error(err)
				}
				return
			}
			defer w.Close()
			if w.Info().UUID != c.want {
				t.Errorf("%+v", w.Info())
			}
		})
	}
}

func TestAWatchOfADriverThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(1)
		w, err := NewWatcher(Options{NVML: h}, ID{UUID: "GPU-a"})
		if err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		h.boards[0].GetClockInfoFunc = func(nvml.ClockType) (uint32, nvml.Return) { <-release; return 0, nvml.ERROR_UNKNOWN }
		begun := time.Now()
		stop := w.Start()
		time.Sleep(time.Second)
		got := stop()
		if d := time.Since(begun); d > time.Second+callLimit {
			t.Errorf("the window took %v", d)
		}
		if !strings.Contains(got.Problem, "nvmlDeviceGetClockInfo has not returned") || got.SMClock != nil {
			t.Errorf("%+v", got)
		}
		again := w.Start()() // at once
		if d := time.Since(begun); d > time.Second+callLimit {
			t.Errorf("the second window took %v", d)
		}
		if again.Problem == "" || !reflect.DeepEqual(again, bench.Telemetry{Device: "GPU-a", Problem: again.Problem}) {
			t.Errorf("%+v", again)
		}
		w.Close()
		if h.closed.Load() != 0 {
			t.Error("nvmlShutdown while a call is under way")
		}
		close(release)
	})
}

func TestOtherProcessesOnTheGPU(t *testing.T) {
	own := uint32(os.Getpid())
	type use struct {
		pid  uint32
		util uint32
	}
	for name, c := range map[string]struct {
		uses  []use
		ret   nvml.Return
		count int
		share float64 // negative: not known
	}{
		"this process alone":            {[]use{{own, 90}, {own, 90}}, nvml.SUCCESS, 0, 0},
		"another one":                   {[]use{{own, 60}, {own, 50}, {own + 1, 40}, {own + 1, 30}}, nvml.SUCCESS, 1, 0.35},
		"another one for half the time": {[]use{{own, 60}, {own, 50}, {own + 1, 40}}, nvml.SUCCESS, 1, 0.2},
		"one that holds memory alone":   {[]use{{own, 60}, {own + 1, 0}}, nvml.SUCCESS, 0, 0},
		"two in a container":            {[]use{{7, 30}, {8, 60}}, nvml.SUCCESS, 1, 0.3},
		"itself in a container":         {[]use{{8, 60}}, nvml.SUCCESS, 0, 0},
		"nobody was seen":               {nil, nvml.ERROR_NOT_FOUND, 0, 0},
		"a driver that reports nothing": {nil, nvml.ERROR_NOT_SUPPORTED, 0, -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHost(1)
				h.boards[0].GetProcessUtilizationFunc = func(since uint64) ([]nvml.ProcessUtilizationSample, nvml.Return) {
					out := []nvml.ProcessUtilizationSample{{}, {Pid: 9, SmUtil: 99, TimeStamp: since - 1}} // unfilled, and from before
					for _, u := range c.uses {
						out = append(out, nvml.ProcessUtilizationSample{Pid: u.pid, SmUtil: u.util, TimeStamp: since + 1})
					}
					return out, c.ret
				}
				w := newTestWatcher(t, h, ID{UUID: "GPU-a"})
				stop := w.Start()
				time.Sleep(time.Second)
				got := stop()
				if got.Others != c.count || got.Problem != "" {
					t.Errorf("%d others, problem %q", got.Others, got.Problem)
				}
				if (got.OthersUtilization == nil) != (c.share < 0) || got.OthersUtilization != nil && math.Abs(*got.OthersUtilization-c.share) > 1e-9 {
					t.Errorf("share %v, want %v", got.OthersUtilization, c.share)
				}
			})
		})
	}
}
