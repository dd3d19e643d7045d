package pass

import (
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
