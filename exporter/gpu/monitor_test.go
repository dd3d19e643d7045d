package gpu

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/plancast/plancast/exporter/bench"
)

// monitored runs a monitor of h while test looks at it. The bubble fails a test
// that leaves a goroutine behind.
func monitored(t *testing.T, h *host, test func(m *Monitor, log *bytes.Buffer)) {
	t.Helper()
	var log bytes.Buffer
	m := NewMonitor(Options{NVML: h, Log: slog.New(slog.NewTextHandler(&log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx)
	}()
	synctest.Wait()
	test(m, &log)
	cancel()
	<-done
	if n := h.samples.Load(); n != 0 {
		t.Errorf("%d GPM samples were not freed", n)
	}
	if n := h.crowded.Load(); n != 0 {
		t.Errorf("GPM was called %d times while it was being called for another GPU", n)
	}
	if h.closed.Load() != 1 {
		t.Errorf("nvmlShutdown was called %d times", h.closed.Load())
	}
}

func wantValue(t *testing.T, v Values, q Quantity, want float64) {
	t.Helper()
	if got, ok := v[q]; !ok || math.Abs(got-want) > 1e-6*math.Abs(want) {
		t.Errorf("quantity %d is %v, %t; want %v", q, got, ok, want)
	}
}

func TestMonitorReadsEveryFigureOfEveryGPU(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(2)
		h.boards[1].reasons.Store(nvml.ClocksEventReasonGpuIdle | nvml.ClocksThrottleReasonHwThermalSlowdown | nvml.ClocksThrottleReasonHwSlowdown)
		monitored(t, h, func(m *Monitor, _ *bytes.Buffer) {
			first := m.States()[0]
			if _, ok := first.Values[SMActivity]; ok {
				t.Error("counters are means between two samples, and there is one")
			}
			time.Sleep(DefaultInterval + time.Microsecond)
			synctest.Wait()
			states := m.States()
			if len(states) != 2 || states[0].UUID != "GPU-a" || states[1].GPU != "1" {
				t.Fatalf("%+v", states)
			}
			s := states[0]
			if s.Name != "NVIDIA H200 141GB HBM3" && !strings.Contains(s.Name, "H200") || s.Driver != "550.54.15" || s.CUDA != "12.4" || s.MIG != MIGDisabled || s.PCIBusID != "0000:1a:00.0" {
				t.Errorf("%+v", s.Info)
			}
			for q, want := range map[Quantity]float64{
				Utilization: 0.8, MemoryUtilization: 0.4, MemoryUsed: 1 << 30, MemorySize: float64(h.boards[0].MemoryInfo.Total),
				Power: 500, PowerLimit: 700, Energy: 1000 + 500*5, Temperature: 61,
				SMClock: 1.98e9, SMClockMax: 1.98e9, MemoryClock: 3.201e9, MemoryClockMax: 3.201e9, ECCCorrected: 3, ECCUncorrected: 1,
				SMActivity: 0.2, SMOccupancy: 0.3, TensorActivity: 0.5, DRAMBandwidth: 1,
			} {
				wantValue(t, s.Values, q, want)
			}
			if time.Since(s.Time) > time.Microsecond || s.Errors != 0 {
				t.Errorf("sampled at %v with %d errors", s.Time, s.Errors)
			}
			want := map[bench.ThrottleReason]bool{bench.Thermal: true, bench.PowerBrake: false, bench.PowerCap: false, bench.Hardware: true, bench.SyncBoost: false, bench.BoardLimit: false}
			if !maps.Equal(states[1].Throttled, want) {
				t.Errorf("throttled %v", states[1].Throttled)
			}
		})
	})
}

func TestWhatAGPUDoesNotReportIsAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newA100()
		b := h.boards[0]
		b.GetTotalEnergyConsumptionFunc = func() (uint64, nvml.Return) { return 0, nvml.ERROR_NOT_SUPPORTED }
		b.GetCurrentClocksEventReasonsFunc = func() (uint64, nvml.Return) { return 0, nvml.ERROR_NO_PERMISSION }
		// A driver that lacks a function: calling it would end the process.
		b.GetTotalEccErrorsFunc = nil
		h.LookupSymbolFunc = func(symbol string) error {
			if symbol == "nvmlDeviceGetTotalEccErrors" || symbol == "nvmlDeviceGetMigMode" {
				return nvml.ERROR_FUNCTION_NOT_FOUND
			}
			return nil
		}
		monitored(t, h, func(m *Monitor, _ *bytes.Buffer) {
			time.Sleep(DefaultInterval + time.Microsecond)
			synctest.Wait()
			s := m.States()[0]
			for _, q := range []Quantity{Energy, ECCCorrected, ECCUncorrected, SMActivity, TensorActivity, DRAMBandwidth} {
				if v, ok := s.Values[q]; ok {
					t.Errorf("quantity %d is %v", q, v)
				}
			}
			if s.Throttled != nil {
				t.Errorf("reasons that were not reported: %v", s.Throttled)
			}
			if s.Errors != 0 || s.MIG != "" {
				t.Errorf("%d errors, MIG %q", s.Errors, s.MIG)
			}
			wantValue(t, s.Values, Power, 500)
		})
	})
}

func TestAnOlderDriverHasAnotherNameForThrottling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(1)
		h.boards[0].GetCurrentClocksEventReasonsFunc = nil
		h.boards[0].GetCurrentClocksThrottleReasonsFunc = func() (uint64, nvml.Return) { return nvml.ClocksThrottleReasonHwPowerBrakeSlowdown, nvml.SUCCESS }
		h.LookupSymbolFunc = func(symbol string) error {
			if symbol == "nvmlDeviceGetCurrentClocksEventReasons" {
				return nvml.ERROR_FUNCTION_NOT_FOUND
			}
			return nil
		}
		monitored(t, h, func(m *Monitor, _ *bytes.Buffer) {
			if s := m.States()[0]; !s.Throttled[bench.PowerBrake] || s.Throttled[bench.Thermal] {
				t.Errorf("throttled %v", s.Throttled)
			}
		})
	})
}

func TestMonitorListsInstancesUnderTheirGPU(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(2)
		h.boards[0].split(0, 2)
		monitored(t, h, func(m *Monitor, _ *bytes.Buffer) {
			time.Sleep(DefaultInterval + time.Microsecond)
			synctest.Wait()
			states := m.States()
			var names []string
			for _, s := range states {
				names = append(names, s.GPU+" "+s.UUID+" "+string(s.MIG))
			}
			if want := []string{"0 GPU-a enabled", "0:0 MIG-GPU-a0 instance", "0:2 MIG-GPU-a2 instance", "1 GPU-b disabled"}; !slices.Equal(names, want) {
				t.Fatalf("%q, want %q", names, want)
			}
			x := states[1].Values
			wantValue(t, x, MemorySize, 18<<30)
			wantValue(t, x, TensorActivity, 0.5)
			for _, q := range []Quantity{Power, Energy, Temperature, Utilization} {
				if _, ok := x[q]; ok {
					t.Errorf("quantity %d of an instance is its GPU's", q)
				}
			}
			if _, ok := states[0].Values[SMActivity]; ok {
				t.Error("a split GPU has no counters of its own")
			}
			// An instance that is taken away vanishes at once.
			h.boards[0].Lock()
			h.boards[0].MigMode = nvml.DEVICE_MIG_DISABLE
			h.boards[0].Unlock()
			time.Sleep(DefaultInterval + time.Microsecond)
			synctest.Wait()
			if n := len(m.States()); n != 2 {
				t.Errorf("%d devices after the instances went", n)
			}
		})
	})
}

func TestAHungCallCostsItsGPUAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(2)
		release := make(chan struct{})
		calls := 0
		h.boards[0].GetPowerUsageFunc = func() (uint32, nvml.Return) {
			calls++
			<-release
			return 500_000, nvml.SUCCESS
		}
		monitored(t, h, func(m *Monitor, log *bytes.Buffer) {
			time.Sleep(4 * DefaultInterval)
			synctest.Wait()
			states := m.States()
			if states[0].Values != nil || states[0].Errors == 0 {
				t.Errorf("a GPU that hangs shows %v with %d errors", states[0].Values, states[0].Errors)
			}
			if states[1].Values == nil || states[1].Errors != 0 || time.Since(states[1].Time) > DefaultInterval {
				t.Errorf("the other GPU suffers: %+v", states[1])
			}
			if calls != 1 {
				t.Errorf("%d calls on a GPU that hangs", calls)
			}
			if text := log.String(); strings.Count(text, "GPU does not answer") != 1 || !strings.Contains(text, "nvmlDeviceGetPowerUsage has not returned since") {
				t.Errorf("log:\n%s", text)
			}
			close(release)
			time.Sleep(DefaultInterval + time.Microsecond)
			synctest.Wait()
			if s := m.States()[0]; s.Values == nil {
				t.Error("the call came back and the GPU did not")
			}
		})
	})
}

func TestAStopDoesNotWaitForAHungDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(1)
		release := make(chan struct{})
		h.boards[0].GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { <-release; return 0, nvml.ERROR_UNKNOWN }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			NewMonitor(Options{NVML: h}).Run(ctx)
		}()
		time.Sleep(time.Second)
		cancel()
		begun := time.Now()
		<-done
		if d := time.Since(begun); d > callLimit {
			t.Errorf("the stop took %v", d)
		}
		if h.closed.Load() != 0 {
			t.Error("nvmlShutdown while a call is under way")
		}
		close(release)
	})
}

func TestAnInitThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(1)
		release := make(chan struct{})
		h.InitFunc = func() nvml.Return { <-release; return nvml.SUCCESS }
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			NewMonitor(Options{NVML: h}).Run(ctx)
		}()
		synctest.Wait()
		cancel()
		<-done
		time.Sleep(initLimit)
		close(release)
	})
}

func TestALostGPUDisappearsAndItsErrorsStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(1)
		monitored(t, h, func(m *Monitor, log *bytes.Buffer) {
			sampled := m.States()[0].Time
			h.events <- nvml.EventData{Device: h.boards[0].Device, EventType: nvml.EventTypeXidCriticalError, EventData: 79}
			h.events <- nvml.EventData{Device: h.boards[0].Device, EventType: nvml.EventTypeXidCriticalError, EventData: 79}
			h.boards[0].lost.Store(true)
			time.Sleep(stale * DefaultInterval)
			synctest.Wait()
			if m.States()[0].Values == nil {
				t.Error("gone too soon")
			}
			time.Sleep(DefaultInterval + time.Microsecond)
			synctest.Wait()
			s := m.States()[0]
			if s.Values != nil || s.Errors != 4 || s.XIDs[79] != 2 || !s.Time.Equal(sampled) {
				t.Errorf("%+v", s)
			}
			if strings.Count(log.String(), "xid=79") != 1 {
				t.Errorf("log:\n%s", log)
			}
		})
	})
}

func TestWithoutADriver(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*host)
		says   string
	}{
		"no library": {func(h *host) { h.InitFunc = func() nvml.Return { return nvml.ERROR_LIBRARY_NOT_FOUND } }, "libnvidia-ml.so.1 was not found where the dynamic loader looks"},
		"no driver":  {func(h *host) { h.InitFunc = func() nvml.Return { return nvml.ERROR_DRIVER_NOT_LOADED } }, "the NVIDIA driver is not loaded"},
		"no GPU":     {func(h *host) { h.Devices = nil }, "driver 550.54.15 found no GPU for this process"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(1)
			c.change(h)
			var log bytes.Buffer
			m := NewMonitor(Options{NVML: h, Log: slog.New(slog.NewTextHandler(&log, nil))})
			m.Run(t.Context())
			if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "level=INFO") || !strings.Contains(text, c.says) {
				t.Errorf("log:\n%s", text)
			}
			if len(m.States()) != 0 {
				t.Errorf("%+v", m.States())
			}
		})
	}
}

// The loader itself, on machines of every kind.
func TestTheRealLibraryOrNone(t *testing.T) {
	s, err := open(nil, 0)
	if err != nil {
		if !strings.Contains(err.Error(), library) && !strings.Contains(err.Error(), "driver") {
			t.Error(err)
		}
		return
	}
	s.close()
}
