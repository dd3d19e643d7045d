package standing

import (
	"fmt"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/forecast"
)

// agree checks what every state owes its readers.
func agree(t testing.TB, s *State) {
	t.Helper()
	for _, m := range s.Milestones {
		switch {
		case m.Met != (m.State == forecast.Met):
			t.Errorf("milestone %s: met is %v and the state %s", m.Name, m.Met, m.State)
		case m.Met != (m.ModelsTotal > 0 && m.ModelsReady >= m.ModelsNeeded):
			t.Errorf("milestone %s: met is %v with %d of %d ready, %d needed", m.Name, m.Met, m.ModelsReady, m.ModelsTotal, m.ModelsNeeded)
		case m.ModelsReady+len(m.Missing) != m.ModelsTotal:
			t.Errorf("milestone %s: %d ready and %d missing are not %d", m.Name, m.ModelsReady, len(m.Missing), m.ModelsTotal)
		case m.Forecast == nil:
			if m.ModelsTotal > 0 {
				t.Errorf("milestone %s of %d models has no forecast", m.Name, m.ModelsTotal)
			}
		case m.Forecast.Met != m.Met || m.Forecast.State != m.State || m.ModelsTotal > 1 && (m.Forecast.ModelsReady != m.ModelsReady || m.Forecast.ModelsTotal != m.ModelsTotal):
			t.Errorf("milestone %s: met %v, %s, %d of %d ready; the forecast says %v, %s, %d of %d", m.Name, m.Met, m.State, m.ModelsReady, m.ModelsTotal,
				m.Forecast.Met, m.Forecast.State, m.Forecast.ModelsReady, m.Forecast.ModelsTotal)
		case m.Met != (m.Forecast.Probability != nil && m.Forecast.Probability.Value == 1):
			t.Errorf("milestone %s: met is %v with a probability of %v", m.Name, m.Met, m.Forecast.Probability)
		}
	}
}

func derived(t testing.TB, e Evidence) *State {
	t.Helper()
	s, err := Derive(e)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, s)
	return s
}

func TestTheEnvironmentThatCountsIsThatOfTheConfigurationAndMachine(t *testing.T) {
	for _, c := range []struct {
		name        string
		write       func(*diary)
		fingerprint string // of the current configuration and machine
		counts      string
		ready       int
		status      Status
	}{
		{
			"the first build after an upgrade fails",
			func(d *diary) {
				d.add("m", 1, engine.FP32, "old", p99(0.04, 0))
				d.add("m", 1, engine.FP32, "new", failure(engine.KindBuildFailed))
			},
			"new", "new", 0, StatusFailed,
		},
		{
			"the first build after an upgrade fails, and the machine is unknown",
			func(d *diary) {
				d.add("m", 1, engine.FP32, "old", p99(0.04, 0))
				d.add("m", 1, engine.FP32, "new", failure(engine.KindBuildFailed))
			},
			"", "old", 1, StatusMet,
		},
		{
			"nothing was measured since an upgrade",
			func(d *diary) { d.add("m", 1, engine.FP32, "old", p99(0.04, 0)) },
			"new", "old", 1, StatusMet,
		},
		{
			"a wrong configuration failed, and is right again",
			func(d *diary) {
				d.add("m", 1, engine.FP32, "right", p99(0.04, 0))
				d.add("m", 1, engine.FP32, "wrong", failure(engine.KindInvalidInput))
			},
			"right", "right", 1, StatusMet,
		},
		{
			"a driver was taken back",
			func(d *diary) {
				d.add("m", 1, engine.FP32, "old", p99(0.04, 0))
				d.add("m", 1, engine.FP32, "new", p99(0.09, 0))
			},
			"old", "old", 1, StatusMet,
		},
		{
			"only failures, in two environments",
			func(d *diary) {
				d.add("m", 1, engine.FP32, "old", failure(engine.KindTimeout))
				d.add("m", 1, engine.FP32, "new", failure(engine.KindCrashed))
			},
			"", "new", 0, StatusFailed,
		},
		{
			"an earlier candidate was measured last, and the machine is unknown",
			func(d *diary) {
				d.add("m", 2, engine.FP32, "old", p99(0.04, 0))
				d.add("m", 1, engine.FP32, "new", p99(0.09, 0))
				d.add("m", 1, engine.FP32, "old", p99(0.09, 0))
			},
			"", "old", 1, StatusMet,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d diary
			c.write(&d)
			s := derived(t, Evidence{
				Now: day(3), Records: d.records, Milestones: []config.Milestone{launch(config.Best, fast)},
				Models: []Held{{Name: "m", Precisions: both[:1], Fingerprint: c.fingerprint}},
			})
			m := s.Models[0]
			if m.Series.Fingerprint != c.counts || s.Milestones[0].ModelsReady != c.ready || m.Status != c.status {
				t.Errorf("environment %s, %d ready, status %s; want %s, %d, %s", m.Series.Fingerprint, s.Milestones[0].ModelsReady, m.Status, c.counts, c.ready, c.status)
			}
		})
	}
}

// two models, of which only a is far from the target.
func twoModels() *diary {
	var d diary
	for i := range 12 {
		d.add("a", i+1, engine.FP32, "f", p99(0.09-0.002*float64(i), 0))
		d.add("b", i+1, engine.FP32, "f", p99(0.3-0.001*float64(i), 0))
	}
	return &d
}

func TestAModelThatIsListedAndMissingCountsAsNotReady(t *testing.T) {
	d := twoModels()
	whole := Evidence{
		Now: day(13), Records: d.records, Models: []Held{{Name: "a", Precisions: both[:1]}, {Name: "b", Precisions: both[:1]}},
		Milestones: []config.Milestone{launch(config.Best, fast)},
		Targets:    []config.Target{{Name: "gate", Select: config.Select{Models: []string{"a", "b"}, Precision: config.Best}, Criteria: []forecast.Criterion{fast}}},
	}
	whole.Milestones[0].Models = []string{"a", "b"}
	before := derived(t, whole).Milestones[0]
	less := whole
	less.Models = whole.Models[:1]
	s := derived(t, less)
	m := s.Milestones[0]
	if m.ModelsTotal != 2 || m.ModelsNeeded != 2 || len(m.Missing) != 2 || m.Missing[1].Reason != Absent {
		t.Errorf("%d models, %d needed, missing %+v", m.ModelsTotal, m.ModelsNeeded, m.Missing)
	}
	if before.Forecast.Probability == nil || m.Forecast.Probability != nil || m.State != forecast.InsufficientData {
		t.Errorf("with b the probability is %v; without it %v, state %s; want it unknown", before.Forecast.Probability, m.Forecast.Probability, m.State)
	}
	want := []Absence{
		{Kind: KindTarget, Threshold: "gate", Model: "b", Listed: true},
		{Kind: KindMilestone, Threshold: "launch", Model: "b", Listed: true, Counts: true},
	}
	if fmt.Sprint(s.Absences) != fmt.Sprint(want) {
		t.Errorf("absent %+v; want %+v", s.Absences, want)
	}
	less.Unread = true
	if s := derived(t, less); len(s.Absences) > 0 {
		t.Errorf("before the repository was read: %+v", s.Absences)
	}
}

func TestAPatternKeepsTheModelsThatItMatched(t *testing.T) {
	d := twoModels()
	left := day(12)
	for _, c := range []struct {
		name  string
		left  map[string]time.Time
		now   time.Time
		total int
	}{
		{"it left just now", nil, day(13), 2},
		{"it left a while ago", map[string]time.Time{"b": left}, left.Add(Keep - time.Hour), 2},
		{"it left long ago", map[string]time.Time{"b": left}, left.Add(Keep), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := derived(t, Evidence{
				Now: c.now, Records: d.records, Models: []Held{{Name: "a", Precisions: both[:1]}}, Left: c.left,
				Milestones: []config.Milestone{launch(config.Best, fast)},
			})
			if m := s.Milestones[0]; m.ModelsTotal != c.total {
				t.Errorf("%d models count; want %d", m.ModelsTotal, c.total)
			}
			if len(s.Absences) != 1 || s.Absences[0].Model != "b" || s.Absences[0].Counts != (c.total == 2) {
				t.Errorf("absent %+v", s.Absences)
			}
		})
	}
}

func TestFullRecordsAreAtHandOfWhatIsShown(t *testing.T) {
	var d diary
	for i := range 30 {
		d.add("m", i+1, engine.FP32, "f", p99(0.09, 0))
		d.add("m", i+1, engine.INT8, "f", failure(engine.KindTimeout))
	}
	d.add("m", 31, engine.FP32, "f", failure(engine.KindTimeout))
	m := derived(t, Evidence{Now: day(40), Records: d.records, Models: []Held{{Name: "m", Precisions: both}}}).Models[0]
	for e := range m.Current.Entries() {
		if _, ok := m.Record(e); !ok {
			t.Errorf("record %d of the newest candidate is not at hand", e.ID)
		}
	}
	good, _ := m.Series.LastGood(engine.FP32)
	if r, ok := m.Record(good); !ok || r.Version != "30" {
		t.Errorf("the last good result is %+v, %v", r, ok)
	}
	if len(m.records) > 3 {
		t.Errorf("%d full records are held", len(m.records))
	}
	if m.Totals.Measured != 30 || m.Totals.Failed[engine.KindTimeout] != 31 {
		t.Errorf("totals %+v", m.Totals)
	}
}

func TestATrackerDerivesWhatDeriveDoes(t *testing.T) {
	d := twoModels()
	d.add("a", 3, engine.INT8, "g", failure(engine.KindTimeout))
	e := Evidence{Now: day(14), Models: []Held{{Name: "a", Precisions: both}, {Name: "b", Precisions: both[:1]}}, Milestones: []config.Milestone{launch(config.Best, fast)}}
	var tracker Tracker
	for i, r := range d.records {
		tracker.Add(r)
		grown, err := tracker.Derive(e)
		if err != nil {
			t.Fatal(err)
		}
		e.Records = d.records[:i+1]
		if got, want := describe(grown), describe(derived(t, e)); got != want {
			t.Fatalf("after record %d\n got %s\nwant %s", r.ID, got, want)
		}
	}
}

// describe writes a state down as far as two derivations can differ.
func describe(s *State) string {
	out := fmt.Sprintf("%v %v\n", s.Gone, s.Absences)
	for _, m := range s.Models {
		out += fmt.Sprintf("%s %s %s %+v %v\n", m.Name, m.Status, m.Series.Fingerprint, m.Totals, len(m.records))
		for _, v := range m.Verdicts {
			out += fmt.Sprintf("  %s %s %s\n", v.Threshold.Name, v.Outcome, v.Reason)
		}
	}
	for _, m := range s.Milestones {
		out += fmt.Sprintf("%s %v %d/%d/%d %s", m.Name, m.Met, m.ModelsReady, m.ModelsNeeded, m.ModelsTotal, m.State)
		if f := m.Forecast; f != nil {
			out += fmt.Sprintf(" %v %v %s", f.Probability, f.WeekAgo != nil, f.Summary)
		}
		out += "\n"
	}
	return out
}
