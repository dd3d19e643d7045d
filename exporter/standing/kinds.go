package standing

import (
	"math"
	"slices"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/gains"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
)

// kinds are the kinds of the changes that led to candidates, by version and
// digest.
type kinds map[[2]string][]change.Kind

// trace notes the kinds of a candidate's change.
func (m *tracked) trace(version, digest string, of []change.Kind) {
	k := [2]string{version, digest}
	if _, known := m.kinds[k]; len(of) == 0 && !known {
		return
	}
	if m.kinds == nil {
		m.kinds = kinds{}
	}
	m.kinds[k] = of
	m.model = nil
}

// gainQuantity is the one that gains are about.
const gainQuantity = "p99"

// tried is what a model has had of each kind.
type tried struct {
	had  map[gains.Kind]bool
	logs map[gains.Kind][]float64 // logarithms of P99 with it over P99 without
}

func (t *tried) add(k gains.Kind, logs ...float64) {
	if len(logs) > 0 {
		t.logs[k] = append(t.logs[k], mean(logs))
	}
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// observe collects what the kinds of changes did to the model in the environment
// that counts. A step to a lower precision is seen within each candidate, against
// its own fp32; other kinds from one candidate to the next, at the precisions that
// both have. A change of several kinds says nothing of any one of them.
func (m *Model) observe(known kinds) tried {
	t := tried{had: map[gains.Kind]bool{}, logs: map[gains.Kind][]float64{}}
	for i, trial := range m.Series.Trials {
		for e := range trial.Entries() {
			if e.Precision == engine.FP32 {
				continue
			}
			// What failed may still come; what is not supported never will.
			if e.OK() || e.Unsupported() {
				t.had[gains.Precision(e.Precision)] = true
			}
			if base, ok := trial.Entry(engine.FP32); ok && !e.NoEffect {
				t.add(gains.Precision(e.Precision), logRatios(e, base)...)
			}
		}
		of := known[[2]string{trial.Version, trial.Digest}]
		for _, k := range of {
			t.had[gains.Kind(k)] = true
		}
		if len(of) == 1 && of[0].Optimizes() && i > 0 {
			var logs []float64
			for e := range trial.Entries() {
				if before, ok := m.Series.Trials[i-1].Entry(e.Precision); ok {
					logs = append(logs, logRatios(e, before)...)
				}
			}
			t.add(gains.Kind(of[0]), logs...)
		}
	}
	return t
}

// logRatios is the logarithm of now over before, or nothing where one of them
// cannot be believed.
func logRatios(now, before history.Entry) []float64 {
	x, ok := now.Value(gainQuantity)
	y, known := before.Value(gainQuantity)
	if !ok || !known || x <= 0 || y <= 0 || now.Disturbed || before.Disturbed {
		return nil
	}
	return []float64{math.Log(x / y)}
}

// learn says what each kind did to the models of the state.
func (s *State) learn() {
	var observed []gains.Observation
	for _, m := range s.Models {
		for k, logs := range m.tried.logs {
			observed = append(observed, gains.Observation{Model: m.Name, Kind: k, Ratio: math.Exp(mean(logs))})
		}
	}
	s.Gains = gains.Estimate(observed)
}

// Room is what a model that misses a threshold could still gain.
type Room struct {
	Threshold Threshold // the first that is missed because of its P99
	Criterion forecast.Criterion
	Untried   []gains.Prospect // the best first
}

// Room says which kinds of changes made other models faster and m has not had; false when m misses no P99, or no kind is known to help. It is advice, and
// no part of any probability.
func (s *State) Room(m *Model) (Room, bool) {
	if !slices.ContainsFunc(s.Gains, gains.Gain.Helps) {
		return Room{}, false
	}
	for _, v := range m.Verdicts {
		if v.Outcome != Missed || v.Engine == nil || v.Trial == nil {
			continue
		}
		for _, c := range v.Engine.Criteria {
			if c.Outcome != Missed || c.Metric != gainQuantity || !c.Comparison.LowerIsBetter() {
				continue
			}
			r := Room{Threshold: v.Threshold, Criterion: c.Criterion}
			r.Untried = gains.Untried(s.Gains, func(k gains.Kind) bool { return m.tried.had[k] }, func(k gains.Kind) (float64, bool) {
				return c.Target / base(v, k, c.Value), base(v, k, c.Value) > 0
			})
			return r, true
		}
	}
	return Room{}, false
}

// base is the P99 that a kind would start from: that of the engine that decides, or
// of the candidate's fp32 engine for a step to a lower precision. It is 0 where
// that is not known, or the threshold does not count the precision.
func base(v Verdict, k gains.Kind, decides float64) float64 {
	p, ok := k.IsPrecision()
	if !ok {
		return decides
	}
	e, ok := v.Trial.Entry(engine.FP32)
	x, known := e.Value(gainQuantity)
	if !ok || !known || !v.Threshold.Counts(p) {
		return 0
	}
	return x
}
