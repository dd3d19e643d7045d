package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
)

func TestAFaultCostsThatJobAlone(t *testing.T) {
	for _, c := range []struct {
		fault fake.Fault
		at    string
		kind  engine.Kind
	}{
		{fake.Crash, "build", engine.KindCrashed},
		{fake.Exit, "time", engine.KindCrashed},
		{fake.Panic, "load", engine.KindCrashed},
		{fake.Hang, "time", engine.KindTimeout},
		{fake.Eat, "build", engine.KindOutOfMemory},
		{fake.InvalidModel, "build", engine.KindInvalidModel},
		{fake.RunFailed, "infer", engine.KindRunFailed},
		{fake.Garbage, "build", ""}, // on stdout, where nothing is read: harmless
	} {
		t.Run(fmt.Sprint(c.fault, " at ", c.at), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "")
			s.Edit("{timeout: 20s, memory: 1GiB,", "{timeout: 3s, memory: 400MiB,")
			s.Push("bad", "1", fake.Script{Fault: c.fault, At: c.at})
			s.Push("good", "1", fake.Script{})
			_, out, errs := s.plancast("run", "--config.file", s.File())
			want := []string{"bad/1 1 " + string(c.kind), "good/1 1 measured"}
			if c.kind == "" {
				want[0] = "bad/1 1 measured"
			}
			if got := s.Records(); !slices.Equal(got, want) {
				t.Errorf("records %q; want %q\n%s%s", got, want, out, errs)
			}
			if left, _ := filepath.Glob(filepath.Join(s.Dir, "state", "work", "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestJobsThatShareAProcess(t *testing.T) {
	t.Setenv(daemontest.UsedAgain, "1")
	s := newSite(t, "")
	s.Edit("precisions: [fp32]", "precisions: [fp32, fp16, int8]")
	s.Push("bad", "1", fake.Script{Fault: fake.Crash, At: "time"})
	s.Push("fp32-only", "1", fake.Script{Precisions: []engine.Precision{engine.FP32}})
	s.Push("good", "1", fake.Script{})
	_, out, errs := s.plancast("run", "--config.file", s.File())
	want := []string{
		"bad/1 1 crashed", "bad/1 1 crashed", "bad/1 1 crashed",
		"fp32-only/1 1 measured", "fp32-only/1 1 unsupported_precision", "fp32-only/1 1 unsupported_precision",
		"good/1 1 measured", "good/1 1 measured", "good/1 1 measured",
	}
	if got := s.Records(); !slices.Equal(got, want) {
		t.Errorf("records %q; want %q\n%s%s", got, want, out, errs)
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir, "state", "work", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestVersionsComeAndGo(t *testing.T) {
	s := newSite(t, "")
	pass := func(want ...string) {
		t.Helper()
		_, out, errs := s.plancast("run", "--config.file", s.File())
		if got := s.Records(); !slices.Equal(got, want) {
			t.Errorf("records %q; want %q\n%s%s", got, want, out, errs)
		}
	}
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(filepath.Join(s.Dir, "models", from), filepath.Join(s.Dir, "models", to)); err != nil {
			t.Fatal(err)
		}
	}
	s.Push("m", "2", fake.Script{})
	pass("m/2 1 measured")
	s.Push("m", "1", fake.Script{}) // out of order: kept, no iteration
	pass("m/2 1 measured", "m/1 0 measured")
	s.Push("m", "2", fake.Script{Latency: ms(2)}) // replaced: the next iteration
	pass("m/2 1 measured", "m/1 0 measured", "m/2 2 measured")
	rename("m/2", "m/3") // renamed version: the same content is the same candidate
	pass("m/2 1 measured", "m/1 0 measured", "m/2 2 measured")
	rename("m", "n") // renamed model: a series of its own
	pass("m/2 1 measured", "m/1 0 measured", "m/2 2 measured", "n/1 1 measured", "n/3 2 measured")
	if err := os.RemoveAll(filepath.Join(s.Dir, "models", "n")); err != nil {
		t.Fatal(err)
	}
	pass("m/2 1 measured", "m/1 0 measured", "m/2 2 measured", "n/1 1 measured", "n/3 2 measured") // deleted: history stays
}

func TestTwoDoNotMeasureAtOnce(t *testing.T) {
	s := newSite(t, "")
	s.Open()
	if status, _, errs := s.plancast("run", "--config.file", s.File()); status != exitError || !strings.Contains(errs, "another plancast is measuring") {
		t.Errorf("status %d, %s", status, errs)
	}
}
