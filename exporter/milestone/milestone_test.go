package milestone_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/milestone"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// day is noon of the nth day.
func day(n int) time.Time { return start.AddDate(0, 0, n) }

// diary writes a history, a candidate a day.
type diary struct {
	records []history.Record
}

func (d *diary) add(model string, iteration int, p engine.Precision, fingerprint string, edit func(*history.Record)) {
	r := history.Record{
		ID: int64(len(d.records) + 1), Model: model, Version: fmt.Sprint(iteration), Digest: fmt.Sprint(model, iteration), Precision: p,
		Fingerprint: fingerprint, Iteration: iteration, Started: day(iteration), Finished: day(iteration),
	}
	edit(&r)
	d.records = append(d.records, r)
}

func p99(v, deviation float64) func(*history.Record) {
	return func(r *history.Record) {
		r.Measurement = &bench.Measurement{
			Latency:  bench.Latency{Quantiles: []bench.Quantile{{Q: 0.99, Value: v}}},
			Accuracy: &bench.Accuracy{Deviation: deviation},
		}
	}
}

func unquantized(v float64, layers int) func(*history.Record) {
	return func(r *history.Record) {
		p99(v, 0)(r)
		r.Measurement.Layers = &bench.LayerSummary{Unquantized: make([]string, layers)}
	}
}

func failure(kind engine.Kind) func(*history.Record) {
	return func(r *history.Record) { r.Failure = &history.Failure{Error: engine.Error{Kind: kind}} }
}

var (
	fast     = forecast.Criterion{Metric: "p99", Comparison: forecast.Below, Target: 0.050, Unit: units.Seconds}
	faithful = forecast.Criterion{Metric: "accuracy_deviation", Comparison: forecast.Below, Target: 0.005, Unit: units.Ratio}
	both     = []engine.Precision{engine.FP32, engine.INT8}
)

func launch(precision string, criteria ...forecast.Criterion) config.Milestone {
	return config.Milestone{Name: "launch", Select: config.Select{Precision: precision}, Criteria: criteria, Share: 1, Horizon: 5, Ready: 0.9}
}

func (d *diary) models(precisions []engine.Precision) []milestone.Model {
	var out []milestone.Model
	for _, h := range history.ByModel(d.records) {
		out = append(out, milestone.Model{Name: h.Name, Precisions: precisions, History: h})
	}
	return out
}

// told is the evidence of the first series as "value" or "missed" per iteration.
func (d *diary) told(m config.Milestone, precisions []engine.Precision, now time.Time) []string {
	var out []string
	for _, o := range milestone.Evidence(m, d.models(precisions), now).Series[0].Observations {
		text := "missed"
		if o.Valid {
			text = units.Format(o.Value, units.Seconds)
		}
		if o.Concern != "" {
			text += " (" + o.Concern + ")"
		}
		out = append(out, text)
	}
	return out
}

func TestWhatCountsAsAnIteration(t *testing.T) {
	for _, c := range []struct {
		name       string
		write      func(*diary)
		milestone  config.Milestone
		precisions []engine.Precision
		want       []string
	}{
		{
			"the nearest engine stands for a candidate",
			func(d *diary) {
				d.add("m", 1, engine.FP32, "f", p99(0.090, 0))
				d.add("m", 1, engine.INT8, "f", p99(0.060, 0))
			},
			launch(config.Best, fast), both, []string{"60 ms"},
		},
		{
			"one engine must meet all criteria: the faster one is not faithful",
			func(d *diary) {
				d.add("m", 1, engine.FP32, "f", p99(0.055, 0))
				d.add("m", 1, engine.INT8, "f", p99(0.020, 0.3))
			},
			launch(config.Best, fast, faithful), both, []string{"55 ms"},
		},
		{
			"a failed build is an iteration without gain",
			func(d *diary) {
				d.add("m", 1, engine.FP32, "f", p99(0.090, 0))
				d.add("m", 2, engine.FP32, "f", failure(engine.KindTimeout))
				d.add("m", 3, engine.FP32, "f", p99(0.080, 0))
			},
			launch(config.Best, fast), both[:1], []string{"90 ms", "missed", "80 ms"},
		},
		{
			"what the backend cannot give at all is no iteration",
			func(d *diary) {
				d.add("m", 1, engine.FP32, "f", failure(engine.KindUnsupportedPrecision))
				d.add("m", 1, engine.INT8, "f", p99(0.060, 0))
				d.add("m", 2, engine.FP32, "f", p99(0.080, 0))
				d.add("m", 2, engine.INT8, "f", failure(engine.KindUnsupportedPrecision))
			},
			launch("int8", fast), both, []string{"60 ms"},
		},
		{
			"the newest candidate waits until it is measured through",
			func(d *diary) {
				d.add("m", 1, engine.FP32, "f", p99(0.090, 0))
				d.add("m", 1, engine.INT8, "f", p99(0.060, 0))
				d.add("m", 2, engine.FP32, "f", p99(0.088, 0))
			},
			launch(config.Best, fast), both, []string{"60 ms"},
		},
		{
			"an out-of-order version is no iteration",
			func(d *diary) {
				d.add("m", 2, engine.FP32, "f", p99(0.090, 0))
				d.add("m", 0, engine.FP32, "f", p99(0.010, 0))
			},
			launch(config.Best, fast), both[:1], []string{"90 ms"},
		},
		{
			"layers that stay unquantized are told, when they become more",
			func(d *diary) {
				d.add("m", 1, engine.INT8, "f", unquantized(0.09, 0))
				d.add("m", 2, engine.INT8, "f", unquantized(0.08, 12))
				d.add("m", 3, engine.INT8, "f", unquantized(0.07, 12))
			},
			launch("int8", fast), []engine.Precision{engine.INT8}, []string{"90 ms", "80 ms (12 layers stayed unquantized)", "70 ms"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d diary
			c.write(&d)
			if got := d.told(c.milestone, c.precisions, day(99)); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("evidence %q; want %q", got, c.want)
			}
		})
	}
}

func TestThePastIsAskedWithoutTheFuture(t *testing.T) {
	var d diary
	for i, v := range []float64{0.09, 0.08, 0.07, 0.06} {
		d.add("m", i+1, engine.FP32, "f", p99(v, 0))
	}
	m := launch(config.Best, fast)
	if got := d.told(m, both[:1], day(2)); fmt.Sprint(got) != "[90 ms 80 ms]" {
		t.Errorf("on day 2: %q", got)
	}
	short := diary{records: d.records[:2]}
	then, err := milestone.Forecast(m, d.models(both[:1]), day(2))
	if err != nil {
		t.Fatal(err)
	}
	now, err := milestone.Forecast(m, short.models(both[:1]), day(2))
	if err != nil {
		t.Fatal(err)
	}
	if then.Probability.Value != now.Probability.Value {
		t.Errorf("walking back says %v, the shorter history %v", then.Probability, now.Probability)
	}
}

func TestAChangeOfEnvironmentIsNotBridged(t *testing.T) {
	var d diary
	for i := range 6 {
		d.add("m", i+1, engine.FP32, "old", p99(0.09-0.005*float64(i), 0))
	}
	for i := range 3 {
		d.add("m", i+7, engine.FP32, "new", p99(0.3, 0))
		d.records[len(d.records)-1].Iteration = i + 1
	}
	f, err := milestone.Forecast(launch(config.Best, fast), d.models(both[:1]), day(20))
	if err != nil {
		t.Fatal(err)
	}
	if f.Evidence.Observations != 3 || f.Evidence.Ignored != 6 {
		t.Errorf("used %d, ignored %d; want 3 and 6", f.Evidence.Observations, f.Evidence.Ignored)
	}
}

func TestAllAnswersForEveryMilestoneWithModels(t *testing.T) {
	var d diary
	for i := range 10 {
		d.add("m", i+1, engine.FP32, "f", p99(0.09-0.003*float64(i), 0))
	}
	in := report.Input{
		Now: day(12), Records: d.records, Models: []report.ModelState{{Name: "m", Precisions: both[:1]}},
		Milestones: []config.Milestone{launch(config.Best, fast), {Name: "none", Select: config.Select{Models: []string{"x*"}, Precision: config.Best}, Criteria: []forecast.Criterion{fast}, Share: 1, Horizon: 1, Ready: 0.9}},
	}
	got, err := milestone.All(in)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got["launch"] == nil || got["launch"].WeekAgo == nil || got["launch"].Probability == nil {
		t.Fatalf("forecasts %+v", got)
	}
	if len(got["launch"].HoldsBack) != 1 || got["launch"].HoldsBack[0].Criterion != "p99 < 50 ms" {
		t.Errorf("held back by %+v", got["launch"].HoldsBack)
	}
	if s := milestone.Track(in); s.Questions != 0 {
		t.Errorf("ten results give %d questions; at least 11 are needed for one", s.Questions)
	}
	for i := range 30 {
		d.add("m", i+11, engine.FP32, "f", p99(0.06, 0))
	}
	in.Records = d.records
	if s := milestone.Track(in); s.Questions == 0 || s.Brier < 0 || s.Brier > 1 {
		t.Errorf("record %+v", s)
	}
}
