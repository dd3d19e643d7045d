package pass

import (
	"reflect"
	"testing"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
)

// A failure is tried again where the limits that it failed under are known and
// others now, and only where limits can be its cause.
func TestWhatIsTriedAgain(t *testing.T) {
	const now = "limits of now"
	for name, c := range map[string]struct {
		known  bool
		ending ending
		want   bool
	}{
		"no record":                    {false, ending{}, true},
		"measured":                     {true, ending{}, false},
		"timeout under the same":       {true, ending{engine.KindTimeout, now}, false},
		"timeout under others":         {true, ending{engine.KindTimeout, "others"}, true},
		"timeout under unknown limits": {true, ending{engine.KindTimeout, ""}, false},
		"memory under others":          {true, ending{engine.KindOutOfMemory, "others"}, true},
		"accuracy under others":        {true, ending{engine.KindAccuracy, "others"}, true},
		"a crash under others":         {true, ending{engine.KindCrashed, "others"}, false},
	} {
		k := key{model: "net"}
		r := &Runner{done: map[key]ending{}}
		if c.known {
			r.done[k] = c.ending
		}
		if got := r.wanted(k, now); got != c.want {
			t.Errorf("%s: wanted is %t", name, got)
		}
	}
}

// Another gate measures nothing else: results before and after are one series.
func TestTheDeviationGateIsNoConditionOfAResult(t *testing.T) {
	r := &Runner{Options: Options{Config: config.Default()}}
	r.Config.Benchmark.MaxDeviation = 0.25
	if c := r.conditions(candidate.Candidate{Model: "net"}); c.Options.MaxDeviation != 0 {
		t.Errorf("the conditions hold the gate %g", c.Options.MaxDeviation)
	}
}

// What goes into an engine besides the model is part of its results' environment.
func TestEachInputOfAnEngineIsACondition(t *testing.T) {
	of := func(change func(m *config.Model, c *candidate.Candidate)) conditions {
		r := &Runner{Options: Options{Config: config.Default()}}
		r.Config.Benchmark.Seed, r.Config.Benchmark.Batches = 7, []int{4, 2, 8}
		m, c := config.Model{Match: "net"}, candidate.Candidate{Model: "net"}
		change(&m, &c)
		r.Config.Models = []config.Model{m}
		return r.conditions(c)
	}
	want := of(func(*config.Model, *candidate.Candidate) {})
	if want.Inputs.Seed != 7 || want.Inputs.Batch != 2 {
		t.Errorf("%+v; want the seed 7 and the smallest batch, 2", want.Inputs)
	}
	for name, change := range map[string]func(m *config.Model, c *candidate.Candidate){
		"a dimension":          func(m *config.Model, _ *candidate.Candidate) { m.Dims = map[string]int64{"N": 2} },
		"a shape":              func(m *config.Model, _ *candidate.Candidate) { m.Inputs = map[string][]int64{"x": {2}} },
		"a profile":            func(m *config.Model, _ *candidate.Candidate) { m.Profiles = map[string]engine.Profile{"x": {}} },
		"inputs.npz":           func(_ *config.Model, c *candidate.Candidate) { c.DataDigest = "d" },
		"shapes of the folder": func(_ *config.Model, c *candidate.Candidate) { c.Shapes.MaxBatch = 8 },
	} {
		if reflect.DeepEqual(of(change), want) {
			t.Errorf("%s is no condition", name)
		}
	}
}
