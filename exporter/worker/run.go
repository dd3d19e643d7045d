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
	headLines  = 12       // of the child's output that are kept from its beginning
	tailLines  = 28       // and from its end
	lineBytes  = 500      // of each
	eventBytes = 64 << 20 // the longest event that is believed
	watchEvery = 200 * time.Millisecond
)

// Spec says how to run a child.
type Spec struct {
	Command []string // the program and its arguments: plancast's own worker command
	Env     []string // nil is the parent's
	Timeout time.Duration
	Memory  int64 // bytes resident; 0 is no limit
	Cores   []int // that the child may use; nil is all that the parent may
	// Progress receives what the child reports, from one goroutine; nil is nobody.
	Progress func(engine.Progress)
}

// Worker runs one request after the other, in a child that it starts when there is
// none. A child whose backend can be used again does the next request on the same
// backend and device; after anything but a result it is replaced. The zero value is
// ready to use, by one goroutine at a time; its specs differ in Progress and limits
// alone.
type Worker struct {
	waits *child // for a request; nil when there is none
}

// Run does req and says how the job ended. Whatever the child does becomes the
// Outcome. The error is for what is not the job's doing: ctx ended, or the child
// could not be started. On return no process of the child's group is left but a
// child that waits for the next request.
func (w *Worker) Run(ctx context.Context, spec Spec, req Request) (Outcome, error) {
	if err := ctx.Err(); err != nil {
		return Outcome{}, err
	}
	if w.waits != nil && !w.waits.fit(spec, req) {
		w.Close()
	}
	used := w.waits != nil
	o, err := w.do(ctx, spec, req)
	if used && err == nil && o.Failure != nil && (o.Failure.Kind == engine.KindCrashed || o.Failure.Kind == engine.KindOutOfMemory) {
		// It may have died of what the job before left behind.
		o, err = w.do(ctx, spec, req)
	}
	return o, err
}

// do asks the child that waits, or a new one.
func (w *Worker) do(ctx context.Context, spec Spec, req Request) (Outcome, error) {
	text, err := json.Marshal(req)
	if err != nil {
		return Outcome{}, fmt.Errorf("start worker: %w", err)
	}
	c := w.waits
	w.waits = nil
	if c == nil {
		if c, err = start(spec, req); err != nil {
			return Outcome{}, err
		}
	}
	c.ask(append(text, '\n'))
	o, ready := c.wait(ctx, spec)
	if ready {
		w.waits = c
	}
	if err := ctx.Err(); err != nil && o.Measurement == nil {
		return Outcome{}, err
	}
	return o, nil
}

// Close ends the child that waits, if there is one.
func (w *Worker) Close() {
	if c := w.waits; c != nil {
		w.waits = nil
		c.stdin.Close()
		_ = c.end()
	}
}

// fit reports whether a child that waits can do req: it serves the same backend and
// device, has not died meanwhile, and leaves the job at least half of the memory.
func (c *child) fit(spec Spec, req Request) bool {
	held := resident(c.cmd.Process.Pid)
	return c.backend == req.Backend && reflect.DeepEqual(c.config, req.Config) && held > 0 && (spec.Memory == 0 || held <= spec.Memory/2)
}

type child struct {
	cmd     *exec.Cmd
	backend string
	config  bench.BackendConfig
	events  *os.File
	in      *bufio.Reader // of events
	stdin   io.WriteCloser
	log     excerpt
}

func start(spec Spec, req Request) (*child, error) {
	if len(spec.Command) == 0 {
		return nil, errors.New("start worker: no command is given")
	}
	c := &child{cmd: exec.Command(spec.Command[0], spec.Command[1:]...), backend: req.Backend, config: req.Config}
	c.cmd.Env = spec.Env
	if c.cmd.Env == nil {
		c.cmd.Env = os.Environ()
	}
	// A native crash says what it was in its first lines; every goroutine's
	// stack would push them out of the log.
	c.cmd.Env = append(c.cmd.Env, "GOTRACEBACK=single")
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
// its group is left.
func (c *child) end() error {
	err := c.reap()
	c.kill() // what it may have left behind
	c.events.Close()
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
				Message: fmt.Sprintf("it wrote %q where an event belongs", clip(string(line), 80)), Hint: "see the log"})
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
			o.Environment, o.Environments, o.Libraries, o.Measurement, o.Failure = e.Environment, e.Environments, e.Libraries, e.Measurement, e.Failure
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
		why := describeExit(err)
		if line := cause(c.log.lines()); line != "" {
			why += ", " + line
		}
		o.Failure = &engine.Error{Kind: engine.KindCrashed, Op: "run worker",
			Message: fmt.Sprintf("it ended during %s without a result: %s", stage, why), Hint: "the log holds its last words"}
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
		return fmt.Errorf("it closed its pipe and was still there %s later", lingering)
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
					Message: fmt.Sprintf("it held %s during %s and may hold %s", units.Format(float64(used), units.Bytes), stage(), units.Format(float64(spec.Memory), units.Bytes)),
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
	if !errors.As(err, &exit) {
		if err == nil {
			return "exit status 0"
		}
		return err.Error()
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		if ws.Signal() == syscall.SIGKILL {
			return "killed by signal SIGKILL, perhaps by the kernel for want of memory"
		}
		return "killed by signal " + ws.Signal().String()
	}
	return exit.String()
}

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// excerpt keeps the first and the last lines written to it: a Go program that
// dies in native code names the signal first, and dumps its stacks after that.
type excerpt struct {
	mu      sync.Mutex
	head    []string
	tail    []string
	dropped int
	part    []byte
}

func (x *excerpt) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, b := range p {
		switch {
		case b == '\n':
			x.push()
		case len(x.part) < lineBytes:
			x.part = append(x.part, b)
		}
	}
	return len(p), nil
}

func (x *excerpt) push() {
	line := strings.ToValidUTF8(string(x.part), "?")
	x.part = x.part[:0]
	if len(x.head) < headLines {
		x.head = append(x.head, line)
		return
	}
	if x.tail = append(x.tail, line); len(x.tail) > tailLines {
		x.tail = append(x.tail[:0], x.tail[1:]...)
		x.dropped++
	}
}

func (x *excerpt) clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.head, x.tail, x.part, x.dropped = nil, nil, nil, 0
}

func (x *excerpt) lines() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.part) > 0 {
		x.push()
	}
	out := append([]string(nil), x.head...)
	if x.dropped > 0 {
		out = append(out, fmt.Sprintf("… %d lines left out …", x.dropped))
	}
	return append(out, x.tail...)
}

// cause is the line in which a runtime says why it gave up, or "".
func cause(log []string) string {
	for _, line := range log {
		for _, sign := range []string{"SIG", "fatal error:", "panic:", "terminate called"} {
			if strings.HasPrefix(line, sign) {
				return line
			}
		}
	}
	return ""
}
