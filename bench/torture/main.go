// Command torture hurts plancast as often as it is asked to and prints the table of
// docs/reliability.md: what was injected, how often, and what came of it.
//
//	go run ./bench/torture -plancast bin/plancast -write docs/reliability.md
//
// With -only, the rows of the page that were not run stay as they are; each says when it
// was measured, and of which version.
//
// Most of it are tests, which make test runs with small numbers; this program runs
// them with large ones. The soak is its own: plancast serve under a hundred times the
// usual load.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/plancast/plancast/bench/torture/dose"
	"github.com/plancast/plancast/units"
)

// torture is one kind of it: a test, and how often it is done.
type torture struct {
	name, folder, test string
	target             int
	words              string // what is injected
}

var tortures = []torture{
	{"kills", "./exporter", "TestKilledAnywhereNothingIsLostHalfOrTwice", 500, "SIGKILL to plancast at a random moment of a run"},
	{"models", "./exporter", "TestMutatedModelsCostTheirOwnJobAlone", 500, "ONNX models with flipped, missing, repeated and overwritten bytes, measured with ONNX Runtime"},
	{"escapes", "./exporter/worker", "TestAConfinedWorker", 0, "attempts of a confined worker at files, network, processes and the daemon's environment"},
	{"redirects", "./grafana-plugin/pkg/plugin", "TestCredentialsNeverFollowARedirect", 0, "redirects to another host, with credentials of every kind"},
	{"flips", "./exporter/history", "TestNoFlippedBitChangesAnExportUnnoticed", 500, "a flipped bit in history.db"},
	{"records", "./exporter/history", "TestALongHistoryComesBackWhole", 1_000_000, "records in one history, read back and verified"},
	{"histories", "./forecast", "TestLawsOverGeneratedHistories", 1_000_000, "generated histories, each with about 14 questions to the forecast"},
	{"steps", "./exporter/daemon", "TestAScheduleGoesOnAfterTheClockWasSet", 200, "steps of the clock under a running schedule"},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	program := flag.String("plancast", "bin/plancast", "plancast binary for the soak")
	only := flag.String("only", "", "kinds to run, by name; all by default")
	page := flag.String("write", "", "page whose table to replace")
	soak := flag.Duration("soak", time.Hour, "duration of the soak; 0 skips it")
	times := map[string]*int{}
	for _, t := range tortures {
		if t.target > 0 {
			times[t.name] = flag.Int(t.name, t.target, t.words)
		}
	}
	flag.Parse()
	b := bench{program: *program, times: times, soak: *soak, only: strings.Fields(*only)}
	if err := b.run(ctx, *page); err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

type bench struct {
	program string
	times   map[string]*int
	soak    time.Duration
	only    []string // empty is all
}

func (b bench) wanted(name string) bool { return len(b.only) == 0 || slices.Contains(b.only, name) }

func (b bench) run(ctx context.Context, page string) error {
	var rows []row
	var failed []error
	version := versioned()
	for _, t := range tortures {
		if !b.wanted(t.name) {
			continue
		}
		r, err := b.test(ctx, t)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		r.kind, r.version = t.name, version
		rows = append(rows, r)
	}
	if b.soak > 0 && b.wanted(kindSoak) {
		r, err := soak(ctx, b.program, b.soak)
		if err != nil {
			failed = append(failed, fmt.Errorf("soak: %w", err))
		} else {
			r.kind, r.version = kindSoak, version
			rows = append(rows, r)
		}
	}
	fmt.Print(table(rows))
	if err := errors.Join(failed...); err != nil || page == "" {
		return err
	}
	return write(page, rows)
}

// kindSoak is the kind that is no test.
const kindSoak = "soak"

// versioned says when and of which version of plancast a row is, and on how many cores.
func versioned() string {
	revision, err := exec.Command("git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		revision = []byte("an unknown revision")
	}
	return fmt.Sprintf("%s, %s, %d cores", time.Now().UTC().Format(time.DateOnly), strings.TrimSpace(string(revision)), runtime.NumCPU())
}

// test runs a test of plancast's own and returns what it noted.
func (b bench) test(ctx context.Context, t torture) (row, error) {
	dir, err := os.MkdirTemp("", "torture-")
	if err != nil {
		return row{}, err
	}
	defer os.RemoveAll(dir)
	results := filepath.Join(dir, "results")
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=0", "-run", "^"+t.test, t.folder)
	cmd.Env = append(os.Environ(), dose.Results+"="+results)
	target := "–"
	if n := b.times[t.name]; n != nil {
		cmd.Env = append(cmd.Env, fmt.Sprintf("%s=%s=%d", dose.Variable, t.name, *n))
		target = units.Count(t.target, "time")
	}
	start := time.Now()
	fmt.Fprintf(os.Stderr, "%s: %s ...\n", t.name, t.words)
	if out, err := cmd.CombinedOutput(); err != nil {
		return row{}, fmt.Errorf("%s: %w\n%s", t.name, err, out)
	}
	fmt.Fprintf(os.Stderr, "%s: done after %s\n", t.name, time.Since(start).Round(time.Second))
	return noted(results, t, target)
}

// noted adds up the results in a file.
func noted(file string, t torture, target string) (row, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return row{}, fmt.Errorf("%s: the test recorded nothing or was skipped: %w", t.name, err)
	}
	times := 0
	var outcomes []string
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var r dose.Result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return row{}, err
		}
		times += r.Times
		outcomes = append(outcomes, r.Outcome)
	}
	return row{what: t.words, times: units.Count(times, "time"), target: target, outcome: strings.Join(outcomes, "; ")}, nil
}
