package gpu

import (
	"errors"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// meter reads NVML's GPU performance monitoring (GPM): hardware counters that
// Hopper and newer keep, which take no profiler and no lock. A figure is the mean
// between two samples, so a meter remembers the sample before. It is used by one
// goroutine at a time. The nil meter measures nothing.
type meter struct {
	lib      nvml.Interface
	line     *line
	handle   nvml.Device // of the GPU
	instance int         // GPU instance of MIG; -1 for the whole GPU
	last     nvml.GpmSample
	turn     chan struct{} // held during each call to GPM, of all meters
}

// gpm makes a call to GPM when it is its turn among all GPUs: seen on driver 580
// with two H100, nvmlGpmMetricsGet crashes the process at times while it runs for
// two GPUs at once, though NVML's functions may be called from any thread. While a
// call hangs for another GPU, and so keeps the turn, there is nothing to read here.
func gpm[T any](m *meter, symbol string, f func() (T, nvml.Return)) (T, error) {
	return call(m.line, symbol, func() (T, nvml.Return) {
		patience := time.NewTimer(m.line.limit / 2)
		defer patience.Stop()
		select {
		case m.turn <- struct{}{}:
			defer func() { <-m.turn }()
			return f()
		case <-patience.C:
			var zero T
			return zero, nvml.ERROR_NO_DATA
		}
	})
}

// gpmMetrics are what a meter reads, in percent.
var gpmMetrics = []struct {
	id       nvml.GpmMetricId
	quantity Quantity
}{
	{nvml.GPM_METRIC_SM_UTIL, SMActivity},
	{nvml.GPM_METRIC_SM_OCCUPANCY, SMOccupancy},
	{nvml.GPM_METRIC_ANY_TENSOR_UTIL, TensorActivity},
	{nvml.GPM_METRIC_DRAM_BW_UTIL, DRAMBandwidth},
}

// newMeter is nil where there is no GPM.
func (s *system) newMeter(d *device, handle nvml.Device, instance int) *meter {
	for _, symbol := range []string{"nvmlGpmSampleAlloc", "nvmlGpmSampleGet", "nvmlGpmMigSampleGet", "nvmlGpmMetricsGet", "nvmlGpmSampleFree"} {
		if !d.line.has(symbol) {
			return nil
		}
	}
	support, err := call(d.line, "nvmlGpmQueryDeviceSupport", handle.GpmQueryDeviceSupport)
	if err != nil || support.IsSupportedDevice == 0 {
		return nil
	}
	return &meter{lib: s.lib, line: d.line, handle: handle, instance: instance, turn: s.counting}
}

// start takes the sample that the next read counts from.
func (m *meter) start() error {
	if m == nil {
		return nil
	}
	sample, err := m.take()
	if err != nil {
		return err
	}
	m.forget()
	m.last = sample
	return nil
}

// read returns the means since the sample before, which has to be some 100 ms
// ago or more; nothing at the first call.
func (m *meter) read() (Values, error) {
	if m == nil {
		return nil, nil
	}
	before := m.last
	now, err := m.take()
	if errors.Is(err, errAbsent) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m.last = now
	if before == nil {
		return nil, nil
	}
	answer, err := gpm(m, "nvmlGpmMetricsGet", func() (*nvml.GpmMetricsGetType, nvml.Return) {
		q := &nvml.GpmMetricsGetType{NumMetrics: uint32(len(gpmMetrics)), Sample1: before, Sample2: now}
		for i, x := range gpmMetrics {
			q.Metrics[i].MetricId = uint32(x.id)
		}
		ret := m.lib.GpmMetricsGet(q)
		return q, ret
	})
	m.free(before)
	if errors.Is(err, errAbsent) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	values := Values{}
	for i, x := range gpmMetrics {
		// A failed metric has its own return; a value out of range is noise of
		// a sample that was too short.
		if v := answer.Metrics[i]; nvml.Return(v.NvmlReturn) == nvml.SUCCESS && v.Value >= 0 && v.Value <= 100 {
			values[x.quantity] = v.Value * percent
		}
	}
	return values, nil
}

// take allocates and fills a sample. A sample that a hanging call may still
// write to is never freed.
func (m *meter) take() (nvml.GpmSample, error) {
	sample, err := gpm(m, "nvmlGpmSampleAlloc", m.lib.GpmSampleAlloc)
	if err != nil {
		return nil, err
	}
	_, err = gpm(m, "nvmlGpmSampleGet", func() (struct{}, nvml.Return) {
		if m.instance >= 0 {
			return struct{}{}, sample.MigGet(m.handle, m.instance)
		}
		return struct{}{}, sample.Get(m.handle)
	})
	if err != nil {
		m.free(sample)
		return nil, err
	}
	return sample, nil
}

// free does nothing while a call hangs, for that call may use the sample.
func (m *meter) free(sample nvml.GpmSample) {
	_, _ = gpm(m, "nvmlGpmSampleFree", func() (struct{}, nvml.Return) { return struct{}{}, sample.Free() })
}

func (m *meter) forget() {
	if m.last != nil {
		m.free(m.last)
		m.last = nil
	}
}

// close frees what the meter holds.
func (m *meter) close() {
	if m != nil {
		m.forget()
	}
}
