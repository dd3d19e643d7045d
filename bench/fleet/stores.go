package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/plancast/plancast/stack/local"
)

// store is one that runs.
type store struct {
	*local.Process
	version string // as its program says
}

func run(ctx context.Context, g *local.Group, program string, p local.Program) (store, error) {
	text, err := exec.CommandContext(ctx, program, "--version").CombinedOutput()
	if err != nil {
		return store{}, fmt.Errorf("%s --version: %w", program, err)
	}
	version, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	process, err := g.Start(ctx, p)
	return store{process, cmp.Or(version, p.Name+", which names no version")}, err
}

// startPrometheus fills a Prometheus and has it scrape.
func startPrometheus(ctx context.Context, g *local.Group, dir string, w *world) (store, error) {
	program, err := local.Find(local.PrometheusHint, "prometheus")
	if err != nil {
		return store{}, err
	}
	data, past, config := filepath.Join(dir, "data"), filepath.Join(dir, "past.om"), filepath.Join(dir, "prometheus.yml")
	if err := w.past(past, time.Second, func() error { return local.Fill(ctx, past, data) }); err != nil {
		return store{}, err
	}
	if err := os.WriteFile(config, []byte(w.targets()), 0o600); err != nil {
		return store{}, err
	}
	return run(ctx, g, program, local.Program{Name: "Prometheus", Ready: "/-/ready", Log: data + ".log", Command: func(address string) []string {
		return []string{program, "--config.file=" + config, "--storage.tsdb.path=" + data, "--storage.tsdb.retention.time=10y", "--web.listen-address=" + address, "--log.level=warn"}
	}})
}

// startVictoriaMetrics fills a VictoriaMetrics while it scrapes.
func startVictoriaMetrics(ctx context.Context, g *local.Group, dir string, w *world) (store, error) {
	program, err := local.Find("on Debian, apt-get install victoria-metrics", "victoria-metrics", "victoria-metrics-prod")
	if err != nil {
		return store{}, err
	}
	data, past, config := filepath.Join(dir, "data"), filepath.Join(dir, "past.txt"), filepath.Join(dir, "scrape.yml")
	if err := os.WriteFile(config, []byte(w.targets()), 0o600); err != nil {
		return store{}, err
	}
	out, err := run(ctx, g, program, local.Program{Name: "VictoriaMetrics", Ready: "/health", Log: data + ".log", Command: func(address string) []string {
		return []string{program, "-storageDataPath=" + data, "-retentionPeriod=10y", "-httpListenAddr=" + address, "-promscrape.config=" + config, "-loggerLevel=WARN"}
	}})
	if err != nil {
		return store{}, err
	}
	err = w.past(past, time.Millisecond, func() error {
		f, err := os.Open(past)
		if err != nil {
			return err
		}
		defer f.Close()
		return post(ctx, out.URL+"/api/v1/import/prometheus", f)
	})
	if err == nil {
		err = post(ctx, out.URL+"/internal/force_flush", nil)
	}
	return out, err
}

func post(ctx context.Context, url string, body *os.File) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	if body != nil {
		req.Body = body
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	r.Body.Close()
	if r.StatusCode/100 != 2 {
		return fmt.Errorf("%s answers with %s", url, r.Status)
	}
	return nil
}
