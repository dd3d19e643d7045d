// Command stack runs the whole of docker-compose.yml without Docker: plancast on two
// hosts and a fleet daemon over both, Prometheus, Alertmanager and, where one is at
// hand, Grafana with the plugin and the dashboards, on free ports, over an invented
// history (package demo).
// The configuration is that of the repository: alerts/, dashboards/,
// deploy/compose/ and grafana-plugin/provisioning/; only addresses differ.
//
//	go run ./stack                     until Ctrl-C
//	go run ./stack -- COMMAND ARG...   until the command ends, which finds the
//	                                   addresses in its environment
//
// It is run from the root of the repository, after make build.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/plancast/plancast/stack/demo"
	"github.com/plancast/plancast/stack/local"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code, err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "stack:", err)
	}
	os.Exit(code)
}

// step is how often the past has a sample. A result stands for days, so it is
// far more than the scrapes' 15 s: the import takes seconds instead of minutes.
const step = 2 * time.Hour

// guestPrefix begins the uids of the data sources in a user's own Grafana.
const guestPrefix = "plancast-demo-"

func run(ctx context.Context, args []string) (int, error) {
	if len(args) > 0 && args[0] != "--" {
		return 2, fmt.Errorf("%q is not understood: write a command after --", args[0])
	}
	var command []string
	if len(args) > 1 {
		command = args[1:]
	}
	s := stack{out: os.Stdout, dir: os.Getenv("STACK_DIR"), now: time.Now().UTC().Truncate(time.Second)}
	if s.dir == "" {
		s.dir = filepath.Join("build", "stack")
	}
	s.days = demo.Days
	if text := os.Getenv("STACK_DAYS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < demo.LeastDays || n > 1000 {
			return 2, fmt.Errorf("STACK_DAYS is %q: write a number of days from %d to 1000", text, demo.LeastDays)
		}
		s.days = n
	}
	defer s.group.Stop()
	if err := s.start(ctx); err != nil {
		if ctx.Err() != nil {
			return 130, errors.New("interrupted during the start; everything that ran is stopped")
		}
		return 1, err
	}
	s.printAddresses()
	if len(command) > 0 {
		return s.beside(ctx, command)
	}
	fmt.Fprintln(s.out, "\nPress Ctrl-C to stop everything.")
	select {
	case <-ctx.Done():
		fmt.Fprintln(s.out, "\nStopping.")
		return 0, nil
	case err := <-s.group.Ended():
		return 1, err
	}
}

// stack is what runs, and where.
type stack struct {
	out   io.Writer
	dir   string // absolute after start
	now   time.Time
	days  int // of history
	group local.Group

	exporters                                           map[demo.Host]string // URLs
	fleet, telemetry, prometheus, alertmanager, grafana string               // URLs; grafana is "" without one
	without                                             string               // why there is no Grafana
}

func (s *stack) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

func (s *stack) start(ctx context.Context) (err error) {
	for _, p := range [][]string{{local.PrometheusHint, "prometheus"}, {local.PrometheusHint, "promtool"}, {local.AlertmanagerHint, "alertmanager", "prometheus-alertmanager"}} {
		if _, err := local.Find(p[0], p[1:]...); err != nil {
			return err
		}
	}
	if _, err := os.Stat("bin/plancast"); err != nil {
		return errors.New("there is no bin/plancast here: run make build first, in the root of the repository")
	}
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return err
	}
	if err := s.clear(); err != nil {
		return err
	}
	began := time.Now()
	fmt.Fprintf(s.out, "Inventing a history of %d days in %s\n", s.days, s.dir)
	if err := s.startExporters(ctx); err != nil {
		return err
	}
	if err := s.startAlertmanager(ctx); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "Filling Prometheus with the past")
	if err := s.fill(ctx); err != nil {
		return err
	}
	if err := s.startPrometheus(ctx); err != nil {
		return err
	}
	if err := s.startFleet(ctx); err != nil {
		return err
	}
	if err := s.startGrafana(ctx); err != nil {
		return err
	}
	if err := s.awaitRules(ctx); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "Ready after %d s\n", int(time.Since(began).Seconds()))
	return nil
}

// owned marks a folder as the stack's, to be emptied at the next start.
const owned = ".plancast-stack"

func (s *stack) clear() error {
	entries, err := os.ReadDir(s.dir)
	if err == nil && len(entries) > 0 {
		if _, err := os.Stat(s.path(owned)); err != nil {
			return fmt.Errorf("%s is not empty and was not made by an earlier stack: empty it, or name another folder with STACK_DIR", s.dir)
		}
		if err := os.RemoveAll(s.dir); err != nil {
			return fmt.Errorf("empty %s: %w", s.dir, err)
		}
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("create folder: %w", err)
	}
	return os.WriteFile(s.path(owned), nil, 0o644)
}

// startAlertmanager starts it on the files of alerts/.
func (s *stack) startAlertmanager(ctx context.Context) (err error) {
	if err := local.Copy("alerts", s.path("alerts")); err != nil {
		return err
	}
	s.alertmanager, err = s.group.Alertmanager(ctx, s.path("alerts", "alertmanager.yml"), s.path("alertmanager"))
	return err
}

// startPrometheus starts it on the files of alerts/, with the targets of this stack.
func (s *stack) startPrometheus(ctx context.Context) (err error) {
	if err := errors.Join(s.writeTargets("plancast", s.published()), s.writeTargets("alertmanager", target(s.alertmanager, "")), s.writeTargets("prometheus", "[]\n")); err != nil {
		return err
	}
	s.prometheus, err = s.group.Prometheus(ctx, s.path("alerts", "prometheus.yml"), s.path("prometheus"), "--enable-feature=native-histograms", "--web.enable-lifecycle")
	if err != nil {
		return err
	}
	return s.writeTargets("prometheus", target(s.prometheus, ""))
}

// writeTargets writes a file of targets, which Prometheus reads again whenever it changes.
func (s *stack) writeTargets(name, text string) error {
	return os.WriteFile(s.path("alerts", "targets", name+".yml"), []byte(text), 0o644)
}

// awaitRules waits until every rule was evaluated once, which takes up to a
// minute: what dashboards show of them would be missing before.
func (s *stack) awaitRules(ctx context.Context) error {
	fmt.Fprintln(s.out, "Waiting for the first evaluation of the rules, up to a minute")
	ctx, cancel := context.WithTimeoutCause(ctx, 3*time.Minute, errors.New("no evaluation of every rule by Prometheus within three minutes"))
	defer cancel()
	for {
		var answer struct {
			Data struct {
				Groups []struct {
					Rules []struct{ Name, Health, LastError string }
				}
			}
		}
		if err := getJSON(ctx, s.prometheus+"/api/v1/rules", &answer); err != nil {
			return fmt.Errorf("wait for the rules: %w", cmp.Or(context.Cause(ctx), err))
		}
		waiting := len(answer.Data.Groups) == 0
		for _, g := range answer.Data.Groups {
			for _, r := range g.Rules {
				if r.Health == "err" {
					return fmt.Errorf("rule %s cannot be evaluated: %s", r.Name, r.LastError)
				}
				waiting = waiting || r.Health != "ok"
			}
		}
		if !waiting {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the rules: %w", context.Cause(ctx))
		case err := <-s.group.Ended():
			return err
		case <-time.After(time.Second):
		}
	}
}

func getJSON(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	return json.NewDecoder(r.Body).Decode(into)
}

func (s *stack) startGrafana(ctx context.Context) (err error) {
	if own := os.Getenv("GRAFANA_URL"); own != "" {
		s.grafana, err = s.group.Lend(ctx, own, local.Loan{
			Folder: map[string]any{"uid": "plancast-demo", "title": "plancast demo"},
			Sources: []map[string]any{
				{"uid": guestPrefix + "plancast", "name": "plancast demo", "type": local.Plugin, "access": "proxy", "url": s.prometheus,
					"jsonData": map[string]any{"httpMethod": "POST", "history": "365d"}},
				{"uid": guestPrefix + "prometheus", "name": "Prometheus of the plancast demo", "type": "prometheus", "access": "proxy", "url": s.prometheus,
					"jsonData": map[string]any{"httpMethod": "POST", "timeInterval": "15s"}},
			},
			Dashboards: "dashboards",
		})
		if err != nil {
			return err
		}
		return s.relink(ctx)
	}
	how, err := local.FindGrafana("../shared/grafana/start.sh")
	if err != nil {
		s.without = err.Error()
		return nil
	}
	if err := s.provision(); err != nil {
		return err
	}
	fmt.Fprintln(s.out, "Starting Grafana")
	if s.grafana, err = s.group.Grafana(ctx, how, local.GrafanaOptions{Dir: s.dir, Plugin: "grafana-plugin/dist", Visitors: true}); err != nil {
		return err
	}
	return s.relink(ctx)
}

// provision writes the provisioning of docker-compose.yml with the addresses
// of this stack.
func (s *stack) provision() error {
	dashboards, err := filepath.Abs("dashboards")
	if err != nil {
		return err
	}
	addresses := strings.NewReplacer("http://prometheus:9090", s.prometheus, "http://alertmanager:9093", s.alertmanager, "/etc/grafana/dashboards", dashboards)
	for to, from := range map[string]string{
		"datasources/plancast.yml":   "grafana-plugin/provisioning/datasources/plancast.yml",
		"datasources/prometheus.yml": "deploy/compose/grafana-datasources.yml",
		"dashboards/plancast.yml":    "deploy/compose/grafana-dashboards.yml",
	} {
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		file := s.path("provisioning", to)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(addresses.Replace(string(text))), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// relink lets the links of alerts lead to this Grafana.
func (s *stack) relink(ctx context.Context) error {
	file := s.path("alerts", "plancast.rules.yml")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), "http://localhost:3000", strings.TrimSuffix(s.grafana, "/"))), 0o644); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.prometheus+"/-/reload", nil)
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("reload Prometheus: %w", err)
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("reload Prometheus: %s", r.Status)
	}
	return nil
}

func (s *stack) printAddresses() {
	fmt.Fprintf(s.out, `
  Everything shown is an invented demo; none of it was measured.

  Report         %s
                 %s on another host
                 %s of the fleet
  Prometheus     %s
  Alertmanager   %s
`, s.exporters[demo.First], s.exporters[demo.Second], s.fleet, s.prometheus, s.alertmanager)
	if s.grafana == "" {
		fmt.Fprintf(s.out, "  Grafana        not started: %s\n", s.without)
	} else {
		for _, title := range []string{"Milestones", "Engines", "GPU"} {
			fmt.Fprintf(s.out, "  %-14s %s/d/plancast-%s\n", title, strings.TrimSuffix(s.grafana, "/"), strings.ToLower(title))
		}
	}
	fmt.Fprintf(s.out, "\n  Logs and data  %s\n", s.dir)
}

// beside runs a command while the stack runs, and returns its status.
func (s *stack) beside(ctx context.Context, command []string) (int, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, s.out, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "PLANCAST_URL="+s.exporters[demo.First], "FLEET_URL="+s.fleet, "PROMETHEUS_URL="+s.prometheus, "ALERTMANAGER_URL="+s.alertmanager)
	if os.Getenv("GRAFANA_URL") != "" { // the user's own, with the user's name in it
		cmd.Env = append(cmd.Env, "GRAFANA_SOURCES="+guestPrefix)
	} else {
		cmd.Env = append(cmd.Env, "GRAFANA_URL="+s.grafana)
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 130, errors.New("interrupted")
	case errors.As(err, &exit):
		return exit.ExitCode(), nil
	case err != nil:
		return 1, fmt.Errorf("run %s: %w", command[0], err)
	}
	return 0, nil
}
