// Package alerts_test holds the rules against everything they depend on: the
// metrics that the code exports, the runbook, their own tests, and the real
// promtool, amtool and Alertmanager where those are installed.
package alerts_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/plancast/plancast/alerts/alertstest"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/metrics"
)

const (
	runbookURL = "https://github.com/plancast/plancast/blob/main/docs/runbook.md#"
	grafanaURL = "http://localhost:3000/d/"
)

// dashboards are the UIDs that links may lead to.
var dashboards = []string{"plancast-milestones", "plancast-engines", "plancast-gpu"}

type rule struct {
	Record, Alert, Expr string
	For                 string
	KeepFiringFor       string `yaml:"keep_firing_for"`
	Labels, Annotations map[string]string
}

type ruleFile struct {
	Groups []struct {
		Name     string
		Interval string
		Rules    []rule
	}
}

type testFile struct {
	Tests []struct {
		Name   string
		Series []struct{ Series, Values string } `yaml:"input_series"`
		Alerts []struct {
			Name string     `yaml:"alertname"`
			Time string     `yaml:"eval_time"`
			Exp  []struct{} `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
		Queries []struct{ Expr string } `yaml:"promql_expr_test"`
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func decode(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, path)), into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func rules(t *testing.T) []rule {
	t.Helper()
	var f ruleFile
	decode(t, "plancast.rules.yml", &f)
	var out []rule
	for _, g := range f.Groups {
		out = append(out, g.Rules...)
	}
	if len(out) == 0 {
		t.Fatal("plancast.rules.yml has no rules")
	}
	return out
}

func alertRules(t *testing.T) []rule {
	t.Helper()
	return slices.DeleteFunc(rules(t), func(r rule) bool { return r.Alert == "" })
}

// testFiles are the files of promtool's tests.
func testFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*_test.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests for promtool: %v", err)
	}
	return files
}

func TestEveryAlertIsComplete(t *testing.T) {
	for _, r := range alertRules(t) {
		t.Run(r.Alert, func(t *testing.T) {
			if !strings.HasPrefix(r.Alert, "Plancast") {
				t.Error("alertmanager.yml's inhibition knows plancast's alerts by the prefix Plancast")
			}
			if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) {
				t.Errorf("severity %q; want critical, warning or info", r.Labels["severity"])
			}
			owner := r.Labels["owner"]
			if strings.Contains(r.Expr, "group_left (owner)") != strings.Contains(owner, "$labels.owner") {
				t.Errorf("owner %q does not fit the expression, which does or does not take it from plancast_model_info", owner)
			}
			if !strings.Contains(owner, "$labels.owner") && !slices.Contains([]string{"platform", "release"}, owner) {
				t.Errorf("owner %q; want the model's, platform or release", owner)
			}
			for _, name := range []string{"summary", "description"} {
				if s := r.Annotations[name]; s == "" || s != strings.TrimSpace(s) {
					t.Errorf("%s %q is empty or has space around it", name, s)
				}
			}
			if s := r.Annotations["summary"]; len(s) > 160 || strings.HasSuffix(s, ".") {
				t.Errorf("summary %q is a headline: short, without a full stop", s)
			}
			if got, want := r.Annotations["runbook_url"], runbookURL+strings.ToLower(r.Alert); got != want {
				t.Errorf("runbook_url %s; want %s", got, want)
			}
			dashboard, ok := strings.CutPrefix(r.Annotations["dashboard_url"], grafanaURL)
			uid, _, _ := strings.Cut(dashboard, "?")
			if !ok || !slices.Contains(dashboards, uid) {
				t.Errorf("dashboard_url %q; want %s and one of %v", r.Annotations["dashboard_url"], grafanaURL, dashboards)
			}
			for name, text := range r.Annotations {
				for _, bare := range []string{"{{ $value }}", "{{ .Value }}", "| value }}"} {
					if strings.Contains(text, bare) {
						t.Errorf("%s shows a value that is not rounded: %s", name, bare)
					}
				}
			}
		})
	}
}

// An alert on a gauge resolves when the gauge vanishes; keep_firing_for
// bridges a restart of the exporter. An alert on absence has no gauge to lose.
func TestNoAlertResolvesBecauseItsGaugeVanished(t *testing.T) {
	absence := regexp.MustCompile(`absent\(|present_over_time\(|^up\{`)
	for _, r := range alertRules(t) {
		if onAbsence := absence.MatchString(r.Expr); onAbsence == (r.KeepFiringFor != "") {
			t.Errorf("%s: keep_firing_for %q; want it exactly on alerts that look at gauges", r.Alert, r.KeepFiringFor)
		}
	}
}

// One and the same case sees each alert quiet, then firing, then quiet again.
func TestEveryAlertIsTestedBeforeAtAndAfterFiring(t *testing.T) {
	outcomes := map[string]string{} // alert to what the last case made of it: q for quiet, F for firing
	whole := map[string]bool{}
	recorded := ""
	for _, file := range testFiles(t) {
		var f testFile
		decode(t, file, &f)
		for _, c := range f.Tests {
			clear(outcomes)
			last := map[string]model.Duration{}
			for _, a := range c.Alerts {
				at, err := model.ParseDuration(a.Time)
				if err != nil || at < last[a.Name] {
					t.Errorf("%s: %s: %s at %s is not after the time before it: %v", file, c.Name, a.Name, a.Time, err)
				}
				last[a.Name] = at
				if len(a.Exp) > 0 {
					outcomes[a.Name] += "F"
				} else {
					outcomes[a.Name] += "q"
				}
			}
			for name, s := range outcomes {
				whole[name] = whole[name] || regexp.MustCompile("qF+q").MatchString(s)
			}
			for _, q := range c.Queries {
				recorded += q.Expr + "\n"
			}
		}
	}
	known := map[string]bool{}
	for _, r := range rules(t) {
		known[r.Alert] = true
		switch {
		case r.Alert != "" && !whole[r.Alert]:
			t.Errorf("no case sees %s quiet, firing and quiet again", r.Alert)
		// This one is tested through the alert that stands on it.
		case r.Record != "" && r.Record != "model:plancast_environment_info:new1d" && !strings.Contains(recorded, r.Record+"\n"):
			t.Errorf("%s has no case", r.Record)
		}
	}
	for name := range whole {
		if !known[name] {
			t.Errorf("the tests speak of %s, which is no rule", name)
		}
	}
}

func TestRunbookHasOneEntryForEachAlert(t *testing.T) {
	parts := regexp.MustCompile(`(?m)^## (.+)$`).Split(read(t, "../docs/runbook.md"), -1)
	names := regexp.MustCompile(`(?m)^## (.+)$`).FindAllStringSubmatch(read(t, "../docs/runbook.md"), -1)
	var got, want []string
	for i, n := range names {
		got = append(got, n[1])
		for _, word := range []string{"**Meaning.**", "**Impact.**", "**Diagnosis.**", "```promql\n", "**What to do.**"} {
			if !strings.Contains(parts[i+1], word) {
				t.Errorf("the runbook's %s lacks %s", n[1], word)
			}
		}
	}
	for _, r := range alertRules(t) {
		want = append(want, r.Alert)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the runbook has\n%q; want, in this order,\n%q", got, want)
	}
}

// exported are the metrics that exist, with their labels: those of the table,
// those that the daemon adds, those of recording rules and those of others.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{
		// Of Prometheus and of client_golang's process collector.
		"up": {}, "process_start_time_seconds": {}, "prometheus_sd_discovered_targets": {"config", "name"},
	}
	for _, f := range metrics.Families() {
		labels := f.Labels
		switch f.Type {
		case metrics.Summary:
			out[f.Name+"_sum"], out[f.Name+"_count"] = f.Labels, f.Labels
			labels = append(slices.Clone(labels), "quantile")
		case metrics.Histogram:
			out[f.Name+"_sum"], out[f.Name+"_count"] = f.Labels, f.Labels
		}
		out[f.Name] = labels
	}
	for _, r := range rules(t) {
		if r.Record != "" {
			out[r.Record] = nil
		}
	}
	return out
}

// metricNames finds what looks like a metric of plancast's in a text.
var metricNames = regexp.MustCompile(`\b(?:[a-z_]+:)?plancast_[a-z0-9_]+(?::[a-z0-9_]+)?\b`)

func TestEveryMetricNamedExists(t *testing.T) {
	known := exported(t)
	for _, file := range []string{"plancast.rules.yml", "../docs/runbook.md", "../docs/promql.md", "../docs/deployment.md"} {
		for _, name := range metricNames.FindAllString(read(t, file), -1) {
			_, is := known[name]
			_, will := coming[name]
			family := strings.HasSuffix(name, "_") // plancast_milestone_*
			if !is && !will && !family {
				t.Errorf("%s names %s, which nothing exports", file, name)
			}
		}
	}
}

func TestComingMetricsHaveNotCome(t *testing.T) {
	known := exported(t)
	for name := range coming {
		if _, is := known[name]; is {
			t.Errorf("%s is exported now: delete it from the list in coming_test.go", name)
		}
	}
}

// The series that promtool's tests make up have to look like the real ones, or
// the joins of the rules would be tested against something else.
func TestMadeUpSeriesLookLikeTheRealOnes(t *testing.T) {
	known := exported(t)
	maps.Copy(known, coming)
	series := regexp.MustCompile(`^([a-z_:]+)\{(.*)\}$`)
	label := regexp.MustCompile(`([a-z_]+)="`)
	for _, file := range testFiles(t) {
		var f testFile
		decode(t, file, &f)
		for _, c := range f.Tests {
			for _, s := range c.Series {
				m := series.FindStringSubmatch(s.Series)
				if m == nil {
					t.Errorf("%s: %s: %q is no series", file, c.Name, s.Series)
					continue
				}
				labels, ok := known[m[1]]
				if !ok {
					t.Errorf("%s: %s: nothing exports %s", file, c.Name, m[1])
				}
				for _, l := range label.FindAllStringSubmatch(m[2], -1) {
					if !slices.Contains(append([]string{"job", "instance"}, labels...), l[1]) {
						t.Errorf("%s: %s: %s has no label %s; it has %v", file, c.Name, m[1], l[1], labels)
					}
				}
			}
		}
	}
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestPromtoolAgrees(t *testing.T) {
	promtool := alertstest.Find(t, "promtool")
	output(t, promtool, "check", "rules", "plancast.rules.yml")
	output(t, promtool, "check", "config", "prometheus.yml")
	output(t, promtool, append([]string{"test", "rules"}, testFiles(t)...)...)
}

func TestAmtoolAgrees(t *testing.T) {
	output(t, alertstest.Find(t, "amtool"), "check-config", "alertmanager.yml")
}

// What the stack in containers and the one on Kubernetes start plancast with
// is read by plancast itself.
func TestShippedConfigurationsAreValid(t *testing.T) {
	var configMap struct {
		Data map[string]string
	}
	decode(t, "../deploy/kubernetes/config.yaml", &configMap)
	for name, text := range map[string]string{
		"deploy/compose/plancast.yml":   read(t, "../deploy/compose/plancast.yml"),
		"deploy/kubernetes/config.yaml": configMap.Data["plancast.yml"],
	} {
		if c, err := config.Parse(strings.NewReader(text), name); err != nil || len(c.Milestones) == 0 || c.State != "/var/lib/plancast" {
			t.Errorf("%s: %v; want a milestone, and the state on the volume", name, err)
		}
	}
}
