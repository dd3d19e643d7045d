package local

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if address := os.Getenv("LOCAL_TEST_SERVE"); address != "" {
		serve(address)
	}
	goleak.VerifyTestMain(m)
}

// script is a program in sh.
func script(text string) func(string) []string {
	return func(string) []string { return []string{"/bin/sh", "-c", text} }
}

func TestAProgramThatEndsIsReportedWithTheEndOfItsLog(t *testing.T) {
	var g Group
	defer g.Stop()
	_, err := g.Start(t.Context(), Program{Name: "Store", Command: script("echo the disk is full; exit 3"), Ready: "/", Log: filepath.Join(t.TempDir(), "log")})
	if err == nil || !strings.Contains(err.Error(), "Store ended (exit status 3)") || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("%v", err)
	}
}

func TestAProgramThatIsNotThereIsNamed(t *testing.T) {
	var g Group
	defer g.Stop()
	_, err := g.Start(t.Context(), Program{Name: "Store", Command: func(string) []string { return []string{"/nonexistent/store"} }, Log: filepath.Join(t.TempDir(), "log")})
	if err == nil || !strings.Contains(err.Error(), "start Store") {
		t.Errorf("%v", err)
	}
	if _, err := Find("buy one", "no-such-program", "nor-this"); err == nil || err.Error() != "no-such-program or nor-this is not installed: buy one" {
		t.Errorf("%v", err)
	}
}

// A program that never answers is given up when nobody waits any more, and
// what it started goes with it.
func TestStopTakesTheWholeFamily(t *testing.T) {
	dir := t.TempDir()
	var g Group
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan error, 1)
	go func() {
		_, err := g.Start(ctx, Program{Name: "Store", Ready: "/", Log: filepath.Join(dir, "log"),
			Command: script("trap '' TERM; sleep 1000 & echo $! > " + dir + "/child.new; mv " + dir + "/child.new " + dir + "/child; kill -9 $$")})
		started <- err
	}()
	if err := <-started; err == nil || !strings.Contains(err.Error(), "Store ended") {
		t.Errorf("%v", err)
	}
	cancel()
	text, err := os.ReadFile(filepath.Join(dir, "child"))
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if syscall.Kill(child, 0) != nil {
		t.Fatal("the child did not outlive its parent, so there is nothing to test")
	}
	g.Stop()
	if !gone(child) {
		t.Errorf("process %d is still there", child)
	}
}

func TestAProgramWhosePortIsTakenGetsAnother(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var g Group
	defer g.Stop()
	taken := ""
	server, err := g.Start(t.Context(), Program{Name: "Server", Ready: "/", Log: filepath.Join(t.TempDir(), "log"), Command: func(address string) []string {
		if taken == "" {
			taken = address
			l, err := net.Listen("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}
		return []string{"env", "LOCAL_TEST_SERVE=" + address, self}
	}})
	if err != nil || taken == "" || server.Address == taken {
		t.Errorf("%+v %v", server, err)
	}
}

func TestWhatEndsByItselfIsReported(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var g Group
	defer g.Stop()
	server, err := g.Start(t.Context(), Program{Name: "Server", Ready: "/", Log: filepath.Join(t.TempDir(), "log"), Command: func(address string) []string {
		return []string{"env", "LOCAL_TEST_SERVE=" + address, self}
	}})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-g.Ended():
		t.Fatalf("it ended too early: %v", err)
	default:
	}
	if err := await(t.Context(), server.URL+"/end", make(chan struct{})); err != nil {
		t.Fatal(err)
	}
	if err := <-g.Ended(); err == nil || !strings.Contains(err.Error(), "Server ended") {
		t.Errorf("%v", err)
	}
}

// A crash and a restart at the same address: what an exporter's scraper sees.
func TestAKilledProgramStartsAgainWhereItWas(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var g Group
	defer g.Stop()
	p := Program{Ready: "/", Log: filepath.Join(t.TempDir(), "log"), Command: func(address string) []string {
		return []string{"env", "LOCAL_TEST_SERVE=" + address, self}
	}}
	first, err := g.Start(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	first.Kill()
	p.Address = first.Address
	second, err := g.Start(t.Context(), p)
	if err != nil || second.Address != first.Address {
		t.Errorf("%+v %v", second, err)
	}
	select {
	case err := <-g.Ended():
		t.Errorf("killed by us, reported as an end of its own: %v", err)
	default:
	}
}

func TestInterruptedStartsGiveUp(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var g Group
	defer g.Stop()
	_, err := g.Start(ctx, Program{Name: "Store", Command: script("sleep 1000"), Ready: "/", Log: filepath.Join(t.TempDir(), "log")})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestFindGrafanaSaysWhereItSearched(t *testing.T) {
	t.Setenv("GRAFANA_START", "")
	t.Setenv("GRAFANA_HOME", "")
	if _, err := FindGrafana("/nonexistent/start.sh"); err == nil || !strings.Contains(err.Error(), "set GRAFANA_HOME") {
		t.Errorf("%v", err)
	}
	t.Setenv("GRAFANA_HOME", t.TempDir())
	if _, err := FindGrafana(); err == nil || !strings.Contains(err.Error(), "GRAFANA_HOME does not name an unpacked Grafana") {
		t.Errorf("%v", err)
	}
	start := filepath.Join(t.TempDir(), "start.sh")
	if err := os.WriteFile(start, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GRAFANA_START", start)
	if how, err := FindGrafana(); err != nil || how.Start != start {
		t.Errorf("%+v %v", how, err)
	}
}
