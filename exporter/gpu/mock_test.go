package gpu

import (
	"sync/atomic"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxa100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxh200"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/gpus"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
)

// host is NVIDIA's mock of a machine, with the calls added that its devices lack.
type host struct {
	*server.Server
	boards  []*board
	samples atomic.Int64 // GPM samples that are allocated and not freed
	counts  atomic.Int64 // calls to GPM that are being made
	crowded atomic.Int64 // of them, those made while another was
	closed  atomic.Int64 // calls of nvmlShutdown
	events  chan nvml.EventData
}

// board is one GPU.
type board struct {
	*server.Device
	reasons atomic.Uint64
	lost    atomic.Bool // fallen off the bus
	joules  func() float64
}

// newHost has n GPUs of an H200 server, with GPM.
func newHost(n int) *host {
	return newHostOf(dgxh200.NewWithGPUs(gpus.Multiple(n, gpus.H200_SXM5_141GB)...), true)
}

// newA100 has one GPU without GPM.
func newA100() *host { return newHostOf(dgxa100.NewWithGPUs(gpus.A100_SXM4_40GB), false) }

func newHostOf(s *server.Server, counters bool) *host {
	h := &host{Server: s, events: make(chan nvml.EventData)}
	s.ShutdownFunc = func() nvml.Return { h.closed.Add(1); return nvml.SUCCESS }
	s.EventSetCreateFunc = func() (nvml.EventSet, nvml.Return) {
		return &mock.EventSet{
			FreeFunc: func() nvml.Return { return nvml.SUCCESS },
			WaitFunc: func(ms uint32) (nvml.EventData, nvml.Return) {
				select {
				case e := <-h.events:
					return e, nvml.SUCCESS
				case <-time.After(time.Duration(ms) * time.Millisecond):
					return nvml.EventData{}, nvml.ERROR_TIMEOUT
				}
			},
		}, nvml.SUCCESS
	}
	s.GpmSampleAllocFunc = func() (nvml.GpmSample, nvml.Return) {
		h.samples.Add(1)
		return &mock.GpmSample{
			GetFunc:    func(nvml.Device) nvml.Return { return nvml.SUCCESS },
			MigGetFunc: func(nvml.Device, int) nvml.Return { return nvml.SUCCESS },
			FreeFunc:   func() nvml.Return { h.samples.Add(-1); return nvml.SUCCESS },
		}, nvml.SUCCESS
	}
	s.GpmMetricsGetFunc = func(q *nvml.GpmMetricsGetType) nvml.Return {
		if h.counts.Add(1) > 1 {
			h.crowded.Add(1)
		}
		defer h.counts.Add(-1)
		time.Sleep(time.Nanosecond) // so that others have a chance to come in between
		for i := range q.NumMetrics {
			q.Metrics[i].Value = float64(10 * q.Metrics[i].MetricId)
		}
		return nvml.SUCCESS
	}
	for i, d := range s.Devices {
		h.boards = append(h.boards, newBoard(d.(*server.Device), i, counters))
	}
	return h
}

func newBoard(d *server.Device, index int, counters bool) *board {
	begun := time.Now()
	b := &board{Device: d, joules: func() float64 { return 1000 + 500*time.Since(begun).Seconds() }}
	d.UUID = "GPU-" + string(rune('a'+index))
	d.MemoryInfo.Used = 1 << 30
	d.GetPciInfoFunc = func() (nvml.PciInfo, nvml.Return) {
		var p nvml.PciInfo
		for i, c := range "00000000:1A:00.0" {
			p.BusId[i] = int8(c)
		}
		p.BusId[10] = int8('A' + index) // bus 1A, 1B, …
		return p, nvml.SUCCESS
	}
	d.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) {
		return nvml.Utilization{Gpu: 80, Memory: 40}, nvml.SUCCESS
	}
	d.GetPowerUsageFunc = func() (uint32, nvml.Return) { return 500_000, nvml.SUCCESS }
	d.GetEnforcedPowerLimitFunc = func() (uint32, nvml.Return) { return 700_000, nvml.SUCCESS }
	d.GetTotalEnergyConsumptionFunc = func() (uint64, nvml.Return) { return uint64(b.joules() * 1000), nvml.SUCCESS }
	d.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 61, nvml.SUCCESS }
	d.GetClockInfoFunc = func(c nvml.ClockType) (uint32, nvml.Return) {
		return map[nvml.ClockType]uint32{nvml.CLOCK_SM: 1980, nvml.CLOCK_MEM: 3201}[c], nvml.SUCCESS
	}
	d.GetMaxClockInfoFunc = d.GetClockInfoFunc
	d.GetCurrentClocksEventReasonsFunc = func() (uint64, nvml.Return) { return b.reasons.Load(), nvml.SUCCESS }
	d.GetTotalEccErrorsFunc = func(t nvml.MemoryErrorType, _ nvml.EccCounterType) (uint64, nvml.Return) {
		return uint64(3 - 2*int(t)), nvml.SUCCESS // 3 corrected, 1 uncorrected
	}
	d.GpmQueryDeviceSupportFunc = func() (nvml.GpmSupport, nvml.Return) {
		if counters {
			return nvml.GpmSupport{IsSupportedDevice: 1}, nvml.SUCCESS
		}
		return nvml.GpmSupport{}, nvml.SUCCESS
	}
	d.GetProcessUtilizationFunc = func(uint64) ([]nvml.ProcessUtilizationSample, nvml.Return) { return nil, nvml.ERROR_NOT_FOUND }
	mode := d.GetMigModeFunc
	d.GetMigModeFunc = func() (int, int, nvml.Return) {
		if b.lost.Load() {
			return 0, 0, nvml.ERROR_GPU_IS_LOST
		}
		return mode()
	}
	d.RegisterEventsFunc = func(uint64, nvml.EventSet) nvml.Return { return nvml.SUCCESS }
	return b
}

// split turns MIG on, with instances at the indexes given.
func (b *board) split(indexes ...int) {
	b.MigMode = nvml.DEVICE_MIG_ENABLE
	b.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) {
		return nvml.Utilization{}, nvml.ERROR_NOT_SUPPORTED
	}
	b.GetMaxMigDeviceCountFunc = func() (int, nvml.Return) { return 7, nvml.SUCCESS }
	instances := map[int]nvml.Device{}
	for _, i := range indexes {
		instances[i] = &mock.Device{
			GetUUIDFunc:          func() (string, nvml.Return) { return "MIG-" + b.UUID + string(rune('0'+i)), nvml.SUCCESS },
			GetNameFunc:          func() (string, nvml.Return) { return b.Config.Name + " MIG 1g.18gb", nvml.SUCCESS },
			GetGpuInstanceIdFunc: func() (int, nvml.Return) { return 7 + i, nvml.SUCCESS },
			GetMemoryInfoFunc:    func() (nvml.Memory, nvml.Return) { return nvml.Memory{Total: 18 << 30, Used: 2 << 30}, nvml.SUCCESS },
		}
	}
	b.GetMigDeviceHandleByIndexFunc = func(i int) (nvml.Device, nvml.Return) {
		if d := instances[i]; d != nil {
			return d, nvml.SUCCESS
		}
		return nil, nvml.ERROR_NOT_FOUND
	}
}
