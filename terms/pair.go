package terms

import (
	"fmt"
	"strings"
)

// ComparedSeries holds the iteration of the candidate that an engine was timed in
// turns with.
const ComparedSeries = "plancast_engine_compared_iteration"

// PairSeries are the expressions, in PromQL, of how a quantity changed from the candidate
// that the engine was timed in turns with.
type PairSeries struct {
	Ratio, Lower, Upper string // of the new to the old, less 1, and its 90 % interval
	Changed             string // 1 where the change is certain, else 0
}

// Pair returns them, and false for a quantity that is not timed.
func (q Quantity) Pair() (PairSeries, bool) {
	name, of := "plancast_engine_throughput_change", ""
	switch {
	case q.Name == "throughput":
	case strings.HasPrefix(q.Expr, latency):
		name, of = "plancast_engine_latency_change", fmt.Sprintf("{percentile=%q}", q.Name)
	default:
		return PairSeries{}, false
	}
	return PairSeries{
		Ratio: name + "_ratio" + of, Lower: name + "_lower_ratio" + of, Upper: name + "_upper_ratio" + of,
		Changed: fmt.Sprintf("plancast_engine_changed{quantity=%q}", q.Name),
	}, true
}
