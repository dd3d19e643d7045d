package pass

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/worker"
)

// records are what the history of a runner holds.
func records(t *testing.T, r *Runner) []history.Record {
	t.Helper()
	var out []history.Record
	for rec, err := range r.Store.Records(t.Context(), history.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rec)
	}
	return out
}

func TestAFailureUnderOtherLimitsIsTriedAgain(t *testing.T) {
	raise := func(c *config.Config) { c.Worker.Timeout *= 2 }
	for _, c := range []struct {
		kind   engine.Kind
		change func(*config.Config)
		jobs   int
	}{
		{engine.KindTimeout, nil, 0},
		{engine.KindTimeout, raise, 1},
		{engine.KindOutOfMemory, func(c *config.Config) { c.Worker.Memory = 99 << 30 }, 1},
		{engine.KindAccuracy, func(c *config.Config) { c.Benchmark.MaxDeviation = 0.5 }, 1},
		{engine.KindInvalidInput, raise, 1},
		{engine.KindInvalidModel, raise, 0}, // the candidate's own fault
		{engine.KindUnsupportedOperator, raise, 0},
		{engine.KindTimeout, func(c *config.Config) { c.Schedule = nil; c.TensorRT.KeepPlans = 9 }, 0},
	} {
		one := func(c *config.Config) { c.Precisions = []engine.Precision{engine.FP32} }
		m := &machine{gpus: []engine.Environment{h100}, failure: engine.Errorf(c.kind, "measure", "", "no")}
		r := runner(t, m, one, map[string][]string{"net": {"1"}})
		if err := r.Once(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		o := r.Options
		if c.change != nil {
			c.change(&o.Config)
		}
		p, err := New(o, records(t, r)).Plan(t.Context(), nil)
		if err != nil || len(p.Jobs) != c.jobs {
			t.Errorf("%s, changed: %t: %d jobs, %v; want %d", c.kind, c.change != nil, len(p.Jobs), err, c.jobs)
		}
	}
}

// A selection chooses the jobs; the environments are those of all models, which
// are judged all the same.
func TestThePlanHasTheJobsOfTheSelectedModelsAlone(t *testing.T) {
	r := runner(t, &machine{gpus: []engine.Environment{h100}}, oneEngine, map[string][]string{"a": {"1"}, "b": {"1"}})
	p, err := r.Plan(t.Context(), func(model string) bool { return model == "b" })
	if err != nil || len(p.Jobs) != 1 || p.Jobs[0].Candidate.Model != "b" || len(p.Fingerprints) != 2 {
		t.Errorf("jobs %v, environments %v, %v", p.Jobs, p.Fingerprints, err)
	}
}

func TestAPrecisionThatTheBackendLacksIsNoFailedJob(t *testing.T) {
	for kind, failed := range map[engine.Kind]int{engine.KindUnsupportedPrecision: 0, engine.KindUnsupportedOperator: 1} {
		m := &machine{gpus: []engine.Environment{h100}, failure: engine.Errorf(kind, "build", "", "no")}
		r := runner(t, m, oneEngine, map[string][]string{"net": {"1"}})
		if err := r.Once(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		p, err := New(r.Options, records(t, r)).Plan(t.Context(), nil)
		if err != nil || len(p.Jobs) != 0 || len(p.Failed) != failed {
			t.Errorf("%s: jobs %v, failed %v, %v", kind, p.Jobs, p.Failed, err)
		}
	}
}

// Versions of the same bytes are one candidate, in whatever way it is wanted.
func TestVersionsOfTheSameBytesAreMeasuredOnce(t *testing.T) {
	m := &machine{gpus: []engine.Environment{h100}, failure: engine.Errorf(engine.KindInvalidModel, "measure", "", "no")}
	r := runner(t, m, func(c *config.Config) { c.Precisions = []engine.Precision{engine.FP32, engine.FP16} }, map[string][]string{"net": {"1"}})
	put(t, r, "net", "2", "net1")
	planned := func(want, failed []string) {
		t.Helper()
		p, err := New(r.Options, records(t, r)).Plan(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		names := func(jobs []Job) (out []string) {
			for _, j := range jobs {
				out = append(out, j.String())
			}
			return out
		}
		equal(t, "jobs", names(p.Jobs), want)
		equal(t, "failed jobs", names(p.Failed), failed)
	}
	first := []string{"net version 1 fp32", "net version 1 fp16"}
	planned(first, nil)
	if err := r.Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	planned(nil, []string{"net version 1 fp32", "net version 1 fp16", "net version 2 fp32", "net version 2 fp16"})
	r.Again = []Again{{Version: "1", By: ann}, {Version: "2", By: ann}}
	planned(first, nil)
}

// The environment that counts is that of the configuration in force, whatever
// was measured last.
func TestThePlanNamesTheEnvironmentOfThisConfiguration(t *testing.T) {
	m := &machine{gpus: []engine.Environment{h100}}
	r := runner(t, m, nil, map[string][]string{"net": {"1", "2"}})
	right, err := r.Plan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	o := r.Options
	o.Config.Benchmark.Seed++
	wrong := New(o, records(t, r))
	if err := wrong.Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	again, err := New(r.Options, records(t, r)).Plan(t.Context(), func(string) bool { return false })
	if err != nil || again.Fingerprints["net"] == "" || again.Fingerprints["net"] != right.Fingerprints["net"] || len(again.Jobs) != 0 {
		t.Errorf("%v, %v; want that of before, %v, and nothing to do", again.Fingerprints, err, right.Fingerprints)
	}
	if last := records(t, r); last[len(last)-1].Fingerprint == right.Fingerprints["net"] {
		t.Error("the other configuration has the same environment")
	}
}

func TestAPassWithoutWorkStartsNoProcess(t *testing.T) {
	root := t.TempDir()
	put := func(name, text string) string {
		t.Helper()
		file := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		return file
	}
	library := put("opt/libnvinfer.so.10", "10.6")
	put("dev/nvidia0", "")
	put("proc/driver/nvidia/version", "580")
	put("proc/self/cgroup", "0::/plancast\n")
	m := &machine{gpus: []engine.Environment{h100}, libraries: []string{library}}
	r := runner(t, m, nil, map[string][]string{"net": {"1"}})
	r.surroundings, r.Chosen = surroundings(root), &Chosen{}
	folder := filepath.Dir(put("trt/README", ""))
	pass := func(want int, why string) {
		t.Helper()
		before := m.descriptions
		n := New(r.Options, records(t, r))
		if err := n.Once(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if got := m.descriptions - before; got != want {
			t.Errorf("%s: the backend is described %d times; want %d", why, got, want)
		}
	}
	pass(1, "the first pass")
	pass(0, "nothing to do")
	now := time.Now().Add(400 * 24 * time.Hour)
	r.Now = func() time.Time { return now }
	pass(0, "a year later")
	r.Config.TensorRT.Devices = []int{0}
	pass(1, "another configuration")
	r.Config.TensorRT.Libraries = []string{folder}
	pass(1, "another folder of libraries")
	put("trt/libnvinfer.so.10", "")
	pass(1, "a library that would be found first")
	put("opt/libnvinfer.so.10.new", "10.7")
	if err := os.Rename(filepath.Join(root, "opt/libnvinfer.so.10.new"), library); err != nil {
		t.Fatal(err)
	}
	pass(1, "a library that was replaced")
	put("etc/ld.so.cache", "")
	pass(1, "a library that was installed")
	put("proc/driver/nvidia/version", "590")
	pass(1, "another driver")
	put("dev/nvidia1", "")
	pass(1, "another device")
	put("sys/fs/cgroup/plancast/cpu.max", "200000 100000")
	pass(1, "other cores")
	pass(0, "nothing changed since")
	push(t, r, "net", "2")
	pass(1, "a new candidate")
	pass(0, "nothing to do again")
}

func TestACandidateThatCannotBeStagedKeepsNoOtherWaiting(t *testing.T) {
	m := &machine{gpus: []engine.Environment{h100}}
	m.do = func(_ context.Context, req worker.Request) {}
	r := runner(t, m, nil, map[string][]string{"a": {"1"}, "b": {"1"}})
	r.Observe = &sabotage{t: t, model: filepath.Join(r.Config.Repository.URL, "a/1/model.onnx")}
	err := r.Once(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "stage a version 1") || !strings.Contains(err.Error(), "next pass") {
		t.Errorf("%v", err)
	}
	if got := records(t, r); len(got) != 3 || got[0].Model != "b" {
		t.Errorf("%d records", len(got))
	}
}

// sabotage puts a folder in the place of a model once it was scanned.
type sabotage struct {
	quiet
	t     *testing.T
	model string
}

func (s *sabotage) Scanned(Plan) {
	if err := errors.Join(os.Remove(s.model), os.Mkdir(s.model, 0o755)); err != nil {
		s.t.Error(err)
	}
}

func TestASlowModelKeepsNoOtherWaiting(t *testing.T) {
	jobs := func(model string, took time.Duration, versions ...string) (out []Job) {
		for _, v := range versions {
			out = append(out, Job{Candidate: candidate.Candidate{Model: model, Version: v}, Precision: engine.FP32, Expected: took})
		}
		return out
	}
	for _, c := range []struct {
		name string
		in   [][]Job
		want string
	}{
		{"alike: in turns", [][]Job{jobs("a", 0, "1", "2"), jobs("b", 0, "1", "2")}, "a1 b1 a2 b2"},
		{"a slow one comes last", [][]Job{jobs("a", 200*time.Second, "1"), jobs("b", 5*time.Second, "1", "2"), jobs("c", 2*time.Second, "1")}, "c1 b1 b2 a1"},
		{"but before what a quick one has in plenty", [][]Job{jobs("a", 9*time.Second, "1"), jobs("b", 4*time.Second, "1", "2", "3")}, "b1 b2 a1 b3"},
		{"a new one comes in the middle", [][]Job{jobs("new", 0, "1"), jobs("quick", time.Second, "1"), jobs("slow", time.Minute, "1"), jobs("usual", 9*time.Second, "1")}, "quick1 new1 usual1 slow1"},
		{"a model's own come in order", [][]Job{append(jobs("a", time.Minute, "1"), jobs("a", time.Second, "2")...)}, "a1 a2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, j := range inOrder(c.in) {
				got = append(got, j.Candidate.Model+j.Candidate.Version)
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s; want %s", strings.Join(got, " "), c.want)
			}
		})
	}
}

func TestAJobIsExpectedToTakeWhatTheLastOneTook(t *testing.T) {
	m := &machine{gpus: []engine.Environment{h100}}
	r := runner(t, m, func(c *config.Config) { c.Precisions = []engine.Precision{engine.FP32} }, map[string][]string{"net": {"1"}})
	started := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	last := history.Record{
		Model: "net", Version: "0", Digest: "d", Precision: engine.FP32, Backend: "tensorrt", Fingerprint: "f",
		Started: started, Finished: started.Add(200 * time.Second), Failure: &history.Failure{Error: engine.Error{Kind: engine.KindTimeout}},
	}
	p, err := New(r.Options, []history.Record{last}).Plan(t.Context(), nil)
	if err != nil || len(p.Jobs) != 1 || p.Jobs[0].Expected != 200*time.Second {
		t.Errorf("%+v, %v", p.Jobs, err)
	}
}
