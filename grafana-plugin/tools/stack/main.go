// Command stack runs a command beside a real Prometheus with a history that
// ends now, a second one behind a password, and a real Grafana with the plugin
// in dist: what the browser tests need.
//
//	go run ./tools/stack npx playwright test
//
// Grafana is started with the program that GRAFANA_START names (PORT PLUGINS
// PROVISIONING, its last line is the process to stop). Without it, or without
// Prometheus, nothing is run and the reason is told.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/plancast/plancast/grafana-plugin/pkg/promtest"
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
	start := os.Getenv("GRAFANA_START")
	for _, missing := range []struct {
		gone bool
		why  string
	}{
		{start == "", "GRAFANA_START names no program that starts Grafana"},
		{!installed("prometheus") || !installed("promtool"), "prometheus is not installed (Debian: apt-get install prometheus)"},
	} {
		if missing.gone {
			fmt.Println("SKIPPED:", missing.why)
			return 0, nil
		}
	}
	if _, err := os.Stat("dist/module.js"); err != nil {
		return 1, errors.New("there is no dist/module.js: run make build first")
	}
	dir, err := os.MkdirTemp("", "plancast-e2e-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)

	until := time.Now().UTC().Truncate(time.Minute)
	if err := os.WriteFile(filepath.Join(dir, "history.om"), []byte(history(until).OpenMetrics()), 0o600); err != nil {
		return 1, err
	}
	data := filepath.Join(dir, "data")
	if out, err := exec.CommandContext(ctx, "promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=720h", filepath.Join(dir, "history.om"), data).CombinedOutput(); err != nil {
		return 1, fmt.Errorf("promtool: %w\n%s", err, out)
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return 1, err
	}
	if err := os.WriteFile(filepath.Join(dir, "web.yml"), fmt.Appendf(nil, "basic_auth_users:\n  reader: %s\n", hash), 0o600); err != nil {
		return 1, err
	}
	open, stopOpen, err := prometheus(ctx, dir, data, "")
	if err != nil {
		return 1, err
	}
	defer stopOpen()
	copied := filepath.Join(dir, "data2")
	if out, err := exec.CommandContext(ctx, "cp", "-r", data, copied).CombinedOutput(); err != nil {
		return 1, fmt.Errorf("cp: %w\n%s", err, out)
	}
	_ = os.Remove(filepath.Join(copied, "lock"))
	secret, stopSecret, err := prometheus(ctx, dir, copied, filepath.Join(dir, "web.yml"))
	if err != nil {
		return 1, err
	}
	defer stopSecret()

	provisioning, err := provision(dir, open, secret)
	if err != nil {
		return 1, err
	}
	plugins := filepath.Join(dir, "plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		return 1, err
	}
	dist, err := filepath.Abs("dist")
	if err != nil {
		return 1, err
	}
	if out, err := exec.CommandContext(ctx, "cp", "-r", dist, filepath.Join(plugins, "plancast-milestone-datasource")).CombinedOutput(); err != nil {
		return 1, fmt.Errorf("cp: %w\n%s", err, out)
	}
	port := free()
	grafana := exec.CommandContext(ctx, start, strconv.Itoa(port), plugins, provisioning)
	grafana.Env = append(os.Environ(), "GRAFANA_DATA="+filepath.Join(dir, "grafana"), "GRAFANA_ANON=off")
	var told bytes.Buffer
	grafana.Stdout, grafana.Stderr = &told, os.Stderr
	if err := grafana.Run(); err != nil {
		return 1, fmt.Errorf("start Grafana: %w", err)
	}
	lines := strings.Fields(told.String())
	pid, err := strconv.Atoi(lines[len(lines)-1])
	if err != nil {
		return 1, fmt.Errorf("GRAFANA_START told no process: %q", told.String())
	}
	defer end(pid)

	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		fmt.Sprintf("GRAFANA_URL=http://127.0.0.1:%d", port), "PROMETHEUS_URL="+open, "PROMETHEUS_SECRET_URL="+secret, "PROMETHEUS_PASSWORD="+password)
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

func installed(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}

// history is what the browser sees: three models at two precisions, one close
// to its target, one far, one with a failed build.
func history(until time.Time) promtest.History {
	begin := until.Add(-60 * 24 * time.Hour)
	var engines []promtest.Engine
	for i, m := range []string{"bert-base", "resnet50", "yolo-v8"} {
		for k, p := range []string{"fp16", "int8"} {
			engines = append(engines, promtest.Engine{
				Model: m, Precision: p, Backend: "tensorrt", Device: "NVIDIA L4",
				Results: promtest.Improving(uint64(10*i+k), 24, begin, 58*time.Hour, 0.085+0.02*float64(i)-0.015*float64(k), 0.03, "3fa91c07b2de"),
			})
		}
	}
	return promtest.History{
		Engines: engines, Until: until.Add(time.Hour), Scrape: 5 * time.Minute, // on into the future, so that it stays fresh
		Milestones: []promtest.Milestone{{
			Name: "spring-launch", Criterion: "p99 < 40 ms", Precision: "int8", Deadline: until.AddDate(0, 0, 45),
			Met: func(r promtest.Result) bool { return r.P99 < 0.04 },
		}},
		Failures: []promtest.Failure{{Model: "yolo-v8", Kind: "build_failed", Time: until.Add(-9 * 24 * time.Hour)}},
	}
}

func free() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func prometheus(ctx context.Context, dir, data, web string) (url string, stop func(), err error) {
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {scrape_interval: 15s}\n"), 0o600); err != nil {
		return "", nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", free())
	args := []string{"--config.file=" + config, "--storage.tsdb.path=" + data, "--storage.tsdb.retention.time=10y", "--web.listen-address=" + address, "--log.level=error"}
	if web != "" {
		args = append(args, "--web.config.file="+web)
	}
	cmd := exec.CommandContext(ctx, "prometheus", args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
	url = "http://" + address
	for range 600 {
		if r, err := http.Get(url + "/-/ready"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK || r.StatusCode == http.StatusUnauthorized {
				return url, stop, nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	return "", nil, errors.New("wait for Prometheus: it is not ready after a minute")
}

// provision writes the repository's own provisioning files with the addresses
// of this run.
func provision(dir, open, secret string) (string, error) {
	out := filepath.Join(dir, "provisioning")
	if err := os.MkdirAll(filepath.Join(out, "datasources"), 0o755); err != nil {
		return "", err
	}
	own, err := os.ReadFile("provisioning/datasources/plancast.yml")
	if err != nil {
		return "", err
	}
	text := strings.ReplaceAll(string(own), "http://prometheus:9090", open)
	text += fmt.Sprintf(`  - {name: x-down, uid: down, type: plancast-milestone-datasource, access: proxy, editable: true, url: "http://127.0.0.1:%d"}
  - {name: x-secret, uid: secret, type: plancast-milestone-datasource, access: proxy, editable: true, url: %q, basicAuth: true, basicAuthUser: reader, secureJsonData: {basicAuthPassword: %q}}
  - {name: x-wrong, uid: wrong, type: plancast-milestone-datasource, access: proxy, editable: true, url: %q, basicAuth: true, basicAuthUser: reader, secureJsonData: {basicAuthPassword: not-the-password}}
`, free(), secret, password, secret)
	if err := os.WriteFile(filepath.Join(out, "datasources", "plancast.yml"), []byte(text), 0o600); err != nil {
		return "", err
	}
	for _, d := range []string{"dashboards", "alerting", "plugins"} {
		if err := os.MkdirAll(filepath.Join(out, d), 0o755); err != nil {
			return "", err
		}
	}
	boards, err := filepath.Abs("src/dashboards")
	if err != nil {
		return "", err
	}
	return out, os.WriteFile(filepath.Join(out, "dashboards", "plancast.yml"), fmt.Appendf(nil,
		"apiVersion: 1\nproviders:\n  - {name: plancast, type: file, options: {path: %q}}\n", boards), 0o600)
}

// end stops a process and waits a moment for it to be gone.
func end(pid int) {
	_ = syscall.Kill(pid, syscall.SIGTERM)
	for range 100 {
		if syscall.Kill(pid, 0) != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}
