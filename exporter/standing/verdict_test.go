package standing

import (
	"math"
	"testing"
	"time"

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
func measured(p engine.Precision, p99ms, deviation float64) history.Entry {
	m := &bench.Measurement{Latency: bench.Latency{Quantiles: []bench.Quantile{{Q: 0.99, Value: p99ms / 1000}}}}
	if deviation >= 0 {
		m.Accuracy = &bench.Accuracy{Deviation: deviation}
	}
	return history.EntryOf(history.Record{Precision: p, Measurement: m})
}

// disturbed is an entry that was measured beside other work.
func disturbed(e history.Entry) history.Entry {
	e.Disturbed = true
	return e
}

// idle is an entry of an engine in which nothing computes in its precision.
func idle(e history.Entry) history.Entry {
	e.NoEffect = true
	return e
}

func failed(p engine.Precision, k engine.Kind) history.Entry {
	return history.EntryOf(history.Record{Precision: p, Failure: &history.Failure{Error: engine.Error{Kind: k}}})
}

func TestOneEngineMustMeetAllCriteria(t *testing.T) {
	for name, c := range map[string]struct {
		precision string
		records   []history.Entry
		want      Outcome
		decides   engine.Precision
	}{
		"each criterion by another engine is not met": {
			config.Best, []history.Entry{measured(engine.FP32, 90, 0), measured(engine.INT8, 30, 0.02)}, Missed, engine.FP32,
		},
		"one engine meets both": {
			config.Best, []history.Entry{measured(engine.FP32, 90, 0), measured(engine.INT8, 30, 0.001)}, Met, engine.INT8,
		},
		"another engine is not looked at": {
			"fp32", []history.Entry{measured(engine.FP32, 90, 0), measured(engine.INT8, 30, 0.001)}, Missed, engine.FP32,
		},
		"an engine that may still meet comes before one that misses": {
			config.Best, []history.Entry{measured(engine.FP32, 90, 0), measured(engine.INT8, 30, -1)}, Unknown, engine.INT8,
		},
		"an engine too slow and without accuracy misses": {
			"fp32", []history.Entry{measured(engine.FP32, 90, -1)}, Missed, engine.FP32,
		},
		"a failed engine beside one that meets does no harm": {
			config.Best, []history.Entry{measured(engine.FP32, 40, 0), failed(engine.INT8, engine.KindCrashed)}, Met, engine.FP32,
		},
		"nothing measured is unknown": {
			config.Best, []history.Entry{failed(engine.FP32, engine.KindTimeout)}, Unknown, "",
		},
		"an unsupported precision is unknown": {
			"fp16", []history.Entry{measured(engine.FP32, 40, 0), failed(engine.FP16, engine.KindUnsupportedPrecision)}, Unknown, "",
		},
		"what is missed on a disturbed machine is undecided": {
			"fp32", []history.Entry{disturbed(measured(engine.FP32, 60, 0))}, Undecided, engine.FP32,
		},
		"what is met on a disturbed machine is met: other work makes nothing faster": {
			"fp32", []history.Entry{disturbed(measured(engine.FP32, 40, 0))}, Met, engine.FP32,
		},
		"accuracy does not depend on other work": {
			"fp32", []history.Entry{disturbed(measured(engine.FP32, 60, 0.02))}, Missed, engine.FP32,
		},
		"what is not known outweighs what is undecided": {
			"fp32", []history.Entry{disturbed(measured(engine.FP32, 60, -1))}, Unknown, engine.FP32,
		},
		"an engine without effect is no result of the precision that is named": {
			"int8", []history.Entry{measured(engine.FP32, 40, 0), idle(measured(engine.INT8, 30, 0))}, Unknown, "",
		},
		"an engine without effect does not decide beside another, even if it is faster": {
			config.Best, []history.Entry{measured(engine.FP32, 60, 0), idle(measured(engine.INT8, 30, 0))}, Missed, engine.FP32,
		},
		"an engine without effect decides where there is no other": {
			config.Best, []history.Entry{failed(engine.FP32, engine.KindCrashed), idle(measured(engine.INT8, 30, 0))}, Met, engine.INT8,
		},
		"NaN is no value": {
			"fp32", []history.Entry{measured(engine.FP32, math.NaN(), 0)}, Unknown, engine.FP32,
		},
	} {
		got := Judge(config.Select{Precision: c.precision}, criteria(t, "p99 < 50ms", "accuracy_deviation < 0.5%"), history.TrialOf(c.records...))
		by, outcome := engine.Precision(""), Unknown
		if got != nil {
			by, outcome = got.Precision, got.Outcome
		}
		if outcome != c.want || by != c.decides {
			t.Errorf("%s: %s by %q; want %s by %q", name, outcome, by, c.want, c.decides)
		}
	}
}

func TestGapIsRelativeToTheTarget(t *testing.T) {
	cs := criteria(t, "p99 < 50ms", "throughput > 100/s")
	for _, c := range []struct {
		of   CriterionResult
		want float64
	}{
		{CriterionResult{Criterion: cs[0], Value: 0.055}, 0.1},
		{CriterionResult{Criterion: cs[0], Value: 0.040}, -0.2},
		{CriterionResult{Criterion: cs[1], Value: 90}, 0.1},
		{CriterionResult{Criterion: cs[1], Value: math.NaN()}, math.Inf(1)},
	} {
		if got := c.of.Gap(); got != c.want && math.Abs(got-c.want) > 1e-9 {
			t.Errorf("gap %v; want %v", got, c.want)
		}
	}
}

func TestAModelStandsOnItsNewestFinishedCandidate(t *testing.T) {
	both := []engine.Precision{engine.FP32, engine.INT8}
	at := func(iteration int, entries ...history.Entry) history.Trial {
		for i := range entries {
			entries[i].Iteration = iteration
		}
		return history.TrialOf(entries...)
	}
	ok := func(p engine.Precision) history.Entry { return measured(p, 40, 0) }
	bad := func(p engine.Precision) history.Entry { return failed(p, engine.KindCrashed) }
	first := at(1, ok(engine.FP32), ok(engine.INT8))
	for name, c := range map[string]struct {
		precision string
		trials    []history.Trial
		want      int // iteration; 0 for none
	}{
		"none without candidates":                             {config.Best, nil, 0},
		"an unfinished one, where there is no other":          {config.Best, []history.Trial{at(1, ok(engine.FP32))}, 1},
		"an unfinished one does not replace a finished one":   {config.Best, []history.Trial{first, at(2, ok(engine.FP32))}, 1},
		"what does not count need not be finished":            {"fp32", []history.Trial{first, at(2, ok(engine.FP32))}, 2},
		"a failed precision finishes a candidate, too":        {config.Best, []history.Trial{first, at(2, ok(engine.FP32), bad(engine.INT8))}, 2},
		"the failed precision itself stands on the last good": {"int8", []history.Trial{first, at(2, ok(engine.FP32), bad(engine.INT8))}, 1},
		"a candidate that failed altogether does not stand":   {config.Best, []history.Trial{first, at(2, bad(engine.FP32), bad(engine.INT8))}, 1},
		"a disturbed one that decides nothing does not stand": {config.Best, []history.Trial{first, at(2, disturbed(measured(engine.FP32, 60, 0)), bad(engine.INT8))}, 1},
		"a disturbed one that meets all the same does":        {config.Best, []history.Trial{first, at(2, disturbed(ok(engine.FP32)), bad(engine.INT8))}, 2},
		"one whose precision had no effect does not stand":    {"int8", []history.Trial{first, at(2, ok(engine.FP32), idle(ok(engine.INT8)))}, 1},
		"nothing stands where everything failed":              {config.Best, []history.Trial{at(1, bad(engine.FP32), bad(engine.INT8))}, 0},
	} {
		threshold := Threshold{Select: config.Select{Precision: c.precision}, Criteria: criteria(t, "p99 < 50ms")}
		got := 0
		if x := stands(new(workspace).iterations(threshold, history.Series{Trials: c.trials}, both, never, time.Time{})); x != nil {
			got = x.trial.Iteration
		}
		if got != c.want {
			t.Errorf("%s: iteration %d; want %d", name, got, c.want)
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
		{[]Outcome{Missed, Undecided, Met}, ExitError},
	} {
		if got := ExitCode(c.of); got != c.want {
			t.Errorf("ExitCode(%v) = %d; want %d", c.of, got, c.want)
		}
	}
}
