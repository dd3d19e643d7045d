// Command daemon measures the running program: how much memory plancast serve
// holds when it is idle with a large history, and how long a scrape takes.
//
//	go run ./bench/daemon -plancast bin/plancast
//
// The history is 300 models at 3 precisions. The models in the repository are
// too young to be measured, so the daemon is idle from the start.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/stack/local"
)

const (
	models     = 300
	targetRSS  = 80 << 20
	targetP99  = 50 * time.Millisecond
	configText = `
repository: {url: models, quiet: 1h}
state: state
schedule: "@every 1m"
milestones:
  - {name: launch, criteria: [p99 < 50ms, accuracy_deviation < 0.5%], share: 80%, horizon: 5}
`
)

func main() {
	program := flag.String("plancast", "bin/plancast", "the program")
	iterations := flag.Int("iterations", 10, "iterations of each model in the history")
	scrapes := flag.Int("scrapes", 1000, "scrapes to time")
	flag.Parse()
	if err := measure(*program, *iterations, *scrapes); err != nil {
		fmt.Fprintln(os.Stderr, "daemon:", err)
		os.Exit(2)
	}
}

func measure(program string, iterations, scrapes int) (err error) {
	dir, err := os.MkdirTemp("", "plancast-daemon-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	n, err := prepare(dir, iterations)
	if err != nil {
		return err
	}
	address, err := local.Address()
	if err != nil {
		return err
	}
	cmd := exec.Command(program, "serve", "--config.file", filepath.Join(dir, "plancast.yml"), "--web.listen-address", address, "--log.level", "warn")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		err = errors.Join(err, cmd.Wait())
	}()
	url := "http://" + address + "/metrics"
	if err := wait(url); err != nil {
		return err
	}
	var times []time.Duration
	for range scrapes {
		t := time.Now()
		if err := scrape(url); err != nil {
			return err
		}
		times = append(times, time.Since(t))
	}
	slices.Sort(times)
	p99 := times[len(times)*99/100]
	// Idle means that the passes and forecasts of a minute have come and gone.
	var rss int64
	for range 7 {
		<-time.After(10 * time.Second)
		if rss, err = resident(cmd.Process.Pid); err != nil {
			return err
		}
	}
	fmt.Printf("scrape of %d models x 3 precisions: P50 %.2f ms, P99 %.2f ms: %.2f of the 50 ms target\n", models, ms(times[len(times)/2]), ms(p99), float64(p99)/float64(targetP99))
	fmt.Printf("idle daemon with that history (%d records): %.1f MiB resident: %.2f of the 80 MiB target\n", n, float64(rss)/(1<<20), float64(rss)/targetRSS)
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / 1e6 }

// prepare makes the configuration, the repository and the history.
func prepare(dir string, iterations int) (int, error) {
	if err := os.WriteFile(filepath.Join(dir, "plancast.yml"), []byte(configText), 0o644); err != nil {
		return 0, err
	}
	in := reporttest.Many(models, iterations)
	for _, m := range in.Models {
		version := filepath.Join(dir, "models", m.Name, strconv.Itoa(iterations))
		if err := os.MkdirAll(version, 0o755); err != nil {
			return 0, err
		}
		if err := os.WriteFile(filepath.Join(version, "model.onnx"), []byte("still being copied"), 0o644); err != nil {
			return 0, err
		}
	}
	s, err := history.Open(filepath.Join(dir, "state", "history.db"))
	if err != nil {
		return 0, err
	}
	for _, r := range in.Records {
		if _, err := s.Append(context.Background(), r); err != nil {
			return 0, errors.Join(err, s.Close())
		}
	}
	return len(in.Records), s.Close()
}

// wait returns once the daemon shows the models.
func wait(url string) error {
	var last error
	for range 600 {
		body, err := get(url)
		if err == nil && strings.Count(body, "plancast_iteration{") == models*3 {
			return nil
		}
		last = err
		<-time.After(100 * time.Millisecond)
	}
	return fmt.Errorf("the daemon does not show its %d models: %w", models, last)
}

func get(url string) (string, error) {
	r, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return string(body), err
}

// scrape asks as Prometheus does, compressed, and leaves the unpacking out of
// the time: that is the scraper's work.
func scrape(url string) error {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept-Encoding", "gzip")
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	_, err = io.Copy(io.Discard, r.Body)
	return err
}

func resident(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}
