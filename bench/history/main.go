// Command history measures plancast with a long history: 1,000,000 records of
// 300 models at three precisions, a candidate a day for three years.
//
//	go run ./bench/history -plancast bin/plancast
//
// The history is invented; making it takes some minutes. -file keeps it for the
// next run. Each figure comes from a process of its own, so that its peak of
// memory is known. The daemon is started with an empty repository and with one that
// holds the newest version of each model. Other work on the machine changes elapsed
// times more than processor time.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/standing"
)

func main() {
	var b bench
	flag.StringVar(&b.program, "plancast", "bin/plancast", "the program")
	flag.StringVar(&b.file, "file", "", "history file, created if missing and kept; by default, a temporary one")
	flag.IntVar(&b.days, "days", 1112, "days of the history, 900 records each")
	files := flag.Bool("files", true, "measure the commands that read the history without a daemon")
	daemon := flag.Bool("daemon", true, "measure the daemon")
	part := flag.String("part", "", "internal: the part to measure in this process")
	flag.Parse()
	var err error
	if *part != "" {
		err = b.part(*part)
	} else {
		err = b.all(*files, *daemon)
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

func (b *bench) all(files, daemon bool) error {
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
	if files {
		if err := b.read(dir); err != nil {
			return err
		}
	}
	if daemon {
		return b.serve(dir)
	}
	return nil
}

// read measures what reads the history, each in a process of its own.
func (b *bench) read(dir string) error {
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
	took, s := time.Since(start), cmd.ProcessState
	if aim != "" {
		aim = " (aim: " + aim + ")"
	}
	peak := s.SysUsage().(*syscall.Rusage).Maxrss << 10
	fmt.Printf("%s: %.2f s, %.2f s of processor time, %.0f MB at most%s\n", what, took.Seconds(), (s.UserTime() + s.SystemTime()).Seconds(), float64(peak)/1e6, aim)
	return nil
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
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		fmt.Fprintf(os.Stderr, "to load: %.2f million allocations, %.0f MB\n", float64(m.Mallocs)/1e6, float64(m.TotalAlloc)/1e6)
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
		return fmt.Errorf("unknown part %s", name)
	}
	return nil
}
