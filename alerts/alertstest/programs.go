// Package alertstest runs the shipped configuration of Prometheus and
// Alertmanager in the real programs, for tests. Nothing but waiting differs
// from what users run: see Hasten. Every program ends with the test that
// started it, also when that is killed.
package alertstest

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/plancast/plancast/stack/local"
)

// Required is the environment variable that, set to 1 as in continuous
// integration, makes a missing program a failure instead of a skipped test.
const Required = "PLANCAST_REQUIRE_PROMETHEUS"

// client keeps no connection, so that none outlives a test.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: local.Patience}

// Find returns the path of the first of the programs that is installed. When
// none is, it skips the test with the reason, or fails it: see Required.
func Find(t testing.TB, names ...string) string {
	t.Helper()
	path, err := local.Find("apt-get install prometheus prometheus-alertmanager", names...)
	if err != nil && os.Getenv(Required) == "1" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	return path
}

// Start runs a program until the end of the test at the latest, and waits until
// it is ready. Its log, where p names no file, is one of the test's own; a
// failed test shows it.
func Start(t testing.TB, p local.Program) *local.Process {
	t.Helper()
	if p.Log == "" {
		p.Log = filepath.Join(t.TempDir(), "log")
	}
	var g local.Group
	t.Cleanup(func() {
		g.Stop()
		if text, err := os.ReadFile(p.Log); t.Failed() && err == nil {
			t.Logf("%s:\n%s", p.Log, text)
		}
	})
	started, err := g.Start(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return started
}

// Await asks again until another program has got there; there is no clock to
// turn for it. It fails the test after local.Patience, which only something
// broken takes.
func Await(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(local.Patience)
	defer end.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("timed out after %v waiting for %s", local.Patience, what)
		}
	}
}
