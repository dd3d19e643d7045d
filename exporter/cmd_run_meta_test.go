package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine/fake"
)

// --meta is about what a run measures, and outweighs change.yml.
func TestARunSaysWhatTheChangeWas(t *testing.T) {
	s := newSite(t, launchTarget)
	s.Push("net", "1", fake.Script{Latency: ms(4)})
	if status, _, stderr := s.plancast("run", "--config.file", s.File()); status != exitOK {
		t.Fatalf("run: %d %s", status, stderr)
	}
	s.Push("net", "2", fake.Script{Latency: ms(3)})
	s.Change("net", "2", "author: Ann\nbranch: main", 0)
	status, out, stderr := s.plancast("run", "--config.file", s.File(), "--meta", "branch=int8", "--meta", "kinds=quantization,fusion", "--meta", "ticket=ML-7")
	if status != exitOK || !strings.Contains(out, "What changed: quantization, fusion by Ann (on int8)") {
		t.Errorf("run --meta: %d %s%s", status, out, stderr)
	}
	if got, want := s.Changes(), []string{"", "quantization, fusion by Ann (on int8)"}; !slices.Equal(got, want) {
		t.Errorf("changes %q; want %q", got, want)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"history", "list", "--author=Ann"}, "net    2"},
		{[]string{"history", "list", "--kind=fusion", "--branch=int8"}, "net    2"},
		{[]string{"history", "list", "--branch=main"}, "No records match"},
		{[]string{"history", "show", "2"}, `"ticket": "ML-7"`},
		{[]string{"history", "export", "--format=csv"}, `,int8,Ann,,"quantization, fusion"`},
		{[]string{"run", "--meta", "kinds=magic"}, `--meta kinds: "magic" is not a kind of change`},
		{[]string{"run", "--meta", "token=x"}, "--meta token: looks like a secret"},
	} {
		_, out, stderr := s.plancast(append(c.args, "--config.file", s.File())...)
		if all := out + stderr; !strings.Contains(all, c.want) || strings.Contains(all, "net    1") {
			t.Errorf("plancast %v lacks %q:\n%s", c.args, c.want, all)
		}
	}
}
