package standing

import (
	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
)

// comparing finds the comparison that an entry was measured with; nil without one.
type comparing func(history.Entry) *bench.Comparison

// comparison is that of a record at hand.
func (m *tracked) comparison(e history.Entry) *bench.Comparison {
	if r, ok := m.records[e.ID]; ok && r.OK() {
		return r.Measurement.Comparison
	}
	return nil
}

// newest is what a pair shows of the newest iteration with a result: the change of a
// criterion's quantity from the iteration with a result before it. It is the zero Pair where the
// engines that stand for the two were not timed in turns.
func newest(criterion int, all []iteration, of comparing) forecast.Pair {
	var last *history.Entry
	for i := len(all) - 1; i >= 0; i-- {
		x := all[i]
		if x.engine == nil || x.engine.Outcome == Undecided || !x.engine.Criteria[criterion].Outcome.decided() {
			continue
		}
		e, _ := x.trial.Entry(x.engine.Precision)
		if last == nil {
			last = &e
			continue
		}
		c := of(*last)
		if c == nil || c.Digest != e.Digest || last.Precision != e.Precision {
			return forecast.Pair{}
		}
		change, _ := c.Of(x.engine.Criteria[criterion].Metric)
		return forecast.Pair{Ratio: change.Ratio, Low: change.Low, High: change.High, Changed: change.Verdict == bench.Changed}
	}
	return forecast.Pair{}
}
