package metrics

import (
	"bytes"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/plancast/plancast/alerts/alertstest"
	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
)

func TestExposition(t *testing.T) {
	c := collector(t, everyFigure())
	golden(t, "testdata/exposition.txt", scrape(t, c, "text/plain"))
	golden(t, "testdata/exposition.openmetrics", scrape(t, c, "application/openmetrics-text; version=1.0.0"))
}

func TestLint(t *testing.T) {
	for name, in := range map[string]standing.Evidence{"everything": everyFigure(), "empty": {Now: reporttest.Now}} {
		problems, err := testutil.CollectAndLint(collector(t, in))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s: %s", name, p.Metric, p.Text)
		}
	}
}

func TestPromtoolAcceptsTheExposition(t *testing.T) {
	promtool := alertstest.Find(t, "promtool")
	cmd := exec.Command(promtool, "check", "metrics")
	cmd.Stdin = bytes.NewReader(scrape(t, collector(t, everyFigure()), "text/plain"))
	if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

func TestDoc(t *testing.T) {
	golden(t, filepath.Join("..", "..", "docs", "metrics.md"), reference())
}

// reference is docs/metrics.md.
func reference() []byte {
	var b bytes.Buffer
	b.WriteString(`# Metrics

This page is generated from the table in exporter/metrics: change it there and run ` + "`go test ./exporter/metrics -run TestDoc -update`" + `.

All values are in base units. What is unknown is absent, never zero. A failure keeps the last good result of the same
environment visible: ` + "`plancast_engine_last_build_success`" + ` is 0 then, and ` + "`plancast_iteration_timestamp_seconds`" + ` gives the age.
Results of another environment than the newest are not exported, and a model that leaves the repository takes its series along.
Only the milestones for which it counts go on naming it.

A result is scraped hundreds of times but is one point: whoever computes with the history must take one value for each
` + "`plancast_iteration`" + `, at ` + "`plancast_iteration_timestamp_seconds`" + `.

Label values: ` + "`model`" + ` is the folder's name, ` + "`precision`" + ` fp32, fp16, int8 or, of a plan that a team built itself, as_built, ` + "`backend`" + ` onnxruntime or tensorrt, ` + "`device`" + ` the name of the GPU or CPU.
Identity (version, digest, library versions) is in the ` + "`_info`" + ` series only.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
`)
	for _, f := range Families() {
		labels := "–"
		if len(f.Labels) > 0 {
			labels = "`" + strings.Join(f.Labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, f.Type, labels, strings.TrimSpace(strings.ReplaceAll(f.Help+" "+f.Note, "|", `\|`)))
	}
	return b.Bytes()
}

// The table says what is exported, label by label.
func TestEveryFamilyIsInTheTableAndUsed(t *testing.T) {
	got := gather(t, everyFigure())
	maps.Copy(got, gatherFrom(t, fleetCollector(t)))
	for _, f := range Families() {
		g := got[f.Name]
		if g == nil {
			t.Errorf("%s is in the table and never exported", f.Name)
			continue
		}
		if want := strings.ToUpper(string(f.Type)); g.GetType().String() != want {
			t.Errorf("%s is a %s, the table says %s", f.Name, g.GetType(), want)
		}
	}
}

// everyFigure is reporttest.Input with the figures a CPU does not have.
func everyFigure() standing.Evidence {
	in := reporttest.Input()
	for i, r := range in.Records {
		if r.OK() {
			m := *r.Measurement
			v := func(x float64) *float64 { return &x }
			m.Telemetry = &bench.Telemetry{
				Device: "GPU-5f1e", Duration: 4, Utilization: v(0.9), MemoryUtilization: v(0.4), Power: v(500), Energy: v(2000), Temperature: v(60),
				SMClock: v(1.9e9), MemoryClock: v(3.2e9), Discarded: i % 3,
			}
			m.Plan.TimingCacheHit, m.Calibration = new(i%2 == 0), &bench.Calibration{Samples: 500, Coverage: 0.97}
			if m.Layers != nil {
				l := *m.Layers
				l.Changes = &bench.LayerChanges{Against: "1", Counts: map[engine.ChangeKind]int{engine.PrecisionChanged: 3, engine.TacticChanged: 9}}
				m.Layers = &l
			}
			in.Records[i].Measurement = &m
		}
	}
	return in
}

func TestLabelValuesAreBounded(t *testing.T) {
	in := reporttest.Input()
	in.Models[0].Owner = strings.Repeat("ü", 5000) + "\xff"
	for i := range in.Records {
		in.Records[i].Device = strings.Repeat("x", 5000) + "\xff"
		if f := in.Records[i].Failure; f != nil {
			f.Kind = engine.Kind(fmt.Sprint("surprise ", i))
		}
	}
	for name, f := range gather(t, in) {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if len(l.GetValue()) > maxLabel || strings.Contains(l.GetValue(), "surprise") {
					t.Errorf("%s has %s of %d bytes: %.40q", name, l.GetName(), len(l.GetValue()), l.GetValue())
				}
			}
		}
	}
}

func TestNativeHistogramHoldsEveryQuery(t *testing.T) {
	for _, m := range gather(t, reporttest.Input())["plancast_engine_latency_distribution_seconds"].GetMetric() {
		h := m.GetHistogram()
		var n, last int64
		for _, d := range h.GetPositiveDelta() {
			last += d
			n += last
		}
		if h.GetSchema() != bench.BucketSchema || n != 662 || h.GetSampleCount() != 662 {
			t.Errorf("schema %d, %d queries in the buckets, count %d", h.GetSchema(), n, h.GetSampleCount())
		}
	}
}

// The text of a criterion or a version is not limited to what Prometheus likes.
func TestExpositionParses(t *testing.T) {
	in := reporttest.Input()
	in.Models[0].Owner = "a \"quoted\"\nowner \\"
	in.Milestones[0].Name = "line\nbreak"
	p := expfmt.NewTextParser(2)
	if _, err := p.TextToMetricFamilies(bytes.NewReader(scrape(t, NewCollector(snapshot(t, in)), "text/plain"))); err != nil {
		t.Error(err)
	}
}

func TestFamiliesFollowTheConventions(t *testing.T) {
	name := regexp.MustCompile(`^plancast_[a-z0-9_]+$`)
	for _, f := range Families() {
		if !name.MatchString(f.Name) || !strings.HasSuffix(f.Help, ".") {
			t.Errorf("%s: %q", f.Name, f.Help)
		}
		if strings.HasSuffix(f.Name, "_seconds") && !strings.Contains(f.Help, "seconds") {
			t.Errorf("%s: the help text lacks the unit", f.Name)
		}
	}
}
