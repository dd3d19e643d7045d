package pass

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What a whole pass does with real workers is tested in package main. Here
// machines are played that tests seldom have: with several GPUs, or with none any
// more.

var (
	h100 = engine.Environment{Backend: "tensorrt", BackendVersion: "10.6.0", Device: "NVIDIA H100", Driver: "580", CUDA: "13.0", Platform: "linux/amd64"}
	l4   = engine.Environment{Backend: "tensorrt", BackendVersion: "10.6.0", Device: "NVIDIA L4", Driver: "580", CUDA: "13.0", Platform: "linux/amd64"}
	cpu  = engine.Environment{Backend: "onnxruntime", BackendVersion: "1.32.0", Device: "CPU", Platform: "linux/amd64"}
)

func TestPrecisionsAreSpreadOverLikeGPUs(t *testing.T) {
	var together sync.WaitGroup
	together.Add(2)
	m := &machine{gpus: []engine.Environment{h100, h100}}
	m.do = func(ctx context.Context, req worker.Request) {
		if req.Job.Precision == engine.FP32 {
			return
		}
		if !strings.HasSuffix(req.Job.ReferenceName, "fp32") {
			t.Errorf("%s is compared with %q: the first fp32 engine has to come before", req.Job.Precision, req.Job.ReferenceName)
		}
		// Neither ends before the other has begun.
		together.Done()
		met := make(chan struct{})
		go func() { together.Wait(); close(met) }()
		select {
		case <-met:
		case <-time.After(5 * time.Minute): // only something broken takes as long
			t.Error("fp16 and int8 do not run side by side")
			together.Done()
		}
	}
	r := runner(t, m, nil, map[string][]string{"net": {"1"}})
	if err := r.Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if len(m.jobs) != 3 || m.jobs[0].Precision != engine.FP32 || m.devices[1] == m.devices[2] {
		t.Errorf("%d jobs, on GPUs %v", len(m.jobs), m.devices)
	}
}

func TestCandidatesOfAModelComeInOrderOnSeveralGPUs(t *testing.T) {
	m := &machine{gpus: []engine.Environment{h100, h100, h100}}
	m.do = func(_ context.Context, req worker.Request) {
		if req.Job.Version == "1" { // the older one takes its time
			for range 1000 {
				runtime.Gosched()
			}
		}
	}
	r := runner(t, m, nil, map[string][]string{"a": {"1", "2", "3"}, "b": {"1", "2"}, "c": {"1"}})
	if err := r.Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	newest := map[string]string{}
	for _, j := range m.jobs {
		if newest[j.Model] > j.Version {
			t.Errorf("%s version %s ended after version %s", j.Model, j.Version, newest[j.Model])
		}
		newest[j.Model] = max(newest[j.Model], j.Version)
	}
	for rec, err := range r.Store.Records(t.Context(), history.Filter{}) {
		if err != nil || rec.Version != fmt.Sprint(rec.Iteration) {
			t.Errorf("%s version %s is iteration %d, %v", rec.Model, rec.Version, rec.Iteration, err)
		}
	}
	if len(m.jobs) != 18 {
		t.Errorf("%d jobs", len(m.jobs))
	}
}

func TestOneDeviceTakesJobsInOrder(t *testing.T) {
	m := &machine{gpus: []engine.Environment{h100}}
	r := runner(t, m, nil, map[string][]string{"a": {"1", "2"}, "b": {"1"}})
	if err := r.Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, j := range m.jobs {
		got = append(got, fmt.Sprintf("%s%s-%s", j.Model, j.Version, j.Precision))
	}
	if want := "a1-fp32 a1-fp16 a1-int8 b1-fp32 b1-fp16 b1-int8 a2-fp32 a2-fp16 a2-int8"; strings.Join(got, " ") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, " "), want)
	}
	if m.workers != 3 {
		t.Errorf("%d workers for three candidates", m.workers)
	}
	// What changed since the plan before is computed for each later version.
	if j := m.jobs[6]; j.PreviousVersion != "1" || len(j.PreviousLayers) != 1 || j.PreviousLayers[0].Name != "of version 1" {
		t.Errorf("version 2 is compared with the layers %+v of version %q", j.PreviousLayers, j.PreviousVersion)
	}
	if m.jobs[0].PreviousLayers != nil {
		t.Errorf("the first version is compared with %+v", m.jobs[0].PreviousLayers)
	}
}

func TestThePlanBeforeIsComparedWithAlsoByAnotherProcess(t *testing.T) {
	m := &machine{gpus: []engine.Environment{h100}}
	r := runner(t, m, nil, map[string][]string{"net": {"1"}})
	if err := r.Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	push(t, r, "net", "2")
	if err := New(r.Options, records(t, r)).Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if len(m.jobs) != 6 {
		t.Fatalf("%d jobs", len(m.jobs))
	}
	for _, j := range m.jobs[3:] {
		if j.PreviousVersion != "1" || len(j.PreviousLayers) != 1 || j.PreviousLayers[0].Name != "of version 1" {
			t.Errorf("%s of version 2 is compared with the layers %+v of version %q", j.Precision, j.PreviousLayers, j.PreviousVersion)
		}
	}
}

// tally counts what becomes of jobs.
type tally struct {
	quiet
	started, recorded, dropped int
}

func (c *tally) Started(Job, []Job)      { c.started++ }
func (c *tally) Recorded(history.Record) { c.recorded++ }
func (c *tally) Dropped(Job)             { c.dropped++ }

// late is a tally whose jobs another plancast does once they are planned.
type late struct {
	tally
	other func()
}

func (l *late) Scanned(Plan) { l.other() }

func TestAJobThatAnotherPlancastRecordedMeanwhileIsDropped(t *testing.T) {
	r := runner(t, &machine{gpus: []engine.Environment{h100}}, nil, map[string][]string{"net": {"1"}})
	first, second := &tally{}, &late{}
	second.other = func() {
		o := r.Options
		o.Observe = first
		if err := New(o, nil).Once(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
	r.Observe = second
	if err := r.Once(t.Context(), nil); err != nil || *first != (tally{started: 3, recorded: 3}) || second.tally != (tally{started: 3, dropped: 3}) {
		t.Errorf("the first %+v, the second %+v, %v", *first, second.tally, err)
	}
}

func TestRecordsThatARunnerWasNotGivenAreReadFromTheStore(t *testing.T) {
	r := runner(t, &machine{gpus: []engine.Environment{h100}}, nil, map[string][]string{"net": {"1"}})
	if err := r.Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	later := &tally{}
	r.Observe = later
	if err := New(r.Options, nil).Once(t.Context(), nil); err != nil || *later != (tally{}) {
		t.Errorf("what is recorded is measured again: %+v, %v", *later, err)
	}
}

func TestMemoryThatIsLeftOpenIsWhatTheBackendNeeds(t *testing.T) {
	for _, c := range []struct {
		backend     string
		given, want int64
	}{
		{"tensorrt", 0, 24 << 30}, {"onnxruntime", 0, 8 << 30}, {"tensorrt", 1 << 30, 1 << 30}, {"onnxruntime", 1 << 30, 1 << 30},
	} {
		m := &machine{}
		if c.backend == "tensorrt" {
			m.gpus = []engine.Environment{h100}
		}
		r := runner(t, m, func(cfg *config.Config) { cfg.Worker.Memory = c.given }, map[string][]string{"net": {"1"}})
		if err := r.Once(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if m.limits.Memory != c.want || m.limits.Timeout != r.Config.Worker.Timeout {
			t.Errorf("%s, given %d: limits %+v", c.backend, c.given, m.limits)
		}
	}
}

func TestGPUsThatAreNotAlikeAreNotCompared(t *testing.T) {
	for _, c := range []struct {
		name    string
		gpus    []engine.Environment
		devices []int
		taken   []int
		says    string // part of the reason, or of the error when nothing is taken
	}{
		{"one kind", []engine.Environment{l4, l4, l4}, nil, []int{0, 1, 2}, "it is the preferred backend"},
		{"another kind is left alone", []engine.Environment{h100, l4, h100}, nil, []int{0, 2}, "GPU 1 (NVIDIA L4) not used because it differs from GPU 0"},
		{"the kind that is asked for", []engine.Environment{h100, l4, h100}, []int{1}, []int{1}, "it is the preferred backend"},
		{"two kinds asked for", []engine.Environment{h100, l4, h100}, []int{0, 1}, nil, "GPU 0 (NVIDIA H100) and GPU 1 (NVIDIA L4), whose results cannot be compared"},
		{"one that is not there", []engine.Environment{h100}, []int{3}, nil, "names GPU 3, but the machine has 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := runner(t, &machine{gpus: c.gpus}, func(cfg *config.Config) { cfg.TensorRT.Devices = c.devices }, map[string][]string{"net": {"1"}})
			p, err := r.Plan(t.Context(), nil)
			switch {
			case c.taken == nil && (err == nil || !strings.Contains(err.Error(), c.says)):
				t.Errorf("%v", err)
			case c.taken != nil && (err != nil || !slices.Equal(p.Backend.Devices, c.taken) || !strings.Contains(p.Backend.Reason, c.says)):
				t.Errorf("GPUs %v, %q, %v", p.Backend.Devices, p.Backend.Reason, err)
			}
		})
	}
}

func TestAGPUThatIsGoneIsNotReplacedUnnoticed(t *testing.T) {
	m := &machine{}
	models := map[string][]string{"net": {"1"}}
	p, err := runner(t, m, nil, models).Plan(t.Context(), nil)
	if err != nil || p.Backend.Name != "onnxruntime" || !strings.Contains(p.Backend.Reason, "tensorrt cannot be used") {
		t.Errorf("a host without a GPU: %+v, %v", p.Backend, err)
	}
	before := history.Record{Model: "net", Backend: "tensorrt", Precision: engine.FP32, Measurement: &bench.Measurement{}}
	if _, err := runner(t, m, nil, models, before).Plan(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "tensorrt worked here before but is now unavailable") {
		t.Errorf("a host that has lost its GPU: %v", err)
	}
	cpuOnly := func(c *config.Config) { c.Backend = "onnxruntime" }
	if p, err := runner(t, m, cpuOnly, models, before).Plan(t.Context(), nil); err != nil || p.Backend.Name != "onnxruntime" {
		t.Errorf("went on on the CPU: %+v, %v", p.Backend, err)
	}
}

func TestAPassThatIsCancelledSaysSoAndLeavesNothingRunning(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := &machine{gpus: []engine.Environment{h100, h100}}
	m.do = func(ctx context.Context, _ worker.Request) { cancel(); <-ctx.Done() }
	r := runner(t, m, nil, map[string][]string{"a": {"1"}, "b": {"1"}, "c": {"1"}})
	if err := r.Once(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
