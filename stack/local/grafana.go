package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Plugin is the id of the Grafana plugin.
const Plugin = "plancast-milestone-datasource"

// ErrNoGrafana is FindGrafana's when nobody names one.
var ErrNoGrafana = errors.New("no Grafana is available: set GRAFANA_HOME to an unpacked one, or GRAFANA_START to a program that starts one")

// Grafana is how one is started: Start names a program that takes PORT PLUGINS
// PROVISIONING, starts a Grafana and prints its process as the last line; or
// Home is an unpacked Grafana. Exactly one is set.
type Grafana struct{ Start, Home string }

// FindGrafana looks for a Grafana where GRAFANA_START and GRAFANA_HOME say, and
// then at the paths given, each a program for Start. The error says what was
// looked for.
func FindGrafana(starters ...string) (Grafana, error) {
	if start := os.Getenv("GRAFANA_START"); start != "" {
		path, err := exec.LookPath(start)
		if err != nil {
			return Grafana{}, fmt.Errorf("GRAFANA_START: %w", err)
		}
		path, err = filepath.Abs(path)
		return Grafana{Start: path}, err
	}
	if home := os.Getenv("GRAFANA_HOME"); home != "" {
		if _, err := os.Stat(filepath.Join(home, "bin", "grafana")); err != nil {
			return Grafana{}, fmt.Errorf("GRAFANA_HOME does not name an unpacked Grafana: %w", err)
		}
		home, err := filepath.Abs(home)
		return Grafana{Home: home}, err
	}
	for _, s := range starters {
		if path, err := exec.LookPath(s); err == nil {
			path, err = filepath.Abs(path)
			return Grafana{Start: path}, err
		}
	}
	return Grafana{}, ErrNoGrafana
}

// GrafanaOptions are what a Grafana works with.
type GrafanaOptions struct {
	// Dir is the folder of its data; what it is provisioned with lies in the
	// provisioning below.
	Dir string
	// Plugin is the folder of the built plugin.
	Plugin string
	// Visitors lets everybody in as an administrator, without a password.
	Visitors bool
}

// Grafana starts one on a free port and returns its URL; admin/admin logs in.
func (g *Group) Grafana(ctx context.Context, how Grafana, o GrafanaOptions) (url string, err error) {
	module := filepath.Join(o.Plugin, "module.js")
	if _, err := os.Stat(module); err != nil {
		return "", fmt.Errorf("there is no %s: run make -C grafana-plugin build first", module)
	}
	if err := Copy(o.Plugin, filepath.Join(o.plugins(), Plugin)); err != nil {
		return "", err
	}
	for _, d := range []string{o.data(), o.provisioning("datasources"), o.provisioning("dashboards"), o.provisioning("alerting"), o.provisioning("plugins")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return "", fmt.Errorf("start Grafana: %w", err)
		}
	}
	if how.Home != "" {
		return g.url(ctx, grafanaHome(how.Home, o))
	}
	return retry(ctx, func(address string) error { return g.grafanaStart(ctx, how.Start, address, o) })
}

func (o GrafanaOptions) plugins() string { return filepath.Join(o.Dir, "plugins") }
func (o GrafanaOptions) data() string    { return filepath.Join(o.Dir, "grafana") }
func (o GrafanaOptions) provisioning(kind string) string {
	return filepath.Join(o.Dir, "provisioning", kind)
}

// grafanaStart runs a program that starts a Grafana.
func (g *Group) grafanaStart(ctx context.Context, start, address string, o GrafanaOptions) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	visitors := "off"
	if o.Visitors {
		visitors = "Admin"
	}
	// Interrupted, the starter leaves a Grafana that nobody knows of; its pid
	// file names it.
	pids := filepath.Join(o.data(), "grafana.pid")
	g.Defer(func() {
		if text, err := os.ReadFile(pids); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				end(pid)
			}
		}
	})
	cmd := exec.CommandContext(ctx, start, port, o.plugins(), o.provisioning(""))
	cmd.Env = append(os.Environ(), "GRAFANA_DATA="+o.data(), "GRAFANA_ANON="+visitors)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("start Grafana with %s: %w\n%s", start, err, bytes.TrimSpace(stderr.Bytes()))
	}
	lines := strings.Fields(stdout.String())
	if len(lines) == 0 {
		return fmt.Errorf("start Grafana: %s named no process", start)
	}
	pid, err := strconv.Atoi(lines[len(lines)-1])
	if err != nil {
		return fmt.Errorf("start Grafana: %s named no process: %q", start, stdout.String())
	}
	g.Defer(func() { end(pid) })
	return nil
}

// grafanaHome runs an unpacked Grafana that asks nothing outside.
func grafanaHome(home string, o GrafanaOptions) Program {
	return Program{
		Name: "Grafana", Ready: "/api/health", Log: filepath.Join(o.data(), "grafana.log"),
		Command: func(address string) []string {
			_, port, _ := net.SplitHostPort(address)
			return []string{filepath.Join(home, "bin", "grafana"), "server", "--homepath", home, "cfg:server.http_port=" + port}
		},
		Env: []string{
			"GF_PATHS_DATA=" + o.data(), "GF_PATHS_LOGS=" + filepath.Join(o.data(), "log"), "GF_PATHS_PLUGINS=" + o.plugins(), "GF_PATHS_PROVISIONING=" + o.provisioning(""),
			"GF_SERVER_HTTP_ADDR=127.0.0.1", "GF_SECURITY_ADMIN_PASSWORD=admin",
			"GF_AUTH_ANONYMOUS_ENABLED=" + strconv.FormatBool(o.Visitors), "GF_AUTH_ANONYMOUS_ORG_ROLE=Admin",
			"GF_PLUGINS_ALLOW_LOADING_UNSIGNED_PLUGINS=" + Plugin, "GF_PLUGINS_PREINSTALL_DISABLED=true",
			"GF_ANALYTICS_REPORTING_ENABLED=false", "GF_ANALYTICS_CHECK_FOR_UPDATES=false", "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES=false",
			"GF_NEWS_NEWS_FEED_ENABLED=false",
		},
	}
}

// end stops a process that is not a child of this one, and waits until it is gone.
func end(pid int) {
	_ = syscall.Kill(pid, syscall.SIGTERM)
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if gone(pid) {
			return
		}
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// gone reports whether a process has ended; one that nobody has waited for yet
// has ended as well.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, ok := strings.Cut(string(stat), ") ")
	return ok && strings.HasPrefix(rest, "Z")
}
