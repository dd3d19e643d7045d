// Package alertstest runs the shipped configuration of Prometheus and
// Alertmanager in the real programs, for tests. Nothing but waiting differs
// from what users run: see Hasten. Every program ends with the test that
// started it, also when that is killed.
package alertstest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plancast/plancast/stack/local"
)

// Required is the environment variable that, set to 1 as in continuous
// integration, makes a missing program a failure instead of a skipped test.
const Required = "PLANCAST_REQUIRE_PROMETHEUS"

// Patience is how long Await waits for another program by default: a loaded
// machine of two cores needs a part of it.
const Patience = 60 * time.Second

// client keeps no connection, so that none outlives a test.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

// Find returns the path of the first of the programs that is installed. When
// none is, it skips the test with the reason, or fails it: see Required.
func Find(t testing.TB, names ...string) string {
	t.Helper()
	path, err := local.Find("apt-get install prometheus prometheus-alertmanager", names...)
	if err != nil && os.Getenv(Required) == "1" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	return path
}

// Server says how to run a server.
type Server struct {
	// Command is the program and its arguments, given the address to listen on.
	Command func(address string) []string
	Ready   string   // path that answers 200 when the server is ready
	Address string   // host:port; a free one when it is ""
	Env     []string // added to the environment
	Dir     string   // working directory
}

// Process is a running server.
type Process struct {
	Address string // host:port

	cmd   *exec.Cmd
	ended chan struct{}
	log   safeBuffer
}

// safeBuffer is a bytes.Buffer that may be read while a process writes.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Start runs a server until the end of the test at the latest, and waits until
// it is ready. It tries again on another port when somebody else has taken
// the port meanwhile.
func Start(t testing.TB, s Server) *Process {
	t.Helper()
	for attempt := 1; ; attempt++ {
		p, err := launch(t, s)
		if err == nil {
			return p
		}
		if attempt == 5 || !errors.Is(err, errPortTaken) {
			t.Fatal(err)
		}
	}
}

var errPortTaken = errors.New("the port is taken")

func launch(t testing.TB, s Server) (*Process, error) {
	t.Helper()
	p := &Process{Address: s.Address, ended: make(chan struct{})}
	if p.Address == "" {
		var err error
		if p.Address, err = local.Address(); err != nil {
			return nil, err
		}
	}
	args := s.Command(p.Address)
	name := filepath.Base(args[0])
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env, p.cmd.Dir = append(os.Environ(), s.Env...), s.Dir
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	// A test that runs into its time limit is not there any more to clean up.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.WaitDelay = 5 * time.Second // a killed plancast's worker may hold on to stderr
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended, its log tells
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", name, p.Log())
		}
	})
	var err error
	Await(t, Patience, name+" to be ready", func() bool {
		select {
		case <-p.ended:
			err = fmt.Errorf("start %s at %s: it ended at once:\n%s", name, p.Address, p.Log())
			if strings.Contains(p.Log(), "address already in use") {
				err = fmt.Errorf("%w: %w", errPortTaken, err)
			}
			return true
		default:
		}
		resp, err := client.Get("http://" + p.Address + s.Ready)
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return p, err
}

// Log is what the server wrote so far.
func (p *Process) Log() string { return p.log.String() }

// Kill ends the server at once, as a crash would, and waits for its end.
func (p *Process) Kill() { p.end(os.Kill) }

// Stop asks the server to end and waits for it; after 20 s it kills. A server
// that has ended is left alone.
func (p *Process) Stop() {
	timer := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	p.end(syscall.SIGTERM)
}

func (p *Process) end(s os.Signal) {
	_ = p.cmd.Process.Signal(s) // an error says that it has ended
	<-p.ended
}

// Await asks again until another program has got there; there is no clock to
// turn for it. It fails the test when limit is over.
func Await(t testing.TB, limit time.Duration, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	end := time.After(limit)
	for !done() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited %v for %s in vain", limit, what)
		}
	}
}
