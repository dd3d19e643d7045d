package pass

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/worker"
)

// ofRecords are the candidates that were measured, as "version: iteration", in the
// order of their records.
func ofRecords(t *testing.T, r *Runner) string {
	t.Helper()
	var out []string
	for _, rec := range records(t, r) {
		out = append(out, fmt.Sprintf("%s: %d", rec.Version, rec.Iteration))
	}
	return strings.Join(out, ", ")
}

// fourVersions makes a runner over a model that has four versions when it is first
// seen, with a backlog of none.
func fourVersions(t *testing.T, m *machine, change func(*config.Config)) *Runner {
	return runner(t, m, func(c *config.Config) {
		oneEngine(c)
		change(c)
	}, map[string][]string{"net": {"1", "2", "3", "4"}})
}

func TestTheVersionsOfAModelThatIsFirstSeenAreItsHistory(t *testing.T) {
	m := &machine{}
	r := fourVersions(t, m, func(c *config.Config) { c.Repository.Import = config.ImportAll })
	pass := func(want string) {
		t.Helper()
		if err := New(r.Options, records(t, r)).Once(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if got := ofRecords(t, r); got != want {
			t.Errorf("%s; want %s", got, want)
		}
	}
	pass("1: 1, 2: 2, 3: 3, 4: 4")
	push(t, r, "net", "5")
	pass("1: 1, 2: 2, 3: 3, 4: 4, 5: 5")
	// In another environment they are not a history that nobody has.
	r.Config.Benchmark.Seed++
	r.Config.Remeasure = 0
	pass("1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 5: 1")
}

// Versions that were skipped get their place in the order when a backlog, or an
// import, takes them later.
func TestSkippedVersionsComeBeforeTheNewest(t *testing.T) {
	for name, c := range map[string]struct {
		later func(*config.Config)
		want  string
	}{
		"a backlog":          {func(c *config.Config) { c.Repository.Backlog = 100 }, "4: 4, 5: 5, 1: 1, 2: 2, 3: 3"},
		"a short backlog":    {func(c *config.Config) { c.Repository.Backlog = 2 }, "4: 4, 5: 5, 3: 1"},
		"an import":          {func(c *config.Config) { c.Repository.Import = config.ImportAll }, "4: 4, 5: 5, 1: 1, 2: 2, 3: 3"},
		"neither of the two": {func(*config.Config) {}, "4: 4, 5: 5"},
	} {
		r := fourVersions(t, &machine{}, func(*config.Config) {})
		if err := r.Once(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		push(t, r, "net", "5")
		if err := New(r.Options, records(t, r)).Once(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		c.later(&r.Options.Config)
		if err := New(r.Options, records(t, r)).Once(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if got := ofRecords(t, r); got != c.want {
			t.Errorf("%s: %s; want %s", name, got, c.want)
		}
	}
}

// What is interrupted goes on where it was, in the same order.
func TestAnImportThatWasInterruptedGoesOn(t *testing.T) {
	m := &machine{}
	r := fourVersions(t, m, func(c *config.Config) { c.Repository.Import = config.ImportAll })
	ctx, stop := context.WithCancel(t.Context())
	m.do = func(_ context.Context, req worker.Request) {
		if req.Job.Version == "2" {
			stop() // it is still recorded
		}
	}
	if err := r.Once(ctx, nil); err == nil {
		t.Fatal("it was not interrupted")
	}
	m.do = nil
	if err := New(r.Options, records(t, r)).Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := ofRecords(t, r); got != "1: 1, 2: 2, 3: 3, 4: 4" {
		t.Errorf("%s", got)
	}
}
