package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
)

// run does one request with a worker of its own.
func run(ctx context.Context, spec Spec, req Request) (Outcome, error) {
	var w Worker
	defer w.Close()
	return w.Run(ctx, spec, req)
}

func playing(how string) Spec {
	return Spec{Command: []string{os.Args[0]}, Env: append(os.Environ(), behavior+"="+how), Timeout: time.Minute}
}

func TestWhateverTheChildDoesBecomesAnOutcome(t *testing.T) {
	// A child reports its stage before enough is over, however slow the machine.
	begun := time.Now()
	if _, err := run(t.Context(), playing("measure"), Request{}); err != nil {
		t.Fatal(err)
	}
	enough := (10*time.Since(begun) + 300*time.Millisecond).Round(time.Millisecond)
	for _, c := range []struct {
		how     string
		limit   func(*Spec)
		kind    engine.Kind // "" is a measurement
		message string
		log     string
	}{
		{how: "measure"},
		{how: "measure, then crash"},
		{how: "fail", kind: engine.KindUnsupportedOperator, log: "what the library said"},
		{how: "crash", kind: engine.KindCrashed, message: "during build without a result: exit status 2, SIGABRT", log: "line 4"},
		{how: "be killed", kind: engine.KindCrashed, message: "killed by SIGKILL twice, not by plancast", log: "last log line"},
		{how: "exit", kind: engine.KindCrashed, message: "exit status 7"},
		{how: "hang", limit: func(s *Spec) { s.Timeout = enough }, kind: engine.KindTimeout, message: "still at build after " + enough.String()},
		{how: "garbage", kind: engine.KindCrashed, message: `it wrote "Segmentation fault (just kidding)" instead of an event`},
		{how: "endless line", kind: engine.KindCrashed, message: "instead of an event"},
		{how: "eat memory", limit: func(s *Spec) { s.Memory = 200 << 20 }, kind: engine.KindOutOfMemory, message: "the limit is 200 MiB"},
	} {
		t.Run(c.how, func(t *testing.T) {
			spec := playing(c.how)
			if c.limit != nil {
				c.limit(&spec)
			}
			o, err := run(t.Context(), spec, Request{})
			if err != nil {
				t.Fatal(err)
			}
			if c.kind == "" {
				if o.Measurement == nil || o.Measurement.Throughput != 7 || o.Failure != nil || o.Log != nil {
					t.Fatalf("outcome %+v; want the measurement alone", o)
				}
				return
			}
			if o.Measurement != nil || o.Failure == nil || o.Failure.Kind != c.kind || !strings.Contains(o.Failure.Message, c.message) {
				t.Fatalf("outcome %+v, failure %v; want %s with %q", o, o.Failure, c.kind, c.message)
			}
			if !strings.Contains(strings.Join(o.Log, "\n"), c.log) || len(o.Log) > headLines+tailLines+1 {
				t.Errorf("log of %d lines is %q; want %q in it", len(o.Log), o.Log, c.log)
			}
		})
	}
}

// killMark names a variable with a file that a child removes before it is killed.
const killMark = "PLANCAST_TEST_KILL_MARK"

func TestAJobIsDoneOnceMoreWhenItsChildIsKilledFromOutside(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	spec := playing("be killed, then measure")
	spec.Env = append(spec.Env, killMark+"="+mark)
	o, err := run(t.Context(), spec, Request{})
	if err != nil || o.Measurement == nil || o.Failure != nil {
		t.Errorf("outcome %+v, %v; want the measurement of the second child", o, err)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the first child was not killed")
	}
}

// process is a fake whose environment says which process it is in.
type process struct{ *fake.Backend }

func (process) Environment(context.Context) (engine.Environment, error) {
	return engine.Environment{Device: strconv.Itoa(os.Getpid())}, nil
}

// again is one that can be used again.
type again struct{ process }

func (again) Reusable() bool { return true }

// worn is one that says so and is wrong.
type worn struct {
	again
	used bool
}

func (b *worn) Build(ctx context.Context, req engine.BuildRequest) (engine.Plan, error) {
	if b.used {
		_ = syscall.Kill(os.Getpid(), syscall.SIGABRT)
		<-ctx.Done()
	}
	b.used = true
	return b.again.Build(ctx, req)
}

func TestAChildIsUsedAgainWhileAllGoesWell(t *testing.T) {
	model := func(s fake.Script) string {
		path := filepath.Join(t.TempDir(), "model.json")
		if err := fake.Write(path, s); err != nil {
			t.Fatal(err)
		}
		return path
	}
	healthy, faulty := model(fake.Script{}), model(fake.Script{Fault: fake.RunFailed})
	do := func(t *testing.T, w *Worker, spec Spec, device int, path string) (pid int, o Outcome) {
		t.Helper()
		o, err := w.Run(t.Context(), spec, Request{Backend: fake.Name, Config: bench.BackendConfig{Device: device}, Job: &bench.Job{
			Backend: fake.Name, Model: "m", Version: "1", ModelPath: path, Precision: engine.FP32, Options: bench.DefaultOptions(), WorkDir: t.TempDir(),
		}})
		if err != nil || o.Environment == nil || (o.Measurement == nil) == (path == healthy) {
			t.Fatalf("%+v, %v", o, err)
		}
		pid, err = strconv.Atoi(o.Environment.Device)
		if err != nil {
			t.Fatal(err)
		}
		return pid, o
	}
	for _, c := range []struct {
		name    string
		how     string
		between func(t *testing.T, w *Worker, spec *Spec, pid int)
		device  int // of the second job
		same    bool
	}{
		{name: "a second job of the same candidate", how: "serve a backend that can be used again", same: true},
		{name: "with memory to spare", how: "serve a backend that can be used again", same: true, between: func(_ *testing.T, _ *Worker, spec *Spec, pid int) {
			spec.Memory = resident(pid) * 4
		}},
		{name: "a backend that is not for that", how: "serve"},
		{name: "a backend that is worse for wear", how: "serve a backend that crashes when it is used again"},
		{name: "another device", how: "serve a backend that can be used again", device: 1},
		{name: "after a failed job", how: "serve a backend that can be used again", between: func(t *testing.T, w *Worker, spec *Spec, pid int) {
			if failed, o := do(t, w, *spec, 0, faulty); failed != pid || o.Failure.Kind != engine.KindRunFailed {
				t.Errorf("the failing job ran in %d, not %d, and ended with %+v", failed, pid, o.Failure)
			}
		}},
		{name: "a child that died while it waited", how: "serve a backend that can be used again", between: func(t *testing.T, _ *Worker, _ *Spec, pid int) {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			gone(t, pid)
		}},
		{name: "a child that holds more than half of what a job may", how: "serve a backend that can be used again", between: func(_ *testing.T, _ *Worker, spec *Spec, pid int) {
			spec.Memory = resident(pid) * 3 / 2
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, spec := &Worker{}, playing(c.how)
			first, _ := do(t, w, spec, 0, healthy)
			if c.between != nil {
				c.between(t, w, &spec, first)
			}
			second, _ := do(t, w, spec, c.device, healthy)
			if (first == second) != c.same {
				t.Errorf("the jobs ran in processes %d and %d", first, second)
			}
			w.Close()
			gone(t, first)
			gone(t, second)
		})
	}
}

func TestTheLogOfAJobIsItsOwn(t *testing.T) {
	var x excerpt
	fmt.Fprint(&x, strings.Repeat("of the job before\n", 100), "and no end")
	x.clear()
	fmt.Fprint(&x, "of this one")
	if got := x.lines(); !slices.Equal(got, []string{"of this one"}) {
		t.Errorf("%q", got)
	}
}

func TestProgressArrivesInOrder(t *testing.T) {
	spec := playing("measure")
	var got []float64
	spec.Progress = func(p engine.Progress) { got = append(got, p.Done) }
	if _, err := run(t.Context(), spec, Request{}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []float64{0, 1, 2}) {
		t.Errorf("progress %v", got)
	}
}

func TestCancellingEndsTheChildAndGivesNoOutcome(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	spec := playing("hang")
	spec.Progress = func(engine.Progress) { cancel() }
	o, err := run(ctx, spec, Request{})
	if !errors.Is(err, context.Canceled) || o.Failure != nil || o.Measurement != nil {
		t.Errorf("outcome %+v, %v; want none and context.Canceled", o, err)
	}
}

func TestNothingOfTheGroupIsLeft(t *testing.T) {
	o, err := run(t.Context(), playing("leave a grandchild"), Request{})
	if err != nil || len(o.Log) == 0 {
		t.Fatalf("outcome %+v, %v", o, err)
	}
	pid, err := strconv.Atoi(strings.TrimPrefix(o.Log[0], "grandchild "))
	if err != nil {
		t.Fatal(err)
	}
	gone(t, pid)
}

// gone waits until a process is: the kernel reaps asynchronously. A zombie counts
// as gone.
func gone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(state), ") Z ") {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Errorf("process %d is still there", pid)
}

func TestAProgramThatIsNotThereIsAnErrorNotAnOutcome(t *testing.T) {
	if _, err := run(t.Context(), Spec{Command: []string{"/nonexistent/plancast"}}, Request{}); err == nil || !strings.Contains(err.Error(), "/nonexistent/plancast") {
		t.Errorf("error %v", err)
	}
}

func TestServeRefusesWhatIsNoRequest(t *testing.T) {
	var out bytes.Buffer
	if status := Serve(strings.NewReader("hello\n"), &out, nil, Watch{}); status != 2 {
		t.Errorf("status %d", status)
	}
	var e Event
	if err := json.Unmarshal(out.Bytes(), &e); err != nil || e.Failure == nil || e.Failure.Kind != engine.KindInternal {
		t.Errorf("event %s", out.Bytes())
	}
}

// watching is a device that runs freely.
type watching struct{ windows int }

func (w *watching) Start() func() bench.Telemetry {
	return func() bench.Telemetry {
		w.windows++
		return bench.Telemetry{Device: "GPU-a", Duration: 1}
	}
}

func (w *watching) Idle(context.Context, float64) bench.Idle { return bench.Idle{} }

func TestTheDeviceIsWatchedWhereThereIsOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.json")
	if err := fake.Write(path, fake.Script{Latency: fake.Duration(time.Millisecond)}); err != nil {
		t.Fatal(err)
	}
	req := Request{Backend: fake.Name, Job: &bench.Job{
		Backend: fake.Name, Model: "m", Version: "1", ModelPath: path, Precision: engine.FP32, Options: bench.DefaultOptions(), WorkDir: t.TempDir(),
	}}
	open := func(string, bench.BackendConfig) (engine.Backend, error) { return fake.New(), nil }
	ask := func(watch Watcher, job *bench.Job) Event {
		r := req
		r.Job = job
		s := server{open: open, watch: Watch{Device: watch}}
		defer s.close()
		return s.answer(t.Context(), r, func(engine.Progress) {})
	}

	w, released := &watching{}, 0
	e := ask(func(b engine.Backend) (bench.Sampler, func(), error) {
		if b.Name() != fake.Name {
			t.Errorf("asked for the device of %s", b.Name())
		}
		return w, func() { released++ }, nil
	}, req.Job)
	if e.Measurement == nil || e.Measurement.Telemetry == nil || e.Measurement.Telemetry.Device != "GPU-a" || w.windows != 3 || released != 1 {
		t.Errorf("%+v after %d windows, released %d times", e, w.windows, released)
	}

	e = ask(func(engine.Backend) (bench.Sampler, func(), error) {
		return nil, nil, errors.New("no NVML")
	}, req.Job)
	if e.Measurement == nil || e.Measurement.Telemetry != nil || len(e.Measurement.Warnings) != 1 || !strings.Contains(e.Measurement.Warnings[0], "throttling may have gone unnoticed: no NVML") {
		t.Errorf("%+v", e)
	}

	for name, watch := range map[string]Watcher{"nobody": nil, "a CPU": func(engine.Backend) (bench.Sampler, func(), error) { return nil, nil, nil }} {
		if e := ask(watch, req.Job); e.Measurement == nil || e.Measurement.Telemetry != nil || len(e.Measurement.Warnings) != 0 {
			t.Errorf("%s: %+v", name, e)
		}
	}
	ask(func(engine.Backend) (bench.Sampler, func(), error) {
		t.Error("describing a backend takes no watch")
		return nil, nil, nil
	}, nil)
}

func TestStagesPassAtOnceAndAdvancesAreThinned(t *testing.T) {
	now := time.Unix(0, 0)
	var got []engine.Progress
	f := progressFilter(func() time.Time { return now }, func(p engine.Progress) { got = append(got, p) })
	for i := range 10 {
		f(engine.Progress{Stage: "latency", Done: float64(i)})
		now = now.Add(progressEvery / 4)
	}
	f(engine.Progress{Stage: "accuracy"})
	if len(got) != 4 || got[3].Stage != "accuracy" {
		t.Errorf("passed %v", got)
	}
}

func TestALoadedLibraryIsKnownByItsMap(t *testing.T) {
	file := filepath.Join(t.TempDir(), "maps")
	if err := os.WriteFile(file, []byte(`00400000-00a00000 r-xp 00000000 fe:01 11 /usr/bin/plancast
7f00-7f10 r--p 00000000 fe:01 12 /opt/my libs/libonnxruntime.so.1.32.0
7f10-7f20 r-xp 00010000 fe:01 12 /opt/my libs/libonnxruntime.so.1.32.0
7f30-7f40 r-xp 00000000 fe:01 13 /lib/libc.so.6
7ffc-7ffd rw-p 00000000 00:00 0 [stack]
`), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, want := libraries(file), []string{"/lib/libc.so.6", "/opt/my libs/libonnxruntime.so.1.32.0"}; !slices.Equal(got, want) {
		t.Errorf("%q; want %q", got, want)
	}
	if got := libraries(filepath.Join(t.TempDir(), "none")); got != nil {
		t.Errorf("without the file: %q", got)
	}
}
