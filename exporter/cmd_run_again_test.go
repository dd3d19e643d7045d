package main

import (
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine/fake"
)

func TestRunAgainReplacesAResultAndKeepsIt(t *testing.T) {
	s := newSite(t, launchTarget)
	s.Push("net", "1", fake.Script{Latency: ms(4)})
	s.Push("net", "2", fake.Script{Latency: ms(4)})
	if status, out, errs := s.plancast("run", "--config.file", s.File()); status != exitOK {
		t.Fatalf("status %d\n%s%s", status, out, errs)
	}
	if status, out, errs := s.plancast("run", "--config.file", s.File(), "--again", "--model", "net", "--version", "1", "--because", "a backup\nran", "--who", "ann"); status != exitOK {
		t.Fatalf("status %d\n%s%s", status, out, errs)
	}
	_, list, _ := s.plancast("history", "list", "--config.file", s.File())
	lines := strings.Split(strings.TrimSpace(list), "\n")
	if len(lines) != 4 || !strings.HasSuffix(lines[1], "measured; superseded by 3") || !strings.HasSuffix(lines[2], "measured") || !strings.HasSuffix(lines[3], "measured") {
		t.Errorf("%s", list)
	}
	if _, trail, _ := s.plancast("history", "audit", "--config.file", s.File()); !strings.Contains(trail, "ann  again   3       a backup ran") {
		t.Errorf("%s", trail)
	}
	if status, _, _ := s.plancast("run", "--config.file", s.File(), "--again"); status != exitOK || len(s.Records()) != 4 {
		t.Errorf("the newest of every model: status %d, %q", status, s.Records())
	}
}

func TestRunAgainSaysWhatItCannotDo(t *testing.T) {
	s := newSite(t, "")
	s.Push("net", "1", fake.Script{})
	for args, says := range map[string]string{
		"--version 1":                           "need --again",
		"--because x":                           "need --again",
		"--again --precision fp64":              "--precision fp64: the configuration has [fp32]",
		"--again --version 7":                   "no selected model has a version 7 to measure",
		"--again --model net --precision bf16x": "the configuration has [fp32]",
	} {
		status, _, errs := s.plancast(append([]string{"run", "--config.file", s.File()}, strings.Fields(args)...)...)
		if status != exitError || !strings.Contains(errs, says) {
			t.Errorf("%s: status %d, %s; want %q", args, status, errs, says)
		}
	}
	s.Open()
	if status, _, errs := s.plancast("run", "--config.file", s.File(), "--again"); status != exitError || !strings.Contains(errs, "POST /api/v1/run?again=true") {
		t.Errorf("beside a daemon: status %d, %s", status, errs)
	}
}
