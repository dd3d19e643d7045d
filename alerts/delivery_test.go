package alerts_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/plancast/plancast/alerts/alertstest"
)

// TestAlertmanagerDelivers posts alerts to the real Alertmanager on the shipped
// configuration and holds it to what the file promises: routing, secrets from
// files, and inhibition.
func TestAlertmanagerDelivers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts Alertmanager")
	}
	alertmanager := alertstest.StartAlertmanager(t, ".")

	type alert struct {
		Labels map[string]string `json:"labels"`
	}
	var posted []alert
	post := func(name, severity, owner string, labels ...string) {
		l := map[string]string{"alertname": name, "severity": severity, "owner": owner, "job": "plancast"}
		for i := 0; i+1 < len(labels); i += 2 {
			l[labels[i]] = labels[i+1]
		}
		posted = append(posted, alert{l})
	}
	// A: a failed build silences stale results of its model, and only of it.
	post("PlancastBuildFailed", "warning", "vision-team", "instance", "a", "model", "resnet50", "precision", "int8")
	post("PlancastResultsStale", "warning", "vision-team", "instance", "a", "model", "resnet50")
	post("PlancastMilestoneProbabilityDropped", "warning", "release", "instance", "a", "milestone", "launch")
	// B: another exporter's stale results are its own matter.
	post("PlancastResultsStale", "warning", "vision-team", "instance", "b", "model", "resnet50")
	post("PlancastMilestoneAtRisk", "critical", "release", "instance", "b", "milestone", "launch")
	post("PlancastEnvironmentChanged", "info", "vision-team", "instance", "b", "model", "resnet50")
	// C: down, so the rest of it is silent.
	post("PlancastExporterDown", "critical", "platform", "instance", "c")
	post("PlancastMilestoneAtRisk", "critical", "release", "instance", "c", "milestone", "launch")
	post("PlancastBuildFailed", "warning", "vision-team", "instance", "c", "model", "resnet50", "precision", "int8")
	// D: no pass, so nothing new.
	post("PlancastPassFailing", "warning", "platform", "instance", "d")
	post("PlancastResultsStale", "warning", "vision-team", "instance", "d", "model", "resnet50")
	post("PlancastPassOverdue", "warning", "platform", "instance", "d")
	body, err := json.Marshal(posted)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post("http://"+alertmanager.Address+"/api/v2/alerts", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("Alertmanager took the alerts with status %s", resp.Status)
	}

	want := []string{
		"PlancastBuildFailed/a", "PlancastEnvironmentChanged/b", "PlancastExporterDown/c", "PlancastMilestoneAtRisk/b",
		"PlancastMilestoneProbabilityDropped/a", "PlancastPassFailing/d", "PlancastResultsStale/b",
	}
	got := func() []string {
		var out []string
		for _, a := range alertmanager.Delivered() {
			out = append(out, a.Labels["alertname"]+"/"+a.Labels["instance"])
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	alertstest.Await(t, fmt.Sprint("delivery of ", want), func() bool {
		return !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(got(), w) })
	})
	if g := got(); !slices.Equal(g, want) {
		t.Errorf("delivered %q; want %q", g, want)
	}

	// What was held back says by what it was.
	var inhibited []string
	for _, a := range alertmanager.Held(t) {
		if len(a.Status.InhibitedBy) > 0 {
			inhibited = append(inhibited, a.Labels["alertname"]+"/"+a.Labels["instance"])
		}
	}
	slices.Sort(inhibited)
	if want := []string{"PlancastBuildFailed/c", "PlancastMilestoneAtRisk/c", "PlancastPassOverdue/d", "PlancastResultsStale/a", "PlancastResultsStale/d"}; !slices.Equal(inhibited, want) {
		t.Errorf("inhibited %q; want %q", inhibited, want)
	}
}
