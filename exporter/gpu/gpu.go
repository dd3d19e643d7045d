// Package gpu reads NVIDIA GPUs through NVML, for two readers: Monitor samples
// every GPU of the machine for as long as the daemon lives, and Watcher watches
// the one GPU on which a window is timed.
//
// What a GPU does not report is absent, never zero. Every call into the driver is
// bounded in time: a driver that hangs costs its GPU's figures and nothing else.
// NVML is loaded when it is first needed, so the program starts without a driver.
package gpu

import (
	"fmt"
	"strings"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/plancast/plancast/exporter/bench"
)

// Info names a GPU or a MIG instance.
type Info struct {
	GPU      string // NVML's index, "0"; a MIG instance has its own behind it, "0:1"
	UUID     string // "GPU-…" or "MIG-…"
	Name     string // "NVIDIA H200"
	PCIBusID string // as CUDA writes it, "0000:1a:00.0"; an instance has its GPU's
	Driver   string // "570.124.06"
	CUDA     string // the newest that the driver supports, "12.8"
	MIG      MIG
}

// MIG says how a device stands to Multi-Instance GPU.
type MIG string

// The ways. A GPU that cannot be split has none.
const (
	MIGDisabled MIG = "disabled"
	MIGEnabled  MIG = "enabled"  // the GPU is split into instances
	MIGInstance MIG = "instance" // one of them
)

// Quantity is a figure of a GPU.
type Quantity int

// The figures, in base units; shares are between 0 and 1.
const (
	Utilization       Quantity = iota // share of the last sample period in which a kernel ran
	MemoryUtilization                 // share in which device memory was read or written
	MemoryUsed                        // bytes
	MemorySize                        // bytes
	Power                             // W, of the whole board
	PowerLimit                        // W, enforced now
	Energy                            // J since the driver was loaded
	Temperature                       // °C
	SMClock                           // Hz
	SMClockMax                        // Hz
	MemoryClock                       // Hz
	MemoryClockMax                    // Hz
	ECCCorrected                      // errors since the driver was loaded
	ECCUncorrected                    // errors since the driver was loaded

	// Of Hopper and newer: means since the sample before, from hardware counters.
	SMActivity     // share of SMs at work
	SMOccupancy    // share of their warps in use
	TensorActivity // share of the time in which tensor cores were at work
	DRAMBandwidth  // share of the bandwidth of device memory in use

	clocksEvents // NVML's bits
)

// Values are the figures that a device reported.
type Values map[Quantity]float64

// figure is nil where the device does not report it.
func (v Values) figure(q Quantity) *float64 {
	if x, ok := v[q]; ok {
		return &x
	}
	return nil
}

// throttled takes the reasons out of v: of every one whether it holds the clocks
// back. It is nil when the device does not report them.
func (v Values) throttled() map[bench.ThrottleReason]bool {
	bits, ok := v[clocksEvents]
	if !ok {
		return nil
	}
	delete(v, clocksEvents)
	out := map[bench.ThrottleReason]bool{}
	for _, r := range bench.ThrottleReasons {
		out[r] = uint64(bits)&reasonBits[r] != 0
	}
	return out
}

// Idle, the clocks that somebody asked for and the voltage that the highest
// clock takes are among NVML's bits as well: they are no throttling.
var reasonBits = map[bench.ThrottleReason]uint64{
	bench.Thermal:    nvml.ClocksEventReasonSwThermalSlowdown | nvml.ClocksThrottleReasonHwThermalSlowdown,
	bench.PowerBrake: nvml.ClocksThrottleReasonHwPowerBrakeSlowdown,
	bench.PowerCap:   nvml.ClocksEventReasonSwPowerCap,
	bench.Hardware:   nvml.ClocksThrottleReasonHwSlowdown,
	bench.SyncBoost:  nvml.ClocksEventReasonSyncBoost,
	bench.BoardLimit: nvml.ClocksEventReasonBoardLimit,
}

// reading is one call that yields figures.
type reading struct {
	symbol string // of NVML: an older driver may lack it
	window bool   // worth asking for all the time while a window is timed
	read   func(nvml.Device) (Values, nvml.Return)
	older  *reading // for drivers that lack the function
}

const (
	milli   = 1e-3
	mega    = 1e6
	percent = 1e-2
)

func one[N uint32 | uint64](q Quantity, unit float64, read func(nvml.Device) (N, nvml.Return)) func(nvml.Device) (Values, nvml.Return) {
	return func(d nvml.Device) (Values, nvml.Return) {
		v, ret := read(d)
		return Values{q: float64(v) * unit}, ret
	}
}

// readings are the calls of one sample of a GPU.
var readings = []reading{
	utilizationReading,
	memoryReading,
	{symbol: "nvmlDeviceGetPowerUsage", window: true, read: one(Power, milli, nvml.Device.GetPowerUsage)},
	{symbol: "nvmlDeviceGetEnforcedPowerLimit", read: one(PowerLimit, milli, nvml.Device.GetEnforcedPowerLimit)},
	energyReading,
	{symbol: "nvmlDeviceGetTemperature", window: true, read: one(Temperature, 1, func(d nvml.Device) (uint32, nvml.Return) { return d.GetTemperature(nvml.TEMPERATURE_GPU) })},
	{symbol: "nvmlDeviceGetClockInfo", window: true, read: one(SMClock, mega, func(d nvml.Device) (uint32, nvml.Return) { return d.GetClockInfo(nvml.CLOCK_SM) })},
	{symbol: "nvmlDeviceGetClockInfo", window: true, read: one(MemoryClock, mega, func(d nvml.Device) (uint32, nvml.Return) { return d.GetClockInfo(nvml.CLOCK_MEM) })},
	{symbol: "nvmlDeviceGetMaxClockInfo", read: one(SMClockMax, mega, func(d nvml.Device) (uint32, nvml.Return) { return d.GetMaxClockInfo(nvml.CLOCK_SM) })},
	{symbol: "nvmlDeviceGetMaxClockInfo", read: one(MemoryClockMax, mega, func(d nvml.Device) (uint32, nvml.Return) { return d.GetMaxClockInfo(nvml.CLOCK_MEM) })},
	{symbol: "nvmlDeviceGetCurrentClocksEventReasons", window: true, read: one(clocksEvents, 1, nvml.Device.GetCurrentClocksEventReasons),
		older: &reading{symbol: "nvmlDeviceGetCurrentClocksThrottleReasons", read: one(clocksEvents, 1, nvml.Device.GetCurrentClocksThrottleReasons)}},
	{symbol: "nvmlDeviceGetTotalEccErrors", read: one(ECCCorrected, 1, func(d nvml.Device) (uint64, nvml.Return) {
		return d.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_CORRECTED, nvml.VOLATILE_ECC)
	})},
	{symbol: "nvmlDeviceGetTotalEccErrors", read: one(ECCUncorrected, 1, func(d nvml.Device) (uint64, nvml.Return) {
		return d.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC)
	})},
}

var utilizationReading = reading{symbol: "nvmlDeviceGetUtilizationRates", window: true, read: func(d nvml.Device) (Values, nvml.Return) {
	u, ret := d.GetUtilizationRates()
	return Values{Utilization: float64(u.Gpu) * percent, MemoryUtilization: float64(u.Memory) * percent}, ret
}}

var memoryReading = reading{symbol: "nvmlDeviceGetMemoryInfo", read: func(d nvml.Device) (Values, nvml.Return) {
	m, ret := d.GetMemoryInfo()
	return Values{MemoryUsed: float64(m.Used), MemorySize: float64(m.Total)}, ret
}}

var energyReading = reading{symbol: "nvmlDeviceGetTotalEnergyConsumption", read: one(Energy, milli, nvml.Device.GetTotalEnergyConsumption)}

// instanceReadings are the calls of one sample of a MIG instance: clocks, power
// and heat are its GPU's.
var instanceReadings = []reading{memoryReading}

// DefaultInterval is how often Monitor samples.
const DefaultInterval = 5 * time.Second

// The time that NVML has for a call. Loading a driver that no process holds
// open takes seconds for each GPU.
const (
	callLimit = 2 * time.Second
	initLimit = 30 * time.Second
)

// text is a fixed array of C characters.
func text(c []int8) string {
	var b strings.Builder
	for _, x := range c {
		if x == 0 {
			break
		}
		b.WriteByte(byte(x))
	}
	return b.String()
}

// busID writes a PCI address as CUDA does: NVML writes eight digits of domain, CUDA
// four.
func busID(s string) (id string, ok bool) {
	var domain, bus, device uint32
	s, _, _ = strings.Cut(s, ".")
	if n, err := fmt.Sscanf(strings.ToLower(s), "%x:%x:%x", &domain, &bus, &device); err != nil || n != 3 {
		return "", false
	}
	return fmt.Sprintf("%04x:%02x:%02x.0", domain, bus, device), true
}
