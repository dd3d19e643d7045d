package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/history"
)

// The test binary is also the program: with "worker" as its argument it is a
// worker, and with this variable it is plancast itself, to be killed. Both
// have the scripted backend besides the real ones.
const actAsProgram = "PLANCAST_TEST_PROGRAM"

func TestMain(m *testing.M) {
	daemontest.WorkerMain(openBackend)
	if os.Getenv(actAsProgram) != "" {
		os.Unsetenv(actAsProgram)
		os.Exit(run(context.Background(), os.Args[1:], testProgram(os.Stdout, os.Stderr)))
	}
	// The race detector would hold up the end of every child for a second.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

func testProgram(stdout, stderr io.Writer) program {
	return program{stdout: stdout, stderr: stderr, now: time.Now, worker: []string{os.Args[0], workerCommand}, backends: []string{fake.Name},
		log: slog.New(slog.NewTextHandler(stderr, nil))}
}

// site is a place to run commands in.
type site struct {
	*daemontest.Site
	t *testing.T
}

func newSite(t *testing.T, extra string) *site {
	t.Helper()
	return &site{daemontest.New(t, extra), t}
}

func ms(n float64) fake.Duration { return daemontest.Milliseconds(n) }

// plancast runs a command in this process.
func (s *site) plancast(args ...string) (status int, stdout, stderr string) {
	s.t.Helper()
	var out, errs bytes.Buffer
	status = run(s.t.Context(), args, testProgram(&out, &errs))
	return status, out.String(), errs.String()
}

const launchTarget = `
targets:
  - {name: launch, criteria: ["p99 < 5ms"]}
`

func TestRunMeasuresReportsAndJudges(t *testing.T) {
	s := newSite(t, launchTarget)
	s.Push("net", "1", fake.Script{Latency: ms(10)})
	s.Push("net", "2", fake.Script{Latency: ms(4)})
	status, out, errs := s.plancast("run", "--config.file", s.File())
	if status != exitOK {
		t.Fatalf("status %d; want 0\n%s\n%s", status, out, errs)
	}
	for _, want := range []string{"P99 4 ms", "down 60 %", "meets the launch threshold"} {
		if !strings.Contains(out, want) {
			t.Errorf("the report lacks %q:\n%s", want, out)
		}
	}
	s.Push("net", "3", fake.Script{Latency: ms(6)})
	if status, out, _ := s.plancast("run", "--config.file", s.File(), "--format", "markdown"); status != exitMissed || !strings.Contains(out, "misses the launch threshold") {
		t.Errorf("slower candidate: status %d; want 1\n%s", status, out)
	}
	s.Push("net", "4", fake.Script{Fault: fake.UnsupportedOperator})
	if status, out, _ := s.plancast("run", "--config.file", s.File(), "--format", "json"); status != exitError || !json.Valid([]byte(out)) {
		t.Errorf("broken candidate: status %d; want 2\n%s", status, out)
	}
	want := []string{"net/1 1 measured", "net/2 2 measured", "net/3 3 measured", "net/4 4 unsupported_operator"}
	if got := s.Records(); !slices.Equal(got, want) {
		t.Errorf("records %q; want %q", got, want)
	}
	if status, _, _ := s.plancast("run", "--config.file", s.File()); status != exitError || len(s.Records()) != 4 {
		t.Errorf("a second pass measured again, or forgot the failure: status %d, %q", status, s.Records())
	}
}

func TestAnInterruptedRunPrintsWhatItHasMeasured(t *testing.T) {
	for format, want := range map[string]string{
		"text":     "PARTIAL: the run was interrupted",
		"markdown": "**Partial:** the run was interrupted",
		"json":     `"partial": "the run was interrupted`,
	} {
		t.Run(format, func(t *testing.T) {
			s := newSite(t, launchTarget)
			s.Push("net", "1", fake.Script{Latency: ms(4)})
			s.Push("stuck", "1", fake.Script{Fault: fake.Hang, At: "time"})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out bytes.Buffer
			log := &lines{on: `msg="Job started" model=stuck`, f: cancel}
			p := testProgram(&out, log)
			status := run(ctx, []string{"run", "--config.file", s.File(), "--format", format}, p)
			if status != exitError {
				t.Errorf("status %d; want 2", status)
			}
			if !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "meets the launch threshold") {
				t.Errorf("the report lacks %q, or the result so far:\n%s\n%s", want, out.String(), log.String())
			}
			if !strings.Contains(log.String(), "interrupted: what was measured so far is kept") {
				t.Errorf("stderr: %s", log.String())
			}
		})
	}
}

func TestRunOfOneModelLeavesTheOthers(t *testing.T) {
	s := newSite(t, launchTarget)
	s.Push("fast", "1", fake.Script{Latency: ms(1)})
	s.Push("slow", "1", fake.Script{Latency: ms(9)})
	if status, out, errs := s.plancast("run", "--config.file", s.File(), "--model", "fa*"); status != exitOK || strings.Contains(out, "slow") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	if got := s.Records(); !slices.Equal(got, []string{"fast/1 1 measured"}) {
		t.Errorf("records %q", got)
	}
	s.plancast("run", "--config.file", s.File())
	if status, out, errs := s.plancast("run", "--config.file", s.File(), "--model", "fast"); status != exitOK || strings.Contains(out, "slow") {
		t.Errorf("after all were measured: status %d\n%s%s", status, out, errs)
	}
	if status, _, errs := s.plancast("run", "--config.file", s.File(), "--model", "none"); status != exitError || !strings.Contains(errs, "matches --model none") {
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
			s.Edit("{timeout: 20s, memory: 1GiB}", "{timeout: 3s, memory: 400MiB}")
			s.Push("bad", "1", fake.Script{Fault: c.fault, At: c.at})
			s.Push("good", "1", fake.Script{})
			_, out, errs := s.plancast("run", "--config.file", s.File())
			want := []string{"bad/1 1 " + string(c.kind), "good/1 1 measured"}
			if c.kind == "" {
				want[0] = "bad/1 1 measured"
			}
			if got := s.Records(); !slices.Equal(got, want) {
				t.Errorf("records %q; want %q\n%s%s", got, want, out, errs)
			}
			if left, _ := filepath.Glob(filepath.Join(s.Dir, "state", "work", "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestJobsThatShareAProcess(t *testing.T) {
	t.Setenv(daemontest.UsedAgain, "1")
	s := newSite(t, "")
	s.Edit("precisions: [fp32]", "precisions: [fp32, fp16, int8]")
	s.Push("bad", "1", fake.Script{Fault: fake.Crash, At: "time"})
	s.Push("fp32-only", "1", fake.Script{Precisions: []engine.Precision{engine.FP32}})
	s.Push("good", "1", fake.Script{})
	_, out, errs := s.plancast("run", "--config.file", s.File())
	want := []string{
		"bad/1 1 crashed", "bad/1 1 crashed", "bad/1 1 crashed",
		"fp32-only/1 1 measured", "fp32-only/1 1 unsupported_precision", "fp32-only/1 1 unsupported_precision",
		"good/1 1 measured", "good/1 1 measured", "good/1 1 measured",
	}
	if got := s.Records(); !slices.Equal(got, want) {
		t.Errorf("records %q; want %q\n%s%s", got, want, out, errs)
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir, "state", "work", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestVersionsComeAndGo(t *testing.T) {
	s := newSite(t, "")
	pass := func(want ...string) {
		t.Helper()
		_, out, errs := s.plancast("run", "--config.file", s.File())
		if got := s.Records(); !slices.Equal(got, want) {
			t.Errorf("records %q; want %q\n%s%s", got, want, out, errs)
		}
	}
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(filepath.Join(s.Dir, "models", from), filepath.Join(s.Dir, "models", to)); err != nil {
			t.Fatal(err)
		}
	}
	s.Push("m", "2", fake.Script{})
	pass("m/2 1 measured")
	s.Push("m", "1", fake.Script{}) // out of order: kept, no iteration
	pass("m/2 1 measured", "m/1 0 measured")
	s.Push("m", "2", fake.Script{Latency: ms(2)}) // replaced: the next iteration
	pass("m/2 1 measured", "m/1 0 measured", "m/2 2 measured")
	rename("m/2", "m/3") // renamed version: the same content is the same candidate
	pass("m/2 1 measured", "m/1 0 measured", "m/2 2 measured")
	rename("m", "n") // renamed model: a series of its own
	pass("m/2 1 measured", "m/1 0 measured", "m/2 2 measured", "n/1 1 measured", "n/3 2 measured")
	if err := os.RemoveAll(filepath.Join(s.Dir, "models", "n")); err != nil {
		t.Fatal(err)
	}
	pass("m/2 1 measured", "m/1 0 measured", "m/2 2 measured", "n/1 1 measured", "n/3 2 measured") // deleted: history stays
}

func TestTwoDoNotMeasureAtOnce(t *testing.T) {
	s := newSite(t, "")
	s.Open()
	if status, _, errs := s.plancast("run", "--config.file", s.File()); status != exitError || !strings.Contains(errs, "another plancast is measuring") {
		t.Errorf("status %d, %s", status, errs)
	}
}

func TestCheckPromisesAndDoesNothing(t *testing.T) {
	s := newSite(t, launchTarget+`
milestones:
  - {name: spring, models: "net*", criteria: [p99 < 5ms, accuracy_deviation < 0.5%], share: 80%, deadline: 2027-01-31, horizon: 5}
`)
	s.Push("net", "1", fake.Script{})
	s.Push("bad name", "1", fake.Script{})
	status, out, errs := s.plancast("check", "--config.file", s.File())
	for _, want := range []string{
		"is valid", "launch: p99 < 5 ms by the best engine of every model",
		"spring: p99 < 5 ms and accuracy_deviation < 0.5 % by the best engine of net*, for 80 % of them, by 31 January 2027 23:59 UTC and within 5 iterations; ready at a probability of 90 %",
		"measure net version 1 fp32", `rejected: bad name: "bad name" cannot be a model's name`, "Backend     fake",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("check lacks %q", want)
		}
	}
	if status != exitOK {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "state")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("check made the state folder: %v", err)
	}
	s.Open() // as plancast serve would
	if status, out, errs := s.plancast("check", "--config.file", s.File()); status != exitOK {
		t.Errorf("beside another plancast: status %d\n%s%s", status, out, errs)
	}
}

func TestATargetWithoutModelsIsNoGate(t *testing.T) {
	s := newSite(t, "targets:\n  - {name: launch, models: resnt, criteria: [\"p99 < 5ms\"]}\n")
	s.Push("resnet", "1", fake.Script{})
	status, out, errs := s.plancast("run", "--config.file", s.File())
	if status != exitError || !strings.Contains(out, "target launch selects no model of the repository") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	if _, out, _ := s.plancast("check", "--config.file", s.File()); !strings.Contains(out, "target launch selects no model") {
		t.Errorf("check: %s", out)
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
		{[]string{"history", "list", "--config.file", s.File()}, "run plancast serve or plancast run first"},
		{[]string{"run", "--config.file", s.File(), "--model", "[a"}, "is not a pattern"},
		{[]string{"serve", "--config.file", s.File(), "--web.external-url", "plancast.example.org"}, "names no host"},
		{[]string{"serve", "--config.file", s.File(), "--web.listen-address", "256.0.0.1:1"}, "choose another with --web.listen-address"},
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
	s.Push("net", "1", fake.Script{})
	if err := s.Open().Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	status, out, errs := s.plancast("history", "list", "--config.file", s.File())
	if status != exitOK || !strings.Contains(out, "net") || !strings.Contains(out, "measured") {
		t.Errorf("list: status %d\n%s%s", status, out, errs)
	}
	status, out, _ = s.plancast("history", "show", "--config.file", s.File(), "1")
	var r history.Record
	if err := json.Unmarshal([]byte(out), &r); status != exitOK || err != nil || r.Model != "net" || !r.OK() {
		t.Errorf("show: status %d, %v\n%s", status, err, out)
	}
	if status, _, errs := s.plancast("history", "show", "--config.file", s.File(), "99"); status != exitError || !strings.Contains(errs, "record 99: there is no such record") {
		t.Errorf("show 99: status %d, %s", status, errs)
	}
}

// serve runs plancast serve in this process until the test ends, and returns
// where it is reached.
func (s *site) serve(args ...string) (url string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	ended, reachable := make(chan int, 1), make(chan struct{})
	log := &lines{on: `msg="Report at" url=`, f: func() { close(reachable) }}
	go func() {
		ended <- run(ctx, append([]string{"serve", "--config.file", s.File(), "--web.listen-address", "127.0.0.1:0"}, args...), testProgram(io.Discard, log))
	}()
	s.t.Cleanup(func() {
		cancel()
		if status := <-ended; status != exitOK {
			s.t.Errorf("serve ended with %d", status)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	select {
	case <-reachable:
	case status := <-ended:
		ended <- exitOK
		s.t.Fatalf("serve ended with %d", status)
	}
	_, after, _ := strings.Cut(log.String(), log.on)
	return strings.Fields(after)[0]
}

func TestTheWebAsksForThePassword(t *testing.T) {
	s := newSite(t, "")
	web := filepath.Join(s.Dir, "web.yml")
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(web, fmt.Appendf(nil, "basic_auth_users: {reader: '%s'}\n", hash), 0o600); err != nil {
		t.Fatal(err)
	}
	url := s.serve("--web.config.file", web, "--web.enable-lifecycle")
	for _, c := range []struct {
		name, user, password string
		allowed              bool
	}{
		{"the password", "reader", "secret", true},
		{"no password", "", "", false},
		{"another password", "reader", "Secret", false},
		{"an empty password", "reader", "", false},
		{"the hash", "reader", string(hash), false},
		{"another user", "writer", "secret", false},
	} {
		for path, method := range map[string]string{
			"/": "GET", "/metrics": "GET", "/api/v1/report": "GET", "/-/healthy": "GET", "/-/ready": "GET", "/-/reload": "POST", "/api/v1/run": "POST", "/nowhere": "GET",
		} {
			r, err := http.NewRequestWithContext(t.Context(), method, url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.user != "" {
				r.SetBasicAuth(c.user, c.password)
			}
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if got := answer.StatusCode != http.StatusUnauthorized; got != c.allowed {
				t.Errorf("%s %s with %s: %s", method, path, c.name, answer.Status)
			}
		}
	}
}

// lines is a log that may be read while it is written. f is called once, when
// it holds the text on.
type lines struct {
	on string
	f  func()

	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.text.Write(p)
	if l.f != nil && bytes.Contains(l.text.Bytes(), []byte(l.on)) {
		l.f()
		l.f = nil
	}
	return n, err
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
		done <- run(ctx, []string{"serve", "--config.file", s.File(), "--web.listen-address", "127.0.0.1:0"}, testProgram(io.Discard, &log))
	}()
	url := regexp.MustCompile(`msg="Report at" url=(\S+)`)
	found := regexp.MustCompile(`msg="(No GPU telemetry|GPU found)"`)
	for deadline := time.Now().Add(5 * time.Minute); (!url.MatchString(log.String()) || !found.MatchString(log.String())) && time.Now().Before(deadline); {
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
		s.Push("net", strconv.Itoa(i+1), fake.Script{Latency: ms(20 - float64(i))})
	}
	if status, _, errs := s.plancast("run", "--config.file", s.File()); status != exitMissed {
		t.Fatalf("run: status %d\n%s", status, errs)
	}
	csv := filepath.Join(s.Dir, "history.csv")
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
		{[]string{"forecast", "--config.file", s.File(), "--model", "net", "--criterion", "p99 < 5ms", "--horizon", "5"}, exitOK, "of the way to 5 ms"},
		{[]string{"forecast", "--csv", csv, "--unit", "seconds", "--criterion", "latency < 5ms", "--deadline", "2027-01-31", "--format", "json"}, exitOK, `"by_deadline"`},
		{[]string{"forecast", "--csv", csv, "--unit", "seconds", "--criterion", "latency < 5ms", "--format", "svg"}, exitOK, "<svg"},
		{[]string{"forecast", "--config.file", s.File(), "--model", "none", "--criterion", "p99 < 5ms"}, exitError, "has no records of model none"},
		{[]string{"forecast", "--config.file", s.File(), "--model", "net"}, exitError, "--criterion is needed"},
		{[]string{"forecast", "--config.file", s.File(), "--model", "net", "--criterion", "p98 < 5ms"}, exitError, `there is no metric "p98"`},
		{[]string{"forecast", "--csv", csv, "--unit", "seconds", "--criterion", "p99 < 5ms", "--deadline", "soon"}, exitError, "--deadline"},
		{[]string{"backtest", "--config.file", s.File()}, exitOK, "questions on 1 histor"},
		{[]string{"backtest", "--csv", csv, "--format", "json"}, exitError, "line 2"},
		{[]string{"backtest", "--config.file", s.File(), "--metric", "p98"}, exitError, `there is no metric "p98"`},
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

func TestAReplayedExportKnowsOnlyThePast(t *testing.T) {
	s := newSite(t, launchTarget+`
milestones:
  - {name: spring, criteria: ["p99 < 3ms"], horizon: 5, share: 80%}
`)
	for i, latency := range []float64{5, 4, 3.5, 2} {
		s.Push("net", strconv.Itoa(i+1), fake.Script{Latency: ms(latency)})
	}
	if status, _, stderr := s.plancast("run", "--config.file="+s.File()); status == exitError {
		t.Fatalf("run: %s", stderr)
	}
	status, out, stderr := s.plancast("history", "export", "--config.file="+s.File(), "--replay", "--label=job=plancast", "--label=instance=host-1")
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
		`plancast_milestone_share_ratio{job="plancast",instance="host-1",milestone="spring"} 0.8 `,
		`plancast_milestone_horizon_iterations{job="plancast",instance="host-1",milestone="spring"} 5 `,
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
		if status, _, stderr := s.plancast("history", "export", "--config.file="+s.File(), flag); status != exitError || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d %s", flag, status, stderr)
		}
	}
}
