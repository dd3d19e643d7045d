// Package daemontest plays a place where plancast works: a folder with a
// configuration and a model repository of scripted candidates.
package daemontest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/notify"
	"github.com/plancast/plancast/exporter/web"
	"github.com/plancast/plancast/exporter/worker"
)

// Site is a folder with a configuration and a model repository.
type Site struct {
	t   testing.TB
	Dir string
}

// New makes a site; extra is added to its configuration.
func New(t testing.TB, extra string) *Site {
	t.Helper()
	s := &Site{t: t, Dir: t.TempDir()}
	s.Configure(extra)
	if err := os.Mkdir(filepath.Join(s.Dir, "models"), 0o755); err != nil {
		t.Fatal(err)
	}
	return s
}

// Configure writes the configuration, with extra added.
func (s *Site) Configure(extra string) {
	s.t.Helper()
	text := `
repository: {url: models, quiet: 1s, backlog: 100}
state: state
precisions: [fp32]
schedule: "@every 1h"
worker: {timeout: 20s, memory: 1GiB, env: [` + UsedAgain + `]}
benchmark: {warm_up: 0s, min_window: 0s, min_queries: 662, sweep_window: 10ms, concurrency: [1], repeat: 0}
` + extra
	if err := os.WriteFile(s.File(), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// Edit replaces old by its successor in the configuration.
func (s *Site) Edit(old, by string) {
	s.t.Helper()
	text, err := os.ReadFile(s.File())
	if err != nil {
		s.t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(old)) {
		s.t.Fatalf("the configuration has no %q", old)
	}
	if err := os.WriteFile(s.File(), bytes.Replace(text, []byte(old), []byte(by), 1), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// File is the configuration's.
func (s *Site) File() string { return filepath.Join(s.Dir, "plancast.yml") }

// Push puts a scripted candidate into the repository; it is old enough to be
// taken for whole.
func (s *Site) Push(model, version string, script fake.Script) {
	s.t.Helper()
	text, err := json.Marshal(script)
	if err != nil {
		s.t.Fatal(err)
	}
	dir := filepath.Join(s.Dir, "models", model, version)
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

// Change writes the change.yml of a version, old enough to be taken for whole;
// when orders those of one version.
func (s *Site) Change(model, version, text string, when int) {
	s.t.Helper()
	file := filepath.Join(s.Dir, "models", model, version, candidate.ChangeFile)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour + time.Duration(when)*time.Second)
	if err := os.Chtimes(file, old, old); err != nil {
		s.t.Fatal(err)
	}
}

// Milliseconds is n ms in a script.
func Milliseconds(n float64) fake.Duration { return fake.Duration(n * float64(time.Millisecond)) }

// Options are a daemon's, whose worker is this test binary.
func (s *Site) Options() daemon.Options {
	s.t.Helper()
	cfg, err := config.Load(s.File())
	if err != nil {
		s.t.Fatal(err)
	}
	return daemon.Options{
		Config: cfg, ConfigFile: s.File(), Now: time.Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Worker: []string{os.Args[0], workerCommand}, Sender: []string{os.Args[0], senderCommand}, Backends: []string{fake.Name}, Web: web.Options{Lifecycle: true},
	}
}

// Open opens a daemon and closes it with the test.
func (s *Site) Open(change ...func(*daemon.Options)) *daemon.Daemon {
	s.t.Helper()
	o := s.Options()
	for _, f := range change {
		f(&o)
	}
	d, err := daemon.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := d.Close(); err != nil {
			s.t.Error(err)
		}
	})
	return d
}

// Records are what the history holds, as "model/version iteration outcome".
func (s *Site) Records() []string {
	s.t.Helper()
	return s.read(func(r history.Record) string {
		outcome := "measured"
		if !r.OK() {
			outcome = string(r.Failure.Kind)
		}
		return fmt.Sprintf("%s/%s %d %s", r.Model, r.Version, r.Iteration, outcome)
	})
}

// Changes are what is known of the changes of what the history holds, in words.
func (s *Site) Changes() []string {
	s.t.Helper()
	return s.read(func(r history.Record) string {
		if r.Change == nil {
			return ""
		}
		return r.Change.Text()
	})
}

// read reads the history from its file.
func (s *Site) read(text func(history.Record) string) []string {
	s.t.Helper()
	store, err := history.OpenReadOnly(filepath.Join(s.Dir, "state", "history.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer store.Close()
	var out []string
	for r, err := range store.Records(s.t.Context(), history.Filter{}) {
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, text(r))
	}
	return out
}

// Commands that make a test binary a process of plancast's, by WorkerMain.
const (
	workerCommand = "worker"
	senderCommand = "notifier"
)

// UsedAgain is a variable that makes a worker one whose process does several jobs.
const UsedAgain = "PLANCAST_TEST_USED_AGAIN"

// WorkerMain runs a worker, or sends a notification, and ends the process, when
// the test binary was started for that. Call it first in TestMain. Backends other than the scripted
// one come from open, which may be nil.
func WorkerMain(open worker.Opener) {
	if len(os.Args) == 2 && os.Args[1] == senderCommand {
		os.Exit(notify.Main(os.Stdin, os.Stdout))
	}
	if len(os.Args) != 2 || os.Args[1] != workerCommand {
		return
	}
	os.Exit(worker.Main(func(name string, c bench.BackendConfig) (engine.Backend, error) {
		switch {
		case name == fake.Name && os.Getenv(UsedAgain) != "":
			return again{fake.New()}, nil
		case name == fake.Name || open == nil:
			return fake.New(), nil
		default:
			return open(name, c)
		}
	}, worker.Watch{}))
}

type again struct{ *fake.Backend }

func (again) Reusable() bool { return true }

// Orphans are worker processes of this test binary that outlived their parent.
func Orphans(t testing.TB) []string {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range procs {
		text, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		if string(text) != os.Args[0]+"\x00"+workerCommand+"\x00" {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(filepath.Dir(p), "stat"))
		if err == nil && strings.Contains(string(stat), ") Z ") {
			continue // dead, not yet buried
		}
		if err == nil && strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))[1] == fmt.Sprint(os.Getpid()) {
			continue // a parallel test's
		}
		out = append(out, p)
	}
	return out
}
