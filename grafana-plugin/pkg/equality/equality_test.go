//go:build cgo

// The exporter reads GPUs through cgo; the plugin itself is built without.

// Package equality compares the two programs: for the same evidence the plugin
// says, out of a real Prometheus, the very number that the exporter publishes.
package equality_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/fleet"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/grafana-plugin/pkg/plugin"
	"github.com/plancast/plancast/tsdb/promtest"
	"github.com/plancast/plancast/units"
)

var (
	begin = time.Date(2025, 3, 3, 9, 0, 0, 0, time.UTC)
	now   = begin.AddDate(0, 0, 15)
)

const scrape = 15 * time.Minute

var (
	fast     = forecast.Criterion{Metric: "p99", Comparison: forecast.Below, Target: 0.032, Unit: units.Seconds}
	faithful = forecast.Criterion{Metric: "accuracy_deviation", Comparison: forecast.Below, Target: 0.005, Unit: units.Ratio}
	many     = forecast.Criterion{Metric: "throughput", Comparison: forecast.AtLeast, Target: 30, Unit: units.PerSec}
)

// diary writes the records of a team: each candidate is measured at two
// precisions, of which int8 is the faster and at times not faithful.
type diary struct{ records []history.Record }

// candidates adds n candidates of a model; edit may change or drop a record.
func (d *diary) candidates(model string, n int, from float64, edit func(i int, r *history.Record) (keep bool)) {
	rnd := rand.New(rand.NewPCG(uint64(len(model)), 7))
	level := from
	for i := 1; i <= n; i++ {
		at := begin.Add(time.Duration(i)*24*time.Hour + time.Duration(rnd.IntN(300))*time.Minute)
		if rnd.Float64() < 0.5 {
			level = 0.03 + (level-0.03)*0.8
		}
		for k, p := range []engine.Precision{engine.FP16, engine.INT8} {
			p99 := level * (1 - 0.22*float64(k)) * math.Exp(0.01*rnd.NormFloat64())
			deviation := 0.0004
			if p == engine.INT8 {
				deviation = 0.002 + 0.006*rnd.Float64()
			}
			r := history.Record{
				Model: model, Version: strconv.Itoa(i), Digest: fmt.Sprint(model, i), Precision: p, Backend: "tensorrt", Device: "NVIDIA L4",
				Fingerprint: "3fa91c07b2de", Iteration: i, Started: at, Finished: at.Add(time.Duration(k+1) * 11 * time.Minute),
				Measurement: &bench.Measurement{
					Latency:    bench.Latency{Queries: 700, Sum: 700 * p99, Quantiles: []bench.Quantile{{Q: 0.99, Value: p99}}},
					Throughput: 1 / p99, Accuracy: &bench.Accuracy{Deviation: deviation}, Layers: &bench.LayerSummary{},
				},
			}
			if edit == nil || edit(i, &r) {
				d.records = append(d.records, r)
			}
		}
	}
	slices.SortStableFunc(d.records, func(a, b history.Record) int { return a.Finished.Compare(b.Finished) })
	for i := range d.records {
		d.records[i].ID = int64(i + 1)
	}
}

func fail(r *history.Record) {
	r.Measurement = nil
	r.Failure = &history.Failure{Error: engine.Error{Kind: engine.KindTimeout}}
}

// input is what the exporter knows at a moment.
func (d *diary) input(ms []config.Milestone, at time.Time) standing.Evidence {
	in := standing.Evidence{Now: at, Milestones: ms}
	for _, r := range d.records {
		if r.Finished.After(at) {
			continue
		}
		in.Records = append(in.Records, r)
		k := slices.IndexFunc(in.Models, func(m standing.Held) bool { return m.Name == r.Model })
		if k < 0 {
			k = len(in.Models)
			in.Models = append(in.Models, standing.Held{Name: r.Model, Precisions: []engine.Precision{engine.FP16, engine.INT8}})
		}
		in.Models[k].Fingerprint = r.Fingerprint // the machine is the one that measured last
	}
	slices.SortFunc(in.Models, func(a, b standing.Held) int { return strings.Compare(a.Name, b.Name) })
	return in
}

// scraped is what a Prometheus holds that scrapes the exporter every
// quarter of an hour, as OpenMetrics text. The forecast is published at the end.
func (d *diary) scraped(t *testing.T, ms []config.Milestone) (text string, atTheEnd []*dto.MetricFamily) {
	t.Helper()
	lines := map[string][]string{}
	var families []*dto.MetricFamily
	known := -1
	for at := begin.Truncate(scrape); !at.After(now); at = at.Add(scrape) {
		in := d.input(ms, at)
		last := !at.Add(scrape).Before(now)
		if len(in.Records) != known || last {
			known = len(in.Records)
			if last {
				in.Now = now
			}
			families = gather(t, in)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				write := func(v float64, extra ...string) {
					lines[f.GetName()] = append(lines[f.GetName()], line(f.GetName(), labels(m, extra...), v, at))
				}
				switch f.GetType() {
				case dto.MetricType_GAUGE:
					write(m.GetGauge().GetValue())
				case dto.MetricType_SUMMARY:
					for _, q := range m.GetSummary().GetQuantile() {
						write(q.GetValue(), "quantile", strconv.FormatFloat(q.GetQuantile(), 'g', -1, 64))
					}
				}
			}
		}
	}
	return openMetrics(lines), families
}

// exported is what a Prometheus holds that took in the export of the history,
// and then scraped the exporter once.
func (d *diary) exported(t *testing.T, ms []config.Milestone) (text string, atTheEnd []*dto.MetricFamily) {
	t.Helper()
	in := d.input(ms, now)
	families := gather(t, in)
	lines := map[string][]string{}
	for _, f := range families {
		if n := f.GetName(); n == "plancast_engine_target_met" || strings.HasPrefix(n, "plancast_milestone_") {
			for _, m := range f.GetMetric() {
				lines[n] = append(lines[n], line(n, labels(m), m.GetGauge().GetValue(), now))
			}
		}
	}
	var out bytes.Buffer
	records := func(yield func(history.Record, error) bool) {
		for _, r := range in.Records {
			if !yield(r, nil) {
				return
			}
		}
	}
	if err := metrics.WriteOpenMetrics(&out, records, metrics.ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(out.String(), "# EOF\n") + openMetrics(lines), families
}

func line(name, labels string, v float64, at time.Time) string {
	return fmt.Sprintf("%s{%s} %s %d\n", name, labels, strconv.FormatFloat(v, 'g', -1, 64), at.Unix())
}

// openMetrics puts the lines of each family together, series by series.
func openMetrics(lines map[string][]string) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&out, "# TYPE %s unknown\n", name)
		slices.SortStableFunc(lines[name], func(a, b string) int { return strings.Compare(series(a), series(b)) })
		for _, l := range lines[name] {
			out.WriteString(l)
		}
	}
	out.WriteString("# EOF\n")
	return out.String()
}

func series(line string) string { return line[:strings.LastIndexByte(line, '}')] }

func labels(m *dto.Metric, extra ...string) string {
	var b bytes.Buffer
	for _, l := range m.GetLabel() {
		fmt.Fprintf(&b, "%s=%q,", l.GetName(), l.GetValue())
	}
	for i := 0; i < len(extra); i += 2 {
		fmt.Fprintf(&b, "%s=%q,", extra[i], extra[i+1])
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte(",")))
}

func gather(t *testing.T, in standing.Evidence) []*dto.MetricFamily {
	t.Helper()
	state, err := standing.Derive(in)
	if err != nil {
		t.Fatal(err)
	}
	s, err := metrics.NewSnapshot(state, metrics.Build{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := prometheus.NewRegistry()
	r.MustRegister(metrics.NewCollector(s))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return !read.MatchString(f.GetName()) })
}

// read are the metrics that the plugin reads for a milestone, and its answer.
var read = regexp.MustCompile(`^plancast_(engine_(latency|throughput|accuracy_deviation|unquantized|precision_effective|target_met|last_build).*|iteration.*|candidate_info|environment_info|milestone_(info|probability|deadline.*|horizon.*|share.*|ready.*))$`)

// published reads the probabilities out of what the exporter publishes.
func published(families []*dto.MetricFamily) map[string]float64 {
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "plancast_milestone_probability" {
			for _, m := range f.GetMetric() {
				out[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}

func TestTheProbabilityOfAMilestoneIsTheOneThatTheExporterPublishes(t *testing.T) {
	best := config.Select{Precision: config.Best}
	due := now.AddDate(0, 0, 6)
	ms := []config.Milestone{
		{Name: "one precision, by a date", Select: config.Select{Precision: "int8"}, Criteria: []forecast.Criterion{fast}, Share: 1, Deadline: due, Ready: 0.9},
		{Name: "one precision, two criteria", Select: config.Select{Precision: "int8"}, Criteria: []forecast.Criterion{fast, faithful}, Share: 0.5, Horizon: 5, Ready: 0.8},
		{Name: "best of two precisions", Select: best, Criteria: []forecast.Criterion{fast}, Share: 1, Horizon: 4, Ready: 0.9},
		{Name: "best of two precisions, which must meet two criteria at once", Select: best, Criteria: []forecast.Criterion{fast, faithful}, Share: 1, Deadline: due, Ready: 0.9},
		{Name: "three criteria, within iterations and by a date", Select: best, Criteria: []forecast.Criterion{fast, faithful, many}, Share: 0.5, Deadline: due, Horizon: 5, Ready: 0.9},
		{Name: "a team that says that nobody works on it", Select: best, Criteria: []forecast.Criterion{fast}, Share: 1, Horizon: 4, Ready: 0.9, Effort: forecast.Maintenance},
		{Name: "some models", Select: config.Select{Precision: config.Best, Models: []string{"resnet*"}}, Criteria: []forecast.Criterion{fast, faithful}, Share: 1, Deadline: due, Ready: 0.9},
	}
	steady := func(d *diary) {
		d.candidates("bert-base", 14, 0.075, nil)
		d.candidates("resnet50", 14, 0.085, nil)
	}
	// failing moves resnet50 to another environment, on a device, where its only build fails.
	failing := func(device string) func(*diary) {
		return func(d *diary) {
			d.candidates("bert-base", 14, 0.075, nil)
			d.candidates("resnet50", 14, 0.085, func(i int, r *history.Record) bool {
				if i == 14 {
					r.Fingerprint, r.Device, r.Iteration = "aa00c4418d21", device, 1
					fail(r)
				}
				return true
			})
		}
	}
	for _, c := range []struct {
		name  string
		write func(*diary)
		text  func(*diary, *testing.T, []config.Milestone) (string, []*dto.MetricFamily)
		// unknown says that one model has no result, so that milestones that need
		// all of theirs have no probability.
		unknown bool
	}{
		{name: "steady progress", write: steady, text: (*diary).scraped},
		{name: "steady progress, out of the exported history", write: steady, text: (*diary).exported},
		{name: "nothing but failures in another environment", write: failing("NVIDIA L4"), text: (*diary).scraped, unknown: true},
		{name: "nothing but failures in another environment, on another device", write: failing("NVIDIA L40S"), text: (*diary).scraped, unknown: true},
		{name: "an int8 build failed in between", write: func(d *diary) {
			d.candidates("bert-base", 14, 0.075, nil)
			d.candidates("resnet50", 14, 0.085, func(i int, r *history.Record) bool {
				if r.Precision == engine.INT8 && i == 9 {
					fail(r)
				}
				return true
			})
		}, text: (*diary).scraped},
		{name: "int8 brought nothing at times, and of late", write: func(d *diary) {
			idle := func(at ...int) func(int, *history.Record) bool {
				return func(i int, r *history.Record) bool {
					if r.Precision == engine.INT8 && slices.Contains(at, i) {
						r.Measurement.Layers.NoEffect = "none of the 59 layers that multiply does so in 8 bits"
					}
					return true
				}
			}
			d.candidates("bert-base", 14, 0.075, idle(4, 5, 9))
			d.candidates("resnet50", 14, 0.085, idle(7, 14))
		}, text: (*diary).scraped},
		{name: "the newest candidate is not through", write: func(d *diary) {
			d.candidates("bert-base", 14, 0.075, nil)
			d.candidates("resnet50", 14, 0.085, func(i int, r *history.Record) bool { return i < 14 || r.Precision != engine.INT8 })
		}, text: (*diary).scraped},
		{name: "another environment since candidate 6", write: func(d *diary) {
			move := func(i int, r *history.Record) bool {
				if i >= 6 {
					r.Fingerprint, r.Device, r.Iteration = "aa00c4418d21", "NVIDIA L40S", i-5
				}
				return true
			}
			d.candidates("bert-base", 14, 0.075, move)
			d.candidates("resnet50", 14, 0.085, move)
		}, text: (*diary).scraped},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d diary
			c.write(&d)
			text, families := c.text(&d, t, ms)
			want := published(families)
			url := promtest.Start(t, text)
			instance, err := plugin.New(context.Background(), backend.DataSourceInstanceSettings{URL: url, JSONData: []byte(`{"history":"90d","resolution":"15m"}`)})
			if err != nil {
				t.Fatal(err)
			}
			source := instance.(*plugin.Datasource)
			defer source.Dispose()
			req := &backend.QueryDataRequest{}
			for _, m := range ms {
				q, err := json.Marshal(map[string]any{"type": "probability", "source": "milestone", "milestone": m.Name, "resolution": "15m"})
				if err != nil {
					t.Fatal(err)
				}
				req.Queries = append(req.Queries, backend.DataQuery{RefID: m.Name, JSON: q, TimeRange: backend.TimeRange{From: begin, To: now}})
			}
			answer, err := source.QueryData(context.Background(), req)
			if err != nil {
				t.Fatal(err)
			}
			fleet := fleetOf(t, url, []string{"model"}, ms, now)
			for _, m := range ms {
				p, known := want[m.Name]
				if known == (c.unknown && m.Share == 1) {
					t.Errorf("%s: the exporter publishes a probability: %v", m.Name, known)
				}
				if got, ok := fleet[m.Name]; ok != known || got != p {
					t.Errorf("%s: the fleet daemon says %v (%v), the exporter %v (%v)", m.Name, got, ok, p, known)
				}
				r := answer.Responses[m.Name]
				if r.Error != nil {
					t.Errorf("%s: %v", m.Name, r.Error)
					continue
				}
				got, ok := r.Frames[0].Fields[0].ConcreteAt(0)
				if ok != known || ok && got.(float64) != p {
					t.Errorf("%s: the plugin says %v (%v), the exporter %v (%v)", m.Name, got, ok, p, known)
					for _, n := range r.Frames[0].Meta.Notices {
						t.Log(n.Text)
					}
				}
				if known && (p == 0 || p == 1) {
					t.Errorf("%s: the exporter says %v, which proves little", m.Name, p)
				}
			}
		})
	}
}

// fleetOf is what a fleet daemon publishes that reads a store.
func fleetOf(t *testing.T, url string, by []string, ms []config.Milestone, at time.Time) map[string]float64 {
	t.Helper()
	return published(gathered(t, fleetDaemon(t, url, by, ms, at)))
}

// fleetDaemon is one that has read the store once.
func fleetDaemon(t *testing.T, url string, by []string, ms []config.Milestone, at time.Time) *fleet.Daemon {
	t.Helper()
	d := openFleet(t, url, by, ms, func() time.Time { return at })
	d.Read(t.Context())
	return d
}

func openFleet(t *testing.T, url string, by []string, ms []config.Milestone, clock func() time.Time) *fleet.Daemon {
	t.Helper()
	cfg := config.Default()
	cfg.Milestones = ms
	cfg.Source = &config.Prometheus{
		URL: url, By: by, Interval: time.Minute, Timeout: time.Minute, LookBack: 90 * 24 * time.Hour, Resolution: 15 * time.Minute, Series: 10000, Bytes: 64 << 20, Requests: 6,
	}
	d, err := fleet.New(fleet.Options{Config: cfg, Now: clock, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// gathered is what a fleet daemon shows to a scrape.
func gathered(t *testing.T, d *fleet.Daemon) []*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(maps.Values(families))
}
