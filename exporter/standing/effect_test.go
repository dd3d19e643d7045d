package standing

import (
	"math"
	"testing"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

func TestWhatAChangeOfEnvironmentDid(t *testing.T) {
	disturbed := func(v float64) func(*history.Record) {
		return func(r *history.Record) { p99(v, 0)(r); r.Measurement.Disturbance = &bench.Disturbance{Suffered: 2} }
	}
	type result struct {
		iteration int
		p         engine.Precision
		edit      func(*history.Record)
	}
	for name, c := range map[string]struct {
		before, now []result
		candidates  int
		ratio       float64
		half        float64 // of the interval, on a logarithmic scale; negative: none
	}{
		"nothing in common":        {[]result{{1, engine.FP32, p99(1, 0)}}, []result{{2, engine.FP32, p99(1, 0)}}, 0, 0, 0},
		"one candidate":            {[]result{{1, engine.FP32, p99(1, 0)}}, []result{{1, engine.FP32, p99(0.96, 0)}}, 1, 0.96, -1},
		"three that agree":         {[]result{{1, engine.FP32, p99(1, 0)}, {2, engine.FP32, p99(2, 0)}, {3, engine.FP32, p99(3, 0)}}, []result{{1, engine.FP32, p99(0.5, 0)}, {2, engine.FP32, p99(1, 0)}, {3, engine.FP32, p99(1.5, 0)}}, 3, 0.5, 0},
		"two that differ":          {[]result{{1, engine.FP32, p99(1, 0)}, {2, engine.FP32, p99(1, 0)}}, []result{{1, engine.FP32, p99(math.Exp(0.1), 0)}, {2, engine.FP32, p99(math.Exp(0.3), 0)}}, 2, math.Exp(0.2), 6.3138 * 0.1},
		"a candidate counts once":  {[]result{{1, engine.FP32, p99(1, 0)}, {1, engine.INT8, p99(1, 0)}}, []result{{1, engine.FP32, p99(2, 0)}, {1, engine.INT8, p99(2, 0)}}, 1, 2, -1},
		"a disturbed one does not": {[]result{{1, engine.FP32, p99(1, 0)}, {2, engine.FP32, disturbed(9)}}, []result{{1, engine.FP32, p99(2, 0)}, {2, engine.FP32, p99(1, 0)}}, 1, 2, -1},
		"a failure does not":       {[]result{{1, engine.FP32, failure(engine.KindCrashed)}}, []result{{1, engine.FP32, p99(2, 0)}}, 0, 0, 0},
		"nor another precision":    {[]result{{1, engine.FP32, p99(1, 0)}}, []result{{1, engine.INT8, p99(2, 0)}}, 0, 0, 0},
	} {
		var d diary
		for _, r := range c.before {
			d.add("net", r.iteration, r.p, "before", r.edit)
		}
		for _, r := range c.now {
			d.add("net", r.iteration, r.p, "now", r.edit)
		}
		m := history.ByModel(history.Entries(d.records))[0]
		before, _ := m.In("before")
		now, _ := m.In("now")
		got, ok := EffectOn("p99", before, now)
		if ok != (c.candidates > 0) || got.Candidates != c.candidates {
			t.Errorf("%s: %+v, %t", name, got, ok)
			continue
		}
		if !ok {
			continue
		}
		if math.Abs(got.Ratio-c.ratio) > 1e-12 || math.IsNaN(got.Low) != (c.half < 0) || math.IsNaN(got.High) != (c.half < 0) {
			t.Errorf("%s: %+v", name, got)
		}
		if c.half >= 0 && (math.Abs(math.Log(got.High/got.Ratio)-c.half) > 1e-4 || math.Abs(math.Log(got.Ratio/got.Low)-c.half) > 1e-4) {
			t.Errorf("%s: %+v, half an interval is %v", name, got, c.half)
		}
	}
}
