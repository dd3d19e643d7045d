package pass

import (
	"context"
	"testing"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
)

// heard keeps what observers hear.
type heard struct {
	quiet
	records []history.Record
}

func (h *heard) Recorded(r history.Record) { h.records = append(h.records, r) }

func TestADoubtfulResultIsMeasuredAgainBeforeAnybodyHearsOfIt(t *testing.T) {
	enough := bench.Latency{Quantiles: []bench.Quantile{{Q: 0.5, Value: 0.01}, {Q: 0.99, Value: 0.02}}}
	good := &bench.Measurement{Stable: true, Latency: enough}
	unstable := &bench.Measurement{Latency: enough}
	few := &bench.Measurement{Latency: bench.Latency{Quantiles: enough.Quantiles[:1]}}
	disturbed := &bench.Measurement{Latency: enough, Disturbance: &bench.Disturbance{Cause: "a neighbor", Suffered: 2}}
	for name, c := range map[string]struct {
		results []*bench.Measurement
		busy    int // looks at which the machine is not quiet, from the first on
		repeat  int
		jobs    int
		counts  int    // which of the records does, from 1
		because string // of the last line of the audit trail
	}{
		"a good one":                       {[]*bench.Measurement{good}, 0, 2, 1, 1, ""},
		"a disturbed one":                  {[]*bench.Measurement{disturbed, good}, 0, 2, 2, 2, "disturbed: a neighbor"},
		"one that stays disturbed":         {[]*bench.Measurement{disturbed}, 0, 2, 3, 3, "disturbed: a neighbor"},
		"one on a machine that stays busy": {[]*bench.Measurement{disturbed}, 9, 2, 1, 1, ""},
		"an unstable one":                  {[]*bench.Measurement{unstable, unstable, good}, 0, 2, 3, 3, "not stable"},
		"an unstable one, repeat: 1":       {[]*bench.Measurement{unstable, unstable, good}, 0, 1, 2, 2, "not stable"},
		"an unstable one, repeat: 0":       {[]*bench.Measurement{unstable, good}, 0, 0, 1, 1, ""},
		"one of too few queries":           {[]*bench.Measurement{few, good}, 0, 2, 1, 1, ""},
		"a repetition that fails":          {[]*bench.Measurement{disturbed, nil}, 0, 2, 2, 1, "disturbed: a neighbor"},
		"a repetition that is worse":       {[]*bench.Measurement{unstable, disturbed}, 0, 2, 2, 1, ""},
		"a failure":                        {[]*bench.Measurement{nil, good}, 0, 2, 1, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m, o := &machine{results: c.results}, &heard{}
			r := runner(t, m, func(cfg *config.Config) { oneEngine(cfg); cfg.Repeat = c.repeat }, map[string][]string{"net": {"1"}})
			r.Observe = o
			looks := 0
			r.Quiet = func(context.Context, bench.Guard) bool { looks++; return looks > c.busy }
			if err := r.Once(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			all := records(t, r)
			if len(m.jobs) != c.jobs || len(o.records) != len(all) {
				t.Errorf("%d jobs, %d records, %d were reported", len(m.jobs), len(all), len(o.records))
			}
			for i, rec := range all {
				if counts := rec.SupersededBy == 0; counts != (i+1 == c.counts) || o.records[i].SupersededBy != rec.SupersededBy {
					t.Errorf("record %d is superseded by %d, reported as %d", i+1, rec.SupersededBy, o.records[i].SupersededBy)
				}
			}
			trail, err := r.Store.Audit(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if (len(trail) == 0) != (c.because == "") || len(trail) > 0 && (trail[len(trail)-1].Who != history.ByItself || trail[len(trail)-1].Because != c.because) {
				t.Errorf("trail %+v", trail)
			}
		})
	}
}

// On a GPU the job waits for its device itself.
func TestOnAGPUTheProcessorsNeedNotBeQuiet(t *testing.T) {
	disturbed := &bench.Measurement{Disturbance: &bench.Disturbance{Suffered: 1}}
	m := &machine{results: []*bench.Measurement{disturbed, {Stable: true}}}
	m.gpus = append(m.gpus, h100)
	r := runner(t, m, oneEngine, map[string][]string{"net": {"1"}})
	r.Quiet = func(context.Context, bench.Guard) bool { t.Error("it looks at the processors"); return false }
	if err := r.Once(t.Context(), nil); err != nil || len(m.jobs) != 2 {
		t.Errorf("%d jobs, %v", len(m.jobs), err)
	}
}
