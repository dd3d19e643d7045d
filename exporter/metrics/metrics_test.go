package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/gpu"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/terms"
)

var update = flag.Bool("update", false, "regenerate the golden files and docs/metrics.md; read the diff before you commit it")

var testBuild = Build{Version: "0.1.0", Revision: "abc", GoVersion: "go1.26"}

func snapshot(t testing.TB, in standing.Evidence) *Snapshot {
	t.Helper()
	s, err := NewSnapshot(reporttest.State(in), testBuild, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// collector has the snapshot and the activity of in.
func collector(t testing.TB, in standing.Evidence) *Collector {
	t.Helper()
	c := NewCollector(snapshot(t, in))
	c.SetActivity(Activity{QueueLength: len(in.Activity.Queue), Running: in.Activity.Running, LastPass: in.Activity.LastPass, Reloaded: in.Now.Add(-time.Hour)})
	c.SetNotifications(func() Notifications {
		return Notifications{Queued: 2, OldestAge: 90 * time.Second, Results: map[string]map[string]uint64{"chat": {"sent": 7, "failed": 1, "suppressed": 0, "dropped": 0}}}
	})
	c.SetGPUs(gpus)
	c.SetHistory(func() (int64, error) { return 123 << 10, nil })
	return c
}

// gpus are a Hopper with every figure, one that is split, and one that
// stopped answering.
func gpus() []gpu.State {
	at := reporttest.Now.Add(-2 * time.Second)
	h200 := gpu.Info{GPU: "0", UUID: "GPU-5f1e", Name: "NVIDIA H200", Driver: "570.124.06", CUDA: "12.8", MIG: gpu.MIGDisabled}
	split, instance, lost := h200, h200, h200
	split.GPU, split.UUID, split.MIG = "1", "GPU-77aa", gpu.MIGEnabled
	instance.GPU, instance.UUID, instance.MIG, instance.Name = "1:0", "MIG-0c0d", gpu.MIGInstance, "NVIDIA H200 MIG 1g.18gb"
	lost.GPU, lost.UUID = "2", "GPU-dead"
	return []gpu.State{
		{Info: h200, Time: at, Errors: 0, XIDs: map[uint64]uint64{}, Values: gpu.Values{
			gpu.Utilization: 0.93, gpu.MemoryUtilization: 0.41, gpu.MemoryUsed: 12 << 30, gpu.MemorySize: 141 << 30,
			gpu.Power: 512, gpu.PowerLimit: 700, gpu.Energy: 1.25e9, gpu.Temperature: 61,
			gpu.SMClock: 1.98e9, gpu.SMClockMax: 1.98e9, gpu.MemoryClock: 3.201e9, gpu.MemoryClockMax: 3.201e9,
			gpu.ECCCorrected: 2, gpu.ECCUncorrected: 0,
			gpu.SMActivity: 0.87, gpu.SMOccupancy: 0.31, gpu.TensorActivity: 0.44, gpu.DRAMBandwidth: 0.62,
		}, Throttled: map[bench.ThrottleReason]bool{
			bench.Thermal: false, bench.PowerBrake: false, bench.PowerCap: true, bench.Hardware: false, bench.SyncBoost: false, bench.BoardLimit: false,
		}},
		{Info: split, Time: at, XIDs: map[uint64]uint64{}, Values: gpu.Values{gpu.Power: 120, gpu.Temperature: 40}},
		{Info: instance, Time: at, Values: gpu.Values{gpu.MemoryUsed: 1 << 30, gpu.MemorySize: 18 << 30, gpu.TensorActivity: 0}},
		{Info: lost, Time: at.Add(-time.Hour), Errors: 721, XIDs: map[uint64]uint64{79: 1}},
	}
}

func gather(t testing.TB, in standing.Evidence) map[string]*dto.MetricFamily {
	t.Helper()
	return gatherFrom(t, collector(t, in))
}

func gatherFrom(t testing.TB, c *Collector) map[string]*dto.MetricFamily {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*dto.MetricFamily{}
	for _, f := range families {
		out[f.GetName()] = f
	}
	return out
}

// value finds the series whose labels include those given ("model=a").
func value(families map[string]*dto.MetricFamily, name string, labels ...string) (float64, bool) {
	for _, m := range families[name].GetMetric() {
		have := map[string]bool{}
		for _, l := range m.GetLabel() {
			have[l.GetName()+"="+l.GetValue()] = true
		}
		if !slices.ContainsFunc(labels, func(l string) bool { return !have[l] }) {
			switch {
			case m.Gauge != nil:
				return m.Gauge.GetValue(), true
			case m.Counter != nil:
				return m.Counter.GetValue(), true
			case m.Summary != nil:
				return m.Summary.GetSampleSum(), true
			}
		}
	}
	return 0, false
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
		for i := range min(len(g), len(w)) {
			if g[i] != w[i] {
				t.Fatalf("%s differs in line %d:\n got %s\nwant %s\nRun go test with -update and read the difference.", path, i+1, g[i], w[i])
			}
		}
		t.Fatalf("%s has %d lines, want %d", path, len(g), len(w))
	}
}

func scrape(t testing.TB, c prometheus.Collector, accept string) []byte {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true}).ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return w.Body.Bytes()
}

func TestUnknownIsAbsent(t *testing.T) {
	in := reporttest.Input()
	for i := range in.Records {
		if in.Records[i].Model == "squeezenet" && in.Records[i].OK() {
			in.Records[i].Measurement = &bench.Measurement{
				Latency:    bench.Latency{Queries: 100, Mean: 1, Sum: 100, Quantiles: []bench.Quantile{{Q: 0.5, Value: 1}, {Q: 0.9, Value: math.NaN()}}},
				Throughput: math.Inf(1), Plan: engine.Plan{Reused: true}, Accuracy: &bench.Accuracy{Deviation: math.NaN()},
			}
		}
	}
	got := gather(t, in)
	for _, name := range []string{
		"plancast_engine_latency_upper_seconds", "plancast_engine_memory_bytes", "plancast_engine_accuracy_ratio", "plancast_engine_accuracy_deviation_ratio",
		"plancast_engine_throughput_inferences_per_second", "plancast_engine_layers", "plancast_build_duration_seconds", "plancast_engine_target_met",
		"plancast_engine_latency_distribution_seconds",
	} {
		if v, ok := value(got, name, "model=squeezenet"); ok {
			t.Errorf("%s is %v, and was not measured", name, v)
		}
	}
	for _, m := range got["plancast_engine_latency_seconds"].GetMetric() {
		if m.GetLabel()[2].GetValue() == "squeezenet" && len(m.GetSummary().GetQuantile()) != 1 {
			t.Errorf("quantiles %v; only the median was measured", m.GetSummary().GetQuantile())
		}
	}
	for _, name := range []string{"plancast_pass_duration_seconds", "plancast_last_success_timestamp_seconds"} {
		if _, ok := gather(t, standing.Evidence{Models: []standing.Held{{Name: "m"}}})[name]; ok {
			t.Errorf("%s before anything happened", name)
		}
	}
}

func TestCountersExistFromTheFirstScrape(t *testing.T) {
	got := gather(t, standing.Evidence{Models: []standing.Held{{Name: "m"}}})
	for _, result := range append([]string{"success"}, kinds()...) {
		if v, ok := value(got, "plancast_builds_total", "model=m", "result="+result); !ok || v != 0 {
			t.Errorf("result %s: %v, %v", result, v, ok)
		}
	}
}

func TestAGPUThatStopsAnsweringIsAbsentNotFrozen(t *testing.T) {
	got := gather(t, standing.Evidence{})
	for name, f := range got {
		if !strings.HasPrefix(name, "plancast_gpu_") {
			continue
		}
		_, ok := value(got, name, "gpu=2")
		if stays := slices.Contains([]string{"plancast_gpu_scrape_errors_total", "plancast_gpu_sample_timestamp_seconds", "plancast_gpu_xid_errors_total"}, name); ok != stays {
			t.Errorf("%s of the lost GPU: %t in %v", name, ok, f)
		}
	}
	for _, name := range []string{"plancast_gpu_power_watts", "plancast_gpu_throttled", "plancast_gpu_sm_activity_ratio"} {
		if v, ok := value(got, name, "gpu=1:0"); ok {
			t.Errorf("%s of an instance is %v", name, v)
		}
	}
	if v, ok := value(got, "plancast_gpu_tensor_activity_ratio", "gpu=1:0"); !ok || v != 0 {
		t.Errorf("a zero that was reported is %v, %t", v, ok)
	}
}

func TestACPUHasNoTelemetry(t *testing.T) {
	for name := range gather(t, reporttest.Input()) {
		if strings.HasPrefix(name, "plancast_engine_window_") && !strings.HasPrefix(name, "plancast_engine_window_disturbed") {
			t.Errorf("%s without anybody watching", name)
		}
	}
}

func kinds() []string {
	var out []string
	for _, k := range engine.Kinds {
		out = append(out, string(k))
	}
	return out
}

func TestFailureKeepsTheLastGoodResult(t *testing.T) {
	got := gather(t, reporttest.Input())
	for name, want := range map[string]float64{
		"plancast_iteration": 2, "plancast_engine_last_build_success": 0, "plancast_engine_latency_seconds": 0.0026 * 0.82 * 662,
	} {
		if v, ok := value(got, name, "model=silero-vad", "precision=fp32"); !ok || math.Abs(v-want) > 1e-9 {
			t.Errorf("%s is %v, %v; want %v", name, v, ok, want)
		}
	}
	if v, _ := value(got, "plancast_builds_total", "model=silero-vad", "result=unsupported_operator"); v != 1 {
		t.Errorf("the failure is counted %v times", v)
	}
	for _, x := range []struct {
		model string
		want  float64
	}{{"squeezenet", 1}} {
		if v, ok := value(got, "plancast_engine_last_build_success", "model="+x.model, "precision=fp32"); !ok || v != x.want {
			t.Errorf("last build of %s: %v, %v", x.model, v, ok)
		}
	}
	if _, ok := value(got, "plancast_engine_last_build_success", "model=squeezenet", "precision=fp16"); ok {
		t.Error("an unsupported precision looks like a failed build")
	}
}

func TestTargetMet(t *testing.T) {
	got := gather(t, reporttest.Input())
	for _, c := range []struct {
		labels []string
		want   float64
	}{
		{[]string{"model=squeezenet", "precision=int8", "target=launch", "milestone=", "criterion=p99 < 50 ms"}, 1},
		{[]string{"model=squeezenet", "precision=fp32", "target=launch", "milestone=", "criterion=p99 < 50 ms"}, 0},
		{[]string{"model=squeezenet", "precision=int8", "target=", "milestone=spring-release", "criterion=accuracy_deviation < 0.5 %"}, 1},
	} {
		if v, ok := value(got, "plancast_engine_target_met", c.labels...); !ok || v != c.want {
			t.Errorf("%v: %v, %v; want %v", c.labels, v, ok, c.want)
		}
	}
	// An engine without effect meets nothing that names its precision.
	idle := reporttest.Input()
	idle.Milestones[0].Precision, idle.Targets[0].Precision = "int8", config.Best
	got = gather(t, idle)
	for _, c := range []struct {
		family string
		labels []string
		want   float64
	}{
		{"plancast_engine_precision_effective", []string{"model=densenet"}, 0},
		{"plancast_engine_precision_effective", []string{"model=squeezenet"}, 1},
		{"plancast_engine_target_met", []string{"model=densenet", "precision=int8", "milestone=spring-release", "criterion=accuracy_deviation < 0.5 %"}, 0},
		{"plancast_engine_target_met", []string{"model=densenet", "precision=int8", "target=launch", "criterion=accuracy_deviation < 0.5 %"}, 1},
		{"plancast_milestone_info", []string{"milestone=spring-release", "precision=int8"}, 1},
	} {
		if v, ok := value(got, c.family, c.labels...); !ok || v != c.want {
			t.Errorf("%s%v: %v, %v; want %v", c.family, c.labels, v, ok, c.want)
		}
	}
	// Two thresholds that read the same are two series.
	in := reporttest.Input()
	in.Targets[0].Criteria = reporttest.Criteria("p99 < 50.001ms", "p99 < 50.002ms")
	snapshot(t, in)
}

func TestDeletedModelsAndOldEnvironmentsVanish(t *testing.T) {
	got := gather(t, reporttest.Input())
	for name, f := range got {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == "deleted-model" && name != terms.MemberSeries { // which says that it is not there
					t.Errorf("%s still has the deleted model", name)
				}
				if strings.HasPrefix(l.GetValue(), "e1310") {
					t.Errorf("%s still has the old environment", name)
				}
			}
		}
	}
	if v, ok := value(got, "plancast_iteration", "model=resnet50"); !ok || v != 6 {
		t.Errorf("iteration %v; the out-of-order version is none", v)
	}
}

func TestSeriesAreLimitedByLeavingOutModelsWithoutResults(t *testing.T) {
	s := *reporttest.State(reporttest.Input())
	garbage := []*standing.Model{}
	for i := range 1500 {
		garbage = append(garbage, &standing.Model{Held: standing.Held{Name: fmt.Sprintf("garbage%d", i)}})
	}
	all, err := NewSnapshot(&s, testBuild, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.Models = append(garbage, s.Models...)
	most := all.Len() + 100
	snap, err := NewSnapshot(&s, testBuild, most)
	if err == nil || !strings.Contains(err.Error(), "or raise metrics.max_series") {
		t.Errorf("error %v", err)
	}
	got := gatherFrom(t, NewCollector(snap))
	if snap.Len() > most+all.Len() {
		t.Errorf("%d series; want about %d", snap.Len(), most)
	}
	left, _ := value(got, "plancast_models", "state=left_out")
	measured, ok := value(got, "plancast_iteration", "model=resnet50")
	if left < 1400 || left > 1500 || !ok || measured == 0 {
		t.Errorf("%v models left out, iteration of resnet50 %v", left, measured)
	}
}

// One wrong series must not freeze all others.
func TestABadSeriesLeavesTheOthersAlone(t *testing.T) {
	s := reporttest.State(reporttest.Input())
	twice := *s
	twice.Milestones = append(slices.Clone(s.Milestones), s.Milestones[0])
	snap, err := NewSnapshot(&twice, testBuild, 0)
	if err == nil || !strings.Contains(err.Error(), `plancast_milestone_models_ready with labels ["spring-release"] appears twice`) {
		t.Errorf("error %v", err)
	}
	c := NewCollector(snap)
	w := httptest.NewRecorder()
	c.Handler(prometheus.NewRegistry(), nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	whole := snapshot(t, reporttest.Input())
	if w.Code != http.StatusOK || snap.Len() != whole.Len() || !strings.Contains(w.Body.String(), `plancast_milestone_probability{milestone="resnet-on-edge"}`) {
		t.Errorf("status %d, %d metrics of %d", w.Code, snap.Len(), whole.Len())
	}
}
