// Package local runs programs on free ports of this machine, waits until they
// answer, and stops them again, whatever happens meanwhile: what the local
// stack and the plugin's browser tests start.
package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience is how long a program may take to answer, grace how long to end.
const (
	patience = 3 * time.Minute
	grace    = 15 * time.Second
)

// errSilent is the error of a program that runs and does not answer.
var errSilent = errors.New("does not answer")

// Program is one to be run.
type Program struct {
	Name string // as people call it
	// Command is the program and its arguments, given the address to listen on.
	Command func(address string) []string
	Env     []string // beyond this process's own
	// Ready is the path that answers with 200, or 401, once the program works.
	Ready string
	// Log is the file that the program's output goes to.
	Log string
}

// Group holds what runs. Its zero value is ready; Stop it in the end.
type Group struct {
	mu    sync.Mutex
	stops []func()
	ended chan error
}

// Start starts p on a free port, waits until it answers, and returns its URL.
// Whatever the outcome, Stop leaves nothing of it. The error of a program that
// ended holds the end of its log.
func (g *Group) Start(ctx context.Context, p Program) (url string, err error) {
	return retry(ctx, func(address string) error { return g.start(ctx, p, address) })
}

// retry starts something on a free port, and again on another when somebody
// else has taken the port meanwhile.
func retry(ctx context.Context, start func(address string) error) (url string, err error) {
	for range 3 {
		var address string
		if address, err = Address(); err != nil {
			return "", err
		}
		if err = start(address); err == nil {
			return "http://" + address, nil
		}
		if ctx.Err() != nil || errors.Is(err, errSilent) {
			return "", err
		}
		l, taken := net.Listen("tcp", address)
		if taken == nil {
			l.Close()
			return "", err
		}
	}
	return "", err
}

func (g *Group) start(ctx context.Context, p Program, address string) error {
	log, err := os.Create(p.Log)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer log.Close()
	command := p.Command(address)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own: Ctrl-C reaches this process alone, which then stops
	// the others in order. When it is killed, they end by themselves.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	var waited error
	go func() {
		if waited = cmd.Wait(); waited == nil {
			waited = errors.New("exit status 0")
		}
		close(done)
	}()
	stopping := make(chan struct{})
	g.Defer(func() {
		close(stopping)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(grace):
		}
		// What is left of its group, which is nobody's child here: it can only be
		// looked for.
		for range 100 {
			if syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		<-done
	})
	ended := func() error {
		return fmt.Errorf("%s ended (%w): the end of %s:\n%s", p.Name, waited, p.Log, tail(p.Log))
	}
	if err := await(ctx, "http://"+address+p.Ready, done); err != nil {
		select {
		case <-done:
			return ended()
		default:
			return fmt.Errorf("start %s: %w: the end of %s:\n%s", p.Name, err, p.Log, tail(p.Log))
		}
	}
	go func() {
		<-done
		select {
		case <-stopping: // as asked
		default:
			g.tell(ended())
		}
	}()
	return nil
}

func (g *Group) channel() chan error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended == nil {
		g.ended = make(chan error, 1)
	}
	return g.ended
}

func (g *Group) tell(err error) {
	select {
	case g.channel() <- err:
	default: // one is enough
	}
}

// Ended receives the first program that ended without being asked to.
func (g *Group) Ended() <-chan error { return g.channel() }

// Defer adds something to do when the group stops.
func (g *Group) Defer(stop func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stops = append(g.stops, stop)
}

// Stop stops everything, the newest first, and waits until it is gone.
func (g *Group) Stop() {
	g.mu.Lock()
	stops := g.stops
	g.stops = nil
	g.mu.Unlock()
	for i := len(stops) - 1; i >= 0; i-- {
		stops[i]()
	}
}

// await waits until url answers, ctx ends or done is closed.
func await(ctx context.Context, url string, done <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	client := http.Client{Timeout: 2 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if r, err := client.Do(req); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK || r.StatusCode == http.StatusUnauthorized {
				return nil
			}
		}
		select {
		case <-done:
			return errors.New("it ended")
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("%s %w within %s", url, errSilent, patience)
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// tail is the end of a log.
func tail(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

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
	return "", errors.New("of 100 ports between 20000 and 32000 none is free")
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

// Prometheus starts a Prometheus on a free port, with its configuration file
// and its data's folder, and returns its URL. The log lies beside the data.
func (g *Group) Prometheus(ctx context.Context, config, data string, flags ...string) (url string, err error) {
	program, err := Find(PrometheusHint, "prometheus")
	if err != nil {
		return "", err
	}
	return g.Start(ctx, Program{
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
	return g.Start(ctx, Program{
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
