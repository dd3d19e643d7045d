package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Address returns an address of this machine that nobody listens on, outside of
// the range from which Linux takes the ports of outgoing connections, so that it
// stays free while its server is restarted.
func Address() (string, error) {
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String(), nil
	}
	return "", errors.New("none of 100 ports between 20000 and 32000 is free")
}

// Find returns the first of the programs that is installed; hint says how to
// get one.
func Find(hint string, names ...string) (string, error) {
	for _, n := range names {
		if path, err := exec.LookPath(n); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: %s", strings.Join(names, " or "), hint)
}

// The hints for Find.
const (
	PrometheusHint   = "on Debian, apt-get install prometheus (and systemctl disable --now prometheus: the stack starts its own)"
	AlertmanagerHint = "on Debian, apt-get install prometheus-alertmanager (and systemctl disable --now prometheus-alertmanager)"
)

// url starts p and returns its URL.
func (g *Group) url(ctx context.Context, p Program) (string, error) {
	started, err := g.Start(ctx, p)
	if err != nil {
		return "", err
	}
	return started.URL, nil
}

// Prometheus starts a Prometheus on a free port, with its configuration file
// and its data's folder, and returns its URL. The log lies beside the data.
func (g *Group) Prometheus(ctx context.Context, config, data string, flags ...string) (url string, err error) {
	program, err := Find(PrometheusHint, "prometheus")
	if err != nil {
		return "", err
	}
	return g.url(ctx, Program{
		Name: "Prometheus", Ready: "/-/ready", Log: data + ".log",
		Command: func(address string) []string {
			return append([]string{program, "--config.file=" + config, "--storage.tsdb.path=" + data, "--storage.tsdb.retention.time=10y",
				"--web.listen-address=" + address, "--log.level=warn"}, flags...)
		},
	})
}

// Fill imports OpenMetrics text into the folder of a Prometheus that does not run,
// in blocks of up to a year and a half: promtool reads the text once for each.
func Fill(ctx context.Context, openMetrics, data string) error {
	promtool, err := Find(PrometheusHint, "promtool")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, promtool, "tsdb", "create-blocks-from", "--max-block-duration=13122h", "--quiet", "openmetrics", openMetrics, data)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("fill Prometheus with %s: %w\n%s", openMetrics, err, bytes.TrimSpace(out))
	}
	return nil
}

// Alertmanager starts an Alertmanager on a free port and returns its URL.
func (g *Group) Alertmanager(ctx context.Context, config, data string) (url string, err error) {
	program, err := Find(AlertmanagerHint, "alertmanager", "prometheus-alertmanager")
	if err != nil {
		return "", err
	}
	return g.url(ctx, Program{
		Name: "Alertmanager", Ready: "/-/ready", Log: data + ".log",
		Command: func(address string) []string {
			return []string{program, "--config.file=" + config, "--storage.path=" + data, "--cluster.listen-address=", "--web.listen-address=" + address, "--log.level=warn"}
		},
	})
}

// Copy copies a folder, links followed.
func Copy(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
	}
	return nil
}
