// Package e2e_test proves the whole: the program that users build measures
// real models with ONNX Runtime, the real Prometheus scrapes it and evaluates
// the shipped rules, the real Alertmanager routes by the shipped configuration,
// and the test reads the alerts where it sends them. Only waiting is shorter
// than shipped: see alertstest.Hasten.
package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plancast/plancast/alerts/alertstest"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/runtimetest"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/stack/local"
)

const (
	alertsDir = "../alerts"
	runbook   = "https://github.com/plancast/plancast/blob/main/docs/runbook.md#"
	grafana   = "http://localhost:3000/d/"
)

// program is where the built plancast lies.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "plancast-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	program = filepath.Join(dir, "plancast")
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// build makes plancast as a user does, once for all tests.
var build = sync.OnceValue(func() error {
	out, err := exec.Command("make", "--no-print-directory", "-C", "..", "build", "BIN="+program).CombinedOutput()
	if err != nil {
		return fmt.Errorf("make build: %w\n%s", err, out)
	}
	// go test keeps a result until a file changes that the test looked at; make
	// looked at these.
	return filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != ".." || d.Name() == "node_modules"):
			return filepath.SkipDir
		case filepath.Ext(path) == ".go" || d.Name() == "go.mod" || d.Name() == "Makefile":
			_, err = os.Stat(path)
		}
		return err
	})
})

// news is what plancast's own notifications say to a webhook with
// template=json.
type news struct{ Title, Message, Event, Model, Version, Owner string }

// site is a team with plancast, Prometheus and Alertmanager.
type site struct {
	t            *testing.T
	dir          string
	board        string // the webhook of plancast's own notifications
	plancast     *local.Process
	prometheus   alertstest.Prometheus
	alertmanager *alertstest.Alertmanager

	mu            sync.Mutex
	notifications []news
}

// newSite prepares a site in which nothing but Alertmanager runs yet. extra is
// added to plancast's configuration.
func newSite(t *testing.T, extra string) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("starts plancast, Prometheus and Alertmanager")
	}
	runtimetest.Need(t)
	alertstest.Find(t, "prometheus")
	s := &site{t: t, dir: t.TempDir(), alertmanager: alertstest.StartAlertmanager(t, alertsDir)}
	if err := build(); err != nil {
		t.Fatal(err)
	}
	board := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // plancast ends, and sends it again
		}
		var n news
		if err := json.Unmarshal(body, &n); err != nil {
			t.Errorf("plancast sent %q: %v", body, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.notifications = append(s.notifications, n)
	}))
	t.Cleanup(board.Close)
	s.board = board.URL
	s.configure(extra)
	if err := os.Mkdir(s.path("models"), 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

// configure writes plancast's configuration, to which extra is added.
func (s *site) configure(extra string) {
	s.t.Helper()
	s.write("plancast.yml", fmt.Sprintf(`
repository: {url: models, backlog: 10}
state: state
schedule: "@every 1s"
precisions: [fp32]
onnxruntime: {threads: 1}
worker: {timeout: 2min}
benchmark: {warm_up: 0s, min_window: 0s, max_windows: 2, min_queries: 10, sweep_window: 10ms, concurrency: [1], max_disturbance: 100%%, repeat: 0}
models:
  - {match: "*", owner: vision-team}
notifications:
  receivers:
    - {name: board, url: "generic+%s/?template=json"}
`, s.board)+extra)
}

func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// push puts a candidate into the repository: whole at once, and old enough to
// be taken for whole.
func (s *site) push(model, version string, m onnxtest.Model) {
	s.t.Helper()
	tmp := s.path(filepath.Join("models", model, ".copying"))
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(tmp, "model.onnx")
	if err := os.WriteFile(file, m.Bytes(), 0o644); err != nil {
		s.t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(tmp, s.path(filepath.Join("models", model, version))); err != nil {
		s.t.Fatal(err)
	}
}

// network is y = Relu(Conv(...Relu(Conv(x)))): the time of an inference grows
// with the layers, the file hardly does.
func network(layers int) onnxtest.Model {
	g := onnxtest.Graph{
		Inputs:       []onnxtest.Value{{Name: "x0", Type: onnxtest.Float, Dims: []onnxtest.Dim{1, 8, 32, 32}}},
		Outputs:      []onnxtest.Value{{Name: fmt.Sprint("x", layers), Type: onnxtest.Float, Dims: []onnxtest.Dim{1, 8, 32, 32}}},
		Initializers: []onnxtest.Tensor{{Name: "W", Type: onnxtest.Float, Dims: []int64{8, 8, 3, 3}, Data: onnxtest.Noise(8*8*9, 0.1)}},
	}
	for i := range layers {
		x, c, y := fmt.Sprint("x", i), fmt.Sprint("c", i), fmt.Sprint("x", i+1)
		g.Nodes = append(g.Nodes,
			onnxtest.Node{Op: "Conv", Name: "conv" + x, Inputs: []string{x, "W"}, Outputs: []string{c},
				Attributes: [][]byte{onnxtest.Ints("kernel_shape", 3, 3), onnxtest.Ints("pads", 1, 1, 1, 1)}},
			onnxtest.Node{Op: "Relu", Name: "relu" + x, Inputs: []string{c}, Outputs: []string{y}})
	}
	return onnxtest.Model{Graph: g}
}

// slow is the number of layers of a network that takes far more than four times
// as long as one of a single layer, whatever the processor.
const slow = 400

// serve starts plancast, or starts it again where it was.
func (s *site) serve() {
	s.t.Helper()
	address := ""
	if s.plancast != nil {
		address = s.plancast.Address
	}
	s.plancast = alertstest.Start(s.t, local.Program{Ready: "/-/ready", Address: address, Dir: s.dir, Command: func(address string) []string {
		return []string{program, "serve", "--web.listen-address=" + address}
	}})
}

// scrape starts Prometheus.
func (s *site) scrape() {
	s.t.Helper()
	s.prometheus = alertstest.StartPrometheus(s.t, alertsDir, s.path("prometheus"), s.plancast.Address, s.alertmanager.Address)
}

// run runs a command of plancast's and returns its output.
func (s *site) run(args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), program, args...)
	cmd.Dir = s.dir
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("plancast %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// awaitValue waits until Prometheus answers the query with a value that is ok.
func (s *site) awaitValue(query string, ok func(float64) bool) {
	s.t.Helper()
	last := "nothing"
	defer func() {
		if s.t.Failed() {
			s.t.Logf("%s is %s", query, last)
		}
	}()
	alertstest.Await(s.t, "Prometheus to see "+query, func() bool {
		v, found := s.prometheus.Value(s.t, query)
		if found {
			last = fmt.Sprint(v)
		}
		return found && ok(v)
	})
}

func is(want float64) func(float64) bool { return func(v float64) bool { return v == want } }

// delivered reports whether the webhook got an alert with that status and, among
// others, these labels: name, value, and so on.
func (s *site) delivered(status, alert string, labels ...string) (alertstest.Alert, bool) {
	for _, a := range s.alertmanager.Delivered() {
		if a.Status == status && has(a.Labels, append([]string{"alertname", alert}, labels...)) {
			return a, true
		}
	}
	return alertstest.Alert{}, false
}

func has(labels map[string]string, want []string) bool {
	for i := 0; i+1 < len(want); i += 2 {
		if labels[want[i]] != want[i+1] {
			return false
		}
	}
	return true
}

// awaitAlert waits for the delivery.
func (s *site) awaitAlert(status, alert string, labels ...string) alertstest.Alert {
	s.t.Helper()
	var a alertstest.Alert
	alertstest.Await(s.t, fmt.Sprintf("delivery of %s, %s, with %q", alert, status, labels), func() (found bool) {
		a, found = s.delivered(status, alert, labels...)
		return found
	})
	return a
}

// awaitNews waits until plancast itself has sent the event.
func (s *site) awaitNews(event, model, version string) news {
	s.t.Helper()
	var found news
	alertstest.Await(s.t, fmt.Sprintf("the news of %s version %s, %s", model, version, event), func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, n := range s.notifications {
			if n.Model == model && n.Version == version && strings.Contains(n.Event, event) {
				found = n
				return true
			}
		}
		return false
	})
	return found
}

// compare holds a delivered alert against what it must say, completely; a
// value is a regular expression.
func compare(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for name, pattern := range want {
		if !regexp.MustCompile("^(?:" + pattern + ")$").MatchString(got[name]) {
			t.Errorf("%s %s is %q; want %q", what, name, got[name], pattern)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s %s, %q, was not to be there", what, name, got[name])
		}
	}
}
