package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/engine/fake"
)

func TestCompareCommand(t *testing.T) {
	s := newSite(t, launchTarget)
	s.Push("net", "1", fake.Script{Latency: ms(10)})
	s.Push("net", "2", fake.Script{Latency: ms(4)})
	s.plancast("run", "--config.file", s.File())
	for _, args := range []string{"1 2", "base newest", "version:1 version:2 --model net --precision fp32", "1 best"} {
		status, out, errs := s.plancast(append([]string{"compare", "--config.file", s.File()}, strings.Fields(args)...)...)
		if status != exitOK || !strings.HasPrefix(out, "net fp32, version 2 (ID 2) against version 1 (ID 1): improved\n") || !strings.Contains(out, "down 60 %") {
			t.Errorf("%s: status %d\n%s%s", args, status, out, errs)
		}
	}
	if _, out, _ := s.plancast("compare", "--config.file", s.File(), "2", "1", "--format", "markdown"); !strings.HasPrefix(out, "❌ **net fp32, version 1 (ID 1) against version 2 (ID 2): regressed**\n") {
		t.Errorf("%s", out)
	}
	file := filepath.Join(s.Dir, "comparison.json")
	s.plancast("compare", "--config.file", s.File(), "1", "2", "--format", "json", "--output", file)
	text, err := os.ReadFile(file)
	var list []compare.Result
	if err == nil {
		err = json.Unmarshal(text, &list)
	}
	if err != nil || len(list) != 1 || list[0].Verdict != compare.Improved || !list[0].Paired {
		t.Errorf("%v: %s", err, text)
	}
	s.Push("other", "1", fake.Script{})
	s.plancast("run", "--config.file", s.File())
	for args, says := range map[string]string{
		"base newest":                   "the history has several models: name one with --model",
		"1 best":                        "", // the ID says which
		"1 99":                          "no such record",
		"oldest 1":                      "does not name a result",
		"1 2 --precision int8":          "no int8 result to compare: they have [fp32] and [fp32]",
		"base newest --model other":     "has no result that base names",
		"base newest --model nowhere":   `no results for model "nowhere"`,
		"version:1 newest --model none": `no results for model "none"`,
	} {
		status, _, errs := s.plancast(append([]string{"compare", "--config.file", s.File()}, strings.Fields(args)...)...)
		if want := says != ""; (status == exitError) != want || !strings.Contains(errs, says) {
			t.Errorf("%s: status %d, %s; want %q", args, status, errs, says)
		}
	}
}
