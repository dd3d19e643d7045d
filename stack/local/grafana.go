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
			return Grafana{}, fmt.Errorf("GRAFANA_HOME names no unpacked Grafana: %w", err)
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
	return Grafana{}, errors.New("no Grafana is at hand: set GRAFANA_HOME to an unpacked one, or GRAFANA_START to a program that starts one")
}

// GrafanaOptions are the folders that a Grafana works with.
type GrafanaOptions struct {
	Plugins, Provisioning, Data string
	// Visitors lets everybody in as an administrator, without a password.
	Visitors bool
}

// Grafana starts one on a free port and returns its URL; admin/admin logs in.
func (g *Group) Grafana(ctx context.Context, how Grafana, o GrafanaOptions) (url string, err error) {
	for _, d := range []string{o.Plugins, o.Provisioning, o.Data} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return "", fmt.Errorf("start Grafana: %w", err)
		}
	}
	address, err := Address()
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	if how.Home != "" {
		return "http://" + address, g.Start(ctx, grafanaHome(how.Home, port, o))
	}
	visitors := "off"
	if o.Visitors {
		visitors = "Admin"
	}
	// Interrupted, the starter leaves a Grafana that nobody was told of; its pid
	// file tells.
	pids := filepath.Join(o.Data, "grafana.pid")
	g.Defer(func() {
		if text, err := os.ReadFile(pids); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
				end(pid)
			}
		}
	})
	cmd := exec.CommandContext(ctx, how.Start, port, o.Plugins, o.Provisioning)
	cmd.Env = append(os.Environ(), "GRAFANA_DATA="+o.Data, "GRAFANA_ANON="+visitors)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	var told, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &told, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", fmt.Errorf("start Grafana with %s: %w\n%s", how.Start, err, bytes.TrimSpace(said.Bytes()))
	}
	lines := strings.Fields(told.String())
	if len(lines) == 0 {
		return "", fmt.Errorf("start Grafana: %s told no process", how.Start)
	}
	pid, err := strconv.Atoi(lines[len(lines)-1])
	if err != nil {
		return "", fmt.Errorf("start Grafana: %s told no process: %q", how.Start, told.String())
	}
	g.Defer(func() { end(pid) })
	return "http://" + address, nil
}

// grafanaHome runs an unpacked Grafana that asks nothing outside.
func grafanaHome(home, port string, o GrafanaOptions) Program {
	return Program{
		Name: "Grafana", Ready: "http://127.0.0.1:" + port + "/api/health", Log: filepath.Join(o.Data, "grafana.log"),
		Command: []string{filepath.Join(home, "bin", "grafana"), "server", "--homepath", home},
		Env: []string{
			"GF_PATHS_DATA=" + o.Data, "GF_PATHS_LOGS=" + filepath.Join(o.Data, "log"), "GF_PATHS_PLUGINS=" + o.Plugins, "GF_PATHS_PROVISIONING=" + o.Provisioning,
			"GF_SERVER_HTTP_ADDR=127.0.0.1", "GF_SERVER_HTTP_PORT=" + port, "GF_SECURITY_ADMIN_PASSWORD=admin",
			"GF_AUTH_ANONYMOUS_ENABLED=" + strconv.FormatBool(o.Visitors), "GF_AUTH_ANONYMOUS_ORG_ROLE=Admin",
			"GF_PLUGINS_ALLOW_LOADING_UNSIGNED_PLUGINS=plancast-milestone-datasource", "GF_PLUGINS_PREINSTALL_DISABLED=true",
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

// gone tells whether a process has ended; one that nobody has waited for yet
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
