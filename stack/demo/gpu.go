package demo

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Instance is the label instance of the invented GPU telemetry: every panel
// that shows it says that it is a demo.
const Instance = "demo-gpu"

// card is a GPU that does not exist.
type card struct {
	index, uuid, name   string
	memory, limit, idle float64 // bytes, watts, watts
	sm, mem             float64 // highest clocks, hertz
	counters            bool    // Hopper's hardware counters
}

var cards = []card{
	{"0", "GPU-demo-0000", GPU, 24 << 30, 72, 17, 2.04e9, 6.25e9, false},
	{"1", "GPU-demo-0001", FastGPU, 80 << 30, 700, 78, 1.98e9, 2.62e9, true},
}

// cardOf is the card of a name.
func cardOf(device string) card {
	return cards[slices.IndexFunc(cards, func(c card) bool { return c.name == device })]
}

// scatter is a number in [0,1) that belongs to a key and a moment.
func scatter(key string, t int64) float64 {
	h := fnv.New64a()
	h.Write([]byte(key))
	return rand.New(rand.NewPCG(h.Sum64(), uint64(t))).Float64()
}

// load is the share of the time that a card works: measuring goes in bouts,
// mostly by day.
func (c card) load(at time.Time) float64 {
	slot := at.Unix() / 1800
	hour := float64(at.Hour()) + float64(at.Minute())/60
	off := (hour - 14) / 4.5
	busy := 0.25 + 0.45*math.Exp(-off*off)
	if at.Weekday() == time.Saturday || at.Weekday() == time.Sunday {
		busy *= 0.3
	}
	if scatter(c.uuid, slot) > busy {
		return 0.01 * scatter(c.uuid+"idle", slot)
	}
	return 0.55 + 0.42*scatter(c.uuid+"load", slot)
}

// sample is one value of a series of a card.
type sample struct {
	name   string
	labels string // beyond gpu, uuid and device, with a comma in front
	value  float64
}

// telemetry is what a card would show at a moment. The names are those of
// docs/metrics.md.
func (c card) telemetry(at time.Time) []sample {
	load := c.load(at)
	power := c.idle + (0.94*c.limit-c.idle)*load
	heat := 34 + 41*load + 3*scatter(c.uuid+"heat", at.Unix()/1800)
	throttled := 0.0
	if load > 0.93 && c.index == "0" {
		throttled, heat = 1, heat+7
	}
	clock := c.sm * (0.35 + 0.62*math.Min(1, load*2)) * (1 - 0.12*throttled)
	out := []sample{
		{"plancast_gpu_info", `,driver="580.65.06",cuda="13.0",mig="disabled"`, 1},
		{"plancast_gpu_utilization_ratio", "", load},
		{"plancast_gpu_memory_utilization_ratio", "", load * 0.55},
		{"plancast_gpu_memory_used_bytes", "", math.Round(c.memory * (0.03 + 0.5*load))},
		{"plancast_gpu_memory_size_bytes", "", c.memory},
		{"plancast_gpu_power_watts", "", power},
		{"plancast_gpu_power_limit_watts", "", c.limit},
		// A steady mean in place of the integral: a counter must not go back.
		{"plancast_gpu_energy_joules_total", "", math.Round(float64(at.Unix()-1.7e9) * (c.idle + 0.3*(c.limit-c.idle)))},
		{"plancast_gpu_temperature_celsius", "", math.Round(heat)},
		{"plancast_gpu_clock_hertz", `,clock="sm"`, math.Round(clock/1e6) * 1e6},
		{"plancast_gpu_clock_hertz", `,clock="memory"`, c.mem},
		{"plancast_gpu_clock_max_hertz", `,clock="sm"`, c.sm},
		{"plancast_gpu_clock_max_hertz", `,clock="memory"`, c.mem},
		{"plancast_gpu_ecc_errors_total", `,kind="corrected"`, math.Floor(float64(at.Unix()-1.7e9) / 2.6e6)},
		{"plancast_gpu_ecc_errors_total", `,kind="uncorrected"`, 0},
		{"plancast_gpu_scrape_errors_total", "", 0},
		{"plancast_gpu_sample_timestamp_seconds", "", float64(at.Unix())},
	}
	for _, reason := range []string{"thermal", "power_brake", "power_cap", "hardware", "sync_boost", "board_limit"} {
		v := 0.0
		switch reason {
		case "thermal":
			v = throttled
		case "power_cap":
			if load > 0.8 {
				v = 1
			}
		}
		out = append(out, sample{"plancast_gpu_throttled", `,reason="` + reason + `"`, v})
	}
	if c.counters {
		out = append(out,
			sample{"plancast_gpu_sm_activity_ratio", "", 0.86 * load}, sample{"plancast_gpu_sm_occupancy_ratio", "", 0.41 * load},
			sample{"plancast_gpu_tensor_activity_ratio", "", 0.33 * load}, sample{"plancast_gpu_dram_bandwidth_ratio", "", 0.47 * load})
	}
	return out
}

func (c card) series(s sample, extra string) string {
	return fmt.Sprintf(`%s{%sgpu=%q,uuid=%q,device=%q%s}`, s.name, extra, c.index, c.uuid, c.name, s.labels)
}

// WriteTelemetry writes the telemetry of the demo's GPUs as OpenMetrics text,
// a sample each step for the last days until now, with the labels that a scrape
// would add.
func WriteTelemetry(w io.Writer, now time.Time, days int, step time.Duration) error {
	b := bufio.NewWriter(w)
	begin := now.Add(-time.Duration(days) * day).Truncate(step)
	for _, c := range cards {
		for i, first := range c.telemetry(begin) {
			name := c.series(first, `job="plancast",instance="`+Instance+`",`)
			for t := begin; !t.After(now); t = t.Add(step) {
				b.WriteString(name)
				b.WriteString(" " + strconv.FormatFloat(c.telemetry(t)[i].value, 'g', -1, 64) + " " + strconv.FormatInt(t.Unix(), 10) + "\n")
			}
		}
	}
	b.WriteString("# EOF\n")
	return b.Flush()
}

// Telemetry serves the telemetry of the demo's GPUs as they would be now.
func Telemetry(now func() time.Time) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		at := now().UTC()
		for _, c := range cards {
			for _, s := range c.telemetry(at) {
				fmt.Fprintf(w, "%s %s\n", c.series(s, ""), strconv.FormatFloat(s.value, 'g', -1, 64))
			}
		}
	})
}
