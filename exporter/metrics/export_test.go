package metrics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/alerts/alertstest"
	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/stack/local"
)

func seq(records []history.Record) iter.Seq2[history.Record, error] {
	return func(yield func(history.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func export(t testing.TB, records []history.Record, step time.Duration) string {
	t.Helper()
	var b bytes.Buffer
	dir := t.TempDir()
	if err := WriteOpenMetrics(&b, seq(records), ExportOptions{Step: step, Until: reporttest.Now, TempDir: dir}); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("the export left %v behind", left)
	}
	return b.String()
}

func TestExportGolden(t *testing.T) {
	golden(t, "testdata/history.openmetrics", []byte(export(t, reporttest.Input().Records, 0)))
}

var sampleLine = regexp.MustCompile(`^(\S+\{.*\}) (\S+) (\S+)$`)

// check verifies what OpenMetrics asks for: families in one piece, series in
// one piece, ascending times, an end. It returns the samples by series.
func check(t *testing.T, text string) map[string][][2]float64 {
	t.Helper()
	if !strings.HasSuffix(text, "\n# EOF\n") && text != "# EOF\n" {
		t.Fatal("no # EOF")
	}
	samples := map[string][][2]float64{}
	families := map[string]bool{}
	for _, l := range strings.Split(strings.TrimSuffix(text, "# EOF\n"), "\n") {
		if name, ok := strings.CutPrefix(l, "# HELP "); ok {
			name, _, _ = strings.Cut(name, " ")
			if families[name] {
				t.Errorf("family %s comes twice", name)
			}
			families[name] = true
		}
		m := sampleLine.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		v, err1 := strconv.ParseFloat(m[2], 64)
		at, err2 := strconv.ParseFloat(m[3], 64)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if have := samples[m[1]]; len(have) > 0 && have[len(have)-1][0] >= at {
			t.Errorf("%s: %v after %v", m[1], at, have[len(have)-1][0])
		}
		samples[m[1]] = append(samples[m[1]], [2]float64{at, v})
	}
	return samples
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func TestExportHasOnePointForEachIteration(t *testing.T) {
	records := reporttest.Input().Records
	samples := check(t, export(t, records, 0))
	var want [][2]float64
	for _, r := range records {
		if r.Model == "squeezenet" && r.Precision == engine.INT8 {
			q, _ := r.Measurement.Latency.At(0.99)
			want = append(want, [2]float64{unix(r.Finished), q.Value})
		}
	}
	key := `plancast_engine_latency_seconds{model="squeezenet",precision="int8",backend="onnxruntime",device="Intel(R) Xeon(R) Processor @ 2.90GHz",quantile="0.99"}`
	if got := samples[key]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("P99 is %v, want %v", got, want)
	}
	for key := range samples {
		if strings.Contains(key, `"2b"`) {
			t.Errorf("an out-of-order version is exported: %s", key)
		}
	}
}

// What a scrape shows and what the export of the same history shows must have
// the same name and labels.
func TestExportHasTheSeriesOfMetrics(t *testing.T) {
	in := everyFigure()
	scraped := map[string]bool{}
	for _, l := range strings.Split(string(scrape(t, collector(t, in), "text/plain")), "\n") {
		if i := strings.LastIndex(l, " "); i > 0 && !strings.HasPrefix(l, "#") {
			scraped[canonical(l[:i])] = true
		}
	}
	exported := map[string]bool{}
	for key := range check(t, export(t, in.Records, 0)) {
		exported[canonical(key)] = true
	}
	left := regexp.MustCompile(`^plancast_(engine_target_met|engine_latency_distribution|model|builds|change_gain|timing|last_success|candidates|milestone|forecast|build_info|queue|pass|config|job|notification|gpu|history)`)
	for s := range scraped {
		if !left.MatchString(s) && !exported[s] {
			t.Errorf("not exported: %s", s)
		}
	}
}

// canonical sorts the labels of a series.
func canonical(s string) string {
	name, labels, ok := strings.Cut(strings.TrimSuffix(s, "}"), "{")
	if !ok {
		return s
	}
	parts := regexp.MustCompile(`[a-z_0-9]+="(?:[^"\\]|\\.)*"`).FindAllString(labels, -1)
	for i := range parts {
		for j := i + 1; j < len(parts); j++ {
			if parts[j] < parts[i] {
				parts[i], parts[j] = parts[j], parts[i]
			}
		}
	}
	return name + "{" + strings.Join(parts, ",") + "}"
}

func TestExportCarriesForwardLikeScrapes(t *testing.T) {
	env, other := reporttest.Environment("1.31.0"), reporttest.Environment("1.32.0")
	b := reporttest.NewBuilder(reporttest.Now.Add(-4 * time.Hour))
	b.Add("m", "1", 1, engine.FP32, env, reporttest.Measured(0.010)) // -3:58:30
	b.Skip(time.Hour)
	b.Add("m", "2", 2, engine.FP32, env, reporttest.Failed(engine.Error{Kind: engine.KindCrashed})) // -2:57:00
	b.Skip(time.Hour)
	b.Add("m", "3", 1, engine.FP32, other, reporttest.Failed(engine.Error{Kind: engine.KindCrashed})) // -1:55:30
	b.Skip(time.Hour)
	b.Add("m", "4", 2, engine.FP32, other, reporttest.Measured(0.005)) // -0:54:00
	samples := check(t, export(t, b.Records, 30*time.Minute))
	labels := `{model="m",precision="fp32",backend="onnxruntime",device="Intel(R) Xeon(R) Processor @ 2.90GHz"}`
	var got []string
	for _, x := range samples["plancast_iteration"+labels] {
		got = append(got, fmt.Sprintf("%v=%v", time.Duration((x[0]-unix(reporttest.Now))*1e9).Round(time.Second), x[1]))
	}
	// Through the failure of the same environment, not into the next one.
	want := "[-3h58m30s=1 -3h30m0s=1 -3h0m0s=1 -2h30m0s=1 -2h0m0s=1 -54m0s=2 -30m0s=2 0s=2]"
	if fmt.Sprint(got) != want {
		t.Errorf("got  %v\nwant %s", got, want)
	}
	var success []float64
	for _, x := range samples["plancast_engine_last_build_success"+labels] {
		success = append(success, x[1])
	}
	if fmt.Sprint(success) != "[1 1 1 0 0 0 0 0 0 1 1 1]" {
		t.Errorf("last build success %v", success)
	}
	if n := len(samples); n == 0 {
		t.Error("no samples")
	}
}

func TestExportSurvivesAClockSetBack(t *testing.T) {
	b := reporttest.NewBuilder(reporttest.Now.Add(-4 * time.Hour))
	b.Add("m", "1", 1, engine.FP32, reporttest.Environment("1"), reporttest.Measured(0.010))
	b.Skip(-2 * time.Hour)
	b.Add("m", "2", 2, engine.FP32, reporttest.Environment("2"), reporttest.Measured(0.010))
	b.Add("m", "3", 3, engine.FP32, reporttest.Environment("2"), reporttest.Measured(0.010))
	for _, step := range []time.Duration{0, time.Hour} {
		samples := check(t, export(t, b.Records, step))
		for key, s := range samples {
			if strings.HasPrefix(key, "plancast_iteration{") && len(s) < 3 {
				t.Errorf("step %v: a result is lost: %v", step, s)
			}
		}
	}
}

func TestExportEdges(t *testing.T) {
	if got := export(t, nil, 0); !strings.HasSuffix(got, "# EOF\n") {
		t.Errorf("an empty history: %q", got)
	}
	bad := errors.New("disk gone")
	broken := func(yield func(history.Record, error) bool) { yield(history.Record{}, bad) }
	if err := WriteOpenMetrics(io.Discard, broken, ExportOptions{TempDir: t.TempDir()}); !errors.Is(err, bad) {
		t.Errorf("error %v", err)
	}
	if err := WriteOpenMetrics(io.Discard, seq(nil), ExportOptions{Step: -1}); err == nil {
		t.Error("a negative step is accepted")
	}
	// Enough rows that the spool goes to the disk between them.
	in := reporttest.Many(20, 40)
	if n := len(check(t, export(t, in.Records, 0))); n < 20*3*20 {
		t.Errorf("%d series", n)
	}
	in.Records[0].Model = strings.Repeat("x", 3000)
	in.Records[1].Version = "quote \" back \\ line\n"
	check(t, export(t, in.Records, 0))
}

// The whole way: promtool makes blocks of the export, Prometheus serves them.
func TestPrometheusAnswersFromTheExport(t *testing.T) {
	promtool, prometheus := alertstest.Find(t, "promtool"), alertstest.Find(t, "prometheus")
	// A short history: promtool reads the whole file again for every two hours.
	b := reporttest.NewBuilder(reporttest.Now.Add(-8 * time.Hour))
	for i := range 4 {
		version := strconv.Itoa(i + 1)
		b.Add("squeezenet", version, i+1, engine.FP32, reporttest.Environment("1.32.0"), reporttest.Measured(0.1))
		b.Add("squeezenet", version, i+1, engine.INT8, reporttest.Environment("1.32.0"), reporttest.Measured(0.08/float64(i+1)))
		b.Skip(time.Hour)
	}
	records := b.Records
	for _, step := range []time.Duration{0, 5 * time.Minute} {
		dir := t.TempDir()
		file, data := filepath.Join(dir, "history.om"), filepath.Join(dir, "data")
		if err := os.WriteFile(file, []byte(export(t, records, step)), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(promtool, "tsdb", "create-blocks-from", "openmetrics", file, data).CombinedOutput(); err != nil {
			t.Fatalf("promtool: %v\n%s", err, out)
		}
		query := servePrometheus(t, prometheus, dir, data)
		var last history.Record
		for _, r := range records {
			if r.Model == "squeezenet" && r.Precision == engine.INT8 && r.OK() {
				last = r
			}
		}
		q, _ := last.Measurement.Latency.At(0.99)
		const p99 = `plancast_engine_latency_seconds{model="squeezenet",precision="int8",quantile="0.99"}`
		if got := query(p99, last.Finished); got != strconv.FormatFloat(q.Value, 'g', -1, 64) {
			t.Errorf("step %v: P99 is %q, want %v", step, got, q.Value)
		}
		if got := query(`plancast_iteration{model="squeezenet",precision="int8"}`, last.Finished); got != "4" {
			t.Errorf("step %v: iteration is %q", step, got)
		}
		// Hours later only a step keeps the value in sight.
		later, want := last.Finished.Add(3*time.Hour), ""
		if step > 0 {
			want = strconv.FormatFloat(q.Value, 'g', -1, 64)
		}
		if got := query(p99, later); got != want {
			t.Errorf("step %v: three hours later P99 is %q, want %q", step, got, want)
		}
	}
}

// servePrometheus serves the blocks in data until the test ends and returns an
// instant query for a single value, "" for none.
func servePrometheus(t *testing.T, program, dir, data string) func(query string, at time.Time) string {
	t.Helper()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	address := alertstest.Start(t, local.Program{Ready: "/-/ready", Command: func(address string) []string {
		return []string{program, "--config.file=" + config, "--storage.tsdb.path=" + data, "--storage.tsdb.retention.time=100y",
			"--web.listen-address=" + address}
	}}).Address
	return func(query string, at time.Time) string {
		t.Helper()
		res, err := http.Get("http://" + address + "/api/v1/query?" + url.Values{"query": {query}, "time": {strconv.FormatFloat(unix(at), 'f', -1, 64)}}.Encode())
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var answer struct {
			Status string
			Data   struct{ Result []struct{ Value [2]any } }
		}
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Status != "success" {
			t.Fatalf("%s: %v", answer.Status, err)
		}
		switch n := len(answer.Data.Result); n {
		case 0:
			return ""
		case 1:
			return answer.Data.Result[0].Value[1].(string)
		default:
			t.Fatalf("%d results", n)
			return ""
		}
	}
}

func BenchmarkExport300x3x20(b *testing.B) {
	records := reporttest.Many(300, 20).Records
	b.ReportAllocs()
	for b.Loop() {
		if err := WriteOpenMetrics(io.Discard, seq(records), ExportOptions{TempDir: b.TempDir()}); err != nil {
			b.Fatal(err)
		}
	}
}

// The change of a candidate is exported as long as it is the newest one.
func TestExportHasTheChangeOfEachCandidate(t *testing.T) {
	b := reporttest.NewBuilder(reporttest.Now)
	env := reporttest.Environment("1.32.0")
	for i, author := range []string{"ann", "", "bob", "bob"} {
		edit := reporttest.Measured(0.01)
		if author != "" {
			edit = func(r *history.Record) {
				reporttest.Measured(0.01)(r)
				reporttest.Traced(change.Change{Author: author})(r)
			}
		}
		for _, p := range []engine.Precision{engine.FP32, engine.INT8} {
			b.Add("net", fmt.Sprint(i+1), i+1, p, env, edit)
		}
	}
	at := func(i int) float64 { return unix(b.Records[i].Finished) }
	samples := check(t, export(t, b.Records, 0))
	for labels, want := range map[string][][2]float64{
		`version="1",commit="",branch="",author="ann"`: {{at(0), 1}},
		`version="2",commit="",branch="",author=""`:    nil,
		`version="3",commit="",branch="",author="bob"`: {{at(4), 3}},
		`version="4",commit="",branch="",author="bob"`: {{at(6), 4}},
	} {
		if got := samples[`plancast_candidate_change{model="net",`+labels+`,link="",kinds=""}`]; !slices.Equal(got, want) {
			t.Errorf("%s: %v; want %v", labels, got, want)
		}
	}
}
