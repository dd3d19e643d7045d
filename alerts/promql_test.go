package alerts_test

import (
	"flag"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/plancast/plancast/alerts/alertstest"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
)

var update = flag.Bool("update", false, "regenerate the answers in docs/promql.md")

const (
	promqlPage = "../docs/promql.md"
	// step is how often the loaded history has a sample, and so how far an
	// instant query has to look back in it.
	step = 6 * time.Hour
)

// promQL runs one Prometheus on the shipped configuration. It holds the past,
// loaded as a user would load it, and scrapes an exporter in the present.
type promQL struct {
	t *testing.T
	alertstest.Prometheus
}

func newPromQL(t *testing.T) promQL {
	t.Helper()
	promtool := alertstest.Find(t, "promtool")
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	in := reporttest.Input()

	exported := filepath.Join(dir, "export.txt")
	writeFile(t, exported, func(w io.Writer) error {
		return metrics.WriteOpenMetrics(w, yield(in.Records), metrics.ExportOptions{Step: step, Until: in.Now, TempDir: dir})
	})
	// What the export leaves out because it depends on the configuration.
	scraped := filepath.Join(dir, "scraped.txt")
	names := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllStringSubmatch(read(t, exported), -1) {
		names[m[1]] = true
	}
	writeFile(t, scraped, func(w io.Writer) error { return writeSnapshots(w, in, names) })
	for _, file := range []string{exported, scraped} {
		output(t, promtool, "tsdb", "create-blocks-from", "--max-block-duration=744h", "--quiet", "openmetrics", file, data)
	}

	snapshot, err := metrics.NewSnapshot(reporttest.State(in), metrics.Build{Version: "0.1.0", Revision: "test", GoVersion: "go"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	exporter := httptest.NewServer(metrics.NewCollector(snapshot).Handler(prometheus.NewRegistry(), nil))
	t.Cleanup(exporter.Close)

	return promQL{t, alertstest.StartPrometheus(t, ".", data, exporter.Listener.Addr().String(), "localhost:9093",
		"--storage.tsdb.retention.time=10y", "--query.lookback-delta="+(step+time.Minute).String())}
}

func writeFile(t *testing.T, path string, write func(io.Writer) error) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := write(f); err != nil {
		t.Fatal(err)
	}
}

func yield(records []history.Record) func(func(history.Record, error) bool) {
	return func(yield func(history.Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// at is in as it was known at an earlier moment.
func at(in standing.Evidence, now time.Time) (*standing.State, error) {
	in.Now = now
	in.Records = slices.DeleteFunc(slices.Clone(in.Records), func(r history.Record) bool { return r.Finished.After(now) })
	return standing.Derive(in)
}

// writeSnapshots writes, as OpenMetrics text, what the exporter would have
// shown over the whole history, without the metrics in skip.
func writeSnapshots(w io.Writer, in standing.Evidence, skip map[string]bool) error {
	type family struct {
		header string
		series map[string][]string
	}
	families := map[string]*family{}
	for now := in.Records[0].Finished.Truncate(step).Add(step); !now.After(in.Now); now = now.Add(step) {
		then, err := at(in, now)
		if err != nil {
			return err
		}
		snapshot, err := metrics.NewSnapshot(then, metrics.Build{Version: "0.1.0"}, 0)
		if err != nil {
			return err
		}
		reg := prometheus.NewRegistry()
		reg.MustRegister(metrics.NewCollector(snapshot))
		gathered, err := reg.Gather()
		if err != nil {
			return err
		}
		for _, f := range gathered {
			name := strings.TrimSuffix(f.GetName(), "_total")
			if skip[f.GetName()] || (f.GetType() != dto.MetricType_GAUGE && f.GetType() != dto.MetricType_COUNTER) {
				continue
			}
			to := families[name]
			if to == nil {
				to = &family{fmt.Sprintf("# TYPE %s %s\n", name, strings.ToLower(f.GetType().String())), map[string][]string{}}
				families[name] = to
			}
			for _, m := range f.GetMetric() {
				v := m.GetGauge().GetValue()
				if f.GetType() == dto.MetricType_COUNTER {
					v = m.GetCounter().GetValue()
				}
				series := f.GetName() + text(m)
				to.series[series] = append(to.series[series], fmt.Sprintf("%s %v %d\n", series, v, now.Unix()))
			}
		}
	}
	for _, name := range sorted(families) {
		if _, err := io.WriteString(w, families[name].header); err != nil {
			return err
		}
		for _, s := range sorted(families[name].series) {
			if _, err := io.WriteString(w, strings.Join(families[name].series[s], "")); err != nil {
				return err
			}
		}
	}
	_, err := io.WriteString(w, "# EOF\n")
	return err
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func text(m *dto.Metric) string {
	var labels []string
	for _, l := range m.GetLabel() {
		labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	return "{" + strings.Join(labels, ",") + "}"
}

// ask runs an instant query and returns its answer, a line for each series.
func (p promQL) ask(query string, now time.Time) []string {
	p.t.Helper()
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	p.Get(p.t, "/api/v1/query?"+url.Values{"query": {query}, "time": {strconv.FormatInt(now.Unix(), 10)}}.Encode(), &answer)
	if answer.Error != "" {
		p.t.Errorf("%s\n%s", query, answer.Error)
	}
	var out []string
	for _, r := range answer.Data.Result {
		name := r.Metric["__name__"]
		var labels []string
		for _, l := range sorted(r.Metric) {
			// The device is the same everywhere, and long.
			if l != "__name__" && l != "device" && l != "backend" {
				labels = append(labels, fmt.Sprintf("%s=%q", l, r.Metric[l]))
			}
		}
		v, err := strconv.ParseFloat(r.Value[1].(string), 64)
		if err != nil {
			p.t.Errorf("%s: %v", query, err)
		}
		// Three digits: the last ones of a forecast may differ between processors.
		out = append(out, fmt.Sprintf("%s{%s} %s", name, strings.Join(labels, ", "), strconv.FormatFloat(v, 'g', 3, 64)))
	}
	if !strings.HasPrefix(query, "sort") {
		slices.Sort(out)
	}
	return out
}

var (
	answered = regexp.MustCompile("(?s)```promql\n(.*?)```\n\n```text\n(.*?)```\n")
	anyQuery = regexp.MustCompile("(?s)```promql( scraped)?\n(.*?)```\n")
)

// TestPromQL loads a history into a real Prometheus and asks it every query of
// the cookbook; it then lets the same Prometheus scrape and evaluate the rules.
func TestPromQL(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Prometheus")
	}
	p := newPromQL(t)

	t.Run("cookbook", func(t *testing.T) {
		page := read(t, promqlPage)
		n := 0
		got := answered.ReplaceAllStringFunc(page, func(block string) string {
			m := answered.FindStringSubmatch(block)
			n++
			answer := p.ask(m[1], reporttest.Now)
			if len(answer) == 0 {
				t.Errorf("no answer to\n%s", m[1])
			}
			for _, a := range answer {
				if strings.HasSuffix(a, "NaN") || strings.HasSuffix(a, "Inf") {
					t.Errorf("%s is the answer to\n%s", a, m[1])
				}
			}
			return "```promql\n" + m[1] + "```\n\n```text\n" + strings.Join(answer, "\n") + "\n```\n"
		})
		if questions := strings.Count(page, "\n## ") - 1; questions != 11 || n < questions {
			t.Errorf("%d questions with %d answered queries; want 11 and at least as many", questions, n)
		}
		if n != strings.Count(page, "```promql\n") {
			t.Errorf("a query has no answer below it")
		}
		if *update {
			if err := os.WriteFile(promqlPage, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if got != page {
			t.Errorf("%s is not what Prometheus answers; run with -update and read the difference\n%s", promqlPage, got)
		}
	})

	t.Run("native histogram", func(t *testing.T) {
		p := promQL{t, p.Prometheus}
		n := 0
		for _, m := range anyQuery.FindAllStringSubmatch(read(t, promqlPage), -1) {
			if m[1] == "" {
				continue
			}
			n++
			alertstest.Await(t, "an answer to "+m[2], func() bool { return len(p.ask(m[2], time.Now())) > 0 })
		}
		if n == 0 {
			t.Error("no query on the native histogram is left")
		}
	})

	t.Run("runbook", func(t *testing.T) {
		p := promQL{t, p.Prometheus}
		for _, m := range anyQuery.FindAllStringSubmatch(read(t, "../docs/runbook.md"), -1) {
			p.ask(m[2], reporttest.Now) // that Prometheus can read it
		}
	})

	// On the exporter's real series, no rule may fail: a join that finds two
	// partners is an error that made-up series would not show.
	t.Run("rules", func(t *testing.T) {
		type state struct {
			Data struct {
				Groups []struct {
					Rules []struct {
						Name, Health, LastError string
						State                   string
					}
				}
			}
		}
		var s state
		alertstest.Await(t, "every rule to be evaluated on scraped series", func() bool {
			s = state{}
			p.Get(p.t, "/api/v1/rules", &s)
			evaluated := true
			for _, g := range s.Data.Groups {
				for _, r := range g.Rules {
					evaluated = evaluated && r.Health != "unknown" && (r.Name != "PlancastBuildFailed" || r.State != "inactive")
				}
			}
			return evaluated && len(s.Data.Groups) > 0
		})
		for _, g := range s.Data.Groups {
			for _, r := range g.Rules {
				if r.Health != "ok" {
					t.Errorf("%s: %s %s", r.Name, r.Health, r.LastError)
				}
			}
		}
	})
}

func TestRulesNameStatesThatExist(t *testing.T) {
	for _, r := range rules(t) {
		for _, m := range regexp.MustCompile(`state="([a-z_]+)"`).FindAllStringSubmatch(r.Expr, -1) {
			known := slices.Contains([]string{"accepted", "pending", "refused"}, m[1])
			for _, s := range forecast.States() {
				known = known || string(s) == m[1]
			}
			if !known {
				t.Errorf("%s%s asks for the state %s, which does not exist", r.Alert, r.Record, m[1])
			}
		}
	}
}
