package pass

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
)

// keep puts files into the state, each a minute newer than the one before.
func keep(t *testing.T, r *Runner, dir string, names ...string) {
	t.Helper()
	dir = filepath.Join(r.Config.State, dir)
	for i, name := range names {
		path, at := filepath.Join(dir, name), time.Now().Add(time.Duration(i-100)*time.Minute)
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(path, nil, 0o644), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
	}
}

// kept lists the folders and files of a part of the state.
func kept(t *testing.T, r *Runner, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(r.Config.State, dir))
	if err != nil {
		t.Fatal(err)
	}
	for i := range found {
		found[i] = filepath.Base(found[i])
	}
	return strings.Join(found, " ")
}

func pruned(t *testing.T, models map[string][]string, before func(r *Runner, digest string)) *Runner {
	t.Helper()
	r := runner(t, &machine{gpus: []engine.Environment{h100}}, func(c *config.Config) { c.TensorRT.KeepPlans = 2 }, models)
	plan, err := r.Plan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	before(r, plan.Scan.Models["net"][0].Digest[:digestPrefix])
	if err := r.Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPlansOfCandidatesThatAreGoneAreRemoved(t *testing.T) {
	r := pruned(t, map[string][]string{"net": {"1"}}, func(r *Runner, d string) {
		keep(t, r, "plans/net", d+"-fp16-a.plan", d+"-fp16-a.plan.json", "000000000000-fp16-b.plan", "000000000000-fp16-b.plan.json")
		keep(t, r, "calibrations/net", d+"-10.6.0.calibration", "000000000000-10.6.0.calibration")
	})
	d := strings.Split(kept(t, r, "plans/net/*.plan"), "-")[0]
	if got, want := kept(t, r, "plans/net/*"), d+"-fp16-a.plan "+d+"-fp16-a.plan.json"; got != want {
		t.Errorf("plans %q; want %q", got, want)
	}
	if got, want := kept(t, r, "calibrations/net/*"), d+"-10.6.0.calibration"; got != want {
		t.Errorf("calibrations %q; want %q", got, want)
	}
}

func TestTheNewestPlansOfEachPrecisionAreKept(t *testing.T) {
	r := pruned(t, map[string][]string{"net": {"1"}}, func(r *Runner, d string) {
		for _, precision := range []string{"fp16", "int8"} {
			var names []string
			for _, key := range []string{"a", "b", "c"} {
				names = append(names, d+"-"+precision+"-"+key+".plan", d+"-"+precision+"-"+key+".plan.json")
			}
			keep(t, r, "plans/net", names...)
		}
		keep(t, r, "calibrations/net", d+"-1.calibration", d+"-2.calibration", d+"-3.calibration")
	})
	for pattern, want := range map[string]string{
		"plans/net/*-fp16-*": "fp16-b.plan fp16-b.plan.json fp16-c.plan fp16-c.plan.json",
		"plans/net/*-int8-*": "int8-b.plan int8-b.plan.json int8-c.plan int8-c.plan.json",
		"calibrations/net/*": "2.calibration 3.calibration",
	} {
		got := strings.Fields(kept(t, r, pattern))
		for i := range got {
			_, got[i], _ = strings.Cut(got[i], "-")
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q; want %q", pattern, got, want)
		}
	}
}

// Whether a plan belongs to a version that was not read is not known.
func TestPlansOfVersionsThatWereNotReadStay(t *testing.T) {
	r := pruned(t, map[string][]string{"net": {"1"}}, func(r *Runner, d string) {
		keep(t, r, "plans/net", "000000000000-fp16-a.plan")
		keep(t, r, "../models/net/2", "net.onnx") // refused
	})
	if got := kept(t, r, "plans/net/*"); got != "000000000000-fp16-a.plan" {
		t.Errorf("left %q", got)
	}
}

func TestWhatIsKeptOfAWithdrawnModelIsRemoved(t *testing.T) {
	folders := []string{"plans", "calibrations", "references"}
	r := pruned(t, map[string][]string{"net": {"1"}}, func(r *Runner, _ string) {
		for _, kind := range folders {
			keep(t, r, kind+"/withdrawn", "x.plan", "x.calibration", "x@1-fp32.npz")
			keep(t, r, kind+"/waits", "x@1-fp32.npz")
		}
		keep(t, r, "../models/waits/1", "other.onnx") // refused, and still in the repository
	})
	for _, kind := range folders {
		if got := strings.Fields(kept(t, r, kind+"/*")); slices.Contains(got, "withdrawn") || !slices.Contains(got, "waits") {
			t.Errorf("%s of %q are left", kind, got)
		}
	}
}

func TestReferencesAreBounded(t *testing.T) {
	r := pruned(t, map[string][]string{"net": {"1"}}, func(r *Runner, _ string) {
		for _, stem := range []string{"a", "b", "c", "d", "e", "f", "g"} {
			keep(t, r, "references/net", stem+"@1-fp32.npz")
		}
		at := time.Now().Add(-1000 * time.Minute)
		for i, stem := range []string{"a", "b"} {
			at := at.Add(time.Duration(i) * time.Minute)
			if err := os.Chtimes(filepath.Join(r.Config.State, "references/net", stem+"@1-fp32.npz"), at, at); err != nil {
				t.Fatal(err)
			}
		}
	})
	got := strings.Fields(kept(t, r, "references/net/*"))
	// Five that nothing asks for, and the one that this pass made.
	if len(got) != keptReferences+1 || slices.Contains(got, "a@1-fp32.npz") || slices.Contains(got, "b@1-fp32.npz") {
		t.Errorf("left %q", got)
	}
	// A pass over some models prunes nothing.
	keep(t, r, "references/withdrawn", "x@1-fp32.npz")
	if err := r.Once(t.Context(), func(string) bool { return true }); err != nil || kept(t, r, "references/withdrawn") == "" {
		t.Errorf("%v: references of another model are gone", err)
	}
}
