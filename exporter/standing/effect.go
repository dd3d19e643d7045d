package standing

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/plancast/plancast/exporter/history"
)

// Effect is what a change of environment did to a quantity: the geometric mean of the
// ratios of the candidates that were measured in both environments.
type Effect struct {
	Candidates int
	Ratio      float64 // the new environment's over the one before
	// The ratio lies between Low and High with 90 % confidence, by Student's
	// distribution over the candidates; both are NaN for a single one.
	Low, High float64
}

// EffectOn compares two environments of a model. What was disturbed in one of them
// does not count, and a candidate with several precisions counts once. It is false
// where no candidate has the quantity in both.
func EffectOn(quantity string, before, now history.Series) (Effect, bool) {
	earlier := map[string]history.Trial{}
	for _, t := range before.Trials {
		earlier[t.Digest] = t
	}
	value := func(e history.Entry) (float64, bool) {
		v, ok := e.Value(quantity)
		return v, ok && e.OK() && !e.Disturbed && v > 0
	}
	var logs []float64
	for _, t := range now.Trials {
		var of []float64
		for e := range t.Entries() {
			b, found := earlier[t.Digest].Entry(e.Precision)
			x, okNow := value(e)
			y, okThen := value(b)
			if found && okNow && okThen {
				of = append(of, math.Log(x/y))
			}
		}
		if len(of) > 0 {
			logs = append(logs, stat.Mean(of, nil))
		}
	}
	n := len(logs)
	if n == 0 {
		return Effect{}, false
	}
	mean := stat.Mean(logs, nil)
	out := Effect{Candidates: n, Ratio: math.Exp(mean), Low: math.NaN(), High: math.NaN()}
	if n > 1 {
		half := distuv.StudentsT{Sigma: 1, Nu: float64(n - 1)}.Quantile(0.95) * stat.StdDev(logs, nil) / math.Sqrt(float64(n))
		out.Low, out.High = math.Exp(mean-half), math.Exp(mean+half)
	}
	return out, true
}
