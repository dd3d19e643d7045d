package pass

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/worker"
)

// machine plays the workers of a host: its GPUs by index, and a CPU.
type machine struct {
	t         *testing.T
	gpus      []engine.Environment
	libraries []string                                      // that describing them loads
	do        func(ctx context.Context, req worker.Request) // what a job does before it has a result
	// failure is the outcome of every job; nil measures it.
	failure *engine.Error
	// results are the outcomes of the jobs in turn, the last from then on; a nil one
	// fails. Without any, each job has a result of its own.
	results []*bench.Measurement

	mu           sync.Mutex
	busy         map[int]bool
	held         map[int]string // candidates whose worker is on a GPU
	workers      int            // that did jobs
	descriptions int            // descriptions of backends
	devices      []int          // that each job ran on, in the order of their end
	jobs         []bench.Job
	limits       config.Worker // of the last
}

func (m *machine) worker() Worker { return &played{machine: m} }

// played checks that a worker is used for one candidate on one device, and that
// none of it is left when the device does something else.
type played struct {
	*machine
	candidate string
	device    int
	allowed   []string // what the confinement names
}

func (c *played) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.candidate != "" {
		delete(c.held, c.device)
	}
}

func (c *played) Run(ctx context.Context, limits config.Worker, req worker.Request, progress func(engine.Progress)) (worker.Outcome, error) {
	if req.Job != nil {
		name, device := req.Job.Model+" "+req.Job.Version, req.Config.Device
		c.mu.Lock()
		if c.candidate == "" {
			if other, ok := c.held[device]; ok {
				c.t.Errorf("%s begins on GPU %d, where a worker of %s is left", name, device, other)
			}
			c.candidate, c.device, c.held[device] = name, device, name
			c.workers++
			for _, path := range slices.Concat(req.Confine.Read, req.Confine.Write) {
				if _, err := os.Stat(path); err != nil {
					c.t.Errorf("%s is confined to what is not there: %v", name, err)
				}
			}
			c.allowed = slices.Concat(req.Confine.Read, req.Confine.Write)
		}
		for _, path := range pathsOf(c.t, *req.Job) {
			if !slices.ContainsFunc(c.allowed, func(folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }) {
				c.t.Errorf("%s needs %s, and its worker may use %q alone", name, path, c.allowed)
			}
		}
		if c.candidate != name || c.device != device {
			c.t.Errorf("the worker of %s on GPU %d is given %s on GPU %d", c.candidate, c.device, name, device)
		}
		c.mu.Unlock()
	}
	return c.work(ctx, limits, req, progress)
}

// pathsOf are the files and folders that a job names, but for its backend's libraries.
func pathsOf(t *testing.T, job bench.Job) (out []string) {
	t.Helper()
	job.BackendConfig = bench.BackendConfig{}
	text, err := json.Marshal(job)
	var fields any
	if err := errors.Join(err, json.Unmarshal(text, &fields)); err != nil {
		t.Fatal(err)
	}
	var walk func(any)
	walk = func(x any) {
		switch x := x.(type) {
		case map[string]any:
			for _, x := range x {
				walk(x)
			}
		case []any:
			for _, x := range x {
				walk(x)
			}
		case string:
			if filepath.IsAbs(x) {
				out = append(out, x)
			}
		}
	}
	walk(fields)
	return out
}

func (m *machine) work(ctx context.Context, limits config.Worker, req worker.Request, _ func(engine.Progress)) (worker.Outcome, error) {
	environments := []engine.Environment{cpu}
	if req.Backend == "tensorrt" {
		environments = m.gpus
	}
	if len(environments) == 0 {
		return worker.Outcome{Failure: engine.Errorf(engine.KindUnavailable, "use TensorRT", "", "no usable GPU")}, nil
	}
	if req.Job == nil {
		m.descriptions++
		return worker.Outcome{Environments: environments, Libraries: m.libraries}, nil
	}
	device := req.Config.Device
	m.mu.Lock()
	if m.busy[device] {
		m.t.Errorf("GPU %d does two jobs at a time", device)
	}
	m.busy[device] = true
	m.mu.Unlock()
	if m.do != nil {
		m.do(ctx, req)
	}
	if req.Job.OutputsPath != "" {
		if err := os.WriteFile(req.Job.OutputsPath, nil, 0o644); err != nil {
			m.t.Error(err)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy[device] = false
	m.devices, m.jobs, m.limits = append(m.devices, device), append(m.jobs, *req.Job), limits
	if n := len(m.results); n > 0 {
		x := m.results[min(len(m.jobs), n)-1]
		if x == nil {
			return worker.Outcome{Environment: &environments[device], Failure: engine.Errorf(engine.KindRunFailed, "run", "", "no")}, nil
		}
		return worker.Outcome{Environment: &environments[device], Measurement: x}, nil
	}
	if m.failure != nil {
		return worker.Outcome{Environment: &environments[device], Failure: m.failure}, nil
	}
	return worker.Outcome{Environment: &environments[device], Measurement: &bench.Measurement{
		Layers: &bench.LayerSummary{Layers: []engine.Layer{{Name: "of version " + req.Job.Version, Type: "conv"}}},
	}}, nil
}

type quiet struct{}

func (quiet) Scanned(Plan)                    {}
func (quiet) Started(Job, []Job)              {}
func (quiet) Progressed(Job, engine.Progress) {}
func (quiet) Recorded(history.Record)         {}
func (quiet) Dropped(Job)                     {}

// runner makes a runner over models, each with the versions given.
func runner(t *testing.T, m *machine, change func(*config.Config), models map[string][]string, known ...history.Record) *Runner {
	t.Helper()
	m.t, m.busy, m.held = t, map[int]bool{}, map[int]string{}
	t.Cleanup(func() {
		if len(m.held) > 0 {
			t.Errorf("workers are left: %v", m.held)
		}
	})
	dir := t.TempDir()
	cfg := config.Default()
	cfg.State, cfg.Repository.URL, cfg.Repository.Quiet, cfg.Repository.Backlog = filepath.Join(dir, "state"), filepath.Join(dir, "models"), 0, 100
	if change != nil {
		change(&cfg)
	}
	old := time.Now().Add(-time.Hour)
	for model, versions := range models {
		for _, v := range versions {
			file := filepath.Join(cfg.Repository.URL, model, v, "model.onnx")
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(model+v), 0o644), os.Chtimes(file, old, old)); err != nil {
				t.Fatal(err)
			}
		}
	}
	store, err := history.Open(filepath.Join(dir, "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	repository, err := candidate.Open(t.Context(), candidate.Options{URL: cfg.Repository.URL, Memory: store, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { repository.Close() })
	return New(Options{Config: cfg, Store: store, Repository: repository, Backends: []string{"tensorrt", "onnxruntime"},
		Worker: m.worker, Now: time.Now, Log: slog.New(slog.DiscardHandler), Observe: quiet{}}, known)
}

// push adds a version that is old enough to be taken for whole.
func push(t *testing.T, r *Runner, model, version string) {
	t.Helper()
	file := filepath.Join(r.Config.Repository.URL, model, version, "model.onnx")
	old := time.Now().Add(-time.Hour)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(model+version), 0o644), os.Chtimes(file, old, old)); err != nil {
		t.Fatal(err)
	}
}
