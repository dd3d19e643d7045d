// Package promtest runs a real Prometheus for tests, filled with a history.
package promtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Required makes a missing Prometheus a failure instead of a skipped test.
const Required = "PLANCAST_REQUIRE_PROMETHEUS"

// Start runs Prometheus on the OpenMetrics text and returns its address. It is
// stopped at the end of the test, which is skipped when there is no Prometheus.
func Start(t testing.TB, openMetrics string) string {
	t.Helper()
	return StartFrom(t, func(w io.Writer) error {
		_, err := io.WriteString(w, openMetrics)
		return err
	})
}

// StartFrom is Start for a text that is too long to be held in memory.
func StartFrom(t testing.TB, openMetrics func(io.Writer) error) string {
	t.Helper()
	server, tool := find(t, "prometheus"), find(t, "promtool")
	dir := t.TempDir()
	text := filepath.Join(dir, "history.om")
	data := filepath.Join(dir, "data")
	f, err := os.Create(text)
	if err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(f)
	if err := errors.Join(openMetrics(w), w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "prometheus.yml"), "global: {scrape_interval: 15s}\n")
	if out, err := exec.Command(tool, "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=13122h", text, data).CombinedOutput(); err != nil {
		t.Fatalf("promtool cannot read the history: %v\n%s", err, tail(out))
	}
	port := free(t)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, server, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+data,
		"--storage.tsdb.retention.time=100y", "--web.listen-address="+address, "--log.level=warn")
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
	})
	url := "http://" + address
	for deadline := time.Now().Add(60 * time.Second); ; {
		if ready(url) {
			return url
		}
		if time.Now().After(deadline) {
			stop()
			_ = cmd.Wait()
			t.Fatalf("Prometheus is not ready after a minute: %s", tail(log.Bytes()))
		}
		time.Sleep(50 * time.Millisecond) // waiting for another process
	}
}

func find(t testing.TB, name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		why := name + " is not installed (Debian: apt-get install prometheus)"
		if os.Getenv(Required) != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return path
}

func ready(url string) bool {
	r, err := http.Get(url + "/-/ready")
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, r.Body)
	r.Body.Close()
	return r.StatusCode == http.StatusOK
}

func free(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func write(t testing.TB, path, text string) {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func tail(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
