package main

import (
	"errors"
	"os"
	"path/filepath"
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
		"a flat file": {func(s *site) { s.put("bert/bert.onnx", "x") }, nil, "bert version bert.onnx: rejected: a model lies in a version's folder: move it to bert/1/model.onnx"},
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
		if len(want) > 0 && strings.Contains(out, "every wanted version has its results") {
			t.Errorf("and it says that all is done:\n%s", out)
		}
	}
	check("waits: fresh version 1", "A pass would measure nothing now: 1 version would wait.")
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
	check("1 model, 1 version.", "A pass would do 1 job:", "measure net version 1 fp32")
	s.plancast("run", "--config.file", s.File())
	check("A pass would measure nothing now: 1 job failed before.", "not tried again: net version 1 fp32 failed before", "1 record")
}

func TestCheckNamesWhatNothingReads(t *testing.T) {
	s := newSite(t, `
models:
  - {match: cfg-dims, owner: vision, dims: {sequence: 128, N: 4, "x/1": 4}, inputs: {tokens: [1, 128]}, profiles: {y: {min: [1], opt: [1], max: [1]}}}
  - {match: nothing-like-this, owner: a}
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
		`typo-npz/input.npz: it is not read: the file that is read is named inputs.npz`,
		`typo-npz/labels.csv: it is not read: the file that is read is named labels.npy`,
		`models[0].dims: no model that matches "cfg-dims" has a dimension "sequence"; cfg-dims has x [N, 4]`,
		`models[0]: no model that matches "cfg-dims" has an input "tokens"; cfg-dims has x`,
		`models[0]: no model that matches "cfg-dims" has an input "y"; cfg-dims has x`,
		`models[1].match: no model of the repository matches "nothing-like-this"`,
		`config.pbtxt of pbtxt-name version 1: the model has no input "input__0"; pbtxt-name has x`,
		`notifications.routes[0].owners: no model of the repository has an owner that matches "visoin"`,
		`notifications.routes[1].models: no model of the repository matches "resnt*"`,
		`notifications.receivers: lost is notified of no model`,
		`notifications.receivers: deaf is notified of no model`,
	} {
		if !strings.Contains(out, "Attention: "+want) {
			t.Errorf("check lacks %q\n%s%s", want, out, errs)
		}
	}
	for _, not := range []string{`dimension "N"`, `dimension "x/1"`, "chat is notified", `"vision"`} {
		if strings.Contains(out, not) {
			t.Errorf("check says %q\n%s", not, out)
		}
	}
}
