package report_test

import (
	"bytes"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
)

var update = flag.Bool("update", false, "regenerate the golden files; read the diff before you commit it")

var forms = map[string]func(io.Writer, report.View) error{
	"txt":       func(w io.Writer, v report.View) error { return report.Text(w, v, report.TextOptions{}) },
	"ascii.txt": func(w io.Writer, v report.View) error { return report.Text(w, v, report.TextOptions{ASCII: true}) },
	"md":        report.Markdown,
	"json":      report.JSON,
	"html": func(w io.Writer, v report.View) error {
		return report.HTML(w, v, report.HTMLOptions{DocsURL: "https://example.org/docs"})
	},
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
		for i := range max(len(g), len(w)) {
			var a, b string
			if i < len(g) {
				a = g[i]
			}
			if i < len(w) {
				b = w[i]
			}
			if a != b {
				t.Fatalf("%s differs in line %d:\n got %q\nwant %q\nRun go test with -update and read the difference.", name, i+1, a, b)
			}
		}
	}
}

func inputs() map[string]standing.Evidence {
	failures := reporttest.Input()
	failures.Models = failures.Models[3:4] // inception-v1
	failures.Records = only(failures.Records, "inception-v1")
	failures.Targets, failures.Milestones, failures.Activity.Running, failures.Activity.Queue, failures.Refused = nil, nil, nil, nil, nil
	first := reporttest.Input()
	first.Models = first.Models[4:5]
	first.Records = only(first.Records, reporttest.LongName)
	first.Targets, first.Milestones, first.Activity.Running, first.Activity.Queue, first.Refused = nil, nil, nil, nil, nil
	return map[string]standing.Evidence{
		"everything":    reporttest.Input(),
		"empty":         {Now: reporttest.Now},
		"only-failures": failures,
		"one-iteration": first,
	}
}

func only(records []history.Record, model string) []history.Record {
	var out []history.Record
	for _, r := range records {
		if r.Model == model {
			out = append(out, r)
		}
	}
	return out
}

func TestGoldens(t *testing.T) {
	for name, in := range inputs() {
		for ext, write := range forms {
			t.Run(name+"."+ext, func(t *testing.T) {
				var b bytes.Buffer
				if err := write(&b, build(in)); err != nil {
					t.Fatal(err)
				}
				golden(t, name+"."+ext, b.Bytes())
			})
		}
	}
}

// build makes the view of evidence.
func build(e standing.Evidence) report.View {
	v := report.Build(reporttest.State(e))
	if len(e.Records) > 0 {
		v.Version = "0.1.0"
	}
	return v
}

func model(t *testing.T, v report.View, name string) report.ModelView {
	t.Helper()
	for _, m := range v.Models {
		if m.Name == name {
			return m
		}
	}
	t.Fatalf("no model %s in the view", name)
	return report.ModelView{}
}

func row(t *testing.T, m report.ModelView, p engine.Precision) report.Row {
	t.Helper()
	r, ok := m.Row(p)
	if !ok {
		t.Fatalf("%s has no row %s", m.Name, p)
	}
	return r
}

func TestChangeIsAgainstTheCandidateBefore(t *testing.T) {
	v := build(reporttest.Input())
	squeeze := model(t, v, "squeezenet")
	if c := row(t, squeeze, engine.INT8).Result.Change; c == nil || !c.Same || c.Version != "3" || !c.Paired || math.Abs(c.Ratio+0.16) > 1e-12 {
		t.Errorf("int8 against int8 of version 3: %+v", c)
	}
	// The candidate before failed: the last good one of the same precision counts.
	resnet := reporttest.Input()
	resnet.Records = only(resnet.Records, "resnet50")[:9] // up to version 6's first row
	r := row(t, model(t, build(resnet), "resnet50"), engine.FP32)
	if c := r.Result.Change; c == nil || c.Version != "4" || r.Result.Version != "6" {
		t.Errorf("version %s against version 4, over the failed 5: %+v", r.Result.Version, c)
	}
	// No int8 before: the candidate's best engine, and that is said.
	in := reporttest.Input()
	in.Records = only(in.Records, "squeezenet")[:7]
	if c := row(t, model(t, build(in), "squeezenet"), engine.INT8).Result.Change; c == nil || c.Same || c.Precision != engine.FP32 || c.Version != "2" {
		t.Errorf("first int8 against fp32 of version 2: %+v", c)
	}
	// Never across environments.
	in.Records = only(reporttest.Input().Records, "resnet50")[:3]
	m := model(t, build(in), "resnet50")
	if c := row(t, m, engine.FP32).Result.Change; c != nil {
		t.Errorf("compared across environments: %+v", c)
	}
	if m.Changed == nil || m.Changed.Iterations != 2 || !strings.Contains(m.Changed.Text, "ONNX Runtime 1.31.0 became 1.32.0") {
		t.Errorf("the change of environment is not reported: %+v", m.Changed)
	}
}

func TestFailuresKeepTheLastGoodResult(t *testing.T) {
	m := model(t, build(reporttest.Input()), "silero-vad")
	r := row(t, m, engine.FP32)
	if m.Status != standing.StatusFailed || r.State != report.RowFailed || r.LastGood == nil || r.LastGood.Version != "2" {
		t.Fatalf("row %+v", r)
	}
	if got, want := r.Failure.Text(), "unsupported operator (operator If, node /decoder/If_0): no kernel for If(16) with subgraph outputs of different ranks"; got != want {
		t.Errorf("failure reads %q", got)
	}
	if r.LastGood.Age <= 0 || r.Failure.Hint == "" {
		t.Errorf("age or hint is missing: %+v", r)
	}
}

func TestMilestonesCountModels(t *testing.T) {
	v := build(reporttest.Input())
	m := v.Milestones[0]
	// squeezenet, resnet50 and silero-vad (by its last good result) meet it, and
	// deleted-model counts still.
	if m.Total != 8 || m.Needed != 7 || m.Ready != 3 || m.Met {
		t.Errorf("%d of %d ready, %d needed, met %v", m.Ready, m.Total, m.Needed, m.Met)
	}
	if want := "P99 latency below 65 ms and accuracy deviation below 0.5 % for at least 80 % of 8 models, by 31 March 2026 and within 5 further iterations"; m.Text != want {
		t.Errorf("text %q", m.Text)
	}
	if m.Missing[0].Model != reporttest.LongName && m.Missing[0].Model != "densenet" {
		t.Errorf("the nearest model comes first: %+v", m.Missing)
	}
	if s := v.Milestones[1]; !s.Met || s.Ready != 1 {
		t.Errorf("a milestone stands on the last good result: %+v", s)
	}
	if f := v.Milestones[1].Forecast; f == nil || f.State != forecast.Met {
		t.Error("the forecast did not arrive")
	}
	// 0.8 of 5 is 4, whatever the last binary digit says.
	in := reporttest.Many(5, 1)
	if got := build(in).Milestones[0].Needed; got != 4 {
		t.Errorf("80 %% of 5 models are %d", got)
	}
}

func TestTelemetryIsReported(t *testing.T) {
	v := func(x float64) *float64 { return &x }
	watched := func(x bench.Telemetry, stable bool) report.View {
		in := reporttest.Input()
		for i, r := range in.Records {
			if r.Model == "squeezenet" && r.Precision == engine.INT8 && r.OK() {
				m := *r.Measurement
				m.Telemetry, m.Stable = &x, stable
				in.Records[i].Measurement = &m
			}
		}
		return build(in)
	}
	full := bench.Telemetry{Utilization: v(0.934), SMClock: v(1.98e9), Power: v(512.3), Energy: v(600), Temperature: v(61), Discarded: 2}
	hot := bench.Telemetry{Temperature: v(92), Discarded: 3, Suffered: 2}
	for name, c := range map[string]struct {
		view report.View
		want string
	}{
		"everything": {watched(full, true), "int8: GPU busy 93 % of the time, SMs at 1980 MHz, up to 61 °C, 512 W, 906 mJ per inference, 2 throttled windows discarded"},
		"throttled":  {watched(hot, false), "int8: not stable: the GPU was throttled in 2 windows that count"},
	} {
		var text, page bytes.Buffer
		if err := report.Text(&text, c.view, report.TextOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := report.HTML(&page, c.view, report.HTMLOptions{}); err != nil {
			t.Fatal(err)
		}
		flat := strings.Join(strings.Fields(text.String()), " ")
		if !strings.Contains(flat, c.want) || !strings.Contains(page.String(), c.want) {
			t.Errorf("%s: %q is missing in\n%s", name, c.want, text.String())
		}
	}
	var text bytes.Buffer
	if err := report.Text(&text, build(reporttest.Input()), report.TextOptions{}); err != nil || strings.Contains(text.String(), "GPU ") {
		t.Errorf("telemetry of a CPU (%v):\n%s", err, text.String())
	}
}

func TestExitCodes(t *testing.T) {
	in := reporttest.Input()
	for i, m := range in.Models {
		if m.Name == "resnet50" { // without the version that still waits
			in.Models[i].Versions = m.Versions[:len(m.Versions)-1]
		}
	}
	if got := build(in).ExitCode(func(m string) bool { return m == "resnet50" }); got != standing.ExitMissed {
		t.Errorf("resnet50 without a version that waits: exit code %d", got)
	}
	v := build(reporttest.Input())
	for name, want := range map[string]int{
		"squeezenet": standing.ExitMet, "silero-vad": standing.ExitError, "densenet": standing.ExitError,
		"resnet50":          standing.ExitError, // its newest version waits
		"inception-v1":      standing.ExitError, // ... is rejected
		reporttest.LongName: standing.ExitError, // ... has no result; an older one has
	} {
		if got := v.ExitCode(func(m string) bool { return m == name }); got != want {
			t.Errorf("%s: exit code %d; want %d", name, got, want)
		}
	}
	if got := v.ExitCode(nil); got != standing.ExitError {
		t.Errorf("all: %d", got)
	}
}

func TestTargetJudgesTheNewestCandidateOnly(t *testing.T) {
	in := reporttest.Input()
	in.Targets = []config.Target{{Name: "all", Select: config.Select{Precision: config.Best}, Criteria: reporttest.Criteria("p99 < 10s")}}
	v := build(in)
	for name, want := range map[string]standing.Outcome{"squeezenet": standing.Met, "silero-vad": standing.Unknown, "shufflenet": ""} {
		var got standing.Outcome
		for _, x := range model(t, v, name).Verdicts {
			if x.Kind == standing.KindTarget {
				got = x.Outcome
			}
		}
		if got != want {
			t.Errorf("%s: %q; want %q", name, got, want)
		}
	}
}

func BenchmarkBuild300Models(b *testing.B) {
	in := reporttest.Many(300, 20)
	b.ReportAllocs()
	for b.Loop() {
		build(in)
	}
}

// What a disturbed result misses is undecided: its own state, and exit status 2.
func TestADisturbedResultDecidesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		edit   func(*history.Record)
		p99    float64
		status standing.Status
		exit   int
		says   string
	}{
		"quiet and missed":     {func(*history.Record) {}, 0.06, standing.StatusMissed, 1, "misses the launch threshold (P99 latency 60 ms, wanted < 50 ms)"},
		"disturbed and missed": {reporttest.Disturbed, 0.06, standing.StatusUndecided, 2, "is undecided on the launch threshold (P99 latency 60 ms on a disturbed machine, wanted < 50 ms)"},
		"disturbed and met":    {reporttest.Disturbed, 0.04, standing.StatusMet, 0, "meets the launch threshold"},
	} {
		t.Run(name, func(t *testing.T) {
			b := reporttest.NewBuilder(reporttest.Now.AddDate(0, 0, -2))
			b.Add("net", "1", 1, engine.FP32, reporttest.Environment("1.32.0"), func(r *history.Record) {
				reporttest.Measured(c.p99)(r)
				c.edit(r)
			})
			v := build(standing.Evidence{
				Now: reporttest.Now, Records: b.Records, Models: []standing.Held{{Name: "net", Precisions: []engine.Precision{engine.FP32},
					Versions: []standing.Version{{Version: "1", Digest: reporttest.Digest("net", "1"), State: standing.Accepted}}}},
				Targets: []config.Target{{Name: "launch", Select: config.Select{Precision: config.Best}, Criteria: reporttest.Criteria("p99 < 50ms")}},
			})
			m := model(t, v, "net")
			if m.Status != c.status || v.ExitCode(nil) != c.exit || !strings.HasSuffix(m.Headline, c.says) {
				t.Errorf("%s, exit status %d: %s", m.Status, v.ExitCode(nil), m.Headline)
			}
		})
	}
}

// What an upgrade itself did shows on the candidates that were measured before and
// after it, which cannot take turns.
func TestAnUpgradeSaysWhatItDid(t *testing.T) {
	for want, ratios := range map[string][]float64{
		"":                              nil,
		"P99 down 4 % over 1 candidate": {0.96},
		"P99 down 4 % (3.3-4.7 %) over 3 candidates":              {0.964, 0.96, 0.956},
		"P99 up 0.7 % (down 5.7 % to up 7.6 %) over 2 candidates": {0.997, 1.018},
	} {
		b := reporttest.NewBuilder(reporttest.Now.AddDate(0, 0, -30))
		for i := range 4 {
			version := strconv.Itoa(i + 1)
			b.Add("net", version, i+1, engine.FP32, reporttest.Environment("1.23.0"), reporttest.Measured(0.01))
		}
		for i, ratio := range append(ratios, 1) {
			version := strconv.Itoa(i + 1)
			if i == len(ratios) {
				version = "9" // a new one
			}
			b.Add("net", version, i+1, engine.FP32, reporttest.Environment("1.24.0"), reporttest.Measured(0.01*ratio))
		}
		c := model(t, build(standing.Evidence{Now: reporttest.Now, Records: b.Records, Models: []standing.Held{{Name: "net"}}}), "net").Changed
		if c == nil {
			t.Fatal("no change of environment")
		}
		got := ""
		if c.Effect != nil {
			got = c.Effect.Text
		}
		if got != want || (want != "") != strings.HasSuffix(c.Text, "The change itself: "+want+". Measured apart: whatever else changed on the machine meanwhile is in it.") {
			t.Errorf("%q in %q, want %q", got, c.Text, want)
		}
	}
}
