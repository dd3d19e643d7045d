package pass

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

var ann = history.Author{Who: "ann", Because: "a backup ran", At: time.Unix(1, 0)}

// counting are the records that count, as "version precision", in order.
func counting(t *testing.T, r *Runner) (out []string) {
	t.Helper()
	for e, err := range r.Store.Entries(t.Context(), history.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Counts() {
			out = append(out, fmt.Sprint(e.ID, ": ", e.Version, " ", e.Precision))
		}
	}
	return out
}

func TestWhatIsMeasuredAgain(t *testing.T) {
	both := []engine.Precision{engine.FP32, engine.INT8}
	for _, c := range []struct {
		name  string
		again Again
		want  string // the records that count; 1 to 6 are those of before
		says  string
	}{
		{"the newest version", Again{}, "1: 1 fp32, 2: 1 int8, 3: 2 fp32, 4: 2 int8, 7: 3 fp32, 8: 3 int8", ""},
		{"an older version, beyond the backlog", Again{Version: "1"}, "3: 2 fp32, 4: 2 int8, 5: 3 fp32, 6: 3 int8, 7: 1 fp32, 8: 1 int8", ""},
		{"one precision of a version", Again{Version: "2", Precision: engine.INT8}, "1: 1 fp32, 2: 1 int8, 3: 2 fp32, 5: 3 fp32, 6: 3 int8, 7: 2 int8", ""},
		{"a version that is not there", Again{Version: "9"}, "1: 1 fp32, 2: 1 int8, 3: 2 fp32, 4: 2 int8, 5: 3 fp32, 6: 3 int8", "no selected model has a version 9 to measure"},
		{"no model", Again{Models: func(string) bool { return false }}, "1: 1 fp32, 2: 1 int8, 3: 2 fp32, 4: 2 int8, 5: 3 fp32, 6: 3 int8", "no selected model"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &machine{gpus: []engine.Environment{h100}}
			r := runner(t, m, func(c *config.Config) { c.Precisions = both }, map[string][]string{"net": {"1", "2", "3"}})
			if err := r.Once(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			o := r.Options
			o.Config.Repository.Backlog = 0
			c.again.By = ann
			o.Again = []Again{c.again}
			err := New(o, records(t, r)).Once(t.Context(), nil)
			if said := fmt.Sprint(err); (err != nil) != (c.says != "") || !strings.Contains(said, c.says) {
				t.Errorf("error %q; want %q", said, c.says)
			}
			if got := strings.Join(counting(t, r), ", "); got != c.want {
				t.Errorf("these count: %s\nwant:        %s", got, c.want)
			}
			trail, err := r.Store.Audit(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if n := len(records(t, r)) - 6; len(trail) != n {
				t.Errorf("%d lines in the trail for %d results", len(trail), n)
			}
			for _, line := range trail {
				if line.Action != history.ActionAgain || line.Who != "ann" || line.Because != ann.Because || line.At.Equal(ann.At) {
					t.Errorf("line %+v", line)
				}
			}
			// Nothing is done again by itself, and a new candidate follows the newest.
			done := len(m.jobs)
			push(t, r, "net", "4")
			o.Again = nil
			if err := New(o, records(t, r)).Once(t.Context(), nil); err != nil || len(m.jobs) != done+2 {
				t.Fatalf("%d jobs after, %v", len(m.jobs)-done, err)
			}
			if j := m.jobs[done]; j.Version != "4" || j.PreviousVersion != "3" {
				t.Errorf("version %s is compared with version %s", j.Version, j.PreviousVersion)
			}
		})
	}
}

// A candidate that is measured again takes turns with the version before it, as
// it did the first time, and not with itself or with a newer one.
func TestWhatIsMeasuredAgainIsComparedWithTheVersionBefore(t *testing.T) {
	m := &machine{}
	r := runner(t, m, oneEngine, map[string][]string{"net": {"1"}})
	partnersOf(t, r, m, "1", "2", "3")
	for version, before := range map[string]string{"1": "", "2": "1", "3": "2"} {
		o := r.Options
		o.Again = []Again{{Version: version, By: ann}}
		done := len(m.jobs)
		if err := New(o, records(t, r)).Once(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if len(m.jobs) != done+1 {
			t.Fatalf("version %s: %d jobs", version, len(m.jobs)-done)
		}
		j := m.jobs[done]
		switch {
		case j.Version != version || j.PreviousVersion != before:
			t.Errorf("version %s is compared with the layers of %q; want %q", j.Version, j.PreviousVersion, before)
		case before != "" && (j.Partner == nil || j.Partner.Version != before || j.Partner.ModelPath == ""):
			t.Errorf("version %s takes turns with %+v; want version %s, rebuilt", version, j.Partner, before)
		}
	}
}

// A failure does not take the place of a result, and is not tried again for it.
func TestAFailedRepetitionLeavesTheResult(t *testing.T) {
	m := &machine{gpus: []engine.Environment{h100}}
	r := runner(t, m, oneEngine, map[string][]string{"net": {"1"}})
	if err := r.Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	m.failure = engine.Errorf(engine.KindTimeout, "measure", "", "no")
	o := r.Options
	o.Again = []Again{{By: ann}}
	if err := New(o, records(t, r)).Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if got := counting(t, r); len(got) != 1 || got[0] != "1: 1 fp32" {
		t.Errorf("these count: %q", got)
	}
	o.Again, o.Config.Worker.Timeout = nil, 2*o.Config.Worker.Timeout
	for name, known := range map[string][]history.Record{"of a long history": nil, "of records at hand": records(t, r)} {
		p, err := New(o, known).Plan(t.Context(), nil)
		if err != nil || len(p.Jobs) != 0 || len(p.Failed) != 0 {
			t.Errorf("%s: plan %+v, %v", name, p.Jobs, err)
		}
	}
}

func TestTwoWhoWantTheSameAgainGetOneResult(t *testing.T) {
	r := runner(t, &machine{gpus: []engine.Environment{h100}}, oneEngine, map[string][]string{"net": {"1"}})
	if err := r.Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	o := r.Options
	o.Again = []Again{{By: ann}, {Models: func(name string) bool { return name == "net" }, Version: "1", By: ann}}
	if err := New(o, records(t, r)).Once(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if got := counting(t, r); len(got) != 1 || got[0] != "2: 1 fp32" {
		t.Errorf("these count: %q", got)
	}
}

// Any two versions can take turns: the older one with the newer one as well.
func TestWhatIsMeasuredAgainstAnotherVersionTakesTurnsWithIt(t *testing.T) {
	m := &machine{}
	r := runner(t, m, oneEngine, map[string][]string{"net": {"1"}})
	partnersOf(t, r, m, "1", "2", "3")
	for version, against := range map[string]string{"3": "1", "1": "3"} {
		o := r.Options
		o.Again = []Again{{Version: version, Against: against, By: ann}}
		done := len(m.jobs)
		if err := New(o, records(t, r)).Once(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if p := m.jobs[done].Partner; len(m.jobs) != done+1 || p == nil || p.Version != against || p.ModelPath == "" {
			t.Errorf("version %s takes turns with %+v; want version %s, rebuilt", version, p, against)
		}
	}
}
