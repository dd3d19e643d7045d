package e2e_test

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/alerts/alertstest"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
)

// A candidate that is slower than the last makes the milestone's probability
// drop, and on-call reads so. The target is four times what the newest candidate
// was just measured at, so that this machine's speed decides nothing.
func TestSlowerCandidateIsAnAlertThatTheProbabilityDropped(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	for i, layers := range []int{8, 4, 2} {
		s.push("detector", fmt.Sprint(i+1), network(layers))
	}
	s.serve()
	s.awaitNews("result", "detector", "3")
	s.plancast.Stop()
	target := fmt.Sprintf("%.1f µs", 4*1e6*s.median("detector", "3"))
	s.configure(fmt.Sprintf(`
milestones:
  - {name: launch, models: detector, criteria: ["p50 < %s"], deadline: %s, ready: 90%%}
`, target, time.Now().AddDate(0, 0, 30).Format(time.DateOnly)))
	s.serve()
	s.scrape()
	s.push("detector", "4", network(1))
	s.awaitValue(`plancast_iteration{model="detector"}`, is(4))
	s.awaitValue(`plancast_milestone_probability{milestone="launch"}`, func(p float64) bool { return p > 0.9 })
	s.awaitNews("result", "detector", "4")

	s.push("detector", "5", network(slow))
	a := s.awaitAlert("firing", "PlancastMilestoneProbabilityDropped")
	compare(t, "label", a.Labels, map[string]string{
		"alertname": "PlancastMilestoneProbabilityDropped", "severity": "warning", "owner": "release",
		"milestone": "launch", "job": "plancast", "instance": regexp.QuoteMeta(s.plancast.Address),
	})
	compare(t, "annotation", a.Annotations, map[string]string{
		"summary":       `The probability of launch dropped to [1-6]?\d(\.\d+)?%`,
		"description":   `It was (9\d(\.\d+)?|100)% within the last day\. Held back most by p50 < [\d.]+ [µm]s of detector \([1-6]?\d(\.\d+)?%\)\.`,
		"runbook_url":   runbook + "plancastmilestoneprobabilitydropped",
		"dashboard_url": regexp.QuoteMeta(grafana + "plancast-milestones?var-milestone=launch"),
	})
	// plancast's own message says the same number, rounded to whole points.
	n := s.awaitNews("missed", "detector", "5")
	said := regexp.MustCompile(`probability of launch by .* (?:< )?(\d+) % \(was (?:9\d|> 99|100) %\)`).FindStringSubmatch(n.Message)
	alerted := regexp.MustCompile(`[\d.]+`).FindString(a.Annotations["summary"])
	if said == nil || math.Abs(number(t, said[1])-number(t, alerted)) > 1 {
		t.Errorf("plancast sent %q; the alert says %q", n.Message, a.Annotations["summary"])
	}
}

// median is the measured P50 of a version, in seconds.
func (s *site) median(model, version string) float64 {
	s.t.Helper()
	store, err := history.OpenReadOnly(s.path("state/history.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer store.Close()
	for r, err := range store.Records(s.t.Context(), history.Filter{Model: model}) {
		if err != nil {
			s.t.Fatal(err)
		}
		if r.Version == version && r.OK() {
			if p50, ok := r.Measurement.Latency.At(0.5); ok {
				return p50.Value
			}
		}
	}
	s.t.Fatalf("no P50 of %s version %s is in the history", model, version)
	return 0
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A model that cannot be built is an alert for its owner with the kind of the
// failure; others are measured on. Its old results, once they are stale, are
// no second alert, while those of another model are.
func TestBrokenModelIsAnAlertAndSilencesItsStaleResults(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	for _, m := range []string{"broken", "healthy"} {
		s.push(m, "1", network(1))
	}
	s.serve()
	s.scrape()
	for _, m := range []string{"broken", "healthy"} {
		s.awaitValue(fmt.Sprintf(`plancast_iteration{model=%q}`, m), is(1))
	}

	s.push("broken", "2", onnxtest.Unknown())
	a := s.awaitAlert("firing", "PlancastBuildFailed")
	instance, device := regexp.QuoteMeta(s.plancast.Address), ".+"
	compare(t, "label", a.Labels, map[string]string{
		"alertname": "PlancastBuildFailed", "severity": "warning", "owner": "vision-team", "model": "broken", "precision": "fp32",
		"backend": "onnxruntime", "device": device, "job": "plancast", "instance": instance,
	})
	compare(t, "annotation", a.Annotations, map[string]string{
		"summary":       `The newest candidate of broken fp32 on .+ has no result`,
		"description":   `Building or measuring it failed \(unsupported_operator\)\. Dashboards and forecasts use the previous result\.`,
		"runbook_url":   runbook + "plancastbuildfailed",
		"dashboard_url": regexp.QuoteMeta(grafana + "plancast-engines?var-model=broken"),
	})
	// The operator is no label: there would be too many. plancast itself notifies the owner.
	n := s.awaitNews("failure", "broken", "2")
	if text := n.Title + n.Message; n.Owner != "vision-team" || !strings.Contains(text, "unsupported_operator") || !strings.Contains(text, "Frobnicate") {
		t.Errorf("plancast sent %+v; want the owner, the kind and the operator Frobnicate", n)
	}
	s.push("healthy", "2", network(2))
	s.awaitValue(`plancast_iteration{model="healthy"}`, is(2))
	s.awaitValue(`plancast_engine_last_build_success{model="healthy"}`, is(1))
	s.awaitValue(`plancast_engine_latency_seconds{model="broken",quantile="0.5"}`, func(v float64) bool { return v > 0 })

	// Eight days later.
	s.plancast.Stop()
	age(t, s.path("state/history.db"), 8*24*time.Hour)
	s.serve()
	a = s.awaitAlert("firing", "PlancastResultsStale", "model", "healthy")
	compare(t, "annotation", a.Annotations, map[string]string{
		"summary":       `healthy has had no new result for 8d 0h \d+m \d+s`,
		"description":   `The newest result of any precision is that old\. .+`,
		"runbook_url":   runbook + "plancastresultsstale",
		"dashboard_url": regexp.QuoteMeta(grafana + "plancast-engines?var-model=healthy"),
	})
	alertstest.Await(t, "the stale results of the broken model to be held back by its failed build", func() bool {
		held := s.alertmanager.Held(t)
		for _, stale := range held {
			if !has(stale.Labels, []string{"alertname", "PlancastResultsStale", "model", "broken"}) {
				continue
			}
			for _, failed := range held {
				if has(failed.Labels, []string{"alertname", "PlancastBuildFailed", "model", "broken"}) && len(stale.Status.InhibitedBy) > 0 {
					return stale.Status.InhibitedBy[0] == failed.Fingerprint
				}
			}
		}
		return false
	})
	if _, found := s.delivered("firing", "PlancastResultsStale", "model", "broken"); found {
		t.Error("the stale results of the broken model were delivered beside its failed build")
	}
	if _, found := s.delivered("firing", "PlancastBuildFailed", "model", "healthy"); found {
		t.Error("the healthy model was alerted of as broken")
	}
}

// An exporter that is killed while it measures is an alert that ends after its
// restart, and the history loses nothing.
func TestKilledExporterIsAnAlertThatEndsWithItsRestart(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	s.push("detector", "1", network(1))
	s.serve()
	s.scrape()
	s.awaitValue(`plancast_builds_total{model="detector",result="success"}`, is(1))
	s.push("detector", "2", network(slow))
	started := `msg="Job started" model=detector version=2`
	alertstest.Await(t, "plancast to measure version 2", func() bool { return strings.Contains(s.plancast.Log(), started) })
	s.plancast.Kill()
	before := s.run("history", "export", "--format=jsonl")

	a := s.awaitAlert("firing", "PlancastExporterDown")
	instance := regexp.QuoteMeta(s.plancast.Address)
	labels := map[string]string{
		"alertname": "PlancastExporterDown", "severity": "critical", "owner": "platform", "job": "plancast", "instance": instance,
	}
	compare(t, "label", a.Labels, labels)
	annotations := map[string]string{
		"summary":       "plancast on " + instance + " does not answer scrapes",
		"description":   "Prometheus has not reached the exporter " + instance + " for 5 minutes\\. .+",
		"runbook_url":   runbook + "plancastexporterdown",
		"dashboard_url": regexp.QuoteMeta(grafana + "plancast-engines"),
	}
	compare(t, "annotation", a.Annotations, annotations)

	s.serve()
	a = s.awaitAlert("resolved", "PlancastExporterDown")
	compare(t, "label", a.Labels, labels)
	compare(t, "annotation", a.Annotations, annotations)
	s.awaitValue(`plancast_iteration{model="detector"}`, is(2))
	s.awaitValue(`plancast_builds_total{model="detector",result="success"}`, is(2))
	after := s.run("history", "export", "--format=jsonl")
	if n := strings.Count(after, "\n"); !strings.HasPrefix(after, before) || n != 2 || !strings.Contains(before, `"version":"1"`) {
		t.Errorf("before the kill the history was\n%s\nafter the restart it has %d records; want those of before first, and 2:\n%s", before, n, after)
	}
}

// age moves every record of a history into the past.
func age(t *testing.T, path string, by time.Duration) {
	t.Helper()
	old, err := history.OpenReadOnly(path)
	if err != nil {
		t.Fatal(err)
	}
	aged, err := history.Open(path + ".aged")
	if err != nil {
		t.Fatal(err)
	}
	for r, err := range old.Records(t.Context(), history.Filter{Layers: true}) {
		if err != nil {
			t.Fatal(err)
		}
		r.CandidateTime, r.Started, r.Finished = r.CandidateTime.Add(-by), r.Started.Add(-by), r.Finished.Add(-by)
		if _, err := aged.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for _, close := range []func() error{old.Close, aged.Close} {
		if err := close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(path+".aged", path); err != nil {
		t.Fatal(err)
	}
}
