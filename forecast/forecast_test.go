package forecast

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/forecast/internal/law"
)

// ramp is a history that improves by a share with every result.
func ramp(n int, from, share float64) []float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = from * math.Pow(1-share, float64(i))
	}
	return v
}

func TestDegenerateHistories(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	flat := slices.Repeat([]float64{0.1}, 20)
	step := append(slices.Repeat([]float64{0.2}, 12), slices.Repeat([]float64{0.06}, 8)...)
	for name, c := range map[string]struct {
		values   []float64
		target   float64
		state    State
		unknown  bool // no probability at all
		atLeast  float64
		atMost   float64
		warning  string
		deadline time.Duration // from the last result; 0 is none
	}{
		"no result":                         {state: InsufficientData, unknown: true, warning: "no valid result yet"},
		"one result":                        {values: []float64{0.1}, state: InsufficientData, atMost: 0.5, warning: "only 1 result"},
		"four results":                      {values: []float64{0.1, 0.09, 0.1, 0.09}, state: InsufficientData, atMost: 0.5, warning: "only 4 results"},
		"one result that meets the target":  {values: []float64{0.04}, state: Met, atLeast: 1, atMost: 1},
		"flat":                              {values: flat, state: IsStalled, atMost: 0.1},
		"flat, on the bound of <":           {values: slices.Repeat([]float64{0.05}, 20), state: AtRisk, atLeast: 0.1, atMost: 0.5},
		"target met":                        {values: append(slices.Clone(flat), 0.04), state: Met, atLeast: 1, atMost: 1},
		"met before, regressed since":       {values: append([]float64{0.04}, flat...), state: AtRisk, atLeast: 0.01, atMost: 0.9},
		"two results":                       {values: []float64{0.1, 0.09}, state: InsufficientData, atLeast: 1e-5, atMost: 0.5, warning: "only 2 results"},
		"a regression, never met":           {values: append(slices.Clone(flat), 0.2, 0.2, 0.21), state: IsStalled, atMost: 0.1},
		"step change to the worse":          {values: append(slices.Repeat([]float64{0.06}, 12), slices.Repeat([]float64{0.2}, 8)...), state: AtRisk, atLeast: 0.01, atMost: 0.5},
		"step change that meets it":         {values: append(slices.Clone(flat), slices.Repeat([]float64{0.03}, 6)...), state: Met, atLeast: 1, atMost: 1},
		"step change just short":            {values: step, atLeast: 0.05, atMost: 0.6, state: AtRisk},
		"deadline past":                     {values: flat, state: IsStalled, atMost: 0, deadline: -time.Hour, warning: "the deadline has passed"},
		"deadline past and met":             {values: append(slices.Clone(flat), 0.04), state: Met, atLeast: 1, atMost: 1, deadline: -time.Hour},
		"deadline in a nanosecond":          {values: flat, state: IsStalled, atMost: 1e-5, deadline: time.Nanosecond},
		"nothing but NaN":                   {values: []float64{nan, inf, -inf}, state: InsufficientData, unknown: true, warning: "3 results were not a finite number"},
		"NaN among results":                 {values: append(slices.Clone(flat), nan), state: IsStalled, atMost: 0.1, warning: "1 result was not a finite number"},
		"all zero, lower is better":         {values: make([]float64, 9), state: Met, atLeast: 1, atMost: 1},
		"all zero, target below":            {values: make([]float64, 9), target: -1, state: IsStalled, atMost: 0.3},
		"negative values":                   {values: []float64{-1, -2, -3, -2, -3, -4, -3}, target: -5, atLeast: 0.01, atMost: 0.6, state: AtRisk},
		"huge values":                       {values: []float64{1e308, 1e307, 1e308, 1e306, 1e307, 1e305}, target: 1e300, atMost: 0.5, state: IsStalled},
		"both signs and huge":               {values: []float64{-1e308, 1e308, -1e308, 1e308, 0}, target: -1.5e308, atMost: 0.9, state: AtRisk},
		"steady improvement, almost there":  {values: ramp(30, 0.2, 0.045), target: 0.05, state: OnTrack, atLeast: 0.9, atMost: 0.99999},
		"one outlier that met it long past": {values: append([]float64{0.02}, slices.Repeat([]float64{0.1, 0.101}, 15)...), state: AtRisk, atMost: 0.25},
	} {
		t.Run(name, func(t *testing.T) {
			criterion := Criterion{Metric: "x", Comparison: Below, Target: 0.05}
			if c.target != 0 {
				criterion.Target = c.target
			}
			now := after(len(c.values))
			g := Goal{Iterations: 10}
			if c.deadline != 0 {
				g = Goal{Deadline: now.Add(c.deadline)}
			}
			f := single(t, Series{Model: "m", Criterion: criterion, Observations: daily(c.values...)}, g, now)
			if f.State != c.state {
				t.Errorf("state %s, want %s", f.State, c.state)
			}
			if c.unknown != (f.Probability == nil) {
				t.Fatalf("probability %v", f.Probability)
			}
			if p := f.Probability; p != nil && (p.Value < c.atLeast || p.Value > c.atMost) {
				t.Errorf("probability %v, want %v to %v", p.Value, c.atLeast, c.atMost)
			}
			if all := strings.Join(f.Basis.Warnings, "; "); !strings.Contains(all, c.warning) {
				t.Errorf("warnings %q do not say %q", all, c.warning)
			}
			if f.Summary == "" {
				t.Error("no summary")
			}
			asJSON(t, f) // refuses NaN and infinities
		})
	}
}

func TestAttainedShareOfTheWay(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64 // target 50
		want   float64
	}{
		"first result":                           {[]float64{100}, 0},
		"half the way":                           {[]float64{100, 90, 75}, 0.5},
		"worse than the first":                   {[]float64{100, 120}, 0},
		"met":                                    {[]float64{100, 50}, 1},
		"met in between, regressed since":        {[]float64{100, 40, 80}, 0.4},
		"met at first, regressed":                {[]float64{40, 80}, 0},
		"met at first, half the way back":        {[]float64{40, 90, 70}, 0.5},
		"met at first, worse before it met last": {[]float64{40, 500, 45, 90, 70}, 0.5},
		"met at first and again":                 {[]float64{40, 90, 50}, 1},
		"a hair short":                           {[]float64{100, 50.0001}, nearlyThere},
	} {
		for _, higher := range []bool{false, true} {
			criterion, sign := Criterion{Metric: "x", Comparison: AtMost, Target: 50}, 1.0
			if higher {
				criterion.Comparison, criterion.Target, sign = AtLeast, -50, -1
			}
			var values []float64
			for _, v := range c.values {
				values = append(values, sign*v)
			}
			f := single(t, Series{Criterion: criterion, Observations: daily(values...)}, Goal{}, after(len(values)))
			if math.Abs(*f.Attained-c.want) > 1e-12 {
				t.Errorf("%s, higher is better %v: attained %v, want %v", name, higher, *f.Attained, c.want)
			}
		}
	}
}

func TestWrongQuestionsAreRefused(t *testing.T) {
	s := Series{Model: "resnet50", Criterion: latency, Observations: daily(0.1)}
	bad := s
	bad.Criterion.Comparison = "=="
	for name, c := range map[string]struct {
		series Series
		goal   Goal
		want   string
	}{
		"comparison":        {bad, Goal{}, "forecast resnet50: criterion on p99: \"==\" is not a comparison"},
		"iterations":        {s, Goal{Iterations: -1}, "goal: -1 iterations, want 0 to 1000"},
		"many iterations":   {s, Goal{Iterations: 1001}, "goal: 1001 iterations"},
		"ready probability": {s, Goal{Ready: 1}, "goal: ready probability 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Single(c.series, c.goal, epoch, Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
	if _, err := Joint(JointGoal{Name: "launch"}, epoch, Options{}); !errors.Is(err, ErrGoal) {
		t.Errorf("no series: %v", err)
	}
	for _, share := range []float64{1.5, -0.1, math.NaN()} {
		if _, err := Joint(JointGoal{Name: "launch", Series: []Series{s}, Share: share}, epoch, Options{}); !errors.Is(err, ErrGoal) {
			t.Errorf("share %v: %v", share, err)
		}
	}
}

func TestMissedIterationsAreIterationsWithoutGain(t *testing.T) {
	o := daily(made("steps", 20, rand.New(rand.NewPCG(1, 2)))...)
	repeated := slices.Clone(o)
	for i := range 5 {
		at := after(21 + i)
		o = append(o, Observation{Time: at, Value: math.NaN(), Environment: "gpu"})
		repeated = append(repeated, Observation{Time: at, Value: o[19].Value, Environment: "gpu", Valid: true})
	}
	s := Series{Criterion: latency, Observations: o}
	a := single(t, s, Goal{}, after(25))
	s.Observations = repeated
	b := single(t, s, Goal{}, after(25))
	if *a.Probability != *b.Probability {
		t.Errorf("missed %v, without gain %v", a.Probability, b.Probability)
	}
	if a.Basis.Missed != 5 || a.Basis.Observations != 20 {
		t.Errorf("evidence %+v", a.Basis)
	}
}

func TestEnvironmentIsNeverBridged(t *testing.T) {
	o := daily(ramp(20, 0.2, 0.03)...)
	for i := range o[:12] {
		o[i].Environment = "old driver"
	}
	s := Series{Criterion: latency, Observations: o}
	f := single(t, s, Goal{}, after(20))
	if f.Basis.Observations != 8 || f.Basis.Ignored != 12 || f.Basis.Environment != "gpu" {
		t.Errorf("evidence %+v", f.Basis)
	}
	if !slices.Contains(f.Basis.Warnings, "12 results of another environment omitted: a change of environment starts a new series") {
		t.Errorf("warnings %q", f.Basis.Warnings)
	}
	alone := single(t, Series{Criterion: latency, Observations: o[12:]}, Goal{}, after(20))
	if *f.Probability != *alone.Probability {
		t.Errorf("probability %v, of the new series alone %v", f.Probability, alone.Probability)
	}
	s.Environment = "old driver"
	if f = single(t, s, Goal{}, after(20)); f.Basis.Observations != 12 {
		t.Errorf("asked for the old environment: %+v", f.Basis)
	}
}

func TestDisorderAndRepetitionChangeNothing(t *testing.T) {
	o := daily(made("steps", 25, rand.New(rand.NewPCG(5, 5)))...)
	s := Series{Criterion: latency, Observations: o}
	want := single(t, s, Goal{Deadline: after(40)}, after(25))
	s.Observations = append(slices.Clone(o), o[3], o[24], o[3])
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(s.Observations), func(i, k int) {
		s.Observations[i], s.Observations[k] = s.Observations[k], s.Observations[i]
	})
	got := single(t, s, Goal{Deadline: after(40)}, after(25))
	if *got.Probability != *want.Probability {
		t.Errorf("probability %v, want %v", got.Probability, want.Probability)
	}
	if w := strings.Join(got.Basis.Warnings, "; "); !strings.Contains(w, "sorted") || !strings.Contains(w, "3 repeated results were counted once") {
		t.Errorf("warnings %q", w)
	}
}

// The atypical example that plancast exists for: gains averaged 12 %, now 6 %.
func TestAtypicalShortfallIsFlagged(t *testing.T) {
	history := func(gains ...float64) []float64 {
		v := []float64{0.1}
		for _, g := range gains {
			v = append(v, v[len(v)-1]*(1-g))
		}
		return v
	}
	for name, c := range map[string]struct {
		gains   []float64
		concern string
		want    bool
	}{
		"gains of about 12 %, now 6 %":                       {gains: []float64{0.12, 0.11, 0.13, 0.12, 0.12, 0.06}, want: true},
		"wider gains, now 6 %":                               {gains: []float64{0.09, 0.15, 0.11, 0.14, 0.11, 0.06}, want: true},
		"wide gains, now 6 %":                                {gains: []float64{0.08, 0.16, 0.11, 0.15, 0.10, 0.06}},
		"wide gains, now 6 %, and layers stayed unquantized": {gains: []float64{0.08, 0.16, 0.11, 0.15, 0.10, 0.06}, concern: "12 layers stayed unquantized", want: true},
		"as before":                           {gains: []float64{0.12, 0.11, 0.13, 0.12, 0.12, 0.115}},
		"as before, and a concern":            {gains: []float64{0.12, 0.11, 0.13, 0.12, 0.12, 0.12}, concern: "12 layers stayed unquantized"},
		"a larger gain is no shortfall":       {gains: []float64{0.12, 0.11, 0.13, 0.12, 0.12, 0.3}},
		"too few gains to tell":               {gains: []float64{0.12, 0.11, 0.13, 0.12, 0.01}},
		"a plateau after steady gains is one": {gains: []float64{0.12, 0.11, 0.13, 0.12, 0.12, 0}, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			o := daily(history(c.gains...)...)
			o[len(o)-1].Concern = c.concern
			f := single(t, Series{Criterion: Criterion{Metric: "p99", Comparison: Below, Target: 0.001}, Observations: o}, Goal{}, after(len(o)))
			if got := f.Atypical != nil && f.Atypical.Is; got != c.want {
				t.Fatalf("atypical %v, want %v: %+v", got, c.want, f.Atypical)
			}
			if !c.want {
				return
			}
			if f.State != IsAtypical || len(f.Advice) == 0 || !strings.Contains(f.Advice[0], c.concern) {
				t.Errorf("state %s, advice %q", f.State, f.Advice)
			}
		})
	}
}

// On histories without any change the share flagged stays near the stated one.
func TestAtypicalFalseAlarms(t *testing.T) {
	const n = 4000
	student3 := func(r *rand.Rand) float64 {
		return r.NormFloat64() / math.Sqrt((math.Pow(r.NormFloat64(), 2)+math.Pow(r.NormFloat64(), 2)+math.Pow(r.NormFloat64(), 2))/3)
	}
	for name, c := range map[string]struct {
		draw    func(*rand.Rand) float64
		gains   bool // draws are gains, not results
		concern string
		stated  float64
	}{
		"normal noise":          {(*rand.Rand).NormFloat64, false, "", FalseAlarms},
		"heavy-tailed noise":    {student3, false, "", FalseAlarms},
		"normal gains":          {(*rand.Rand).NormFloat64, true, "", FalseAlarms},
		"heavy-tailed gains":    {student3, true, "", FalseAlarms},
		"concern, normal noise": {(*rand.Rand).NormFloat64, false, "some layers stayed unquantized", ConcernedAlarms},
		"concern, normal gains": {(*rand.Rand).NormFloat64, true, "some layers stayed unquantized", ConcernedAlarms},
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(11, 13))
			flagged := 0
			for range n {
				v, level := make([]float64, 9), 0.0
				for i := range v {
					x := 0.03 * c.draw(rng)
					if c.gains {
						level += x
						x = level
					}
					v[i] = 0.1 * math.Exp(x)
				}
				o := daily(v...)
				o[len(o)-1].Concern = c.concern
				h, err := clean(Series{Criterion: latency, Observations: o})
				if err != nil {
					t.Fatal(err)
				}
				h.condense(&law.History{})
				if a := atypical(h); a != nil && a.Is {
					flagged++
				}
			}
			rate := float64(flagged) / n
			t.Logf("%.1f %% flagged, stated %.0f %%", 100*rate, 100*c.stated)
			if rate < 0.6*c.stated || rate > 1.3*c.stated {
				t.Errorf("%.1f %% flagged, stated %.0f %%", 100*rate, 100*c.stated)
			}
		})
	}
}

func TestStalledHistorySaysSo(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	v := made("approach", 60, rng)
	c := latency
	c.Target = slices.Min(v) * 0.6
	f := single(t, Series{Criterion: c, Observations: daily(v...)}, Goal{Deadline: after(90)}, after(60))
	if !f.Limit.Stalled || f.Limit.Chance >= StalledBelow {
		t.Fatalf("limit %+v", f.Limit)
	}
	if !slices.ContainsFunc(f.Advice, func(s string) bool { return strings.Contains(s, "Improvement is stalling") }) {
		t.Errorf("advice %q", f.Advice)
	}
}

func TestCadenceKnowsWeekends(t *testing.T) {
	var o []Observation
	for i := range 60 {
		if d := epoch.AddDate(0, 0, i); d.Weekday() != time.Saturday && d.Weekday() != time.Sunday {
			o = append(o, Observation{Time: d, Value: 0.1, Valid: true})
		}
	}
	var times []time.Time
	for _, x := range o {
		times = append(times, x.Time)
	}
	now := times[len(times)-1]
	c := newCadence(times, now)
	friday := time.Date(2026, 3, 13, 18, 0, 0, 0, time.UTC)
	weekend, weekdays := c.expect(friday, friday.AddDate(0, 0, 2)), c.expect(friday.AddDate(0, 0, 3), friday.AddDate(0, 0, 5))
	if weekend > weekdays/3 {
		t.Errorf("%.2f iterations expected on a weekend, %.2f on two working days", weekend, weekdays)
	}
	for _, x := range []float64{0.3, 1, 4, 5, 6, 40, 4000} {
		if got := c.expect(now, c.date(now, x)); math.Abs(got-x) > 1e-6*x {
			t.Errorf("the date of %v iterations holds %v", x, got)
		}
	}
}

func TestPauseMovesDates(t *testing.T) {
	s := Series{Criterion: Criterion{Metric: "x", Comparison: Below, Target: 0.08}, Observations: daily(made("steps", 30, rand.New(rand.NewPCG(9, 1)))...)}
	s.Criterion.Target = 0.9 * slices.MinFunc(s.Observations, func(a, b Observation) int { return int(1e6 * (a.Value - b.Value)) }).Value
	g := Goal{Deadline: after(60)}
	a, b := single(t, s, g, after(30)), single(t, s, g, after(50))
	if b.ByDeadline.Value >= a.ByDeadline.Value {
		t.Errorf("after three silent weeks %v, before %v", b.ByDeadline, a.ByDeadline)
	}
	if !slices.ContainsFunc(b.Basis.Warnings, func(s string) bool { return strings.Contains(s, "no iteration since 2026-02-03") }) {
		t.Errorf("warnings %q", b.Basis.Warnings)
	}
}

func FuzzSingle(f *testing.F) {
	f.Add(0.05, 10, int64(3600), 0.1, 0.2, 0.3, uint8(3), true)
	f.Add(0.0, 1, int64(-5), math.NaN(), math.Inf(1), -1.0, uint8(40), false)
	f.Add(-1e308, 1000, int64(1e12), 1e308, -1e308, 5e-324, uint8(200), true)
	f.Fuzz(func(t *testing.T, target float64, iterations int, deadline int64, a, b, c float64, n uint8, lower bool) {
		cr := Criterion{Metric: "x", Comparison: AtLeast, Target: target}
		if lower {
			cr.Comparison = Below
		}
		values := make([]float64, int(n))
		for i := range values {
			values[i] = []float64{a, b, c, a * b, a + c}[(i*i+i/3)%5]
		}
		o := daily(values...)
		for i := range o {
			o[i].Valid = i%7 != 3
			if n > 100 && i < 20 {
				o[i].Environment = "other"
			}
		}
		g := Goal{Iterations: iterations, Deadline: epoch.Add(time.Duration(deadline) * time.Second)}
		s := Series{Model: "m", Criterion: cr, Observations: o}
		got, err := Single(s, g, after(int(n)), Options{Score: n%2 == 0})
		if err != nil {
			return
		}
		asJSON(t, got)
		for i, p := range got.Within {
			if !(0 <= p.Lower && p.Lower <= p.Value && p.Value <= p.Upper && p.Upper <= 1) || i > 0 && p.Value < got.Within[i-1].Value {
				t.Fatalf("within %d: %+v", i+1, p)
			}
		}
		m, err := Joint(JointGoal{Series: []Series{s, s}, Goal: g}, after(int(n)), Options{Futures: 50})
		if err != nil {
			t.Fatal(err)
		}
		asJSON(t, m)
	})
}
