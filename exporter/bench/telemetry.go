package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Sampler watches the device while a window is timed. Without one, nothing is
// known of the device and no window is discarded.
type Sampler interface {
	// Start begins to watch. The function that it returns is called once, after
	// the window; it ends the watch and says what it observed.
	Start() (stop func() Telemetry)
	// Idle watches the device for a moment in which this process gives it nothing to
	// do. It may take longer, a second or two, while more than the share limit of the
	// device seems to be at work.
	Idle(ctx context.Context, limit float64) Idle
}

// Telemetry is what the device did during timed windows. A nil figure is one
// that the device does not report.
type Telemetry struct {
	Device   string  `json:"device"`     // UUID of the GPU or MIG instance
	Duration float64 `json:"duration_s"` // watched, in seconds

	Utilization       *float64 `json:"utilization,omitempty"`        // mean share of the time in which a kernel ran
	MemoryUtilization *float64 `json:"memory_utilization,omitempty"` // mean share of the time in which device memory was read or written
	SMClock           *float64 `json:"sm_clock_hz,omitempty"`        // mean
	MemoryClock       *float64 `json:"memory_clock_hz,omitempty"`    // mean
	Power             *float64 `json:"power_w,omitempty"`            // mean, of the whole board
	Energy            *float64 `json:"energy_j,omitempty"`           // of the whole board
	// EnergyIntegrated says that the device counts no energy: Energy is the
	// integral of the sampled power.
	EnergyIntegrated bool     `json:"energy_integrated,omitempty"`
	Temperature      *float64 `json:"temperature_c,omitempty"` // highest, degrees Celsius

	// Of Hopper and newer, from hardware counters over the whole window: the
	// mean share of SMs at work, of their warps in use, of the tensor cores at
	// work, and of the bandwidth of device memory.
	SMActivity     *float64 `json:"sm_activity,omitempty"`
	SMOccupancy    *float64 `json:"sm_occupancy,omitempty"`
	TensorActivity *float64 `json:"tensor_activity,omitempty"`
	DRAMBandwidth  *float64 `json:"dram_bandwidth,omitempty"`

	// Others is how many other processes were at work on the device at the same
	// time, and OthersUtilization the mean share of the time that they kept it at
	// work.
	Others            int      `json:"others,omitempty"`
	OthersUtilization *float64 `json:"others_utilization,omitempty"`

	// Throttled is the share of the samples in which a reason held the clocks
	// back; reasons that were not observed are left out.
	Throttled map[ThrottleReason]float64 `json:"throttled,omitempty"`

	// Discarded is how many windows of the whole measurement were discarded
	// because the device was throttled by heat or by a power brake.
	Discarded int `json:"discarded,omitempty"`
	// Suffered is how many windows count although it was: after maxRemeasured.
	Suffered int `json:"suffered,omitempty"`

	// Problem is why the device could not be watched all the time; "" when it could.
	Problem string `json:"problem,omitempty"`
}

// ThrottleReason is why a device holds its clocks back.
type ThrottleReason string

// The reasons, as NVML distinguishes them. That a device idles or was set to a lower
// clock is no throttling.
const (
	Thermal    ThrottleReason = "thermal"     // too hot: hardware or software slowdown
	PowerBrake ThrottleReason = "power_brake" // the power supply demands it
	PowerCap   ThrottleReason = "power_cap"   // at the power limit: usual under full load
	Hardware   ThrottleReason = "hardware"    // a hardware slowdown; its cause is reported as well where the device knows it
	SyncBoost  ThrottleReason = "sync_boost"  // waits for a slower GPU of its group
	BoardLimit ThrottleReason = "board_limit" // a limit of the board, such as its current
)

// ThrottleReasons lists them all.
var ThrottleReasons = []ThrottleReason{Thermal, PowerBrake, PowerCap, Hardware, SyncBoost, BoardLimit}

// maxRemeasured is how many throttled windows of one measurement are thrown
// away; what is throttled after that stands, and is marked unstable.
const maxRemeasured = 3

// disturbing are the reasons that make a window worthless: they say something
// about the machine's cooling and supply, and come and go. A power cap does not:
// it is how a GPU under full load runs.
var disturbing = []ThrottleReason{Thermal, PowerBrake}

// throttled names the disturbing reasons that were observed; "" for none.
func (t Telemetry) throttled() string {
	var words []string
	for _, reason := range disturbing {
		if share := t.Throttled[reason]; share > 0 {
			words = append(words, fmt.Sprintf("%s %.0f %% of the time", inWords[reason], max(1, 100*share)))
		}
	}
	return strings.Join(words, ", ")
}

// notableCap is from which share of the time on a power cap is reported.
const notableCap = 0.05

var inWords = map[ThrottleReason]string{Thermal: "by heat", PowerBrake: "by a power brake"}

// Watched makes Measure watch the device through s.
func Watched(s Sampler) func(*run) {
	return func(r *run) { r.sampler = s }
}

// telemetry judges what was observed in the accepted windows of the latency.
func (r *run) telemetry(windows []Telemetry) {
	if len(windows) == 0 {
		return
	}
	t := poolTelemetry(windows)
	t.Discarded = r.throttled
	r.m.Telemetry = &t
	if t.Suffered > 0 {
		r.m.Stable = false
		r.warn("the device was throttled %s in windows that count, after %d were discarded: check its cooling and power supply, or lock its clocks lower", t.throttled(), r.throttled)
	}
	if share := t.Throttled[PowerCap]; share >= notableCap {
		r.warn("the device was at its power limit %.0f %% of the time, which is usual under full load: the figures hold for this limit", 100*share)
	}
}

// poolTelemetry condenses windows into one: means are weighted by time.
func poolTelemetry(windows []Telemetry) Telemetry {
	out := Telemetry{Device: windows[0].Device}
	for _, w := range windows {
		out.Duration += w.Duration
		out.Suffered += w.Suffered
		out.Others = max(out.Others, w.Others)
		out.EnergyIntegrated = out.EnergyIntegrated || w.EnergyIntegrated
		if out.Problem == "" {
			out.Problem = w.Problem
		}
	}
	mean := func(of func(Telemetry) *float64) *float64 {
		var sum, weight float64
		for _, w := range windows {
			if v := of(w); v != nil && w.Duration > 0 {
				sum += *v * w.Duration
				weight += w.Duration
			}
		}
		if weight == 0 {
			return nil
		}
		sum /= weight
		return &sum
	}
	out.Utilization = mean(func(t Telemetry) *float64 { return t.Utilization })
	out.MemoryUtilization = mean(func(t Telemetry) *float64 { return t.MemoryUtilization })
	out.SMClock = mean(func(t Telemetry) *float64 { return t.SMClock })
	out.MemoryClock = mean(func(t Telemetry) *float64 { return t.MemoryClock })
	out.Power = mean(func(t Telemetry) *float64 { return t.Power })
	out.SMActivity = mean(func(t Telemetry) *float64 { return t.SMActivity })
	out.SMOccupancy = mean(func(t Telemetry) *float64 { return t.SMOccupancy })
	out.TensorActivity = mean(func(t Telemetry) *float64 { return t.TensorActivity })
	out.DRAMBandwidth = mean(func(t Telemetry) *float64 { return t.DRAMBandwidth })
	out.OthersUtilization = mean(func(t Telemetry) *float64 { return t.OthersUtilization })

	energy, known := 0.0, true
	for _, w := range windows {
		if known = known && w.Energy != nil; known {
			energy += *w.Energy
		}
		if v := w.Temperature; v != nil && (out.Temperature == nil || *v > *out.Temperature) {
			out.Temperature = v
		}
	}
	if known {
		out.Energy = &energy
	}
	for _, reason := range ThrottleReasons {
		share := mean(func(t Telemetry) *float64 { v := t.Throttled[reason]; return &v })
		if share != nil && *share > 0 {
			if out.Throttled == nil {
				out.Throttled = map[ThrottleReason]float64{}
			}
			out.Throttled[reason] = *share
		}
	}
	return out
}

// Reasons lists the reasons that were observed, in the order of ThrottleReasons.
func (t Telemetry) Reasons() []ThrottleReason {
	return slices.DeleteFunc(slices.Clone(ThrottleReasons), func(r ThrottleReason) bool { return t.Throttled[r] == 0 })
}

// EnergyPerInference is the energy of the accepted windows for each inference,
// in joules; false when it is not known.
func (m Measurement) EnergyPerInference() (float64, bool) {
	n := m.Latency.Queries * m.Latency.Batch
	if m.Telemetry == nil || m.Telemetry.Energy == nil || n == 0 {
		return 0, false
	}
	return *m.Telemetry.Energy / float64(n), true
}
