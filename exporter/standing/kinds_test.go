package standing_test

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/gains"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
)

// step is a candidate with its P99 by precision, in seconds; 0 is not supported,
// and less fails.
type step struct {
	kinds     []change.Kind
	p99       map[engine.Precision]float64
	disturbed bool
}

// stepwise is the evidence of models that took steps.
func stepwise(models map[string][]step, targets ...config.Target) standing.Evidence {
	b := reporttest.NewBuilder(reporttest.Now.AddDate(0, -1, 0))
	e := standing.Evidence{Now: reporttest.Now, Targets: targets}
	for name, steps := range models {
		held := standing.Held{Name: name, Precisions: slices.Collect(maps.Keys(steps[len(steps)-1].p99))}
		for i, s := range steps {
			version := fmt.Sprint(i + 1)
			held.Versions = append(held.Versions, standing.Version{Version: version, Digest: reporttest.Digest(name, version), State: standing.Accepted})
			for _, p := range engine.Precisions {
				v, ok := s.p99[p]
				if !ok {
					continue
				}
				b.Add(name, version, i+1, p, reporttest.Environment("1"), func(r *history.Record) {
					switch {
					case v == 0:
						reporttest.Unsupported(r)
					case v < 0:
						reporttest.Failed(engine.Error{Kind: engine.KindInvalidInput, Op: "build", Message: "no calibration data"})(r)
					default:
						reporttest.Measured(v)(r)
					}
					if s.disturbed {
						reporttest.Disturbed(r)
					}
					if s.kinds != nil {
						r.Change = &change.Change{Kinds: s.kinds}
					}
				})
			}
		}
		e.Models = append(e.Models, held)
	}
	e.Records = b.Records
	return e
}

func at(fp32 float64, others ...float64) map[engine.Precision]float64 {
	m := map[engine.Precision]float64{engine.FP32: fp32}
	for i, v := range others {
		m[[]engine.Precision{engine.INT8, engine.FP16}[i]] = v
	}
	return m
}

func TestWhatKindsOfChangesBringIsLearnedFromAllModels(t *testing.T) {
	fusion, pruning := []change.Kind{change.Fusion}, []change.Kind{change.Pruning}
	s := reporttest.State(stepwise(map[string][]step{
		// int8 halves it twice; fusion brings 20 % at both precisions, in one candidate.
		"a": {{nil, at(0.100, 0.050), false}, {fusion, at(0.080, 0.040), false}},
		// A change of two kinds says nothing of either, and what was disturbed nothing at all.
		"b": {{nil, at(0.100), false}, {append(fusion, pruning...), at(0.010), false}, {pruning, at(0.009), true}, {fusion, at(0.005), false}, {fusion, at(0.0045), false}},
		// int8 is not supported, the first candidate has nothing before it.
		"c": {{pruning, at(0.100, 0), false}},
	}))
	want := map[gains.Kind]struct {
		models int
		best   float64
	}{
		"int8":                    {1, 0.5},
		gains.Kind(change.Fusion): {2, 0.8},
	}
	if len(s.Gains) != len(want) {
		t.Errorf("gains %+v", s.Gains)
	}
	for _, g := range s.Gains {
		if w := want[g.Kind]; g.Models != w.models || math.Abs(g.Best-w.best) > 1e-9 {
			t.Errorf("%s: %d models, best %v; want %+v", g.Kind, g.Models, g.Best, w)
		}
	}
}

func TestRoomIsWhatHelpedOthersAndWasNotTriedHere(t *testing.T) {
	models := map[string][]step{
		"slow":   {{nil, at(0.100), false}},
		"tried":  {{nil, at(0.100, 0), false}}, // int8 is not supported there
		"failed": {{nil, at(0.100, -1), false}},
		"met":    {{nil, at(0.010), false}},
	}
	for i, ratio := range []float64{0.4, 0.5, 0.6} {
		models[fmt.Sprint("other", i)] = []step{{nil, at(0.010, 0.010*ratio), false}}
	}
	target := func(precision string) config.Target {
		return config.Target{Name: "launch", Select: config.Select{Precision: precision}, Criteria: reporttest.Criteria("p99 < 50ms")}
	}
	s := reporttest.State(stepwise(models, target(config.Best)))
	by := map[string]*standing.Model{}
	for _, m := range s.Models {
		by[m.Name] = m
	}
	room, ok := s.Room(by["slow"])
	if !ok || len(room.Untried) != 1 || room.Untried[0].Kind != "int8" || room.Untried[0].Models != 3 || room.Threshold.Name != "launch" {
		t.Fatalf("slow: %+v, %v", room, ok)
	}
	if p := room.Untried[0].Reaches; p == nil || math.Abs(*p-s.Gains[0].Below(0.5)) > 1e-12 {
		t.Errorf("int8 alone reaches half of it with %v; want %v", p, s.Gains[0].Below(0.5))
	}
	if room, ok := s.Room(by["failed"]); !ok || len(room.Untried) != 1 {
		t.Errorf("where int8 failed it is not advised: %+v, %v", room, ok)
	}
	if room, ok := s.Room(by["tried"]); !ok || len(room.Untried) != 0 {
		t.Errorf("what is not supported is advised: %+v, %v", room, ok)
	}
	if _, ok := s.Room(by["met"]); ok {
		t.Error("a model that meets its target needs no advice")
	}
	// A threshold that counts fp32 alone is not reached by int8.
	s = reporttest.State(stepwise(models, target("fp32")))
	for _, m := range s.Models {
		if room, ok := s.Room(m); m.Name == "slow" && (!ok || room.Untried[0].Reaches != nil) {
			t.Errorf("fp32 is reached by int8: %+v", room)
		}
	}
}

// A change that is edited later teaches the same as one that was there at once,
// and states made before do not change.
func TestKindsMayComeLater(t *testing.T) {
	e := stepwise(map[string][]step{
		"a": {{nil, at(0.100), false}, {[]change.Kind{change.Kernel}, at(0.050), false}},
		"b": {{nil, at(0.100), false}, {[]change.Kind{change.Kernel}, at(0.060), false}},
	})
	want := reporttest.State(e).Gains
	var tracker standing.Tracker
	var later []history.Traced
	for _, r := range e.Records {
		if r.Change != nil {
			later = append(later, history.Traced{Model: r.Model, Version: r.Version, Digest: r.Digest, Change: *r.Change})
			r.Change = nil
		}
		tracker.Add(r)
	}
	before, err := tracker.Derive(e)
	if err != nil || len(before.Gains) != 0 {
		t.Fatalf("%+v, %v", before.Gains, err)
	}
	for _, c := range later {
		tracker.Trace(c)
	}
	after, err := tracker.Derive(e)
	if err != nil || len(after.Gains) != 1 || after.Gains[0] != want[0] || len(before.Gains) != 0 {
		t.Errorf("%+v, %v; want %+v", after.Gains, err, want)
	}
}
