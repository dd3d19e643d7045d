package standing

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
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

// evidence is the evidence of model m for a milestone, as known at a moment.
func (d *diary) evidence(m config.Milestone, precisions []engine.Precision, now time.Time) []forecast.Series {
	h := history.ByModel(history.Entries(d.records))[0]
	return series(Threshold{KindMilestone, m.Name, m.Select, m.Criteria, ""}, h, precisions, "", now, lookBack(now), nil)
}

// values are those of the first series: "value" or "missed" per iteration.
func (d *diary) values(m config.Milestone, precisions []engine.Precision, now time.Time) []string {
	var out []string
	for _, o := range d.evidence(m, precisions, now)[0].Observations {
		text := "missed"
		if o.Valid {
			text = units.Format(o.Value, units.Seconds)
		}
		if o.Disturbed {
			text += " (disturbed)"
		}
		if o.Concern != "" {
			text += " (" + o.Concern + ")"
		}
		out = append(out, text)
	}
	return out
}

func (d *diary) state(t *testing.T, now time.Time, precisions []engine.Precision, milestones ...config.Milestone) *State {
	t.Helper()
	e := Evidence{Now: now, Records: d.records, Milestones: milestones}
	for _, r := range d.records {
		if !slices.ContainsFunc(e.Models, func(h Held) bool { return h.Name == r.Model }) {
			e.Models = append(e.Models, Held{Name: r.Model, Precisions: precisions})
		}
	}
	s, err := Derive(e)
	if err != nil {
		t.Fatal(err)
	}
	return s
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
			"the newest candidate waits until it is measured at every precision",
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
			"a disturbed result is an iteration without one, unless it meets the criterion all the same",
			func(d *diary) {
				beside := func(v float64) func(*history.Record) {
					return func(r *history.Record) {
						p99(v, 0)(r)
						r.Measurement.Disturbance = &bench.Disturbance{Suffered: 1}
					}
				}
				d.add("m", 1, engine.FP32, "f", p99(0.090, 0))
				d.add("m", 2, engine.FP32, "f", beside(0.900))
				d.add("m", 3, engine.FP32, "f", beside(0.049))
			},
			launch(config.Best, fast), both[:1], []string{"90 ms", "missed", "49 ms (disturbed)"},
		},
		{
			"a precision that had no effect is an iteration without a result",
			func(d *diary) {
				d.add("m", 1, engine.INT8, "f", p99(0.090, 0))
				d.add("m", 2, engine.INT8, "f", func(r *history.Record) {
					p99(0.040, 0)(r)
					r.Measurement.Layers = &bench.LayerSummary{NoEffect: "none of the 59 layers that multiply runs in 8 bits"}
				})
			},
			launch("int8", fast), []engine.Precision{engine.INT8}, []string{"90 ms", "missed"},
		},
		{
			"layers that stay unquantized are reported, when they become more",
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
			if got := d.values(c.milestone, c.precisions, day(99)); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("evidence %q; want %q", got, c.want)
			}
		})
	}
}

func TestTheUnfinishedNewestCountsWhereThereIsNoOther(t *testing.T) {
	var d diary
	d.add("m", 1, engine.FP32, "f", p99(0.04, 0))
	if got := d.values(launch(config.Best, fast), both, day(9)); fmt.Sprint(got) != "[40 ms]" {
		t.Errorf("evidence %q", got)
	}
	if m := d.state(t, day(9), both, launch(config.Best, fast)).Milestones[0]; !m.Met || m.State != forecast.Met {
		t.Errorf("met %v, state %s", m.Met, m.State)
	}
}

func TestThePastIsJudgedWithoutTheFuture(t *testing.T) {
	var d diary
	for i, v := range []float64{0.09, 0.08, 0.07, 0.06} {
		d.add("m", i+1, engine.FP32, "f", p99(v, 0))
	}
	m := launch(config.Best, fast)
	if got := d.values(m, both[:1], day(2)); fmt.Sprint(got) != "[90 ms 80 ms]" {
		t.Errorf("on day 2: %q", got)
	}
	short := diary{records: d.records[:2]}
	then, err := expect(m, d.evidence(m, both[:1], day(2)), day(2))
	if err != nil {
		t.Fatal(err)
	}
	if now := short.state(t, day(2), both[:1], m).Milestones[0].Forecast; then.Probability.Value != now.Probability.Value {
		t.Errorf("walking back says %v, the shorter history %v", then.Probability, now.Probability)
	}
}

// What the team knows about the work on its models moves the probability, and a
// tracker that already holds a forecast takes the change.
func TestEffortOfAMilestoneMovesItsForecast(t *testing.T) {
	var d diary
	var tr Tracker
	for i := range 8 {
		d.add("m", i+1, engine.FP32, "f", p99(0.08*math.Pow(0.97, float64(i)), 0))
		tr.Add(d.records[i])
	}
	last := 0.0
	for _, effort := range []forecast.EffortLevel{forecast.Maintenance, forecast.Inferred, forecast.Active} {
		m := launch(config.Best, fast)
		m.Criteria[0].Target = 0.06
		m.Effort = effort
		s, err := tr.Derive(Evidence{Now: day(9), Records: d.records, Models: []Held{{Name: "m", Precisions: both[:1]}}, Milestones: []config.Milestone{m}})
		if err != nil {
			t.Fatal(err)
		}
		p := s.Milestones[0].Forecast.Probability.Value
		if p <= last {
			t.Errorf("effort %q says %v, not more than %v", effort, p, last)
		}
		last = p
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
	f := d.state(t, day(20), both[:1], launch(config.Best, fast)).Milestones[0].Forecast
	if f.Basis.Observations != 3 || f.Basis.Ignored != 6 {
		t.Errorf("used %d, ignored %d; want 3 and 6", f.Basis.Observations, f.Basis.Ignored)
	}
}

func TestEveryMilestoneWithModelsHasAForecast(t *testing.T) {
	var d diary
	for i := range 10 {
		d.add("m", i+1, engine.FP32, "f", p99(0.09-0.003*float64(i), 0))
	}
	none := config.Milestone{Name: "none", Select: config.Select{Models: []string{"x*"}, Precision: config.Best}, Criteria: []forecast.Criterion{fast}, Share: 1, Horizon: 1, Ready: 0.9}
	s := d.state(t, day(12), both[:1], launch(config.Best, fast), none)
	f := s.Milestones[0].Forecast
	if f == nil || f.WeekAgo == nil || f.Probability == nil {
		t.Fatalf("forecast %+v", f)
	}
	if m := s.Milestones[1]; m.Forecast != nil || m.Met || m.State != forecast.InsufficientData {
		t.Errorf("a milestone without models %+v", m)
	}
	score := func() forecast.Score {
		var tr Tracker
		for _, r := range d.records {
			tr.Add(r)
		}
		s, err := tr.Derive(Evidence{Now: day(60), Models: []Held{{Name: "m", Precisions: both[:1]}}, Milestones: []config.Milestone{launch(config.Best, fast)}})
		if err != nil {
			t.Fatal(err)
		}
		return forecast.Backtest(tr.Histories(s), forecast.BacktestOptions{}).Plancast
	}
	if s := score(); s.Questions != 0 {
		t.Errorf("ten results give %d questions; at least 11 are needed for one", s.Questions)
	}
	for i := range 30 {
		d.add("m", i+11, engine.FP32, "f", p99(0.06, 0))
	}
	if s := score(); s.Questions == 0 || s.Brier < 0 || s.Brier > 1 {
		t.Errorf("record %+v", s)
	}
}
