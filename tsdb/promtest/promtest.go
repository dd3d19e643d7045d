// Package promtest runs a real Prometheus, VictoriaMetrics, Mimir or Thanos for tests, filled
// with a history.
package promtest

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/plancast/plancast/alerts/alertstest"
	"github.com/plancast/plancast/stack/local"
)

// Start runs Prometheus on the OpenMetrics text and returns its address. It is
// stopped at the end of the test, which is skipped when there is no Prometheus:
// see alertstest.Find.
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
	server := alertstest.Find(t, "prometheus")
	alertstest.Find(t, "promtool")
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
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {scrape_interval: 15s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := local.Fill(t.Context(), text, data); err != nil {
		t.Fatal(err)
	}
	return "http://" + alertstest.Start(t, local.Program{Ready: "/-/ready", Command: func(address string) []string {
		return []string{server, "--config.file=" + config, "--storage.tsdb.path=" + data, "--storage.tsdb.retention.time=100y",
			"--web.listen-address=" + address, "--log.level=warn"}
	}}).Address
}

// StartReceiver runs an empty Prometheus that takes remote write of samples as old
// as outOfOrder, and returns its address.
func StartReceiver(t testing.TB, outOfOrder string) string {
	t.Helper()
	server := alertstest.Find(t, "prometheus")
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	text := "global: {scrape_interval: 15s}\nstorage: {tsdb: {out_of_order_time_window: " + outOfOrder + "}}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "http://" + alertstest.Start(t, local.Program{Ready: "/-/ready", Command: func(address string) []string {
		return []string{server, "--config.file=" + config, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--storage.tsdb.retention.time=100y",
			"--web.enable-remote-write-receiver", "--web.listen-address=" + address, "--log.level=warn"}
	}}).Address
}
