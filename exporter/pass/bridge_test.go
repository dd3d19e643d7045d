package pass

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// upgraded measures each version as it comes, then upgrades the driver.
func upgraded(t *testing.T, m *machine, change func(*config.Config), versions ...string) *Runner {
	t.Helper()
	m.gpus = []engine.Environment{h100}
	r := runner(t, m, func(c *config.Config) {
		oneEngine(c)
		if change != nil {
			change(c)
		}
	}, map[string][]string{"net": versions[:1]})
	for _, v := range versions {
		put(t, r, "net", v, "net"+v)
		again(t, r)
	}
	m.gpus = []engine.Environment{h100}
	m.gpus[0].Driver = "590"
	m.jobs, r.Chosen = nil, &Chosen{}
	return r
}

// again makes a pass as a daemon does that has just started.
func again(t *testing.T, r *Runner) {
	t.Helper()
	if err := New(r.Options, records(t, r)).Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

// measured lists the jobs that were done: "6(+5)" is version 6 in turns with version 5.
func measured(m *machine) (out []string) {
	for _, j := range m.jobs {
		text := j.Version
		if p := j.Partner; p != nil {
			text += fmt.Sprintf("(+%s)", p.Version)
			if p.Rebuild {
				text = j.Version + "(rebuild)"
			}
		}
		out = append(out, text)
	}
	return out
}

// iterations are those of the environment of the newest record, by version.
func iterations(t *testing.T, r *Runner) map[string]int {
	t.Helper()
	out := map[string]int{}
	all := records(t, r)
	for _, rec := range all {
		if rec.Model == "net" && rec.Fingerprint == all[len(all)-1].Fingerprint {
			out[rec.Version] = rec.Iteration
		}
	}
	return out
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestAfterAnUpgradeTheNewestCandidatesAreMeasuredAgain(t *testing.T) {
	m := &machine{}
	r := upgraded(t, m, nil, "1", "2", "3", "4", "5", "6", "7")
	again(t, r)
	equal(t, "jobs", measured(m), []string{"7", "3", "4(+3)", "5(+4)", "6(+5)"})
	equal(t, "iterations", iterations(t, r), map[string]int{"3": 1, "4": 2, "5": 3, "6": 4, "7": 5})
	again(t, r)
	put(t, r, "net", "8", "net8")
	m.jobs = nil
	again(t, r)
	equal(t, "jobs of the next candidate", measured(m), []string{"8(+7)"})
	equal(t, "its iteration", iterations(t, r)["8"], 6)
}

// A new candidate goes first, whoever waits, and what was measured before it becomes
// its history all the same.
func TestANewCandidateGoesFirstAfterAnUpgrade(t *testing.T) {
	m := &machine{}
	r := upgraded(t, m, func(c *config.Config) { c.Remeasure = 2 }, "1", "2", "3")
	put(t, r, "net", "4", "net4")
	put(t, r, "other", "1", "other1")
	again(t, r)
	equal(t, "jobs", measured(m), []string{"4(+3)", "1(rebuild)", "2", "3(+2)"})
	equal(t, "iterations", iterations(t, r), map[string]int{"2": 1, "3": 2, "4": 3})
}

func TestABridgeThatWasInterruptedGoesOn(t *testing.T) {
	m := &machine{}
	r := upgraded(t, m, nil, "1", "2", "3")
	plan, err := New(r.Options, records(t, r)).Plan(t.Context(), nil)
	if err != nil || len(plan.Jobs) != 3 || plan.Jobs[0].Bridge || !plan.Jobs[1].Bridge || plan.Jobs[1].Candidate.Version != "1" {
		t.Fatalf("%+v, %v", plan.Jobs, err)
	}
	for _, j := range plan.Jobs {
		if _, found := plan.Scan.Find("net", j.Candidate.Version); !found {
			t.Errorf("the plan's scan lacks version %s, which is measured", j.Candidate.Version)
		}
	}
	for _, left := range [][]string{{"3", "1"}, {"2(+1)"}} {
		m.jobs = nil
		ctx, cancel := context.WithCancel(t.Context())
		n := New(r.Options, records(t, r))
		n.Observe = &interruption{left: len(left), cancel: cancel}
		_ = n.Once(ctx, nil) // it was interrupted
		cancel()
		equal(t, "jobs", measured(m), left)
	}
	equal(t, "iterations", iterations(t, r), map[string]int{"1": 1, "2": 2, "3": 3})
}

// interruption ends a pass once left records are written.
type interruption struct {
	quiet
	left   int
	cancel func()
}

func (i *interruption) Recorded(history.Record) {
	if i.left--; i.left == 0 {
		i.cancel()
	}
}

func TestWhatABridgeLeavesOut(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*config.Config)
		before func(t *testing.T, r *Runner) // the pass after the upgrade
		want   []string
	}{
		"nothing":                                {nil, nil, []string{"4", "1", "2(+1)", "3(+2)"}},
		"all, when it is switched off":           {func(c *config.Config) { c.Remeasure = 0 }, nil, []string{"4"}},
		"all but the newest few":                 {func(c *config.Config) { c.Remeasure = 2 }, nil, []string{"4", "3"}},
		"a version that the repository lost":     {nil, func(t *testing.T, r *Runner) { remove(t, r, "2") }, []string{"4", "1", "3(+1)"}},
		"a version that is another file now":     {nil, func(t *testing.T, r *Runner) { put(t, r, "net", "2", "another") }, []string{"4", "1", "3(+1)"}},
		"a result that was excluded":             {nil, exclude("2"), []string{"4", "1", "3(+1)"}},
		"versions that the backlog asks for":     {func(c *config.Config) { c.Repository.Backlog = 1 }, nil, []string{"3", "4(+3)", "1", "2(+1)"}},
		"a return to an environment that has it": {nil, func(t *testing.T, r *Runner) { again(t, r) }, []string{"4", "1", "2(+1)", "3(+2)"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := &machine{}
			r := upgraded(t, m, c.change, "1", "2", "3", "4")
			if c.before != nil {
				c.before(t, r)
			}
			again(t, r)
			equal(t, "jobs", measured(m), c.want)
		})
	}
}

func remove(t *testing.T, r *Runner, version string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(r.Config.Repository.URL, "net", version)); err != nil {
		t.Fatal(err)
	}
}

func exclude(version string) func(*testing.T, *Runner) {
	return func(t *testing.T, r *Runner) {
		if _, err := r.Store.Exclude(t.Context(), history.Filter{Model: "net", Version: version}, history.Author{Who: "ann", Because: "noise", At: r.Now()}); err != nil {
			t.Fatal(err)
		}
	}
}

// An idle daemon asks the history once.
func TestABridgeThatIsDoneIsRemembered(t *testing.T) {
	m := &machine{}
	r := upgraded(t, m, nil, "1", "2")
	again(t, r)
	again(t, r)
	if r.Chosen.bridged["net"] == "" {
		t.Errorf("%v", r.Chosen.bridged)
	}
}
