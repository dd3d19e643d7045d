package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/worker"
)

// The test binary is also the program: with "worker" as its argument it is a
// worker, and with this variable it is plancast itself, to be killed. Both
// have the scripted backend besides the real ones.
const actAsProgram = "PLANCAST_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == workerCommand {
		os.Exit(worker.Main(openFake, nil))
	}
	if os.Getenv(actAsProgram) != "" {
		os.Unsetenv(actAsProgram)
		os.Exit(run(context.Background(), os.Args[1:], testProgram(os.Stdout, os.Stderr)))
	}
	// The race detector would hold up the end of every child for a second.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

func openFake(name string, c bench.BackendConfig) (engine.Backend, error) {
	if name == fake.Name {
		if os.Getenv(usedAgain) != "" {
			return again{fake.New()}, nil
		}
		return fake.New(), nil
	}
	return openBackend(name, c)
}

// usedAgain makes a worker one whose process does several jobs.
const usedAgain = "PLANCAST_TEST_USED_AGAIN"

type again struct{ *fake.Backend }

func (again) Reusable() bool { return true }

func testProgram(stdout, stderr io.Writer) program {
	return program{stdout: stdout, stderr: stderr, now: time.Now, worker: []string{os.Args[0], workerCommand}, backends: []string{fake.Name},
		log: slog.New(slog.NewTextHandler(stderr, nil))}
}

// site is a folder with a configuration and a model repository.
type site struct {
	t   *testing.T
	dir string
}

func newSite(t *testing.T, extra string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.configure(extra)
	if err := os.Mkdir(filepath.Join(s.dir, "models"), 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) configure(extra string) {
	s.t.Helper()
	text := `
repository: {url: models, quiet: 1s, backlog: 100}
state: state
precisions: [fp32]
schedule: "@every 1h"
worker: {timeout: 20s, memory: 1GiB}
benchmark: {warm_up: 0s, min_window: 0s, min_queries: 662, sweep_window: 10ms, concurrency: [1]}
` + extra
	if err := os.WriteFile(s.file(), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) file() string { return filepath.Join(s.dir, "plancast.yml") }

// push puts a scripted candidate into the repository; it is old enough to be
// taken for whole.
func (s *site) push(model, version string, script fake.Script) {
	s.t.Helper()
	text, err := json.Marshal(script)
	if err != nil {
		s.t.Fatal(err)
	}
	dir := filepath.Join(s.dir, "models", model, version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(dir, "model.onnx")
	// The same script in two versions shall be two candidates.
	number, err := strconv.Atoi(version)
	if err != nil {
		s.t.Fatal(err)
	}
	text = append(text, strings.Repeat(" ", number)...)
	if err := os.WriteFile(file, text, 0o644); err != nil {
		s.t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		s.t.Fatal(err)
	}
}

func ms(n float64) fake.Duration { return fake.Duration(n * float64(time.Millisecond)) }

// plancast runs a command in this process.
func (s *site) plancast(args ...string) (status int, stdout, stderr string) {
	s.t.Helper()
	var out, errs bytes.Buffer
	status = run(s.t.Context(), args, testProgram(&out, &errs))
	return status, out.String(), errs.String()
}

func (s *site) open() *app {
	s.t.Helper()
	cfg, err := config.Load(s.file())
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := openApp(cfg, testProgram(io.Discard, io.Discard))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := a.close(); err != nil {
			s.t.Error(err)
		}
	})
	return a
}

// records are what a pass leaves in the history, as "model/version iteration outcome".
func (s *site) records() []string {
	s.t.Helper()
	store, err := history.OpenReadOnly(filepath.Join(s.dir, "state", "history.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer store.Close()
	var out []string
	for r, err := range store.Records(s.t.Context(), history.Filter{}) {
		if err != nil {
			s.t.Fatal(err)
		}
		outcome := "measured"
		if !r.OK() {
			outcome = string(r.Failure.Kind)
		}
		out = append(out, fmt.Sprintf("%s/%s %d %s", r.Model, r.Version, r.Iteration, outcome))
	}
	return out
}

const launchTarget = `
targets:
  - {name: launch, criteria: ["p99 < 5ms"]}
`

func TestRunMeasuresReportsAndJudges(t *testing.T) {
	s := newSite(t, launchTarget)
	s.push("net", "1", fake.Script{Latency: ms(10)})
	s.push("net", "2", fake.Script{Latency: ms(4)})
	status, out, errs := s.plancast("run", "--config.file", s.file())
	if status != exitOK {
		t.Fatalf("status %d; want 0\n%s\n%s", status, out, errs)
	}
	for _, want := range []string{"P99 4 ms", "down 60 %", "meets the launch threshold"} {
		if !strings.Contains(out, want) {
			t.Errorf("the report lacks %q:\n%s", want, out)
		}
	}
	s.push("net", "3", fake.Script{Latency: ms(6)})
	if status, out, _ := s.plancast("run", "--config.file", s.file(), "--format", "markdown"); status != exitMissed || !strings.Contains(out, "misses the launch threshold") {
		t.Errorf("slower candidate: status %d; want 1\n%s", status, out)
	}
	s.push("net", "4", fake.Script{Fault: fake.UnsupportedOperator})
	if status, out, _ := s.plancast("run", "--config.file", s.file(), "--format", "json"); status != exitError || !json.Valid([]byte(out)) {
		t.Errorf("broken candidate: status %d; want 2\n%s", status, out)
	}
	want := []string{"net/1 1 measured", "net/2 2 measured", "net/3 3 measured", "net/4 4 unsupported_operator"}
	if got := s.records(); !slices.Equal(got, want) {
		t.Errorf("records %q; want %q", got, want)
	}
	if status, _, _ := s.plancast("run", "--config.file", s.file()); status != exitError || len(s.records()) != 4 {
		t.Errorf("a second pass measured again, or forgot the failure: status %d, %q", status, s.records())
	}
}

func TestRunOfOneModelLeavesTheOthers(t *testing.T) {
	s := newSite(t, launchTarget)
	s.push("fast", "1", fake.Script{Latency: ms(1)})
	s.push("slow", "1", fake.Script{Latency: ms(9)})
	if status, out, errs := s.plancast("run", "--config.file", s.file(), "--model", "fa*"); status != exitOK || strings.Contains(out, "slow") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	if got := s.records(); !slices.Equal(got, []string{"fast/1 1 measured"}) {
		t.Errorf("records %q", got)
	}
	s.plancast("run", "--config.file", s.file())
	if status, out, errs := s.plancast("run", "--config.file", s.file(), "--model", "fast"); status != exitOK || strings.Contains(out, "slow") {
		t.Errorf("after all were measured: status %d\n%s%s", status, out, errs)
	}
	if status, _, errs := s.plancast("run", "--config.file", s.file(), "--model", "none"); status != exitError || !strings.Contains(errs, "matches --model none") {
		t.Errorf("status %d, %s", status, errs)
	}
}

func TestAFaultCostsThatJobAlone(t *testing.T) {
	for _, c := range []struct {
		fault fake.Fault
		at    string
		kind  engine.Kind
	}{
		{fake.Crash, "build", engine.KindCrashed},
		{fake.Exit, "time", engine.KindCrashed},
		{fake.Panic, "load", engine.KindCrashed},
		{fake.Hang, "time", engine.KindTimeout},
		{fake.Eat, "build", engine.KindOutOfMemory},
		{fake.InvalidModel, "build", engine.KindInvalidModel},
		{fake.RunFailed, "infer", engine.KindRunFailed},
		{fake.Garbage, "build", ""}, // on stdout, where nothing is read: harmless
	} {
		t.Run(fmt.Sprint(c.fault, " at ", c.at), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			s.configureWorker("3s", "400MiB")
			s.push("bad", "1", fake.Script{Fault: c.fault, At: c.at})
			s.push("good", "1", fake.Script{})
			_, out, errs := s.plancast("run", "--config.file", s.file())
			want := []string{"bad/1 1 " + string(c.kind), "good/1 1 measured"}
			if c.kind == "" {
				want[0] = "bad/1 1 measured"
			}
			if got := s.records(); !slices.Equal(got, want) {
				t.Errorf("records %q; want %q\n%s%s", got, want, out, errs)
			}
			if left, _ := filepath.Glob(filepath.Join(s.dir, "state", "work", "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func (s *site) configureWorker(timeout, memory string) {
	s.t.Helper()
	s.configure("")
	text, err := os.ReadFile(s.file())
	if err != nil {
		s.t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("{timeout: 20s, memory: 1GiB}"), fmt.Appendf(nil, "{timeout: %s, memory: %s}", timeout, memory), 1)
	if err := os.WriteFile(s.file(), text, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func TestJobsThatShareAProcess(t *testing.T) {
	t.Setenv(usedAgain, "1")
	s := newSite(t, "")
	text, err := os.ReadFile(s.file())
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("precisions: [fp32]"), []byte("precisions: [fp32, fp16, int8]"), 1)
	if err := os.WriteFile(s.file(), text, 0o644); err != nil {
		t.Fatal(err)
	}
	s.push("bad", "1", fake.Script{Fault: fake.Crash, At: "time"})
	s.push("fp32-only", "1", fake.Script{Precisions: []engine.Precision{engine.FP32}})
	s.push("good", "1", fake.Script{})
	_, out, errs := s.plancast("run", "--config.file", s.file())
	want := []string{
		"bad/1 1 crashed", "bad/1 1 crashed", "bad/1 1 crashed",
		"fp32-only/1 1 measured", "fp32-only/1 1 unsupported_precision", "fp32-only/1 1 unsupported_precision",
		"good/1 1 measured", "good/1 1 measured", "good/1 1 measured",
	}
	if got := s.records(); !slices.Equal(got, want) {
		t.Errorf("records %q; want %q\n%s%s", got, want, out, errs)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "state", "work", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestVersionsComeAndGo(t *testing.T) {
	s := newSite(t, "")
	pass := func(want ...string) {
		t.Helper()
		_, out, errs := s.plancast("run", "--config.file", s.file())
		if got := s.records(); !slices.Equal(got, want) {
			t.Errorf("records %q; want %q\n%s%s", got, want, out, errs)
		}
	}
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(filepath.Join(s.dir, "models", from), filepath.Join(s.dir, "models", to)); err != nil {
			t.Fatal(err)
		}
	}
	s.push("m", "2", fake.Script{})
	pass("m/2 1 measured")
	s.push("m", "1", fake.Script{}) // out of order: kept, no iteration
	pass("m/2 1 measured", "m/1 0 measured")
	s.push("m", "2", fake.Script{Latency: ms(2)}) // replaced: the next iteration
	pass("m/2 1 measured", "m/1 0 measured", "m/2 2 measured")
	rename("m/2", "m/3") // renamed version: the same content is the same candidate
	pass("m/2 1 measured", "m/1 0 measured", "m/2 2 measured")
	rename("m", "n") // renamed model: a series of its own
	pass("m/2 1 measured", "m/1 0 measured", "m/2 2 measured", "n/1 1 measured", "n/3 2 measured")
	if err := os.RemoveAll(filepath.Join(s.dir, "models", "n")); err != nil {
		t.Fatal(err)
	}
	pass("m/2 1 measured", "m/1 0 measured", "m/2 2 measured", "n/1 1 measured", "n/3 2 measured") // deleted: history stays
}

func TestTwoDoNotMeasureAtOnce(t *testing.T) {
	s := newSite(t, "")
	s.open()
	if status, _, errs := s.plancast("run", "--config.file", s.file()); status != exitError || !strings.Contains(errs, "another plancast is measuring") {
		t.Errorf("status %d, %s", status, errs)
	}
}

func TestCheckPromisesAndDoesNothing(t *testing.T) {
	s := newSite(t, launchTarget+`
milestones:
  - {name: spring, models: "net*", criteria: [p99 < 5ms, accuracy_deviation < 0.5%], share: 80%, deadline: 2027-01-31, horizon: 5}
`)
	s.push("net", "1", fake.Script{})
	s.push("bad name", "1", fake.Script{})
	status, out, errs := s.plancast("check", "--config.file", s.file())
	for _, want := range []string{
		"is valid", "launch: p99 < 5 ms by the best engine of every model",
		"spring: p99 < 5 ms and accuracy_deviation < 0.5 % by the best engine of net*, for 80 % of them, by 31 January 2027 23:59 UTC and within 5 iterations; ready at a probability of 90 %",
		"measure net version 1 fp32", `refused: bad name: "bad name" cannot be a model's name`, "Backend     fake",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("check lacks %q", want)
		}
	}
	if status != exitOK {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "state")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("check made the state folder: %v", err)
	}
	s.open() // as plancast serve would
	if status, out, errs := s.plancast("check", "--config.file", s.file()); status != exitOK {
		t.Errorf("beside another plancast: status %d\n%s%s", status, out, errs)
	}
}

func TestATargetWithoutModelsIsNoGate(t *testing.T) {
	s := newSite(t, "targets:\n  - {name: launch, models: resnt, criteria: [\"p99 < 5ms\"]}\n")
	s.push("resnet", "1", fake.Script{})
	status, out, errs := s.plancast("run", "--config.file", s.file())
	if status != exitError || !strings.Contains(out, "target launch selects no model of the repository") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	if _, out, _ := s.plancast("check", "--config.file", s.file()); !strings.Contains(out, "target launch selects no model") {
		t.Errorf("check: %s", out)
	}
}

func TestAFileFromTheFutureIsMeasuredOnceItIsQuiet(t *testing.T) {
	s := newSite(t, "")
	s.push("net", "1", fake.Script{})
	future := time.Now().Add(24 * time.Hour)
	if err := os.Chtimes(filepath.Join(s.dir, "models/net/1/model.onnx"), future, future); err != nil {
		t.Fatal(err)
	}
	a := s.open()
	now := time.Now()
	a.now = func() time.Time { return now }
	for range 2 {
		if err := a.pass(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Minute) // quiet, and past the grace for a file that is no ONNX
	}
	if got := s.records(); !slices.Equal(got, []string{"net/1 1 measured"}) {
		t.Errorf("records %q", got)
	}
}

func TestMistakesAreToldWithAWayOut(t *testing.T) {
	s := newSite(t, "")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "--config.file", "/nonexistent.yml"}, "name another with --config.file"},
		{[]string{"run", "--format", "pdf"}, "must be one of text,markdown,json"},
		{[]string{"dance"}, "see plancast --help"},
		{[]string{"history", "list", "--config.file", s.file()}, "run plancast serve or plancast run first"},
		{[]string{"run", "--config.file", s.file(), "--model", "[a"}, "is not a pattern"},
		{[]string{"serve", "--config.file", s.file(), "--web.listen-address", "256.0.0.1:1"}, "choose another with --web.listen-address"},
	} {
		status, _, errs := s.plancast(c.args...)
		if status != exitError || !strings.Contains(errs, c.want) {
			t.Errorf("plancast %s: status %d, %q; want 2 and %q", strings.Join(c.args, " "), status, errs, c.want)
		}
	}
	if status, out, _ := s.plancast("--help"); status != exitOK || strings.Count(out, "usage: plancast") != 1 {
		t.Errorf("--help: status %d, %s", status, out)
	}
}

func TestHistoryIsReadWhileItIsWritten(t *testing.T) {
	s := newSite(t, "")
	s.push("net", "1", fake.Script{})
	a := s.open()
	if err := a.pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	status, out, errs := s.plancast("history", "list", "--config.file", s.file())
	if status != exitOK || !strings.Contains(out, "net") || !strings.Contains(out, "measured") {
		t.Errorf("list: status %d\n%s%s", status, out, errs)
	}
	status, out, _ = s.plancast("history", "show", "--config.file", s.file(), "1")
	var r history.Record
	if err := json.Unmarshal([]byte(out), &r); status != exitOK || err != nil || r.Model != "net" || !r.OK() {
		t.Errorf("show: status %d, %v\n%s", status, err, out)
	}
	if status, _, errs := s.plancast("history", "show", "--config.file", s.file(), "99"); status != exitError || !strings.Contains(errs, "has no record 99") {
		t.Errorf("show 99: status %d, %s", status, errs)
	}
}

func get(t *testing.T, h http.Handler, method, target string, header ...string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestTheWebShowsWhatIsKnown(t *testing.T) {
	s := newSite(t, launchTarget)
	s.push("net", "1", fake.Script{Latency: ms(4)})
	a := s.open()
	var kicked []string
	h := a.handler(lifecycle{reload: func() error { return a.reload(s.file()) }, kick: func(m string) { kicked = append(kicked, m) }})

	if code, body := get(t, h, "GET", "/-/ready"); code != http.StatusServiceUnavailable || !strings.Contains(body, "has not read the model repository yet") {
		t.Errorf("before the first pass: %d %s", code, body)
	}
	if err := a.pass(t.Context(), nil); err != nil {
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
		{"GET", "/nowhere", 404, ""},
		{"GET", "/metrics", 200, `plancast_iteration{backend="fake"`},
		{"GET", "/api/v1/report", 200, `"schema_version": 1`},
		{"GET", "/api/v1/report?format=markdown", 200, "| "},
		{"GET", "/api/v1/report?format=pdf", 400, "not one of json, markdown, text"},
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
	if !slices.Equal(kicked, []string{"net", ""}) {
		t.Errorf("kicked %q", kicked)
	}
	if code, _ := get(t, h, "POST", "/-/reload", "Sec-Fetch-Site", "cross-site"); code != http.StatusForbidden {
		t.Errorf("a page elsewhere may reload: %d", code)
	}
	if code, body := get(t, a.handler(lifecycle{}), "POST", "/-/reload"); code != http.StatusForbidden || !strings.Contains(body, "--web.enable-lifecycle") {
		t.Errorf("not enabled: %d %s", code, body)
	}

	s.configure("nonsense: 1\n")
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

func TestAKickBetweenPassesIsOnePass(t *testing.T) {
	k := newKicks()
	k.kick("a")
	k.kick("b")
	<-k.wake
	only := k.take()
	if !only("a") || !only("b") || only("c") {
		t.Error("the selection is not what was asked for")
	}
	k.kick("a")
	k.kick("")
	if k.take() != nil {
		t.Error("all is less than everything")
	}
}

func TestCancellingLeavesNoHalfResult(t *testing.T) {
	s := newSite(t, "")
	s.push("net", "1", fake.Script{})
	s.push("stuck", "1", fake.Script{Fault: fake.Hang, At: "time"})
	a := s.open()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.pass(ctx, nil) }()
	for deadline := time.Now().Add(20 * time.Second); ; {
		v := a.view()
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
	if got := s.records(); !slices.Equal(got, []string{"net/1 1 measured"}) {
		t.Errorf("records %q; want what was through, and nothing of the other", got)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "state", "work", "*")); len(left) > 0 {
		t.Errorf("work left behind: %v", left)
	}
	if left := orphans(t); len(left) > 0 {
		t.Errorf("workers left behind: %v", left)
	}
}

func TestTheWebAsksForThePassword(t *testing.T) {
	s := newSite(t, "")
	web := filepath.Join(s.dir, "web.yml")
	// bcrypt of "secret", cost 4.
	const hash = "$2b$04$yYJDXR3Gm7pYLs1qJrJ1UeQ7zK5kq0o9Q5vQ2Qb4bqjXw3Zxj3Kxy"
	if err := os.WriteFile(web, []byte("basic_auth_users: {reader: '"+hash+"'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"serve", "--config.file", s.file(), "--web.listen-address", address, "--web.config.file", web}, testProgram(io.Discard, io.Discard))
	}()
	var code int
	for deadline := time.Now().Add(20 * time.Second); code == 0 && time.Now().Before(deadline); {
		if r, err := http.Get("http://" + address + "/metrics"); err == nil {
			code = r.StatusCode
			r.Body.Close()
		}
	}
	if code != http.StatusUnauthorized {
		t.Errorf("without a password: %d; want 401", code)
	}
	cancel()
	if status := <-done; status != exitOK {
		t.Errorf("serve ended with %d", status)
	}
	http.DefaultClient.CloseIdleConnections()
}

// lines is a log that may be read while it is written.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// On a machine without a driver the daemon says so once, and has no metric of a
// GPU; on one with a driver it names the GPU, and has.
func TestServeSaysWhetherThereIsAGPU(t *testing.T) {
	s := newSite(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	var log lines
	go func() {
		done <- run(ctx, []string{"serve", "--config.file", s.file(), "--web.listen-address", "127.0.0.1:0"}, testProgram(io.Discard, &log))
	}()
	url := regexp.MustCompile(`msg="Report at" url=(\S+)`)
	found := regexp.MustCompile(`msg="(No GPU telemetry|GPU found)"`)
	for deadline := time.Now().Add(60 * time.Second); (!url.MatchString(log.String()) || !found.MatchString(log.String())) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	what := found.FindStringSubmatch(log.String())
	where := url.FindStringSubmatch(log.String())
	if what == nil || where == nil {
		t.Fatalf("the log says neither:\n%s", log.String())
	}
	r, err := http.Get(where[1] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(r.Body)
	r.Body.Close()
	if has := bytes.Contains(body, []byte("plancast_gpu_")); has != (what[1] == "GPU found") {
		t.Errorf("%s, and metrics of a GPU: %t", what[0], has)
	}
	cancel()
	if status := <-done; status != exitOK {
		t.Errorf("serve ended with %d", status)
	}
	if n := strings.Count(log.String(), "No GPU telemetry"); n > 1 {
		t.Errorf("said %d times", n)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestForecastAndBacktestReadEverySource(t *testing.T) {
	s := newSite(t, launchTarget)
	for i := range 14 {
		s.push("net", strconv.Itoa(i+1), fake.Script{Latency: ms(20 - float64(i))})
	}
	if status, _, errs := s.plancast("run", "--config.file", s.file()); status != exitMissed {
		t.Fatalf("run: status %d\n%s", status, errs)
	}
	csv := filepath.Join(s.dir, "history.csv")
	var text strings.Builder
	text.WriteString("time,value\n")
	for i := range 14 {
		fmt.Fprintf(&text, "2026-01-%02d,%dms\n", i+1, 20-i)
	}
	if err := os.WriteFile(csv, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"forecast", "--config.file", s.file(), "--model", "net", "--criterion", "p99 < 5ms", "--horizon", "5"}, exitOK, "of the way to 5 ms"},
		{[]string{"forecast", "--csv", csv, "--unit", "seconds", "--criterion", "latency < 5ms", "--deadline", "2027-01-31", "--format", "json"}, exitOK, `"by_deadline"`},
		{[]string{"forecast", "--csv", csv, "--unit", "seconds", "--criterion", "latency < 5ms", "--format", "svg"}, exitOK, "<svg"},
		{[]string{"forecast", "--config.file", s.file(), "--model", "none", "--criterion", "p99 < 5ms"}, exitError, "has nothing of model none"},
		{[]string{"forecast", "--config.file", s.file(), "--model", "net"}, exitError, "--criterion is needed"},
		{[]string{"forecast", "--config.file", s.file(), "--model", "net", "--criterion", "p98 < 5ms"}, exitError, `there is no metric "p98"`},
		{[]string{"forecast", "--csv", csv, "--unit", "seconds", "--criterion", "p99 < 5ms", "--deadline", "soon"}, exitError, "--deadline"},
		{[]string{"backtest", "--config.file", s.file()}, exitOK, "questions on 1 histor"},
		{[]string{"backtest", "--csv", csv, "--format", "json"}, exitError, "line 2"},
		{[]string{"backtest", "--config.file", s.file(), "--metric", "p98"}, exitError, `there is no metric "p98"`},
	} {
		status, out, errs := s.plancast(c.args...)
		if status != c.status || !strings.Contains(out+errs, c.want) {
			t.Errorf("plancast %s: status %d; want %d and %q\n%s%s", strings.Join(c.args, " "), status, c.status, c.want, out, errs)
		}
	}
	p := testProgram(io.Discard, io.Discard)
	var out bytes.Buffer
	p.stdout, p.stdin = &out, strings.NewReader(`{"points": [[0, 10], [1, 9], [2, 9]], "direction": "lower", "target": 8, "horizon": 3}`+"\nnonsense\n")
	if status := run(t.Context(), []string{"forecast", "--jsonl"}, p); status != exitOK || strings.Count(out.String(), "\n") != 2 || !strings.Contains(out.String(), `"probability"`) {
		t.Errorf("jsonl: status %d, %s", status, out.String())
	}
}

func TestServingWithoutMeasuringShowsTheHistory(t *testing.T) {
	s := newSite(t, launchTarget)
	s.push("net", "1", fake.Script{Latency: ms(4)})
	if status, _, stderr := s.plancast("run", "--config.file="+s.file()); status != exitOK {
		t.Fatalf("run: %d %s", status, stderr)
	}
	s.push("net", "2", fake.Script{Latency: ms(3)})
	a := s.open()
	a.looking = true
	a.program.backends = nil // a machine that has none
	if err := a.pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	h := a.handler(lifecycle{})
	for target, want := range map[string]string{
		"/-/ready": "ready",
		"/metrics": `plancast_candidates{model="net",state="accepted"} 2`,
		"/":        "meets the launch threshold",
	} {
		if code, body := get(t, h, "GET", target); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d without %q", target, code, want)
		}
	}
	if n := len(s.records()); n != 1 {
		t.Errorf("%d records; want the one from before", n)
	}
}

func TestAReplayedExportKnowsOnlyThePast(t *testing.T) {
	s := newSite(t, launchTarget+`
milestones:
  - {name: spring, criteria: ["p99 < 3ms"], horizon: 5}
`)
	for i, latency := range []float64{5, 4, 3.5, 2} {
		s.push("net", strconv.Itoa(i+1), fake.Script{Latency: ms(latency)})
	}
	if status, _, stderr := s.plancast("run", "--config.file="+s.file()); status == exitError {
		t.Fatalf("run: %s", stderr)
	}
	status, out, stderr := s.plancast("history", "export", "--config.file="+s.file(), "--replay", "--label=job=plancast", "--label=instance=host-1")
	if status != exitOK {
		t.Fatal(stderr)
	}
	var ready []string
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, "plancast_milestone_models_ready{") {
			ready = append(ready, strings.Fields(line)[1])
		}
		if strings.HasPrefix(line, "plancast_") && !strings.Contains(line, `{job="plancast",instance="host-1",`) {
			t.Errorf("without the labels: %s", line)
		}
	}
	if want := []string{"0", "0", "0", "1"}; !slices.Equal(ready, want) {
		t.Errorf("models ready at each result: %v; want %v", ready, want)
	}
	for _, want := range []string{
		"# TYPE plancast_builds counter\n", `plancast_builds_total{job="plancast",instance="host-1",model="net",result="success"} 4 `,
		`milestone="spring",state="met"} 1 `, `plancast_milestone_probability{job="plancast",instance="host-1",milestone="spring"} 1 `,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q", want)
		}
	}
	for flag, want := range map[string]string{
		"--label=job":        "write name=value",
		"--label=model=x":    "a label of plancast's own",
		"--label=my-label=x": "cannot be a label's name",
	} {
		if status, _, stderr := s.plancast("history", "export", "--config.file="+s.file(), flag); status != exitError || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d %s", flag, status, stderr)
		}
	}
}
