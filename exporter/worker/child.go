package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/plancast/plancast/exporter/advice"
	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/host"
	"github.com/plancast/plancast/units"
)

const (
	eventBytes = 64 << 20 // the longest event that is believed
	watchEvery = 200 * time.Millisecond
)

type child struct {
	cmd     *exec.Cmd
	backend string
	config  bench.BackendConfig
	events  *os.File
	in      *bufio.Reader // of events
	stdin   io.WriteCloser
	confine *Confinement
	scratch string // its temporary folder
	log     excerpt
}

// fit reports whether a child that waits can do req: it serves the same backend and
// device, may use the same files, has not died meanwhile, and leaves the job at least
// half of the memory.
func (c *child) fit(spec Spec, req Request) bool {
	held := resident(c.cmd.Process.Pid)
	return c.backend == req.Backend && reflect.DeepEqual(c.config, req.Config) && reflect.DeepEqual(c.confine, req.Confine) && held > 0 && (spec.Memory == 0 || held <= spec.Memory/2)
}

func start(spec Spec, req Request) (c *child, err error) {
	if len(spec.Command) == 0 {
		return nil, errors.New("start worker: no command is given")
	}
	scratch, err := os.MkdirTemp(spec.Scratch, "worker-")
	if err != nil {
		return nil, fmt.Errorf("start worker: %w", err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(scratch)
		}
	}()
	c = &child{cmd: exec.Command(spec.Command[0], spec.Command[1:]...), backend: req.Backend, config: req.Config, confine: req.Confine, scratch: scratch}
	env := spec.Env
	if env == nil {
		env = Environ(os.Environ(), nil)
	}
	c.cmd.Env = in(scratch, env)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.cmd.Stdout, c.cmd.Stderr = &c.log, &c.log
	// Wait must not hang on a grandchild that kept stderr.
	c.cmd.WaitDelay = 2 * time.Second
	events, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start worker: %w", err)
	}
	defer theirs.Close()
	c.cmd.ExtraFiles = []*os.File{theirs}
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		events.Close()
		return nil, fmt.Errorf("start worker: %w", err)
	}
	if err := host.OnCores(spec.Cores, c.cmd.Start); err != nil {
		events.Close()
		return nil, fmt.Errorf("start worker %s: %w", spec.Command[0], err)
	}
	c.events, c.in = events, bufio.NewReaderSize(events, 64<<10)
	return c, nil
}

// ask hands a request over.
func (c *child) ask(request []byte) {
	c.log.clear()
	go func() {
		// A child that dies before it reads makes this fail, and its death is
		// reported elsewhere.
		_, _ = c.stdin.Write(request)
	}()
}

// kill ends the whole process group.
func (c *child) kill() { _ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) }

// end waits for a child that has no more to say, and sees to it that nothing of
// its group and of its temporary files is left.
func (c *child) end() error {
	err := c.reap()
	c.kill() // what it may have left behind
	c.events.Close()
	_ = os.RemoveAll(c.scratch)
	return err
}

// wait reads events until the job is done, has outstayed its limits or the child
// says something that is no event, and makes an Outcome of it. ready says that
// the child waits for another request; if not, it has ended.
func (c *child) wait(ctx context.Context, spec Spec) (o Outcome, ready bool) {
	var mu sync.Mutex // guards verdict and stage
	var verdict *engine.Error
	stage := "start"

	condemn := func(e *engine.Error) {
		mu.Lock()
		if verdict == nil {
			verdict = e
		}
		mu.Unlock()
		c.kill()
	}
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		c.watch(ctx, done, spec, condemn, func() string {
			mu.Lock()
			defer mu.Unlock()
			return stage
		})
	})

	for {
		line, err := readLine(c.in, eventBytes)
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		var e Event
		if err == nil {
			err = json.Unmarshal(line, &e)
		}
		if err != nil {
			condemn(&engine.Error{Kind: engine.KindCrashed, Op: "run worker",
				Message: fmt.Sprintf("it wrote %q instead of an event", clip(string(line), 80)), Hint: "see the log"})
			break
		}
		if e.Progress != nil {
			mu.Lock()
			stage = e.Progress.Stage
			mu.Unlock()
			if spec.Progress != nil {
				spec.Progress(*e.Progress)
			}
		}
		if e.last() {
			o.Environment, o.Environments, o.Libraries, o.Gaps, o.Measurement, o.Failure = e.Environment, e.Environments, e.Libraries, e.Gaps, e.Measurement, e.Failure
			ready = e.Ready
			break
		}
	}
	var err error
	if !ready {
		err = c.end()
	}
	close(done)
	watching.Wait()
	if ready && (verdict != nil || ctx.Err() != nil) { // killed at the moment it answered
		ready = false
		_ = c.end()
	}

	switch {
	case o.Measurement != nil, o.Failure != nil, o.Environments != nil:
	case verdict != nil:
		o.Failure = verdict
	default:
		o.killed = signalOf(err) == syscall.SIGKILL && ctx.Err() == nil
		why := describeExit(err)
		if line := cause(c.log.lines()); line != "" {
			why += ", " + line
		}
		o.Failure = &engine.Error{Kind: engine.KindCrashed, Op: "run worker",
			Message: fmt.Sprintf("it ended during %s without a result: %s", stage, why), Hint: "read the end of its log"}
		advice.Apply(c.backend, o.Failure)
	}
	if o.Failure != nil {
		o.Log = c.log.lines()
	}
	return o, ready
}

// lingering is how long a child may stay that has no more to say.
const lingering = 5 * time.Second

// reap waits for the child to exit; one that has closed its pipe or given its
// result, and does not go, is killed.
func (c *child) reap() error {
	timer := time.AfterFunc(lingering, c.kill)
	err := c.cmd.Wait()
	if !timer.Stop() && err != nil {
		return fmt.Errorf("it closed its pipe and was still running %s later", lingering)
	}
	return err
}

// watch enforces the limits until done.
func (c *child) watch(ctx context.Context, done <-chan struct{}, spec Spec, condemn func(*engine.Error), stage func() string) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var deadline <-chan time.Time
	if spec.Timeout > 0 {
		t := time.NewTimer(spec.Timeout)
		defer t.Stop()
		deadline = t.C
	}
	for {
		select {
		case <-done:
			return
		case <-ctx.Done():
			c.kill()
			return
		case <-deadline:
			condemn(&engine.Error{Kind: engine.KindTimeout, Op: "run worker",
				Message: fmt.Sprintf("it was still at %s after %s", stage(), spec.Timeout), Hint: "raise worker.timeout, or make the model smaller"})
			return
		case <-ticker.C:
			if used := resident(c.cmd.Process.Pid); spec.Memory > 0 && used > spec.Memory {
				condemn(&engine.Error{Kind: engine.KindOutOfMemory, Op: "run worker",
					Message: fmt.Sprintf("it used %s of memory during %s; the limit is %s", units.Format(float64(used), units.Bytes), stage(), units.Format(float64(spec.Memory), units.Bytes)),
					Hint:    "raise worker.memory, or make the model smaller"})
				return
			}
		}
	}
}

// resident is the memory that a process holds, in bytes; 0 when it is gone.
func resident(pid int) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// readLine reads up to and without the newline, and refuses a line of more
// than limit bytes. At the end it returns io.EOF.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case len(line) > limit:
			return line, errors.New("line too long")
		case !errors.Is(err, bufio.ErrBufferFull):
			return line, err
		}
	}
}

func describeExit(err error) string {
	var exit *exec.ExitError
	switch signal := signalOf(err); {
	case signal == syscall.SIGKILL:
		return "killed by SIGKILL twice, not by plancast: possibly by the kernel because memory ran out"
	case signal != 0:
		return "killed by signal " + signal.String()
	case errors.As(err, &exit):
		return exit.String()
	case err == nil:
		return "exit status 0"
	}
	return err.Error()
}

// signalOf is the signal that ended a process; 0 when none did.
func signalOf(err error) syscall.Signal {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return ws.Signal()
		}
	}
	return 0
}
