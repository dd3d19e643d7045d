package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
)

// Opener makes the backend of that name.
type Opener func(name string, config bench.BackendConfig) (engine.Backend, error)

// Watcher finds what watches the device of an open backend while windows are
// timed: nil where there is nothing to watch, as on a CPU. release comes after the
// last window and may be nil. An error costs the telemetry, not the job.
type Watcher func(backend engine.Backend) (s bench.Sampler, release func(), err error)

// Watch is what looks at the machine while windows are timed. The zero value is
// nobody.
type Watch struct {
	Device Watcher    // nil watches no device
	Host   bench.Host // nil watches no processors
}

// progressEvery bounds how often the same stage is reported.
const progressEvery = 200 * time.Millisecond

// Serve is the child: it answers the requests on stdin with events on out and
// returns the exit status, after the first unless the backend can be used again.
// When stdin ends before a job does, the parent is gone and the process exits at
// once, whatever native code is doing.
func Serve(stdin io.Reader, out io.Writer, open Opener, watch Watch) int {
	// The kernel should take the worker first when memory runs out.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0o644)

	var mu sync.Mutex
	enc := json.NewEncoder(out)
	emit := func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if err := enc.Encode(e); err != nil {
			os.Exit(3) // nobody listens
		}
	}

	in := bufio.NewReader(stdin)
	read := func() (req Request, err error) {
		line, err := in.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &req)
		}
		return req, err
	}
	req, err := read()
	if err != nil {
		emit(Event{Failure: engine.Errorf(engine.KindInternal, "read request", "", "%v", err)})
		return 2
	}
	if err := harden(req.FileBytes); err != nil {
		emit(Event{Failure: engine.Errorf(engine.KindInternal, "start worker", "", "%v", err)})
		return 2
	}
	var waiting atomic.Bool // for a request
	requests := make(chan Request)
	go func() {
		for {
			next, err := read()
			switch working := !waiting.Swap(false); {
			case err == nil:
				requests <- next
			case working:
				os.Exit(3)
			default:
				close(requests)
				return
			}
		}
	}()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := server{open: open, watch: watch}
	defer s.close()
	for more := true; more; req, more = <-requests {
		e := s.answer(ctx, req, progressFilter(time.Now, func(p engine.Progress) { emit(Event{Progress: &p}) }))
		if e.Ready {
			debug.FreeOSMemory() // the next job's limit counts what is held
		}
		waiting.Store(e.Ready)
		emit(e)
		if !e.Ready {
			break
		}
	}
	return 0
}

// server answers one request after the other, all with the backend that the
// first asked for.
type server struct {
	open    Opener
	watch   Watch
	backend engine.Backend // nil before the first
	gaps    []string       // of the confinement
}

func (s *server) close() {
	if s.backend != nil {
		_ = s.backend.Close() // the process ends
	}
}

// answer ends with an event that is ready for the next request after a job that
// went well, if the backend can be used again.
func (s *server) answer(ctx context.Context, req Request, progress func(engine.Progress)) Event {
	if s.backend == nil {
		var err error
		if s.backend, err = s.open(req.Backend, req.Config); err != nil {
			return Event{Failure: engine.AsError(err)}
		}
		// It has loaded no part of the runtime or the model yet.
		if s.gaps, err = shut(req.Confine, s.backend); err != nil {
			return Event{Failure: engine.Errorf(engine.KindUnavailable, "start worker", "", "%v: correct that, or set worker.sandbox: off (SECURITY.md)", err)}
		}
	}
	e := s.do(ctx, req, progress)
	r, ok := s.backend.(engine.Reusable)
	e.Ready = ok && e.Failure == nil && r.Reusable()
	return e
}

// shut hides this process from others and confines it to what c and the backend name;
// a nil c does not. A process with devices is not hidden: a hidden one's files in
// /proc/self are root's, and CUDA's driver gives up where it cannot name its threads.
func shut(c *Confinement, backend engine.Backend) (gaps []string, err error) {
	var places engine.Places
	if p, ok := backend.(engine.Placed); ok {
		places = p.Places()
	}
	if len(places.Devices) == 0 {
		if err := Hide(); err != nil {
			return nil, err
		}
	}
	if c == nil {
		return nil, nil
	}
	return c.apply(places)
}

func (s *server) do(ctx context.Context, req Request, progress func(engine.Progress)) Event {
	backend, watch := s.backend, s.watch
	if req.Job == nil {
		list, err := environments(ctx, backend)
		if err != nil {
			return Event{Failure: engine.AsError(err)}
		}
		return Event{Environments: list, Libraries: libraries("/proc/self/maps"), Gaps: s.gaps}
	}
	env, err := backend.Environment(ctx)
	if err != nil {
		return Event{Failure: engine.AsError(err)}
	}
	var sampler bench.Sampler
	var unwatched error
	if watch.Device != nil {
		var release func()
		if sampler, release, unwatched = watch.Device(backend); release != nil {
			defer release()
		}
	}
	m, err := bench.Measure(ctx, backend, *req.Job, progress, bench.Watched(sampler), bench.On(watch.Host))
	if err != nil {
		return Event{Environment: &env, Failure: engine.AsError(err)}
	}
	if unwatched != nil {
		m.Warnings = append(m.Warnings, fmt.Sprintf("the device was not monitored, so throttling may have gone unnoticed: %v", unwatched))
	}
	return Event{Environment: &env, Measurement: &m}
}

func environments(ctx context.Context, backend engine.Backend) ([]engine.Environment, error) {
	if l, ok := backend.(engine.Lister); ok {
		return l.Environments(ctx)
	}
	env, err := backend.Environment(ctx)
	return []engine.Environment{env}, err
}

// libraries are the shared libraries that a process has mapped, from its maps in
// /proc; none where the system has no such file.
func libraries(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	found := map[string]bool{}
	for line := range strings.SplitSeq(string(text), "\n") {
		// address perms offset dev inode path
		if i := strings.IndexByte(line, '/'); i >= 0 && strings.Contains(path.Base(line[i:]), ".so") {
			found[line[i:]] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// progressFilter passes on each new stage and message at once, and the advance
// within one at most every progressEvery.
func progressFilter(now func() time.Time, next func(engine.Progress)) func(engine.Progress) {
	var mu sync.Mutex
	var last engine.Progress
	var at time.Time
	return func(p engine.Progress) {
		mu.Lock()
		defer mu.Unlock()
		if p.Stage == last.Stage && p.Message == last.Message && now().Sub(at) < progressEvery {
			return
		}
		last, at = p, now()
		next(p)
	}
}

// Main is Serve on the process's own stdin and file descriptor 3.
func Main(open Opener, watch Watch) int {
	out := os.NewFile(3, "events")
	if out == nil {
		fmt.Fprintln(os.Stderr, "plancast worker is started by plancast itself: use plancast run")
		return 2
	}
	if _, err := out.Stat(); err != nil {
		fmt.Fprintln(os.Stderr, "plancast worker is started by plancast itself: use plancast run")
		return 2
	}
	return Serve(os.Stdin, out, open, watch)
}
