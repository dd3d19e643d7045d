package standing

import (
	"testing"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// Six gains of 10 % and one of 3 % are out of the ordinary, unless the two engines
// were timed in turns and that shows no change, or a usual one.
func TestTheAtypicalCheckRestsOnThePair(t *testing.T) {
	pair := func(digest string, verdict bench.Verdict, ratio float64) func(*history.Record) {
		return func(r *history.Record) {
			r.Measurement.Comparison = &bench.Comparison{Digest: digest, Changes: []bench.Change{{Quantity: "p99", Ratio: ratio, Low: ratio - 0.005, High: ratio + 0.005, Verdict: verdict}}}
		}
	}
	for name, c := range map[string]struct {
		pair func(*history.Record)
		half bool // a further candidate is measured at one of two precisions
		want bool
	}{
		"no pair":                       {nil, false, true},
		"no change":                     {pair("net6", bench.Equivalent, 1), false, false},
		"an unclear change":             {pair("net6", bench.Inconclusive, 0.98), false, false},
		"a usual gain":                  {pair("net6", bench.Changed, 0.9), false, false},
		"a short gain":                  {pair("net6", bench.Changed, 0.97), false, true},
		"no change from an older one":   {pair("net3", bench.Equivalent, 1), false, true},
		"while the next is measured":    {pair("net6", bench.Equivalent, 1), true, false},
		"no pair, the next is measured": {nil, true, true},
	} {
		var d diary
		v := 0.1
		for i := 1; i <= 7; i++ {
			if v *= 0.9; i == 7 {
				v *= 0.97 / 0.9
			}
			for _, p := range both {
				d.add("net", i, p, "env", p99(v, 0))
				if i == 7 && c.pair != nil {
					c.pair(&d.records[len(d.records)-1])
				}
			}
		}
		if c.half {
			d.add("net", 8, engine.FP32, "env", p99(v/2, 0))
		}
		m := launch("best", fast)
		m.Criteria[0].Target = 0.01
		var tracker Tracker // a record at a time, as the daemon does
		var s *State
		for i := range d.records {
			tracker.Add(d.records[i])
			var err error
			if s, err = tracker.Derive(Evidence{Now: day(9), Milestones: []config.Milestone{m}, Models: []Held{{Name: "net", Precisions: both, Fingerprint: "env"}}}); err != nil {
				t.Fatal(err)
			}
		}
		f := s.Milestones[0].Forecast
		if f == nil || f.Atypical == nil {
			t.Fatalf("%s: %+v", name, f)
		}
		if f.Atypical.Is != c.want {
			t.Errorf("%s: %+v, want %t", name, *f.Atypical, c.want)
		}
	}
}
