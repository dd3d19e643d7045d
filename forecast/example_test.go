package forecast_test

import (
	"fmt"
	"time"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

// history is the P99 latency of eight weekly candidates, in seconds.
func history(values ...float64) (o []forecast.Observation) {
	for i, v := range values {
		o = append(o, forecast.Observation{Time: time.Date(2026, 10, 5+7*i, 9, 0, 0, 0, time.UTC), Value: v, Valid: true})
	}
	return o
}

// One model, one bound, one deadline.
func ExampleSingle() {
	s := forecast.Series{
		Model:        "resnet50",
		Criterion:    forecast.Criterion{Metric: "p99", Comparison: forecast.Below, Target: 0.050, Unit: units.Seconds},
		Observations: history(0.098, 0.091, 0.083, 0.080, 0.071, 0.069, 0.066, 0.061),
	}
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	f, err := forecast.Single(s, forecast.Goal{Deadline: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)}, now, forecast.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.State)
	fmt.Println(f.Summary)
	// Output:
	// at_risk
	// 77 % of the way to 50 ms; about 2.8 more effective iterations; 78 % (61-89 %) by 31 January 2027
}

// The newest gain falls short of the five before it, and a reason is known.
func ExampleSingle_atypical() {
	o := history(0.100, 0.088, 0.0785, 0.0690, 0.0602, 0.0533, 0.0501)
	o[len(o)-1].Concern = "12 layers stayed unquantized"
	f, err := forecast.Single(forecast.Series{
		Model:        "resnet50",
		Criterion:    forecast.Criterion{Metric: "p99", Comparison: forecast.Below, Target: 0.040, Unit: units.Seconds},
		Observations: o,
	}, forecast.Goal{Iterations: 5}, o[len(o)-1].Time, forecast.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.State)
	fmt.Println(f.Advice[0])
	// Output:
	// atypical
	// The newest gain, 6 %, is atypical: the five before it averaged 11.8 %, and 12 layers stayed unquantized. The probability still counts on gains like those before.
}

// Two criteria on each of two models, all of which have to be met.
func ExampleJoint() {
	p99 := forecast.Criterion{Metric: "p99", Comparison: forecast.Below, Target: 0.050, Unit: units.Seconds}
	deviation := forecast.Criterion{Metric: "accuracy_deviation", Comparison: forecast.Below, Target: 0.005, Unit: units.Ratio}
	m := forecast.JointGoal{
		Name: "launch",
		Series: []forecast.Series{
			{Model: "resnet50", Criterion: p99, Observations: history(0.060, 0.058, 0.055, 0.052, 0.051, 0.0505)},
			{Model: "resnet50", Criterion: deviation, Observations: history(0.004, 0.004, 0.004, 0.003, 0.003, 0.003)},
			{Model: "bert", Criterion: p99, Observations: history(0.070, 0.066, 0.052, 0.049, 0.047, 0.046)},
			{Model: "bert", Criterion: deviation, Observations: history(0.009, 0.007, 0.007, 0.006, 0.006, 0.0055)},
		},
		Goal: forecast.Goal{Iterations: 10},
	}
	f, err := forecast.Joint(m, time.Date(2026, 11, 10, 9, 0, 0, 0, time.UTC), forecast.Options{Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(f.Summary)
	for _, p := range f.Parts {
		fmt.Println(p.Model, p.Criterion, p.Forecast.State)
	}
	// Output:
	// 96 % of the way; 60 % (28-85 %) within 10 iterations
	// bert accuracy_deviation < 0.5 % at_risk
	// resnet50 p99 < 50 ms on_track
	// resnet50 accuracy_deviation < 0.5 % met
	// bert p99 < 50 ms met
}

// The case that plancast began with: gains of about 11 %, and a target two such
// gains away. The README quotes it.
func ExampleSingle_seed() {
	start := time.Date(2026, 9, 1, 9, 0, 0, 0, time.UTC)
	s := forecast.Series{
		Model:     "resnet50",
		Criterion: forecast.Criterion{Metric: "p99", Comparison: forecast.AtMost, Target: 0.050, Unit: units.Seconds},
	}
	for i, ms := range []float64{100, 90, 79, 70, 62} {
		s.Observations = append(s.Observations, forecast.Observation{Time: start.AddDate(0, 0, 7*i), Value: ms / 1000, Valid: true})
	}
	f, err := forecast.Single(s, forecast.Goal{Iterations: 5}, start.AddDate(0, 0, 28), forecast.Options{})
	if err != nil {
		panic(err)
	}
	fmt.Println(f.Summary)
	// Output:
	// 76 % of the way to 50 ms; about 2.0 more effective iterations; 88 % (75-95 %) within 5 iterations
}
