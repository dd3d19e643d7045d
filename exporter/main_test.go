package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine/fake"
)

// The test binary is also the program: with "worker" as its argument it is a
// worker, and with this variable it is plancast itself, to be killed. Both
// have the scripted backend besides the real ones.
const actAsProgram = "PLANCAST_TEST_PROGRAM"

// realBackends is its value for a program that has the real backends alone.
const realBackends = "real"

// peakLine is what such a program says at its end: the memory that it held, in bytes.
const peakLine = "held at most"

func peakResident() int64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, text, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	_, _ = fmt.Sscan(text, &kib)
	return kib << 10
}

func TestMain(m *testing.M) {
	daemontest.WorkerMain(openBackend)
	if how := os.Getenv(actAsProgram); how != "" {
		os.Unsetenv(actAsProgram)
		p := testProgram(os.Stdout, os.Stderr)
		if how == realBackends {
			p.backends = backendNames()
		}
		status := run(context.Background(), os.Args[1:], p)
		if how == realBackends {
			fmt.Fprintln(os.Stderr, peakLine, peakResident())
		}
		os.Exit(status)
	}
	// The race detector would hold up the end of every child for a second.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

func testProgram(stdout, stderr io.Writer) program {
	return program{stdout: stdout, stderr: stderr, now: time.Now, worker: []string{os.Args[0], workerCommand}, sender: []string{os.Args[0], senderCommand}, backends: []string{fake.Name},
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

func TestOutputThatCannotBeWrittenIsNoSuccess(t *testing.T) {
	s := newSite(t, launchTarget)
	s.Push("net", "1", fake.Script{})
	s.plancast("run", "--once", "--config.file", s.File())
	for _, command := range [][]string{{"check"}, {"history", "verify"}, {"history", "list"}} {
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skip(err)
		}
		var errs bytes.Buffer
		status := run(t.Context(), append(command, "--config.file", s.File()), testProgram(full, &errs))
		full.Close()
		if status != exitError || !strings.Contains(errs.String(), "no space left on device") {
			t.Errorf("%s: status %d, %s", command, status, &errs)
		}
	}
}

func TestMistakesNameAWayOut(t *testing.T) {
	s := newSite(t, "")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "--config.file", "/nonexistent.yml"}, "name another with --config.file"},
		{[]string{"run", "--format", "pdf"}, `plancast run: --format "pdf": must be one of text, markdown, json; see plancast run --help`},
		{[]string{"dance"}, `plancast: unknown command "dance"; see plancast --help`},
		{[]string{"history", "prune"}, "plancast history prune: missing --because, --older-than; see plancast history prune --help"},
		{[]string{"history", "salvage"}, "plancast history salvage: missing FILE; see"},
		{[]string{"history", "show", "x"}, `plancast history show: ID "x": write a number; see`},
		{[]string{"forecast", "--step", "x"}, `plancast forecast: --step "x": write a duration such as 30s; see`},
		{[]string{"forecast", "--csv", "x.csv", "--criterion", "p99 < 2ms", "--ready", "3"}, "--ready 3: "},
		{[]string{"forecast", "--prometheus.url", "http://localhost:9", "--query", "up", "--criterion", "p99 < 2ms"}, "or name the unit with --unit"},
		{[]string{"history", "list", "--config.file", s.File()}, "run plancast serve or plancast run first"},
		{[]string{"history", "backup", "--config.file", s.File(), "/nonexistent/copy.db"}, "run plancast serve or plancast run first"},
		{[]string{"run", "--config.file", s.File(), "--model", "[a"}, "is not a pattern"},
		{[]string{"run", "--config.file", s.File(), "--gate", "milestone spring >= 60%"}, `--gate: the configuration has no milestone "spring"`},
		{[]string{"serve", "--config.file", s.File(), "--web.external-url", "plancast.example.org"}, "is not a web address"},
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
