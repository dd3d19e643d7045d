// Command history measures plancast with a long history: 1,000,000 records of
// 300 models at three precisions, a candidate a day for three years.
//
//	go run ./bench/history -plancast bin/plancast
//
// The history is invented; making it takes some minutes. -file keeps it for the
// next run. Each figure comes from a process of its own, so that its peak of
// memory is known.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/stack/local"
)

const models = 300

// newest is when the newest record finished.
var newest = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func main() {
	var b bench
	flag.StringVar(&b.program, "plancast", "bin/plancast", "the program")
	flag.StringVar(&b.file, "file", "", "the history: made when it is not there, and kept; without it, a temporary one")
	flag.IntVar(&b.days, "days", 1112, "days of the history, 900 records each")
	daemon := flag.Bool("daemon", true, "start the daemon as well")
	part := flag.String("part", "", "internal: what to measure in this process")
	flag.Parse()
	var err error
	if *part != "" {
		err = b.part(*part)
	} else {
		err = b.all(*daemon)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "history:", err)
		os.Exit(2)
	}
}

type bench struct {
	program, file string
	days          int
}

func (b *bench) all(daemon bool) error {
	dir, err := os.MkdirTemp("", "plancast-history-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if b.file == "" {
		b.file = filepath.Join(dir, "history.db")
	}
	if err := b.prepare(); err != nil {
		return err
	}
	size, err := os.Stat(b.file)
	if err != nil {
		return err
	}
	fmt.Printf("%d records, %.1f GiB, %d CPUs\n", b.days*models*3, float64(size.Size())/(1<<30), runtime.NumCPU())
	self, err := os.Executable()
	if err != nil {
		return err
	}
	mine := func(part string) *exec.Cmd { return exec.Command(self, "-file", b.file, "-part", part) }
	theirs := func(args ...string) *exec.Cmd {
		return exec.Command(b.program, append([]string{"history"}, append(args, "--history.file", b.file)...)...)
	}
	out := filepath.Join(dir, "export")
	for _, c := range []struct {
		what, aim string
		cmd       *exec.Cmd
	}{
		{"entries of a year, and how each model stands, loaded", "2 s, 250 MB, with all that the daemon does besides", mine("load")},
		{"the newest 100 records of a model, whole, and all its entries", "300 ms", mine("model")},
		{"plancast history list --limit=50", "300 ms", theirs("list", "--limit=50")},
		{"plancast history list --limit=50 --model=model-007", "300 ms", theirs("list", "--limit=50", "--model=model-007")},
		{"plancast history list --limit=50 --before=400000", "300 ms", theirs("list", "--limit=50", "--before=400000")},
		{"plancast history show", "300 ms", theirs("show", "123456")},
		{"plancast history export --format=jsonl", "constant memory", theirs("export", "--format=jsonl", "--output", out)},
		{"plancast history export --format=csv", "constant memory", theirs("export", "--format=csv", "--output", out)},
		{"plancast history export --format=openmetrics", "constant memory", theirs("export", "--format=openmetrics", "--output", out)},
		{"plancast history verify", "", theirs("verify")},
	} {
		if err := measured(c.what, c.aim, c.cmd); err != nil {
			return err
		}
		_ = os.Remove(out)
	}
	if daemon {
		return b.daemon(dir)
	}
	return nil
}

// measured runs a command and prints its time, its processor time and its peak
// of memory.
func measured(what, aim string, cmd *exec.Cmd) error {
	cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	printed(what, aim, time.Since(start), cmd.ProcessState)
	return nil
}

func printed(what, aim string, took time.Duration, s *os.ProcessState) {
	if aim != "" {
		aim = " (aim: " + aim + ")"
	}
	peak := s.SysUsage().(*syscall.Rusage).Maxrss << 10
	fmt.Printf("%s: %.2f s, %.2f s of processor time, %.0f MB at most%s\n", what, took.Seconds(), (s.UserTime() + s.SystemTime()).Seconds(), float64(peak)/1e6, aim)
}

// prepare makes the history, unless it is there.
func (b *bench) prepare() error {
	if _, err := os.Stat(b.file); err == nil {
		return nil
	}
	part := b.file + ".part"
	s, err := history.Open(part)
	if err != nil {
		return err
	}
	start := time.Now()
	for day := range b.days {
		if _, err := s.AppendAll(context.Background(), b.day(day)); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	if err := s.Close(); err != nil {
		return err
	}
	fmt.Printf("made in %.0f s\n", time.Since(start).Seconds())
	return os.Rename(part, b.file)
}

// day is a candidate of each model, one in 40 of them failed.
func (b *bench) day(day int) iter.Seq2[history.Record, error] {
	env := reporttest.Environment("1.32.0")
	fingerprint, err := engine.Fingerprint(env, engine.Settings{}, nil)
	return func(yield func(history.Record, error) bool) {
		for m := range models {
			for k, p := range engine.Precisions {
				at := newest.AddDate(0, 0, day+1-b.days).Add(time.Duration(m*3+k) * time.Second)
				r := history.Record{
					Model: fmt.Sprintf("model-%03d", m), Version: fmt.Sprint(day + 1), Digest: fmt.Sprintf("%032x%032x", m, day), Precision: p,
					Backend: env.Backend, Device: env.Device, Environment: env, Fingerprint: fingerprint,
					CandidateTime: at.Add(-time.Hour), Started: at.Add(-time.Minute), Finished: at,
				}
				if (m+day)%40 == 0 {
					reporttest.Failed(*engine.Errorf(engine.KindCrashed, "run worker", "", "it died"))(&r)
				} else {
					reporttest.Measured((0.03 + 0.0002*float64(m)) * (1 + 2/float64(day+2)) * []float64{1, 0.7, 0.5}[k])(&r)
				}
				if !yield(r, err) {
					return
				}
			}
		}
	}
}

// part is what a process of its own does.
func (b *bench) part(name string) error {
	ctx := context.Background()
	s, err := history.OpenReadOnly(b.file)
	if err != nil {
		return err
	}
	defer s.Close()
	switch name {
	case "load":
		var tracker standing.Tracker
		last := newest
		for e, err := range s.Entries(ctx, history.Filter{Limit: 1}) {
			if err != nil {
				return err
			}
			last = e.Finished.Time()
		}
		for e, err := range s.Entries(ctx, history.Filter{Since: standing.LookBack(last), Standing: true}) {
			if err != nil {
				return err
			}
			tracker.Load(e)
		}
		for r, err := range s.Records(ctx, history.Filter{IDs: tracker.Lacks()}) {
			if err != nil {
				return err
			}
			tracker.Supply(r)
		}
		if len(tracker.Records()) == 0 {
			return errors.New("no records")
		}
	case "model":
		n := 0
		for _, err := range s.Entries(ctx, history.Filter{Model: "model-123"}) {
			if err != nil {
				return err
			}
			n++
		}
		for r, err := range s.Records(ctx, history.Filter{Model: "model-123", Limit: 100}) {
			if err != nil {
				return err
			}
			if _, err := json.Marshal(r); err != nil {
				return err
			}
		}
		if n == 0 {
			return errors.New("no entries")
		}
	default:
		return fmt.Errorf("there is no part %s", name)
	}
	return nil
}

// daemon starts plancast serve with the history, and waits until it is ready.
func (b *bench) daemon(dir string) error {
	state := filepath.Join(dir, "state")
	for _, folder := range []string{state, filepath.Join(dir, "models")} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	file, err := filepath.Abs(b.file)
	if err != nil {
		return err
	}
	if err := os.Link(file, filepath.Join(state, "history.db")); err != nil {
		return fmt.Errorf("the history must be on the file system of the temporary folder (TMPDIR): %w", err)
	}
	config := filepath.Join(dir, "plancast.yml")
	if err := os.WriteFile(config, []byte(`
repository: {url: `+filepath.Join(dir, "models")+`}
state: `+state+`
milestones:
  - {name: launch, criteria: [p99 < 50ms, accuracy_deviation < 0.5%], share: 80%, horizon: 5}
`), 0o644); err != nil {
		return err
	}
	address, err := local.Address()
	if err != nil {
		return err
	}
	cmd := exec.Command(b.program, "serve", "--no-measure", "--config.file", config, "--web.listen-address", address, "--log.level", "warn")
	cmd.Stderr = os.Stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	for time.Since(start) < 10*time.Minute {
		if r, err := http.Get("http://" + address + "/-/ready"); err == nil {
			_, _ = io.Copy(io.Discard, r.Body)
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				break
			}
		}
		<-time.After(10 * time.Millisecond)
	}
	took := time.Since(start)
	err = errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Wait())
	if cmd.ProcessState != nil {
		printed("plancast serve, until it is ready", "2 s, 250 MB", took, cmd.ProcessState)
	}
	return err
}
