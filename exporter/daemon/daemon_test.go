package daemon_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine/fake"
)

func TestMain(m *testing.M) {
	daemontest.WorkerMain(nil)
	// The race detector would hold up the end of every child for a second.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

const launchTarget = `
targets:
  - {name: launch, criteria: ["p99 < 5ms"]}
`

func TestAFileFromTheFutureIsMeasuredOnceItIsQuiet(t *testing.T) {
	s := daemontest.New(t, "")
	s.Push("net", "1", fake.Script{})
	future := time.Now().Add(24 * time.Hour)
	if err := os.Chtimes(filepath.Join(s.Dir, "models/net/1/model.onnx"), future, future); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	d := s.Open(func(o *daemon.Options) { o.Now = func() time.Time { return now } })
	for range 2 {
		if err := d.Pass(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Minute) // quiet, and past the grace for a file that is no ONNX
	}
	if got := s.Records(); !slices.Equal(got, []string{"net/1 1 measured"}) {
		t.Errorf("records %q", got)
	}
}

func get(t *testing.T, h http.Handler, method, target string, header ...string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	r.Host = "localhost"
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestTheWebShowsWhatIsKnown(t *testing.T) {
	s := daemontest.New(t, launchTarget)
	s.Push("net", "1", fake.Script{Latency: daemontest.Milliseconds(4)})
	d := s.Open()
	h := d.Handler()

	if code, body := get(t, h, "GET", "/-/ready"); code != http.StatusServiceUnavailable || !strings.Contains(body, "has not read the model repository yet") {
		t.Errorf("before the first pass: %d %s", code, body)
	}
	if err := d.Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		method, target string
		code           int
		want           string
	}{
		{"GET", "/-/healthy", 200, "healthy"},
		{"GET", "/-/ready", 200, "ready"},
		{"GET", "/", 200, "meets the launch threshold"},
		{"GET", "/?model=net", 200, "net"},
		{"GET", "/models/net", 200, `<a href="../results/1">1</a>`},
		{"GET", "/models/net?sort=p98", 400, "is not one of"},
		{"GET", "/models/nothing", 404, "neither the repository nor the history"},
		{"GET", "/models/..%2Fx", 404, ""},
		{"GET", "/results/1", 200, "Windows over time"},
		{"GET", "/results/1", 200, `href="../api/v1/results/1/samples" download`},
		{"GET", "/results/2", 404, "there is no result 2"},
		{"GET", "/results/x", 404, "not the ID of a result"},
		{"GET", "/api/v1/results/1/samples", 200, "window,latency_seconds\n1,"},
		{"GET", "/api/v1/results/2/samples", 404, "there is no result 2"},
		{"GET", "/?after=net", 200, "First models"},
		{"GET", "/?limit=none", 400, "not a number from 1 to 1000"},
		{"GET", "/nowhere", 404, ""},
		{"GET", "/metrics", 200, `plancast_iteration{backend="fake"`},
		{"GET", "/api/v1/report", 200, `"schema_version": 1`},
		{"GET", "/api/v1/report?format=markdown", 200, "| "},
		{"GET", "/api/v1/report?format=pdf", 400, "not one of json, markdown, text"},
		{"GET", "/api/v1/report?model=net", 200, `"name": "net"`},
		{"GET", "/api/v1/report?model=nothing", 404, "there is no model"},
		{"GET", "/api/v1/report?limit=0", 400, "not a number from 1 to 1000"},
		{"GET", "/-/reload", 405, "only POST"},
		{"POST", "/-/reload", 200, "success"},
		{"POST", "/api/v1/run?model=net", 202, "success"},
		{"POST", "/api/v1/run", 202, "success"},
		{"POST", "/api/v1/run?model=../x", 400, "cannot be a model's name"},
	} {
		if code, body := get(t, h, c.method, c.target); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d; want %d and %q\n%.2000s", c.method, c.target, code, c.code, c.want, body)
		}
	}
	if code, _ := get(t, h, "POST", "/-/reload", "Sec-Fetch-Site", "cross-site"); code != http.StatusForbidden {
		t.Errorf("a page elsewhere may reload: %d", code)
	}
	off := daemontest.New(t, "").Open(func(o *daemon.Options) { o.Web.Lifecycle = false })
	if code, body := get(t, off.Handler(), "POST", "/-/reload"); code != http.StatusForbidden || !strings.Contains(body, "--web.enable-lifecycle") {
		t.Errorf("not enabled: %d %s", code, body)
	}

	s.Configure("nonsense: 1\n")
	if code, body := get(t, h, "POST", "/-/reload"); code != http.StatusInternalServerError || !strings.Contains(body, "unknown key") {
		t.Errorf("bad configuration: %d %s", code, body)
	}
	if _, body := get(t, h, "GET", "/metrics"); !strings.Contains(body, "plancast_config_last_reload_successful 0") {
		t.Error("the failed reload is no metric")
	}
	if _, body := get(t, h, "GET", "/"); !strings.Contains(body, "meets the launch threshold") {
		t.Error("after a bad reload the old configuration is not in force")
	}
}

func TestCancellingLeavesNoHalfResult(t *testing.T) {
	s := daemontest.New(t, "")
	s.Push("net", "1", fake.Script{})
	s.Push("stuck", "1", fake.Script{Fault: fake.Hang, At: "time"})
	d := s.Open()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Pass(ctx, nil) }()
	for deadline := time.Now().Add(5 * time.Minute); ; {
		v := d.View()
		if len(v.Running) > 0 && v.Running[0].Model == "stuck" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the second job did not begin")
		}
		runtime.Gosched()
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the pass ended with %v", err)
	}
	if v := d.View(); len(v.Running)+len(v.Queue) > 0 {
		t.Errorf("after the pass %v run and %v wait", v.Running, v.Queue)
	}
	if got := s.Records(); !slices.Equal(got, []string{"net/1 1 measured"}) {
		t.Errorf("records %q; want what was through, and none of the other", got)
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir, "state", "work", "*")); len(left) > 0 {
		t.Errorf("work left behind: %v", left)
	}
	if left := daemontest.Orphans(t); len(left) > 0 {
		t.Errorf("workers left behind: %v", left)
	}
}

func TestServingWithoutMeasuringShowsTheHistory(t *testing.T) {
	s := daemontest.New(t, launchTarget)
	s.Push("net", "1", fake.Script{Latency: daemontest.Milliseconds(4)})
	measuring, err := daemon.New(s.Options())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(measuring.Pass(t.Context(), nil), measuring.Close()); err != nil {
		t.Fatal(err)
	}
	s.Push("net", "2", fake.Script{Latency: daemontest.Milliseconds(3)})
	d := s.Open(func(o *daemon.Options) {
		o.Unmeasured = true
		o.Backends = nil // a machine that has none
	})
	if err := d.Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	h := d.Handler()
	for target, want := range map[string]string{
		"/-/ready": "ready",
		"/metrics": `plancast_candidates{model="net",state="accepted"} 2`,
		"/":        "meets the launch threshold",
	} {
		if code, body := get(t, h, "GET", target); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d without %q", target, code, want)
		}
	}
	if n := len(s.Records()); n != 1 {
		t.Errorf("%d records; want the one from before", n)
	}
}
