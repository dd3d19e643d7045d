package verdict

import (
	"math"
	"testing"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
)

func criteria(t *testing.T, texts ...string) []forecast.Criterion {
	t.Helper()
	var out []forecast.Criterion
	for _, s := range texts {
		c, err := forecast.ParseCriterion(s, history.UnitOf)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// measured has P99 in milliseconds; a negative deviation leaves accuracy unknown.
func measured(p engine.Precision, p99ms, deviation float64) history.Record {
	m := &bench.Measurement{Latency: bench.Latency{Quantiles: []bench.Quantile{{Q: 0.99, Value: p99ms / 1000}}}}
	if deviation >= 0 {
		m.Accuracy = &bench.Accuracy{Deviation: deviation}
	}
	return history.Record{Precision: p, Measurement: m}
}

func failed(p engine.Precision, k engine.Kind) history.Record {
	return history.Record{Precision: p, Failure: &history.Failure{Error: engine.Error{Kind: k}}}
}

func TestOneEngineMustMeetAllCriteria(t *testing.T) {
	for name, c := range map[string]struct {
		precision string
		records   []history.Record
		want      Outcome
		decides   engine.Precision
	}{
		"each criterion by another engine is not met": {
			config.Best, []history.Record{measured(engine.FP32, 90, 0), measured(engine.INT8, 30, 0.02)}, Missed, engine.FP32,
		},
		"one engine meets both": {
			config.Best, []history.Record{measured(engine.FP32, 90, 0), measured(engine.INT8, 30, 0.001)}, Met, engine.INT8,
		},
		"another engine is not looked at": {
			"fp32", []history.Record{measured(engine.FP32, 90, 0), measured(engine.INT8, 30, 0.001)}, Missed, engine.FP32,
		},
		"an engine that may still meet comes before one that misses": {
			config.Best, []history.Record{measured(engine.FP32, 90, 0), measured(engine.INT8, 30, -1)}, Unknown, engine.INT8,
		},
		"an engine too slow and without accuracy misses": {
			"fp32", []history.Record{measured(engine.FP32, 90, -1)}, Missed, engine.FP32,
		},
		"a failed engine beside one that meets does no harm": {
			config.Best, []history.Record{measured(engine.FP32, 40, 0), failed(engine.INT8, engine.KindCrashed)}, Met, engine.FP32,
		},
		"nothing measured is unknown": {
			config.Best, []history.Record{failed(engine.FP32, engine.KindTimeout)}, Unknown, "",
		},
		"an unsupported precision is unknown": {
			"fp16", []history.Record{measured(engine.FP32, 40, 0), failed(engine.FP16, engine.KindUnsupportedPrecision)}, Unknown, "",
		},
		"NaN is no value": {
			"fp32", []history.Record{measured(engine.FP32, math.NaN(), 0)}, Unknown, engine.FP32,
		},
	} {
		got := JudgeCandidate(config.Select{Precision: c.precision}, criteria(t, "p99 < 50ms", "accuracy_deviation < 0.5%"), history.Candidate{Records: c.records})
		var by engine.Precision
		if got.Engine != nil {
			by = got.Engine.Precision
		}
		if got.Outcome != c.want || by != c.decides {
			t.Errorf("%s: %s by %q; want %s by %q", name, got.Outcome, by, c.want, c.decides)
		}
	}
}

func TestGapIsRelativeToTheTarget(t *testing.T) {
	v := func(x float64) *float64 { return &x }
	cs := criteria(t, "p99 < 50ms", "throughput > 100/s")
	for _, c := range []struct {
		of   Criterion
		want float64
	}{
		{Criterion{Criterion: cs[0], Value: v(0.055)}, 0.1},
		{Criterion{Criterion: cs[0], Value: v(0.040)}, -0.2},
		{Criterion{Criterion: cs[1], Value: v(90)}, 0.1},
		{Criterion{Criterion: cs[1]}, math.Inf(1)},
	} {
		if got := c.of.Gap(); got != c.want && math.Abs(got-c.want) > 1e-9 {
			t.Errorf("gap %v; want %v", got, c.want)
		}
	}
}

func TestStandingIsTheNewestFinishedCandidate(t *testing.T) {
	both := []engine.Precision{engine.FP32, engine.INT8}
	at := func(iteration int, records ...history.Record) history.Candidate {
		return history.Candidate{Iteration: iteration, Records: records}
	}
	ok := func(p engine.Precision) history.Record { return measured(p, 40, 0) }
	bad := func(p engine.Precision) history.Record { return failed(p, engine.KindCrashed) }
	first := at(1, ok(engine.FP32), ok(engine.INT8))
	for name, c := range map[string]struct {
		precision  string
		candidates []history.Candidate
		want       int // iteration; 0 for none
	}{
		"none without candidates":                             {config.Best, nil, 0},
		"an unfinished one, where there is no other":          {config.Best, []history.Candidate{at(1, ok(engine.FP32))}, 1},
		"an unfinished one does not replace a finished one":   {config.Best, []history.Candidate{first, at(2, ok(engine.FP32))}, 1},
		"what does not count need not be finished":            {"fp32", []history.Candidate{first, at(2, ok(engine.FP32))}, 2},
		"a failed precision finishes a candidate, too":        {config.Best, []history.Candidate{first, at(2, ok(engine.FP32), bad(engine.INT8))}, 2},
		"the failed precision itself stands on the last good": {"int8", []history.Candidate{first, at(2, ok(engine.FP32), bad(engine.INT8))}, 1},
		"a candidate that failed altogether does not stand":   {config.Best, []history.Candidate{first, at(2, bad(engine.FP32), bad(engine.INT8))}, 1},
		"nothing stands where everything failed":              {config.Best, []history.Candidate{at(1, bad(engine.FP32), bad(engine.INT8))}, 0},
	} {
		got, _ := Standing(config.Select{Precision: c.precision}, history.Series{Candidates: c.candidates}, both)
		if got.Iteration != c.want {
			t.Errorf("%s: iteration %d; want %d", name, got.Iteration, c.want)
		}
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		of   []Outcome
		want int
	}{
		{nil, ExitMet},
		{[]Outcome{Met, Met}, ExitMet},
		{[]Outcome{Met, Missed}, ExitMissed},
		{[]Outcome{Unknown, Missed, Met}, ExitError},
	} {
		if got := ExitCode(c.of); got != c.want {
			t.Errorf("ExitCode(%v) = %d; want %d", c.of, got, c.want)
		}
	}
}
