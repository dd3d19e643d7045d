package main

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine/fake"
)

func TestRunAgainstABaseline(t *testing.T) {
	s := newSite(t, "targets:\n  - {name: gate, criteria: [\"p99 <= base + 10%\"]}\n")
	s.Push("net", "1", fake.Script{Latency: ms(4)})
	file, junit := filepath.Join(s.Dir, "main.json"), filepath.Join(s.Dir, "junit.xml")
	if status, out, errs := s.plancast("run", "--config.file", s.File(), "--format", "json", "--output", file); status != exitOK || !strings.Contains(errs, "give --baseline") {
		t.Fatalf("status %d\n%s%s", status, out, errs)
	}
	s.Push("net", "2", fake.Script{Latency: ms(8)})
	for _, source := range []string{file, "version:1"} {
		status, out, errs := s.plancast("run", "--config.file", s.File(), "--baseline", source, "--format", "markdown", "--junit", junit)
		if status != exitMissed || !strings.HasPrefix(out, "❌ **Regressed against ") || !strings.Contains(strings.SplitN(out, "\n", 2)[0], "net fp32 P99 latency up 100 %") ||
			!strings.Contains(out, "- gate: p99 &lt;= base + 10 % of net fp32 is missed") {
			t.Errorf("%s: status %d\n%s%s", source, status, out, errs)
		}
		for _, line := range strings.Split(strings.Split(out, "## ")[0], "\n") {
			if n := strings.Count(line, "|") - strings.Count(line, `\|`); strings.HasPrefix(line, "|") && n > 9 {
				t.Errorf("%d columns: %s", n-1, line)
			}
		}
	}
	text, err := os.ReadFile(junit)
	var suites struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Errors   int `xml:"errors,attr"`
	}
	if err == nil {
		err = xml.Unmarshal(text, &suites)
	}
	if err != nil || suites.Tests != 1 || suites.Failures != 1 || suites.Errors != 0 {
		t.Errorf("%v, %+v: %s", err, suites, text)
	}
	s.Push("net", "3", fake.Script{Latency: ms(4)})
	if status, out, _ := s.plancast("run", "--config.file", s.File(), "--baseline", file); status != exitOK || !strings.HasPrefix(out, "No measurable change against ") {
		t.Errorf("status %d\n%s", status, out)
	}
	if status, out, _ := s.plancast("run", "--config.file", s.File(), "--baseline", file, "--format", "json"); status != exitOK || !strings.Contains(out, `"baseline": {`) {
		t.Errorf("status %d\n%s", status, out)
	}
	if status, _, errs := s.plancast("run", "--config.file", s.File(), "--baseline", "nowhere.json"); status != exitError || !strings.Contains(errs, "name a file, a URL") {
		t.Errorf("status %d, %s", status, errs)
	}
	if _, out, _ := s.plancast("check", "--config.file", s.File()); !strings.Contains(out, "gate: p99 <= base + 10 % (with --baseline) by the best engine") {
		t.Errorf("%s", out)
	}
}

func TestRunHeldToAMilestone(t *testing.T) {
	s := newSite(t, "milestones:\n  - {name: spring, criteria: [\"p99 < 5ms\"], horizon: 3}\n")
	s.Push("net", "1", fake.Script{Latency: ms(40)})
	run := func(gate string) (int, string) {
		status, out, errs := s.plancast("run", "--config.file", s.File(), "--gate", gate)
		return status, out + errs
	}
	for gate, says := range map[string]string{
		"milestone autumn >= 60%": `the configuration has no milestone "autumn"`,
		"spring >= 60%":           "is not a gate", "milestone spring >= 160%": "is not a probability", "milestone spring >= 6ms": "gate",
	} {
		if status, out := run(gate); status != exitError || !strings.Contains(out, says) {
			t.Errorf("%s: status %d, %s; want %q", gate, status, out, says)
		}
	}
	for i, latency := range []float64{38, 36, 34, 33, 32.5} {
		s.Push("net", string(rune('2'+i)), fake.Script{Latency: ms(latency)})
	}
	if status, out := run("milestone spring >= 60%"); status != exitMissed || !strings.Contains(out, "Gate: milestone spring >= 60 %: missed") {
		t.Errorf("status %d, %s", status, out)
	}
	s.Push("net", "7", fake.Script{Latency: ms(4)})
	if status, out := run("milestone spring >= 60%"); status != exitOK || !strings.Contains(out, "it is met") {
		t.Errorf("status %d, %s", status, out)
	}
}
