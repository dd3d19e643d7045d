package alerts_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// freePort returns an address nobody listens on. Another process might take it
// before it is used; the start of the program would then fail, and say so.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a server for the length of the test and waits until ready answers.
func start(t *testing.T, ready string, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // ended by the test, or told below
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if t.Failed() {
			t.Logf("%s wrote:\n%s", filepath.Base(name), log.String())
		}
	})
	await(t, 30*time.Second, filepath.Base(name)+" to be ready", func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended at once", filepath.Base(name))
		default:
		}
		resp, err := http.Get(ready)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// await asks again until the real program has got there; what it waits for is
// another process, so there is no clock to turn.
func await(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.After(limit)
	for !done() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited %v for %s in vain", limit, what)
		}
	}
}

// TestAlertmanagerDelivers runs the real Alertmanager on the shipped
// configuration, with one receiver put into the place of "ui" and shorter
// waiting, and holds it to what the file promises: routing, secrets from
// files, and inhibition.
func TestAlertmanagerDelivers(t *testing.T) {
	alertmanager := need(t, "prometheus-alertmanager", "alertmanager")

	var mu sync.Mutex
	delivered := map[string]string{} // alert to its labels
	var authorization string
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct {
			Alerts []struct{ Labels map[string]string }
		}
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &m); err != nil {
			t.Errorf("the webhook got %q: %v", body, err)
		}
		mu.Lock()
		defer mu.Unlock()
		authorization = r.Header.Get("Authorization")
		for _, a := range m.Alerts {
			delivered[a.Labels["alertname"]+"/"+a.Labels["instance"]] = a.Labels["severity"]
		}
	}))
	defer hook.Close()

	dir := t.TempDir()
	text := read(t, "alertmanager.yml")
	for old, new := range map[string]string{
		"receiver: ui": "receiver: example-webhook", "http://localhost:9094/alerts": hook.URL,
		"group_wait: 10s": "group_wait: 1s", "group_wait: 30s": "group_wait: 1s", "group_wait: 5m": "group_wait: 1s",
	} {
		if !strings.Contains(text, old) {
			t.Fatalf("alertmanager.yml has no %q any more", old)
		}
		text = strings.ReplaceAll(text, old, new)
	}
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("alertmanager.yml", text)
	write("secrets/webhook-token", "hush-token")

	addr := freePort(t)
	start(t, "http://"+addr+"/-/ready", alertmanager, "--config.file="+filepath.Join(dir, "alertmanager.yml"),
		"--storage.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr, "--cluster.listen-address=")

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
	resp, err := http.Post("http://"+addr+"/api/v2/alerts", "application/json", bytes.NewReader(body))
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
		mu.Lock()
		defer mu.Unlock()
		var out []string
		for k := range delivered {
			out = append(out, k)
		}
		slices.Sort(out)
		return out
	}
	await(t, 30*time.Second, fmt.Sprint("delivery of ", want), func() bool {
		return !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(got(), w) })
	})
	if g := got(); !slices.Equal(g, want) {
		t.Errorf("delivered %q; want %q", g, want)
	}
	mu.Lock()
	if authorization != "Bearer hush-token" {
		t.Errorf("the webhook was called without the token of the file")
	}
	mu.Unlock()

	// What was held back says by what it was.
	resp, err = http.Get("http://" + addr + "/api/v2/alerts?active=true&inhibited=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all []struct {
		Labels map[string]string
		Status struct{ InhibitedBy []string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	var inhibited []string
	for _, a := range all {
		if len(a.Status.InhibitedBy) > 0 {
			inhibited = append(inhibited, a.Labels["alertname"]+"/"+a.Labels["instance"])
		}
	}
	slices.Sort(inhibited)
	if want := []string{"PlancastBuildFailed/c", "PlancastMilestoneAtRisk/c", "PlancastPassOverdue/d", "PlancastResultsStale/a", "PlancastResultsStale/d"}; !slices.Equal(inhibited, want) {
		t.Errorf("inhibited %q; want %q", inhibited, want)
	}
}
