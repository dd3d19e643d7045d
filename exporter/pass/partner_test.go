package pass

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/worker"
)

func oneEngine(c *config.Config) {
	c.Precisions = []engine.Precision{engine.FP32}
	c.Repository.Backlog = 0
}

// put writes a version to the repository of r.
func put(t *testing.T, r *Runner, model, version, content string) {
	t.Helper()
	file := filepath.Join(r.Config.Repository.URL, model, version, candidate.ModelFile)
	old := time.Now().Add(-time.Hour)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
}

// partnersOf makes a pass for each version and returns what its job was given,
// with the model as it was during the job.
func partnersOf(t *testing.T, r *Runner, m *machine, versions ...string) (partners []*bench.Partner, models []string) {
	t.Helper()
	m.do = func(_ context.Context, req worker.Request) {
		p, text := req.Job.Partner, ""
		if p != nil && p.ModelPath != "" {
			b, err := os.ReadFile(p.ModelPath)
			if err != nil {
				t.Error(err)
			}
			text = string(b)
		}
		partners, models = append(partners, p), append(models, text)
	}
	for _, v := range versions {
		put(t, r, "net", v, "net"+v)
		if err := r.Once(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(partners) != len(versions) {
		t.Fatalf("%d jobs for %d versions", len(partners), len(versions))
	}
	return partners, models
}

func TestTheFirstCandidateIsBuiltTwiceAndEachLaterOneHasTheOneBefore(t *testing.T) {
	m := &machine{}
	r := runner(t, m, oneEngine, map[string][]string{"net": {"1"}})
	got, models := partnersOf(t, r, m, "1", "2", "3")
	if p := got[0]; p == nil || !p.Rebuild || p.Version != "1" || models[0] != "net1" {
		t.Errorf("version 1: %+v, %q", p, models[0])
	}
	for i, before := range []string{"1", "2"} {
		if p := got[i+1]; p == nil || p.Rebuild || p.Version != before || p.Digest == "" || models[i+1] != "net"+before {
			t.Errorf("version %d: %+v, %q", i+2, p, models[i+1])
		}
	}
}

func TestARebuildCanBeSwitchedOff(t *testing.T) {
	m := &machine{}
	r := runner(t, m, func(c *config.Config) { oneEngine(c); c.Guard.Rebuild = 0 }, map[string][]string{"net": {"1"}})
	got, _ := partnersOf(t, r, m, "1", "2")
	if got[0] != nil || got[1] == nil || got[1].Version != "1" {
		t.Errorf("%+v, %+v", got[0], got[1])
	}
}

func TestAPartnerIsCalibratedWithItsOwnData(t *testing.T) {
	m := &machine{}
	r := runner(t, m, oneEngine, map[string][]string{"net": {"1"}})
	partnersOf(t, r, m, "1")
	file := filepath.Join(r.Config.Repository.URL, "net", "2", candidate.CalibrationFile)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("data of 2"), 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	got, _ := partnersOf(t, r, m, "2", "3")
	if got[0].CalibrationPath != "" || filepath.Base(got[1].CalibrationPath) != candidate.CalibrationFile {
		t.Errorf("%q for version 1, which has none, and %q for version 2", got[0].CalibrationPath, got[1].CalibrationPath)
	}
}

func TestASecondBuildIsCalibratedLikeTheFirst(t *testing.T) {
	m := &machine{}
	r := runner(t, m, oneEngine, map[string][]string{"net": {"1"}})
	put(t, r, "net", "1", "net1")
	file, old := filepath.Join(r.Config.Repository.URL, "net", "1", candidate.CalibrationFile), time.Now().Add(-time.Hour)
	if err := errors.Join(os.WriteFile(file, []byte("data"), 0o644), os.Chtimes(file, old, old)); err != nil {
		t.Fatal(err)
	}
	got, _ := partnersOf(t, r, m, "1")
	if p := got[0]; p == nil || !p.Rebuild || p.CalibrationPath == "" || p.CalibrationPath != m.jobs[0].CalibrationPath {
		t.Errorf("%+v beside calibration data in %q", p, m.jobs[0].CalibrationPath)
	}
}

// A version of the same bytes as the one before has no change to be measured.
func TestTheSameBytesTakeNoTurnsWithThemselves(t *testing.T) {
	m := &machine{}
	r := runner(t, m, oneEngine, map[string][]string{"net": {"1"}})
	partnersOf(t, r, m, "1")
	put(t, r, "net", "2", "net1")
	r.Again = []Again{{Version: "2", By: ann}}
	again(t, r)
	if len(m.jobs) != 2 || m.jobs[1].Version != "2" || m.jobs[1].Partner != nil {
		t.Errorf("%q", measured(m))
	}
}

// What is measured again has its predecessor in its own environment, and none where
// that has none; a new candidate follows the newest result, wherever that is from.
func TestOnlyANewCandidateFollowsAResultOfAnotherEnvironment(t *testing.T) {
	m := &machine{}
	r := upgraded(t, m, nil, "1")
	n := New(r.Options, records(t, r))
	job := Job{Candidate: candidate.Candidate{Model: "net", Version: "2"}, Precision: engine.FP32, Fingerprint: "elsewhere"}
	if got := n.before(t.Context(), job, Backend{Name: "tensorrt"}); got == nil || got.Version != "1" {
		t.Errorf("a new candidate follows %+v; want version 1", got)
	}
	job.Again = &ann
	if got := n.before(t.Context(), job, Backend{Name: "tensorrt"}); got != nil {
		t.Errorf("measured again, it follows version %s of another environment", got.Version)
	}
}

func TestAnEngineThatIsKeptIsUsedAgainInItsOwnEnvironment(t *testing.T) {
	r := runner(t, &machine{}, oneEngine, map[string][]string{"net": {"1"}})
	plan := filepath.Join(t.TempDir(), "plan")
	if err := os.WriteFile(plan, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		fingerprint, path string
		used              bool
	}{{"here", plan, true}, {"there", plan, false}, {"here", plan + " is gone", false}} {
		before := history.Record{Version: "1", Digest: "d1", Fingerprint: c.fingerprint, Measurement: &bench.Measurement{Plan: engine.Plan{Path: c.path}}}
		p, _ := r.partner(t.Context(), Job{Candidate: candidate.Candidate{Model: "net", Version: "2"}, Fingerprint: "here"}, &before, &bench.Job{}, t.TempDir())
		if p == nil || (p.Plan != nil) != c.used {
			t.Errorf("%+v: %+v", c, p)
		}
	}
}

func TestOnlyAJobThatDiedMayHaveDiedOfItsPartner(t *testing.T) {
	for kind, want := range map[engine.Kind]bool{
		engine.KindCrashed: true, engine.KindOutOfMemory: true, engine.KindTimeout: true, engine.KindInvalidModel: false, engine.KindBuildFailed: false,
	} {
		if couldBePartner(kind) != want {
			t.Errorf("%s: %v", kind, !want)
		}
	}
}

func TestPairingCanBeSwitchedOff(t *testing.T) {
	m := &machine{}
	r := runner(t, m, func(c *config.Config) { oneEngine(c); c.Pair = false }, map[string][]string{"net": {"1"}})
	got, _ := partnersOf(t, r, m, "1", "2")
	if got[0] != nil || got[1] != nil {
		t.Errorf("%+v, %+v", got[0], got[1])
	}
}

func TestAnOlderVersionHasNoPartner(t *testing.T) {
	m := &machine{}
	r := runner(t, m, func(c *config.Config) { oneEngine(c); c.Repository.Backlog = 5 }, map[string][]string{"net": {"7"}})
	got, _ := partnersOf(t, r, m, "7", "3")
	if got[1] != nil {
		t.Errorf("version 3 after version 7: %+v", got[1])
	}
}

// Without its bytes a candidate cannot be built again, and others of the same
// version do not stand in for it.
func TestOnlyTheBytesThatWereMeasuredAreComparedWith(t *testing.T) {
	m := &machine{}
	r := runner(t, m, oneEngine, map[string][]string{"net": {"1"}})
	partnersOf(t, r, m, "1")
	put(t, r, "net", "1", "something else now")
	got, models := partnersOf(t, r, m, "2")
	if p := got[0]; p == nil || p.Version != "1" || p.ModelPath != "" || models[0] != "" {
		t.Errorf("%+v, %q", p, models[0])
	}
}

// A job that dies beside another engine is done again alone: the comparison must
// not cost the result.
func TestAJobThatDiesBesideItsPartnerIsDoneAlone(t *testing.T) {
	m := &machine{}
	r := runner(t, m, oneEngine, map[string][]string{"net": {"1"}})
	partnersOf(t, r, m, "1")
	put(t, r, "net", "2", "net2")
	var partners []*bench.Partner
	m.do = func(_ context.Context, req worker.Request) {
		partners = append(partners, req.Job.Partner)
		m.failure = nil
		if req.Job.Partner != nil {
			m.failure = &engine.Error{Kind: engine.KindOutOfMemory}
		}
	}
	if err := r.Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if len(partners) != 2 || partners[0] == nil || partners[1] != nil {
		t.Fatalf("%+v", partners)
	}
	if rec := r.before(t.Context(), Job{Candidate: candidate.Candidate{Model: "net", Version: "3"}, Precision: engine.FP32}, Backend{Name: "onnxruntime"}); rec == nil || rec.Version != "2" {
		t.Errorf("%+v", rec)
	}
}
