//go:build cgo

package equality_test

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/standing"
)

// diary writes the records of a team: each candidate is measured at two
// precisions, of which int8 is the faster and at times not faithful.
type diary struct {
	records []history.Record
	left    map[string]time.Time // when a model left the repository
}

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

// again measures a version once more, at both precisions: what was measured before is
// superseded.
func (d *diary) again(model string, version int, at time.Time, factor float64) {
	for i := range d.records {
		old := &d.records[i]
		if old.Model != model || old.Version != strconv.Itoa(version) {
			continue
		}
		r := *old
		m := *old.Measurement
		m.Latency.Quantiles = []bench.Quantile{{Q: 0.99, Value: factor * m.Latency.Quantiles[0].Value}}
		r.ID, r.Started, r.Finished, r.Measurement = int64(len(d.records)+1), at, at.Add(11*time.Minute), &m
		old.SupersededBy = r.ID
		d.records = append(d.records, r)
	}
}

// known is a record as the exporter knew it at a moment.
func (d *diary) known(r history.Record, at time.Time) history.Record {
	if r.Excluded != nil && r.Excluded.At.After(at) {
		r.Excluded = nil
	}
	if r.SupersededBy > 0 && d.records[r.SupersededBy-1].Finished.After(at) {
		r.SupersededBy = 0
	}
	return r
}

// exclude takes a record out later.
func exclude(r *history.Record, at time.Time) {
	r.Excluded = &history.Exclusion{Because: "a backup ran", By: "ann", At: at}
}

func fail(r *history.Record) {
	r.Measurement = nil
	r.Failure = &history.Failure{Error: engine.Error{Kind: engine.KindTimeout}}
}

// input is what the exporter knows at a moment.
func (d *diary) input(ms []config.Milestone, at time.Time) standing.Evidence {
	in := standing.Evidence{Now: at, Milestones: ms, Left: map[string]time.Time{}}
	for _, r := range d.records {
		if r.Finished.After(at) {
			continue
		}
		in.Records = append(in.Records, d.known(r, at))
		if since, ok := d.left[r.Model]; ok && !since.After(at) {
			in.Left[r.Model] = since
			continue
		}
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
// half an hour, as OpenMetrics text. The forecast is published at the end.
func (d *diary) scraped(t *testing.T, ms []config.Milestone) (text string, atTheEnd []*dto.MetricFamily) {
	t.Helper()
	lines := map[string][]string{}
	var families []*dto.MetricFamily
	known := ""
	for at := begin.Truncate(scrape); !at.After(now); at = at.Add(scrape) {
		in := d.input(ms, at)
		last := !at.Add(scrape).Before(now)
		excluded := 0
		for _, r := range in.Records {
			if r.Excluded != nil {
				excluded++
			}
		}
		if is := fmt.Sprint(len(in.Records), excluded, in.Left); is != known || last {
			known = is
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
		if n := f.GetName(); strings.HasPrefix(n, "plancast_milestone_") {
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
var read = regexp.MustCompile(`^plancast_(engine_(latency|throughput|accuracy_deviation|unquantized|precision_effective|disturbed|changed|compared|last_build).*|workload_(latency_seconds|saturated|disturbed)|iteration.*|candidate_info|environment_info|milestone_(info|criterion_info|model_ready|probability|deadline.*|horizon.*|share.*|ready.*|state))$`)

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

// states are those of the milestones, as they are published.
func states(families []*dto.MetricFamily) map[string]string {
	out := map[string]string{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "plancast_milestone_state" && m.GetGauge().GetValue() == 1 {
				out[m.GetLabel()[0].GetValue()] = m.GetLabel()[1].GetValue()
			}
		}
	}
	return out
}
