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
// GRAFANA_ROOT, or for this run only when that is not set. Without either, or
// without Prometheus, nothing is run and the reason is told.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
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

// attempts is how often a server is started: another program may take the free
// port in between.
const attempts = 3

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
	url, start := os.Getenv("GRAFANA_URL"), os.Getenv("GRAFANA_START")
	for _, missing := range []struct {
		gone bool
		why  string
	}{
		{url == "" && start == "", "neither GRAFANA_URL names a Grafana nor GRAFANA_START a program that starts one"},
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

	open, secret, stopAll, err := databases(ctx, dir)
	defer stopAll()
	if err != nil {
		return 1, err
	}
	sources, err := datasources(open, secret)
	if err != nil {
		return 1, err
	}
	if url != "" {
		remove, err := visit(ctx, url, sources)
		defer remove()
		if err != nil {
			return 1, err
		}
	} else {
		started, stop, err := grafana(ctx, dir, start, sources)
		if err != nil {
			return 1, err
		}
		defer stop()
		url = started
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

func installed(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}

// databases starts two Prometheus with the same history, the second one behind
// the password. stop is never nil.
func databases(ctx context.Context, dir string) (open, secret string, stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	text := filepath.Join(dir, "history.om")
	until := time.Now().UTC().Truncate(time.Minute)
	if err := os.WriteFile(text, []byte(history(until).OpenMetrics()), 0o600); err != nil {
		return "", "", stop, err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return "", "", stop, err
	}
	web := filepath.Join(dir, "web.yml")
	if err := os.WriteFile(web, fmt.Appendf(nil, "basic_auth_users:\n  reader: %s\n", hash), 0o600); err != nil {
		return "", "", stop, err
	}
	data := filepath.Join(dir, "data")
	if out, err := exec.CommandContext(ctx, "promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=720h", text, data).CombinedOutput(); err != nil {
		return "", "", stop, fmt.Errorf("promtool: %w\n%s", err, out)
	}
	copied := filepath.Join(dir, "data2")
	if err := os.CopyFS(copied, os.DirFS(data)); err != nil {
		return "", "", stop, err
	}
	for _, x := range []struct {
		url       *string
		data, web string
	}{{&open, data, ""}, {&secret, copied, web}} {
		var end func()
		if *x.url, end, err = retry(func() (string, func(), error) { return prometheus(ctx, dir, x.data, x.web) }); err != nil {
			return "", "", stop, err
		}
		stops = append(stops, end)
	}
	return open, secret, stop, nil
}

func retry(start func() (string, func(), error)) (url string, stop func(), err error) {
	for range attempts {
		if url, stop, err = start(); err == nil {
			return url, stop, nil
		}
	}
	return "", nil, err
}

// grafana starts a Grafana with the plugin in dist.
func grafana(ctx context.Context, dir, start string, sources []datasource) (url string, stop func(), err error) {
	provisioning, err := provision(dir, sources)
	if err != nil {
		return "", nil, err
	}
	plugins := filepath.Join(dir, "plugins")
	if err := os.CopyFS(filepath.Join(plugins, plugin), os.DirFS("dist")); err != nil {
		return "", nil, err
	}
	env := append(os.Environ(), "GRAFANA_ANON=off")
	if os.Getenv("GRAFANA_ROOT") == "" {
		env = append(env, "GRAFANA_ROOT="+filepath.Join(dir, "root"))
	}
	return retry(func() (string, func(), error) {
		data, err := os.MkdirTemp(dir, "grafana-")
		if err != nil {
			return "", nil, err
		}
		// Whatever becomes of the starter, the server is stopped by its own file.
		stop := func() {
			if text, err := os.ReadFile(filepath.Join(data, "grafana.pid")); err == nil {
				if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
					end(pid)
				}
			}
		}
		port := free()
		cmd := exec.CommandContext(ctx, start, strconv.Itoa(port), plugins, provisioning)
		cmd.Env = append(env, "GRAFANA_DATA="+data)
		var told bytes.Buffer
		cmd.Stdout, cmd.Stderr = &told, os.Stderr
		if err := cmd.Run(); err != nil {
			stop()
			return "", nil, fmt.Errorf("start Grafana: %w", err)
		}
		lines := strings.Fields(told.String())
		if len(lines) == 0 {
			stop()
			return "", nil, errors.New("start Grafana: GRAFANA_START told no process")
		}
		pid, err := strconv.Atoi(lines[len(lines)-1])
		if err != nil {
			stop()
			return "", nil, fmt.Errorf("start Grafana: GRAFANA_START told no process: %q", told.String())
		}
		return fmt.Sprintf("http://127.0.0.1:%d", port), func() { end(pid) }, nil
	})
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
	var failed error
	ended := make(chan struct{})
	go func() {
		failed = cmd.Wait()
		close(ended)
	}()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
	}
	url = "http://" + address
	for range 600 {
		select {
		case <-ended:
			return "", nil, fmt.Errorf("start Prometheus: it ended at once: %w", failed)
		default:
		}
		if r, err := http.Get(url + "/-/ready"); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK || r.StatusCode == http.StatusUnauthorized {
				return url, stop, nil
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	stop()
	return "", nil, errors.New("wait for Prometheus: it is not ready after a minute")
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
