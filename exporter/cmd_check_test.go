package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/pass"
)

func TestCheckCountsTheDevicesThatMeasureSideBySide(t *testing.T) {
	b := pass.Backend{Name: "tensorrt", Reason: "the configuration asks for it", Devices: []int{0},
		Environment: engine.Environment{BackendVersion: "10.6.0", Device: "NVIDIA L4"}}
	if got, want := backendSentence(b), "tensorrt 10.6.0 on NVIDIA L4: the configuration asks for it"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	b.Devices = []int{0, 2}
	if got, want := backendSentence(b), "tensorrt 10.6.0 on NVIDIA L4 (2 side by side): the configuration asks for it"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCheckPromisesAndDoesNothing(t *testing.T) {
	s := newSite(t, launchTarget+`
milestones:
  - {name: spring, models: "net*", criteria: [p99 < 5ms, accuracy_deviation < 0.5%], share: 80%, deadline: 2027-01-31, horizon: 5, effort: maintenance}
`)
	s.Push("net", "1", fake.Script{})
	s.Push("bad name", "1", fake.Script{})
	status, out, errs := s.plancast("check", "--config.file", s.File())
	for _, want := range []string{
		"is valid", "launch: p99 < 5 ms by the best engine of every model",
		"spring: p99 < 5 ms and accuracy_deviation < 0.5 % by the best engine of net*, for 80 % of them, by 31 January 2027 23:59 UTC and within 5 iterations; ready at a probability of 90 %; assumes that nobody works on the models",
		"measure net version 1 fp32", `rejected: bad name: "bad name" cannot be a model's name`, "Backend     fake", "Threads     ", "Worker      confined",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("check lacks %q", want)
		}
	}
	if status != exitOK {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	if _, err := os.Stat(filepath.Join(s.Dir, "state")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("check made the state folder: %v", err)
	}
	s.Open() // as plancast serve would
	if status, out, errs := s.plancast("check", "--config.file", s.File()); status != exitOK {
		t.Errorf("beside another plancast: status %d\n%s%s", status, out, errs)
	}
}

func TestCheckSaysHowLongADeletedVersionCounts(t *testing.T) {
	for _, c := range []struct{ keep, now, then string }{
		{keep: "30d", now: "counts until " + time.Now().UTC().Add(30*24*time.Hour).Format(time.DateOnly) + "; plancast history exclude ends it at once.", then: "counts until "},
		{keep: "0", now: "counts until the next pass; plancast history exclude ends it at once.", then: "no longer counts."},
	} {
		s := newSite(t, launchTarget)
		s.Edit("backlog: 100", "backlog: 100, keep_deleted: "+c.keep)
		for _, version := range []string{"1", "2"} {
			s.Push("net", version, fake.Script{})
		}
		s.plancast("run", "--once", "--config.file", s.File())
		if err := os.RemoveAll(filepath.Join(s.Dir, "models", "net", "2")); err != nil {
			t.Fatal(err)
		}
		const says = "Attention: net: version 2 is deleted: its result "
		if _, out, errs := s.plancast("check", "--config.file", s.File()); !strings.Contains(out, says+c.now) {
			t.Errorf("keep_deleted: %s: check lacks %q:\n%s%s", c.keep, says+c.now, out, errs)
		}
		s.plancast("run", "--once", "--config.file", s.File())
		if _, out, errs := s.plancast("check", "--config.file", s.File()); !strings.Contains(out, says+c.then) {
			t.Errorf("keep_deleted: %s: after a pass check lacks %q:\n%s%s", c.keep, says+c.then, out, errs)
		}
	}
}

func TestCheckSuggestsAFreeCore(t *testing.T) {
	const advice = "; other programs interrupt an inference on all cores, so if results are disturbed, set onnxruntime.threads to "
	for _, c := range []struct {
		threads, cores int
		want           string
	}{
		{1, 1, "1 thread on 1 core"},
		{1, 2, "1 thread on 2 cores"},
		{2, 2, "2 threads on 2 cores" + advice + "1"},
		{32, 16, "32 threads on 16 cores" + advice + "15"},
	} {
		if got := threadsSentence(c.threads, c.cores); got != c.want {
			t.Errorf("%d threads, %d cores: %q; want %q", c.threads, c.cores, got, c.want)
		}
	}
}

func TestCheckSaysWhatAWorkerIsNotKeptFrom(t *testing.T) {
	for _, c := range []struct {
		w    config.Worker
		b    pass.Backend
		want string
	}{
		{w: config.Worker{}, want: "confined to its candidate's files, without network and other processes"},
		{b: pass.Backend{Gaps: []string{"no Landlock", "no filter"}}, want: "partly confined: no Landlock; no filter"},
		{w: config.Worker{Unconfined: true}, want: "not confined (worker.sandbox: off): it can read and reach what plancast can"},
	} {
		if got := workerSentence(c.w, c.b); got != c.want {
			t.Errorf("%q; want %q", got, c.want)
		}
	}
}

func TestTheLengthsOfADecoderAreDimensionsWhateverItCallsThem(t *testing.T) {
	decoder := declaration{inputs: map[string][]string{"input_ids": {"batch_size", "sequence_length"}, "past_key_values.0.key": {"batch_size", "12", "past_sequence_length", "64"}}}
	other := declaration{inputs: map[string][]string{"input_ids": {"batch_size", "sequence_length"}}}
	for name, want := range map[string]bool{"sequence": true, "past_sequence": true, "sequence_length": true, "images": false} {
		if got := decoder.hasDimension(name); got != want {
			t.Errorf("a decoder has a dimension %q: %t", name, got)
		}
	}
	if other.hasDimension("sequence") {
		t.Error("a model without a cache has a dimension that it does not declare")
	}
}
