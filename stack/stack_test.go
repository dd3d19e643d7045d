package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test start this very program.
func TestMain(m *testing.M) {
	if os.Getenv("STACK_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// await asks until it hears nothing to complain about, or too much time has gone by.
func await(t *testing.T, patience time.Duration, ask func() []string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		complaints := ask()
		if len(complaints) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("after %s:\n%s", patience, strings.Join(complaints, "\n"))
			return
		}
		time.Sleep(2 * time.Second)
	}
}

var (
	labelValues = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)
	reference   = regexp.MustCompile(`\$\{?([a-zA-Z_]\w*)\}?`)
)

// children are the processes that work in a folder: their command lines name it.
func children(t *testing.T, dir string) (out []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(files) == 0 {
		t.Skip("there is no /proc to see processes in")
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil && bytes.Contains(text, []byte(dir)) {
			out = append(out, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	return out
}

// program starts the stack in a folder of its own, without a Grafana.
func program(t *testing.T, dir string, env ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts the stack")
	}
	if os.Getenv("PLANCAST_URL") == "" {
		t.Skip("starts bin/plancast: make stack-test")
	}
	for _, p := range []string{"prometheus", "promtool", "prometheus-alertmanager"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skip(err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "STACK_TEST_MAIN=1", "STACK_DIR="+dir, "STACK_DAYS=10", "GRAFANA_URL=", "GRAFANA_START=", "GRAFANA_HOME="+filepath.Join(dir, "no-grafana"))
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, bufio.NewReader(pipe)
}

// until reads lines until one holds the words.
func until(t *testing.T, r *bufio.Reader, words string) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if strings.Contains(line, words) {
			return
		}
		if err != nil {
			t.Fatalf("the stack never said %q: %v", words, err)
		}
	}
}

func TestItStopsCleanly(t *testing.T) {
	for _, c := range []struct {
		name   string
		signal syscall.Signal
		at     string // what the stack says before it is interrupted
		status int
	}{
		{"interrupted while it runs", syscall.SIGINT, "Press Ctrl-C to stop everything", 0},
		{"terminated while it starts", syscall.SIGTERM, "Filling Prometheus", 130},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "stack")
			cmd, out := program(t, dir)
			until(t, out, c.at)
			if c.status == 0 && len(children(t, dir)) < 5 {
				t.Errorf("only %q run", children(t, dir))
			}
			if err := cmd.Process.Signal(c.signal); err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, out)
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != c.status {
				t.Errorf("it ended with %d; want %d", got, c.status)
			}
			if left := children(t, dir); len(left) > 0 {
				t.Errorf("it left %q running", left)
			}
		})
	}
}

func TestAComponentThatFailsStopsTheRest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "stack")
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "alertmanager"), []byte("#!/bin/sh\necho the disk is full >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd, out := program(t, dir, "PATH="+bin+":"+os.Getenv("PATH"))
	_, _ = io.Copy(io.Discard, out)
	_ = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 1 {
		t.Errorf("it ended with %d; want 1", got)
	}
	if left := children(t, dir); len(left) > 0 {
		t.Errorf("it left %q running", left)
	}
}

func TestAForeignFolderIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := stack{dir: dir}
	if err := s.clear(); err == nil || !strings.Contains(err.Error(), "STACK_DIR") {
		t.Errorf("clear: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "thesis.txt")); err != nil {
		t.Error(err)
	}
}
