// Command stack runs a command beside a real Prometheus with a history that
// ends now, a second one behind a password, and a real Grafana with the plugin
// in dist: what the browser tests need.
//
//	go run ./tools/stack node_modules/.bin/playwright test
//
// The Grafana is the one at GRAFANA_URL, on this machine, with the plugin
// installed and admin/admin to log in; the data sources and dashboards that it
// is given are removed again, what the tests save ("e2e ...") stays.
// Or it is started with the program that GRAFANA_START names (PORT PLUGINS
// PROVISIONING, its last line is the process to stop), which unpacks it below
// GRAFANA_ROOT, or for this run only when that is not set; or it is the unpacked
// one at GRAFANA_HOME. Without any, or without Prometheus, nothing is run and the
// reason is reported.
package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/plancast/plancast/stack/local"
	"github.com/plancast/plancast/tsdb/promtest"
)

// password protects the second Prometheus; it guards made-up numbers only.
const password = "correct-horse"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
	}
	os.Exit(code)
}

func run(ctx context.Context, command []string) (int, error) {
	if len(command) == 0 {
		return 2, errors.New("name the command to run beside Grafana and Prometheus")
	}
	url := os.Getenv("GRAFANA_URL")
	how, err := local.FindGrafana()
	switch {
	case url != "":
	case errors.Is(err, local.ErrNoGrafana):
		fmt.Println("SKIPPED: neither GRAFANA_URL names a Grafana nor GRAFANA_START a program that starts one")
		return 0, nil
	case err != nil:
		return 1, err
	}
	for _, program := range []string{"prometheus", "promtool"} {
		if _, err := local.Find(local.PrometheusHint, program); err != nil {
			fmt.Println("SKIPPED:", err)
			return 0, nil
		}
	}
	dir, err := os.MkdirTemp("", "plancast-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	var group local.Group
	defer group.Stop()

	open, secret, err := databases(ctx, &group, dir)
	if err != nil {
		return 1, err
	}
	sources, err := datasources(open, secret)
	if err != nil {
		return 1, err
	}
	if url != "" {
		err = lend(ctx, &group, url, sources)
	} else {
		url, err = grafana(ctx, &group, dir, how, sources)
	}
	if err != nil {
		return 1, err
	}

	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	// What it starts ends with it: first it is asked to, the browser included.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel, cmd.WaitDelay = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }, 10*time.Second
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		"GRAFANA_URL="+url, "PROMETHEUS_URL="+open, "PROMETHEUS_SECRET_URL="+secret, "PROMETHEUS_PASSWORD="+password)
	err = cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// databases starts two Prometheus with the same history, the second one behind
// the password.
func databases(ctx context.Context, group *local.Group, dir string) (open, secret string, err error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return "", "", err
	}
	text, config, web := filepath.Join(dir, "history.om"), filepath.Join(dir, "prometheus.yml"), filepath.Join(dir, "web.yml")
	for file, content := range map[string]string{
		text:   history(time.Now().UTC().Truncate(time.Minute)).OpenMetrics(),
		config: "global: {scrape_interval: 15s}\n",
		web:    fmt.Sprintf("basic_auth_users:\n  reader: %s\n", hash),
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return "", "", err
		}
	}
	data, copied := filepath.Join(dir, "data"), filepath.Join(dir, "data2")
	if err := local.Fill(ctx, text, data); err != nil {
		return "", "", err
	}
	if err := local.Copy(data, copied); err != nil {
		return "", "", err
	}
	if open, err = group.Prometheus(ctx, config, data); err != nil {
		return "", "", err
	}
	secret, err = group.Prometheus(ctx, config, copied, "--web.config.file="+web)
	return open, secret, err
}

// history is what the browser sees: three models at two precisions, one that
// meets its target, one close to it, one far, and a failed build.
func history(until time.Time) promtest.History {
	const n, every = 24, 58 * time.Hour
	begin := until.Add(-60 * 24 * time.Hour)
	var engines []promtest.Engine
	for i, m := range []string{"bert-base", "resnet50", "yolo-v8"} {
		for k, p := range []string{"fp16", "int8"} {
			from := 0.085 + 0.02*float64(i) - 0.015*float64(k)
			results := promtest.Improving(uint64(10*i+k), n, begin, every, from, 0.03, "3fa91c07b2de")
			for j := range results {
				// A steady pace, and noise.
				left := math.Pow([]float64{0.9, 0.935, 0.924}[i], float64(j))
				r := &results[j]
				r.P99 = (0.03 + (from-0.03)*left) * (1 + 0.015*math.Sin(float64(7*j+5*i+k)))
				r.Throughput = math.Round(60 / r.P99)
			}
			engines = append(engines, promtest.Engine{Model: m, Precision: p, Backend: "tensorrt", Device: "NVIDIA L4", Results: results})
		}
	}
	return promtest.History{
		Engines: engines, Until: until.Add(time.Hour), Scrape: 5 * time.Minute, // on into the future, so that it stays fresh
		Milestones: []promtest.Published{{
			Name: "spring-launch", Criterion: "p99 < 40 ms", Precision: "int8", Deadline: until.AddDate(0, 0, 45),
			Met: func(r promtest.Result) bool { return r.P99 < 0.04 },
		}},
		Failures: []promtest.Failure{{Model: "yolo-v8", Kind: "build_failed", Time: until.Add(-9 * 24 * time.Hour)}},
	}
}
