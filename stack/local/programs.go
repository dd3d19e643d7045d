// Package local runs programs on free ports of this machine, waits until they
// answer, and stops them again, whatever happens meanwhile: what the local
// stack, the plugin's browser tests and, through alertstest, Go tests start.
package local

import (
	"context"
	"errors"
	"fmt"
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

// Patience is how long another program may take to answer. It is only ever
// waited for in full when something is broken, so it has room for one core that
// is shared with others. grace is how long a program may take to end.
const (
	Patience = 5 * time.Minute
	grace    = 15 * time.Second
)

// errSilent is the error of a program that runs and does not answer.
var errSilent = errors.New("does not answer")

// Program is one to be run.
type Program struct {
	Name string // as people call it; "" is the name of its file
	// Command is the program and its arguments, given the address to listen on.
	Command func(address string) []string
	Env     []string // beyond this process's own
	Dir     string   // working directory; "" is this process's own
	// Ready is the path that answers with 200, or 401, once the program works.
	Ready string
	// Log is the file that the program's output goes to.
	Log string
	// Address is the host:port to listen on; "" is a free one.
	Address string
}

// Process is a program that runs, or has run.
type Process struct {
	Address string // host:port
	URL     string // http://host:port

	name, log string
	cmd       *exec.Cmd
	done      chan struct{}
	waited    error // once done is closed: how it ended
	ask       sync.Once
	stopping  chan struct{} // closed once it was asked to end
}

// PID is the program's process ID.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log is what the program wrote so far.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Kill ends the program alone, at once, as a crash would, and waits for its end.
func (p *Process) Kill() {
	p.ask.Do(func() { close(p.stopping) })
	_ = p.cmd.Process.Kill() // an error says that it has ended
	<-p.done
}

// Stop asks the program to end, waits, and kills what is left of it and of what
// it started. It may be called again.
func (p *Process) Stop() {
	p.ask.Do(func() { close(p.stopping) })
	group := -p.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case <-p.done:
	case <-late.C:
	}
	// What is left of its group, which is nobody's child here: it can only be
	// looked for.
	for range 100 {
		if syscall.Kill(group, syscall.SIGKILL) != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	<-p.done
}

// Group holds what runs. Its zero value is ready; Stop it in the end.
type Group struct {
	mu    sync.Mutex
	stops []func()
	ended chan error
}

// Start starts p and waits until it answers. Whatever the outcome, Stop leaves
// none of it. The error of a program that ended holds the end of its log.
func (g *Group) Start(ctx context.Context, p Program) (out *Process, err error) {
	if p.Address != "" {
		return g.start(ctx, p, p.Address)
	}
	_, err = retry(ctx, func(address string) error {
		out, err = g.start(ctx, p, address)
		return err
	})
	return out, err
}

// retry starts something on a free port, and again on another when somebody
// else has taken the port meanwhile.
func retry(ctx context.Context, start func(address string) error) (url string, err error) {
	for range 5 {
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

func (g *Group) start(ctx context.Context, p Program, address string) (*Process, error) {
	command := p.Command(address)
	name := p.Name
	if name == "" {
		name = filepath.Base(command[0])
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer log.Close()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.Dir = append(os.Environ(), p.Env...), p.Dir
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own: Ctrl-C reaches this process alone, which then stops
	// the others in order. When it is killed, they end by themselves.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	out := &Process{Address: address, URL: "http://" + address, name: name, log: p.Log, cmd: cmd, done: make(chan struct{}), stopping: make(chan struct{})}
	go func() {
		if out.waited = cmd.Wait(); out.waited == nil {
			out.waited = errors.New("exit status 0")
		}
		close(out.done)
	}()
	g.Defer(out.Stop)
	if err := await(ctx, out.URL+p.Ready, out.done); err != nil {
		select {
		case <-out.done:
			return nil, out.ended()
		default:
			return nil, fmt.Errorf("start %s: %w: the end of %s:\n%s", name, err, p.Log, tail(p.Log))
		}
	}
	go func() {
		<-out.done
		select {
		case <-out.stopping:
		default:
			g.report(out.ended())
		}
	}()
	return out, nil
}

// ended is the error of a process that has ended.
func (p *Process) ended() error {
	return fmt.Errorf("%s ended (%w): the end of %s:\n%s", p.name, p.waited, p.log, tail(p.log))
}

func (g *Group) channel() chan error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended == nil {
		g.ended = make(chan error, 1)
	}
	return g.ended
}

func (g *Group) report(err error) {
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
	ctx, cancel := context.WithTimeout(ctx, Patience)
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
				return fmt.Errorf("%s %w within %s", url, errSilent, Patience)
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
