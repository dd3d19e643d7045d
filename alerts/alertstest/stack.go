package alertstest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/plancast/plancast/stack/local"
)

// Token is the secret that Alertmanager reads from its file and shows to the
// webhook.
const Token = "hush-token"

// Alert is an alert as Alertmanager delivers it.
type Alert struct {
	Status      string // firing or resolved
	Labels      map[string]string
	Annotations map[string]string
	Fingerprint string
}

// Alertmanager is the real one on the shipped configuration. One receiver
// stands in the place of every "ui": a webhook of the test's.
type Alertmanager struct {
	*local.Process
	hook *httptest.Server

	mu        sync.Mutex
	delivered []Alert
}

// StartAlertmanager runs it until the end of the test. dir is the folder with
// the shipped alertmanager.yml.
func StartAlertmanager(t testing.TB, dir string) *Alertmanager {
	t.Helper()
	program := Find(t, "prometheus-alertmanager", "alertmanager")
	a := &Alertmanager{}
	a.hook = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer "+Token {
			t.Errorf("the webhook request lacks the token from the file")
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the sender ends, and so does the test
		}
		var m struct{ Alerts []Alert }
		if err := json.Unmarshal(body, &m); err != nil {
			t.Errorf("the webhook got %q: %v", body, err)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.delivered = append(a.delivered, m.Alerts...)
	}))
	t.Cleanup(a.hook.Close) // after Alertmanager has ended: cleanups run backwards

	at := t.TempDir()
	text := hastened(t, dir, "alertmanager.yml")
	for old, new := range map[string]string{"receiver: ui": "receiver: example-webhook", "http://localhost:9094/alerts": a.hook.URL} {
		if !strings.Contains(text, old) {
			t.Fatalf("alertmanager.yml no longer has %q", old)
		}
		text = strings.ReplaceAll(text, old, new)
	}
	write(t, at, "alertmanager.yml", text)
	write(t, at, "secrets/webhook-token", Token)
	a.Process = Start(t, local.Program{Ready: "/-/ready", Command: func(address string) []string {
		return []string{program, "--config.file=" + filepath.Join(at, "alertmanager.yml"), "--storage.path=" + filepath.Join(at, "data"),
			"--web.listen-address=" + address, "--cluster.listen-address="}
	}})
	return a
}

// Delivered is what the webhook received so far, in order, repeats included.
func (a *Alertmanager) Delivered() []Alert {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.delivered)
}

// Held is an alert in Alertmanager, with the fingerprints of those that
// inhibit it.
type Held struct {
	Labels      map[string]string
	Fingerprint string
	Status      struct{ InhibitedBy []string }
}

// Held lists the alerts that fire, delivered or not.
func (a *Alertmanager) Held(t testing.TB) []Held {
	t.Helper()
	var out []Held
	if err := getJSON("http://"+a.Address+"/api/v2/alerts?active=true&inhibited=true", &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Prometheus is the real one on the shipped configuration and rules.
type Prometheus struct{ *local.Process }

// StartPrometheus runs it until the end of the test. dir is the folder with
// the shipped files, data the one for the database. It scrapes exporter and
// sends to alertmanager, both host:port; args are further flags.
func StartPrometheus(t testing.TB, dir, data, exporter, alertmanager string, args ...string) Prometheus {
	t.Helper()
	program := Find(t, "prometheus")
	at := t.TempDir()
	for _, name := range []string{"prometheus.yml", "plancast.rules.yml"} {
		write(t, at, name, hastened(t, dir, name))
	}
	write(t, at, "targets/plancast.yml", fmt.Sprintf("- targets: [%q]\n", exporter))
	write(t, at, "targets/alertmanager.yml", fmt.Sprintf("- targets: [%q]\n", alertmanager))
	return Prometheus{Start(t, local.Program{Ready: "/-/ready", Command: func(address string) []string {
		return append([]string{program, "--config.file=" + filepath.Join(at, "prometheus.yml"), "--storage.tsdb.path=" + data,
			"--enable-feature=native-histograms", "--web.listen-address=" + address, "--log.level=warn"}, args...)
	}})}
}

// Get decodes the JSON that Prometheus answers at the path.
func (p Prometheus) Get(t testing.TB, path string, into any) {
	t.Helper()
	if err := getJSON("http://"+p.Address+path, into); err != nil {
		t.Fatal(err)
	}
}

// Value is the value of an instant query that gives one series now; false when
// it gives none.
func (p Prometheus) Value(t testing.TB, query string) (float64, bool) {
	t.Helper()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any }
		}
	}
	p.Get(t, "/api/v1/query?query="+url.QueryEscape(query), &answer)
	if answer.Error != "" || len(answer.Data.Result) > 1 {
		t.Fatalf("%s: %d series, %s; want one", query, len(answer.Data.Result), answer.Error)
	}
	if len(answer.Data.Result) == 0 {
		return 0, false
	}
	text, _ := answer.Data.Result[0].Value[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v, true
}

func getJSON(url string, into any) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("GET %s: %s: %w", url, resp.Status, err)
	}
	return nil
}

func hastened(t testing.TB, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	out, err := Hasten(string(text))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

func write(t testing.TB, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
