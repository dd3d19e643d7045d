package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
)

var update = flag.Bool("update", false, "write the golden files anew; read the difference before committing it")

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

func TestHeadlines(t *testing.T) {
	v := build(reporttest.Input())
	for name, want := range map[string]string{
		"squeezenet":        "squeezenet on Intel Xeon Processor @ 2.90GHz: P99 40.8 ms with int8, down 16 % (14-18 %), 47.8/s, meets the launch threshold",
		"resnet50":          "resnet50 on Intel Xeon Processor @ 2.90GHz: P99 61 ms with fp32, down 49 % (unpaired), 32/s, misses the launch threshold (P99 latency 61 ms, wanted < 50 ms)",
		"silero-vad":        "silero-vad on Intel Xeon Processor @ 2.90GHz: version 3 failed, unsupported operator; last good result: version 2, P99 2.6 ms, 15 d ago",
		"inception-v1":      "inception-v1 on Intel Xeon Processor @ 2.90GHz: version 1 failed, the worker crashed",
		"shufflenet":        "shufflenet: no result yet; version 1 is pending: still being copied: 5 MiB, changed 1 s ago",
		"densenet":          "densenet on Intel Xeon Processor @ 2.90GHz: P99 125 ms with fp32, change unknown (disturbed), 15.6/s, still being measured",
		reporttest.LongName: reporttest.LongName + " on Intel Xeon Processor @ 2.90GHz: P99 18.2 ms, 107/s, cannot be judged on the spring-release milestone (accuracy deviation not measured)",
	} {
		if got := model(t, v, name).Headline; got != want {
			t.Errorf("headline of %s\n got %s\nwant %s", name, got, want)
		}
	}
}

// fp16 is the fastest that meets both; fp32 meets them with more to spare, and int8
// is faster and too far off.
func TestTheHeadlineIsTheFastestEngineThatMeetsTheThreshold(t *testing.T) {
	for _, c := range []struct {
		p99, deviation string
		want           string
	}{
		{"p99 < 5ms", "accuracy_deviation < 5%", "P99 451 µs with fp16"},
		{"p99 < 5ms", "accuracy_deviation < 90%", "P99 421 µs with int8"},
		{"p99 < 440us", "accuracy_deviation < 5%", "P99 451 µs with fp16"}, // the nearest
	} {
		b := reporttest.NewBuilder(reporttest.Now.Add(-time.Hour))
		for _, e := range []struct {
			precision      engine.Precision
			p99, deviation float64
		}{{engine.FP32, 730e-6, 0}, {engine.FP16, 451e-6, 0.0182}, {engine.INT8, 421e-6, 0.797}} {
			b.Add("net", "1", 1, e.precision, reporttest.Environment("1.32.0"), func(r *history.Record) {
				reporttest.Measured(e.p99)(r)
				r.Measurement.Accuracy.Deviation = e.deviation
			})
		}
		v := build(standing.Evidence{
			Now: reporttest.Now, Records: b.Records,
			Models: []standing.Held{{Name: "net", Precisions: engine.Precisions, Versions: []standing.Version{
				{Version: "1", Digest: reporttest.Digest("net", "1"), State: standing.Accepted},
			}}},
			Targets: []config.Target{{Name: "launch", Select: config.Select{Precision: config.Best}, Criteria: reporttest.Criteria(c.p99, c.deviation)}},
		})
		if got := model(t, v, "net").Headline; !strings.Contains(got, c.want) {
			t.Errorf("%s, %s: %s, want %s", c.p99, c.deviation, got, c.want)
		}
	}
}

func TestAMilestoneOfAnOlderEnvironmentHasAHeadline(t *testing.T) {
	b := reporttest.NewBuilder(reporttest.Now.Add(-time.Hour))
	for _, version := range []string{"1.31.0", "1.32.0"} {
		b.Add("net", "1", 1, engine.FP32, reporttest.Environment(version), reporttest.Measured(0.004))
	}
	v := build(standing.Evidence{
		Now: reporttest.Now, Records: b.Records,
		Models: []standing.Held{{Name: "net", Precisions: []engine.Precision{engine.FP32}, Versions: []standing.Version{
			{Version: "1", Digest: reporttest.Digest("net", "1"), State: standing.Accepted},
		}}},
		Milestones: []config.Milestone{{
			Name: "launch", Select: config.Select{Precision: config.Best}, Criteria: reporttest.Criteria("p99 < 5ms"), Share: 1,
			Environment: b.Records[0].Fingerprint, Deadline: reporttest.Now.AddDate(0, 1, 0),
		}},
	})
	if m := model(t, v, "net"); m.Best != engine.FP32 || !strings.Contains(m.Headline, "P99 4 ms") {
		t.Errorf("%s, best %q", m.Headline, m.Best)
	}
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

func TestMarks(t *testing.T) {
	v := build(reporttest.Input())
	if c := model(t, v, reporttest.LongName).Candidate; c.Mark != report.MarkWithdrawn {
		t.Errorf("a version that is gone: %+v", c)
	}
	if o := model(t, v, "resnet50").OutOfOrder; len(o) != 1 || o[0].Mark != report.MarkOutOfOrder || o[0].Version != "2b" {
		t.Errorf("out of order: %+v", o)
	}
	if r := row(t, model(t, v, "squeezenet"), engine.FP16); r.State != report.RowUnsupported {
		t.Errorf("an unsupported precision is %s", r.State)
	}
	if r := row(t, model(t, v, "densenet"), engine.INT8); r.State != report.RowWaiting || r.LastGood == nil {
		t.Errorf("a precision still to come: %+v", r)
	}
	in := reporttest.Input()
	in.Models[0].Versions[3].Digest = "other"
	if c := model(t, build(in), "squeezenet").Candidate; c.Mark != report.MarkReplaced {
		t.Errorf("replaced: %+v", c)
	}
	in = reporttest.Input()
	in.Models[0].Versions[3].Version = "5"
	if c := model(t, build(in), "squeezenet").Candidate; c.Mark != report.MarkRenamed {
		t.Errorf("renamed: %+v", c)
	}
	if len(v.Gone) != 1 || v.Gone[0] != "deleted-model" {
		t.Errorf("gone: %v", v.Gone)
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
		"everything": {watched(full, true), "int8: GPU busy 93 % of the time, SMs at 1980 MHz, up to 61 °C, 512 W, 906 mJ an inference, 2 throttled windows thrown away"},
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

// No number of a broken measurement may reach a reader or break the JSON form.
func TestNumbersThatAreNoneAreLeftOut(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	in := reporttest.Input()
	in.Records = []history.Record{{ID: 1, Model: "squeezenet", Version: "1", Precision: engine.FP32, Iteration: 1, Finished: reporttest.Now,
		Measurement: &bench.Measurement{
			Throughput: inf, Accuracy: &bench.Accuracy{Deviation: nan, Top1: &nan, Top1Agreement: &inf},
			Latency: bench.Latency{Mean: nan, Quantiles: []bench.Quantile{{Q: 0.5, Value: inf}, {Q: 0.99, Value: nan, Upper: &inf}}},
		}}}
	for ext, write := range forms {
		var b bytes.Buffer
		if err := write(&b, build(in)); err != nil {
			t.Errorf("%s: %v", ext, err)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "∞") {
			t.Errorf("%s shows a number that is none", ext)
		}
	}
}

func TestOutsideTextIsHarmless(t *testing.T) {
	v := build(reporttest.Input())
	for ext, write := range forms {
		var b bytes.Buffer
		if err := write(&b, v); err != nil {
			t.Fatal(err)
		}
		s := b.String()
		if !utf8.ValidString(s) {
			t.Errorf("%s is not UTF-8", ext)
		}
		for _, bad := range []string{"\x1b", "\u202e"} {
			if strings.Contains(s, bad) {
				t.Errorf("%s holds %q", ext, bad)
			}
		}
		if (ext == "html" || ext == "json") && strings.Contains(s, "<script>") {
			t.Errorf("%s holds a script", ext)
		}
		if ext == "ascii.txt" && strings.IndexFunc(s, func(r rune) bool { return r > 126 }) >= 0 {
			t.Errorf("%s is not ASCII", ext)
		}
	}
}

func TestPageIsWellFormedAndLean(t *testing.T) {
	var b bytes.Buffer
	if err := report.HTML(&b, build(reporttest.Input()), report.HTMLOptions{}); err != nil {
		t.Fatal(err)
	}
	s := b.String()
	if strings.Contains(s, "<script") || strings.Contains(s, " style=") || strings.Contains(s, "ZgotmplZ") {
		t.Error("the page has a script, an inline style, or a value its template refused")
	}
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(s, "<!DOCTYPE html>")))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	ids := map[string]bool{}
	var open []string
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			open = append(open, e.Name.Local)
			for _, a := range e.Attr {
				if a.Name.Local == "id" {
					if ids[a.Value] {
						t.Errorf("id %q appears twice", a.Value)
					}
					ids[a.Value] = true
				}
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		}
	}
	for _, want := range []string{"<main", "<nav", "<footer", "<caption>", "<title id=", "<desc id=", `http-equiv="refresh"`} {
		if !strings.Contains(s, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	idle := reporttest.Input()
	idle.Activity.Running = nil
	b.Reset()
	if err := report.HTML(&b, build(idle), report.HTMLOptions{}); err != nil || strings.Contains(b.String(), `http-equiv="refresh"`) {
		t.Errorf("an idle page reloads itself (%v)", err)
	}
}

func TestManyModelsStayReadable(t *testing.T) {
	v := build(reporttest.Many(300, 3))
	var b bytes.Buffer
	if err := report.HTML(&b, v, report.HTMLOptions{}); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 400<<10 {
		t.Errorf("the page of 300 models has %d KiB", b.Len()>>10)
	}
	if !strings.Contains(b.String(), `href="?model=model-123"`) {
		t.Error("the overview does not lead to a model's own page")
	}
	b.Reset()
	if err := report.HTML(&b, v, report.HTMLOptions{Model: "model-123"}); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.Contains(s, "<svg class=\"chart\"") || strings.Contains(s, "model-124") {
		t.Error("a model's own page shows that model with its chart, and no other")
	}
	b.Reset()
	if err := report.HTML(&b, v, report.HTMLOptions{Model: "no <such>"}); err != nil || !strings.Contains(b.String(), "no model named “no &lt;such&gt;”") {
		t.Errorf("an unknown model is reported (%v)", err)
	}
}

func TestJSONRoundTrips(t *testing.T) {
	v := build(reporttest.Input())
	var b bytes.Buffer
	if err := report.JSON(&b, v); err != nil {
		t.Fatal(err)
	}
	var back report.View
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	if err := d.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if back.SchemaVersion != report.SchemaVersion || len(back.Models) != len(v.Models) {
		t.Errorf("schema %d, %d models", back.SchemaVersion, len(back.Models))
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

// A change is written with its interval where both engines were timed in turns, and
// is marked where they were not.
func TestChangesInWords(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func(*history.Record)
		text  string
		class string
	}{
		"faster":              {reporttest.Paired("1", 0.62, 0.60, 0.64, bench.Changed), "down 38 % (36-40 %)", "good"},
		"slower":              {reporttest.Paired("1", 1.05, 1.042, 1.061, bench.Changed), "up 5 % (4.2-6.1 %)", "bad"},
		"the same":            {reporttest.Paired("1", 1.001, 0.994, 1.008, bench.Equivalent), "no change (down 0.6 % to up 0.8 %)", ""},
		"not decided":         {reporttest.Paired("1", 1.01, 0.97, 1.05, bench.Inconclusive), "change unclear (down 3 % to up 5 %)", ""},
		"paired with another": {reporttest.Paired("0", 0.62, 0.60, 0.64, bench.Changed), "down 50 % (unpaired)", "good"},
		"not paired":          {func(*history.Record) {}, "down 50 % (unpaired)", "good"},
		"on a busy machine":   {reporttest.Disturbed, "change unknown (disturbed)", ""},
		"as a rebuild changes": {func(r *history.Record) {
			reporttest.Paired("1", 0.95, 0.94, 0.96, bench.Changed)(r)
			r.Measurement.Comparison.Changes[1].WithinRebuild = true
		}, "down 5 % (4.0-6.0 %), as much as building the same candidate twice", "good"},
	} {
		t.Run(name, func(t *testing.T) {
			b := reporttest.NewBuilder(reporttest.Now.AddDate(0, 0, -2))
			env := reporttest.Environment("1.32.0")
			b.Add("net", "1", 1, engine.FP32, env, reporttest.Measured(0.002))
			b.Add("net", "2", 2, engine.FP32, env, func(r *history.Record) {
				reporttest.Measured(0.001)(r)
				c.edit(r)
			})
			v := build(standing.Evidence{Now: reporttest.Now, Records: b.Records, Models: []standing.Held{{Name: "net", Precisions: []engine.Precision{engine.FP32}}}})
			change := row(t, model(t, v, "net"), engine.FP32).Result.Change
			if change == nil || change.Text != c.text || change.Class() != c.class {
				t.Errorf("%+v, class %q; want %q, %q", change, change.Class(), c.text, c.class)
			}
		})
	}
}

// An int8 engine in which nothing computes in 8 bits says so in its row, in the
// headline and in notifications, and is no int8 result.
func TestAPrecisionThatBroughtNothingSaysSo(t *testing.T) {
	const why = "INT8 brought nothing: none of the 40 layers that multiply does so in 8 bits; the runtime found them faster in FP16, or the model quantizes none of them"
	for name, c := range map[string]struct {
		fp32, int8 float64 // P99; 0 for a failure
		threshold  string
		headline   string
		status     standing.Status
		exit       int
		row        standing.Outcome
		notice     string // the first note of a notification
	}{
		"int8 is asked for": {
			0.03, 0.02, "int8", "P99 30 ms with fp32, 65/s, cannot be judged on the launch threshold (INT8 brought nothing)",
			standing.StatusUnknown, 2, standing.Unknown, why,
		},
		"another engine counts": {
			0.03, 0.02, config.Best, "P99 30 ms with fp32, 65/s, meets the launch threshold",
			standing.StatusMet, 0, standing.Unknown, why,
		},
		"no other engine counts": {
			0, 0.02, config.Best, "P99 20 ms (" + why + "), 97.6/s, meets the launch threshold",
			standing.StatusMet, 0, standing.Met, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := reporttest.NewBuilder(reporttest.Now.AddDate(0, 0, -2))
			env, both := reporttest.Environment("1.32.0"), []engine.Precision{engine.FP32, engine.INT8}
			b.Add("net", "1", 1, engine.FP32, env, func(r *history.Record) {
				if reporttest.Measured(c.fp32)(r); c.fp32 == 0 {
					r.Measurement, r.Failure = nil, &history.Failure{Error: engine.Error{Kind: engine.KindCrashed}}
				}
			})
			b.Add("net", "1", 1, engine.INT8, env, func(r *history.Record) {
				reporttest.Measured(c.int8)(r)
				reporttest.Idle(r)
			})
			v := build(standing.Evidence{
				Now: reporttest.Now, Records: b.Records, Models: []standing.Held{{Name: "net", Precisions: both,
					Versions: []standing.Version{{Version: "1", Digest: reporttest.Digest("net", "1"), State: standing.Accepted}}}},
				Targets: []config.Target{{Name: "launch", Select: config.Select{Precision: c.threshold}, Criteria: reporttest.Criteria("p99 < 50ms")}},
			})
			m := model(t, v, "net")
			if !strings.HasSuffix(m.Headline, ": "+c.headline) || m.Status != c.status || v.ExitCode(nil) != c.exit {
				t.Errorf("%s, exit %d:\n%s\n%s", m.Status, v.ExitCode(nil), m.Headline, c.headline)
			}
			notice := ""
			if notes := m.WarningTexts(); len(notes) > 0 {
				notice = notes[0]
			}
			int8 := row(t, m, engine.INT8)
			if int8.Result.NoEffect != why || int8.Verdicts[0].Outcome != c.row || notice != c.notice {
				t.Errorf("the row says %q, %s, and a notification %q; want %q, %s, %q", int8.Result.NoEffect, int8.Verdicts[0].Outcome, notice, why, c.row, c.notice)
			}
			for form, write := range map[string]func(io.Writer) error{
				"text":     func(w io.Writer) error { return report.Text(w, v, report.TextOptions{}) },
				"Markdown": func(w io.Writer) error { return report.Markdown(w, v) },
				"HTML":     func(w io.Writer) error { return report.HTML(w, v, report.HTMLOptions{}) },
			} {
				var out strings.Builder
				if err := write(&out); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(out.String(), "int8, brought nothing") || strings.Count(out.String(), why) < 1 {
					t.Errorf("%s does not say it:\n%s", form, &out)
				}
			}
		})
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
