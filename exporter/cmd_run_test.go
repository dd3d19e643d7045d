package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
)

// put writes a file an hour old below the site's repository.
func (s *site) put(name, content string) {
	s.t.Helper()
	path, old := filepath.Join(s.Dir, "models", name), time.Now().Add(-time.Hour)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644), os.Chtimes(path, old, old)); err != nil {
		s.t.Fatal(err)
	}
}

// A gate that has no evidence about the newest version is not open.
func TestRunWithoutEvidenceIsAnError(t *testing.T) {
	loose := "targets:\n  - {name: loose, criteria: [\"p99 < 1h\"]}\n"
	for name, c := range map[string]struct {
		push func(s *site)
		args []string
		says string // part of the report, and of stderr
	}{
		"everything is rejected": {func(s *site) {
			s.put("bert/1.2.0/model.onnx", "x")
			s.put("flat/model.onnx", "x")
			s.put("my model/1/model.onnx", "x")
			s.put("resnet/v3/model.onnx", "x")
		}, nil, `resnet version v3: rejected: "v3" cannot be a version`},
		"the model asked for is rejected": {func(s *site) {
			s.Push("net", "1", fake.Script{})
			s.put("resnet/v3/model.onnx", "x")
		}, []string{"--model", "resnet"}, `resnet version v3: rejected`},
		"a flat file": {func(s *site) { s.put("bert/bert.onnx", "x") }, nil, "bert version bert.onnx: rejected: a model belongs in a version's folder: move it to bert/1/model.onnx"},
		"the newest is rejected and the one before is good": {func(s *site) {
			s.Push("net", "1", fake.Script{})
			s.put("net/2/model_fp16.onnx", "x")
		}, nil, "net version 2: rejected: it holds model_fp16.onnx"},
		"the newest cannot be configured": {func(s *site) {
			s.Push("net", "1", fake.Script{})
			s.put("net/config.pbtxt", "max_batch_size: ${batch}")
		}, nil, "net version 1: rejected: net/config.pbtxt cannot be used"},
		"the newest fails": {func(s *site) {
			s.Push("net", "1", fake.Script{})
			s.Push("net", "2", fake.Script{Fault: fake.InvalidModel})
		}, nil, "net version 2: it failed at every precision"},
		"one of two models fails": {func(s *site) {
			s.Push("good", "1", fake.Script{})
			s.Push("net", "2", fake.Script{Fault: fake.InvalidModel})
		}, nil, "net version 2: it failed at every precision"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, loose)
			c.push(s)
			for _, once := range []string{"--no-once", "--once"} { // it ends without --once, too
				status, out, errs := s.plancast(append([]string{"run", "--config.file", s.File(), once}, c.args...)...)
				if status != exitError || !strings.Contains(out, c.says) || !strings.Contains(errs, "plancast run: no result: "+c.says) {
					t.Errorf("%s: status %d; want 2 and %q\n%s%s", once, status, c.says, out, errs)
				}
			}
		})
	}
}

func TestAnOlderRejectedVersionDoesNotCloseTheGate(t *testing.T) {
	s := newSite(t, launchTarget)
	s.put("net/1/net.onnx", "x")
	s.Push("net", "2", fake.Script{Latency: ms(1)})
	if status, out, errs := s.plancast("run", "--config.file", s.File()); status != exitOK {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
}

func TestOnceMeasuresAFreshCheckout(t *testing.T) {
	s := newSite(t, "targets:\n  - {name: impossible, criteria: [\"p50 < 1ns\"]}\n")
	s.Edit("quiet: 1s", "quiet: 1h")
	s.Push("net", "1", fake.Script{Latency: ms(1)})
	now := time.Now()
	if err := os.Chtimes(filepath.Join(s.Dir, "models/net/1/model.onnx"), now, now); err != nil {
		t.Fatal(err)
	}
	if status, out, errs := s.plancast("run", "--config.file", s.File(), "--once"); status != exitMissed || len(s.Records()) != 1 {
		t.Errorf("status %d, records %v\n%s%s", status, s.Records(), out, errs)
	}
}

func TestCheckAgreesWithItself(t *testing.T) {
	s := newSite(t, "")
	s.Edit("quiet: 1s", "quiet: 1h")
	s.Push("fresh", "1", fake.Script{})
	now := time.Now()
	if err := os.Chtimes(filepath.Join(s.Dir, "models/fresh/1/model.onnx"), now, now); err != nil {
		t.Fatal(err)
	}
	check := func(want ...string) {
		t.Helper()
		_, out, _ := s.plancast("check", "--config.file", s.File())
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("check lacks %q:\n%s", w, out)
			}
		}
		if len(want) > 0 && strings.Contains(out, "every wanted version has results") {
			t.Errorf("and it says that all is done:\n%s", out)
		}
	}
	check("waiting: fresh version 1", "A pass would measure nothing now: 1 version would wait.")
	s.put("bad/v1/model.onnx", "x")
	check("rejected: bad/v1", "1 version would wait, 1 rejected.")
	for _, model := range []string{"fresh", "bad"} {
		if err := os.RemoveAll(filepath.Join(s.Dir, "models", model)); err != nil {
			t.Fatal(err)
		}
	}
	check("0 models, 0 versions", "the repository holds no candidate")
	s.Edit("quiet: 1h", "quiet: 1s")
	s.Push("net", "1", fake.Script{Fault: fake.InvalidModel})
	check("1 model, 1 version.", "A pass would run 1 job:", "measure net version 1 fp32")
	s.plancast("run", "--config.file", s.File())
	check("A pass would measure nothing now: 1 job failed before.", "not retried: net version 1 fp32 failed before", "1 record")
}

func TestCheckNamesWhatNothingReads(t *testing.T) {
	s := newSite(t, `
models:
  - {match: cfg-dims, owner: vision, dims: {sequence: 128, N: 4, "x/1": 4}, inputs: {tokens: [1, 128]}, profiles: {y: {min: [1], opt: [1], max: [1]}}}
  - {match: nothing-like-this, owner: a}
workloads:
  - {name: talk, models: "cfg-*", shapes: [{dims: {batch: 2, N: 4}}, {dims: {sequence: 32}}]}
  - {name: lonely, models: "bret*"}
  - {name: logged, models: "typo-*", shapes: as recorded}
notifications:
  receivers:
    - {name: chat, url_env: PLANCAST_TEST_URL}
    - {name: lost, url_env: PLANCAST_TEST_URL}
    - {name: deaf, url_env: PLANCAST_TEST_URL}
  routes:
    - {owners: [vision, visoin], receivers: [chat]}
    - {models: "resnt*", receivers: [deaf]}
`)
	model := string(onnxtest.Classifier(4, 3, 2).Bytes())
	for _, name := range []string{"cfg-dims", "pbtxt-name", "typo-npz"} {
		s.put(name+"/1/model.onnx", model)
	}
	s.put("pbtxt-name/config.pbtxt", `input [ { name: "input__0" dims: [ 4 ] } ]`)
	s.put("typo-npz/input.npz", "")
	s.put("typo-npz/labels.csv", "")
	_, out, errs := s.plancast("check", "--config.file", s.File())
	for _, want := range []string{
		`typo-npz/input.npz: it is ignored: plancast reads inputs.npz`,
		`typo-npz/labels.csv: it is ignored: plancast reads labels.npy`,
		`models[0].dims: no model that matches "cfg-dims" has a dimension "sequence"; cfg-dims has x [N, 4]`,
		`models[0]: no model that matches "cfg-dims" has an input "tokens"; cfg-dims has x`,
		`models[0]: no model that matches "cfg-dims" has an input "y"; cfg-dims has x`,
		`models[1].match: no model of the repository matches "nothing-like-this"`,
		`workloads[0].shapes[1].dims: no model that gets the workload talk has a dimension "sequence"; cfg-dims has x [N, 4]`,
		`workloads[1].models: no model of the repository gets the workload lonely`,
		`workloads[2].shapes: typo-npz version 1 has no inputs.npz, from which the workload logged takes its shapes`,
		`config.pbtxt of pbtxt-name version 1: the model has no input "input__0"; pbtxt-name has x`,
		`notifications.routes[0].owners: no model of the repository has an owner that matches "visoin"`,
		`notifications.routes[1].models: no model of the repository matches "resnt*"`,
		`notifications.receivers: lost never receives a message`,
		`notifications.receivers: deaf never receives a message`,
	} {
		if !strings.Contains(out, "Attention: "+want) {
			t.Errorf("check lacks %q\n%s%s", want, out, errs)
		}
	}
	for _, not := range []string{`dimension "N"`, `dimension "x/1"`, `dimension "batch"`, "chat is notified", `"vision"`} {
		if strings.Contains(out, not) {
			t.Errorf("check says %q\n%s", not, out)
		}
	}
}

func TestRunMeasuresReportsAndJudges(t *testing.T) {
	s := newSite(t, launchTarget)
	s.Push("net", "1", fake.Script{Latency: ms(10)})
	s.Push("net", "2", fake.Script{Latency: ms(4)})
	status, out, errs := s.plancast("run", "--config.file", s.File())
	if status != exitOK {
		t.Fatalf("status %d; want 0\n%s\n%s", status, out, errs)
	}
	for _, want := range []string{"P99 4 ms", "down 60 %", "meets the launch threshold"} {
		if !strings.Contains(out, want) {
			t.Errorf("the report lacks %q:\n%s", want, out)
		}
	}
	s.Push("net", "3", fake.Script{Latency: ms(6)})
	if status, out, _ := s.plancast("run", "--config.file", s.File(), "--format", "markdown"); status != exitMissed || !strings.Contains(out, "misses the launch threshold") {
		t.Errorf("slower candidate: status %d; want 1\n%s", status, out)
	}
	s.Push("net", "4", fake.Script{Fault: fake.UnsupportedOperator})
	if status, out, _ := s.plancast("run", "--config.file", s.File(), "--format", "json"); status != exitError || !json.Valid([]byte(out)) {
		t.Errorf("broken candidate: status %d; want 2\n%s", status, out)
	}
	want := []string{"net/1 1 measured", "net/2 2 measured", "net/3 3 measured", "net/4 4 unsupported_operator"}
	if got := s.Records(); !slices.Equal(got, want) {
		t.Errorf("records %q; want %q", got, want)
	}
	if status, _, _ := s.plancast("run", "--config.file", s.File()); status != exitError || len(s.Records()) != 4 {
		t.Errorf("a second pass measured again, or forgot the failure: status %d, %q", status, s.Records())
	}
}

func TestAnInterruptedRunPrintsWhatItHasMeasured(t *testing.T) {
	for format, want := range map[string]string{
		"text":     "PARTIAL: the run was interrupted",
		"markdown": "**Partial:** the run was interrupted",
		"json":     `"partial": "the run was interrupted`,
	} {
		t.Run(format, func(t *testing.T) {
			s := newSite(t, launchTarget)
			s.Push("net", "1", fake.Script{Latency: ms(4)})
			s.Push("stuck", "1", fake.Script{Fault: fake.Hang, At: "time"})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var out bytes.Buffer
			log := &lines{on: `msg="Job started" model=stuck`, f: cancel}
			p := testProgram(&out, log)
			status := run(ctx, []string{"run", "--config.file", s.File(), "--format", format}, p)
			if status != exitError {
				t.Errorf("status %d; want 2", status)
			}
			if !strings.Contains(out.String(), want) || !strings.Contains(out.String(), "meets the launch threshold") {
				t.Errorf("the report lacks %q, or the result so far:\n%s\n%s", want, out.String(), log.String())
			}
			if !strings.Contains(log.String(), "interrupted: everything recorded so far is kept") {
				t.Errorf("stderr: %s", log.String())
			}
		})
	}
}

func TestRunOfOneModelLeavesTheOthers(t *testing.T) {
	s := newSite(t, launchTarget)
	s.Push("fast", "1", fake.Script{Latency: ms(1)})
	s.Push("slow", "1", fake.Script{Latency: ms(9)})
	if status, out, errs := s.plancast("run", "--config.file", s.File(), "--model", "fa*"); status != exitOK || strings.Contains(out, "slow") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	if got := s.Records(); !slices.Equal(got, []string{"fast/1 1 measured"}) {
		t.Errorf("records %q", got)
	}
	s.plancast("run", "--config.file", s.File())
	if status, out, errs := s.plancast("run", "--config.file", s.File(), "--model", "fast"); status != exitOK || strings.Contains(out, "slow") {
		t.Errorf("after all were measured: status %d\n%s%s", status, out, errs)
	}
	if status, _, errs := s.plancast("run", "--config.file", s.File(), "--model", "none"); status != exitError || !strings.Contains(errs, "matches --model none") {
		t.Errorf("status %d, %s", status, errs)
	}
}

func TestATargetWithoutModelsIsNoGate(t *testing.T) {
	s := newSite(t, "targets:\n  - {name: launch, models: resnt, criteria: [\"p99 < 5ms\"]}\n")
	s.Push("resnet", "1", fake.Script{})
	status, out, errs := s.plancast("run", "--config.file", s.File())
	if status != exitError || !strings.Contains(out, "target launch selects no model") {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
	if _, out, _ := s.plancast("check", "--config.file", s.File()); !strings.Contains(out, "target launch selects no model") {
		t.Errorf("check: %s", out)
	}
}
