package compare_test

import (
	"testing"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/workload"
)

// under gives a record the workload chat with a P99 in seconds, and what the turns with
// another showed of it.
func under(p99 float64, w workload.Workload, turns *bench.Comparison) func(*history.Record) {
	return func(r *history.Record) {
		low, high := 0.99*p99, 1.01*p99
		r.Measurement.Workloads = []bench.WorkloadResult{{
			Workload: w, Stable: true, Answered: 200, Comparison: turns,
			Latency: &bench.Latency{Queries: 1400, Mean: p99 / 2, Quantiles: []bench.Quantile{{Q: 0.99, Value: p99, Low: &low, High: &high}}},
		}}
	}
}

func TestTheTurnsUnderAWorkloadDecideItsChange(t *testing.T) {
	chat, prefill := workload.Workload{Name: "chat"}, workload.Workload{Name: "chat", Phase: workload.Prefill}
	shows := func(quantity string, ratio float64) *bench.Comparison {
		return &bench.Comparison{Digest: "digest of 1", Changes: []bench.Change{{Quantity: quantity, Ratio: ratio, Low: ratio - 0.005, High: ratio + 0.005}}}
	}
	other := shows("p99", 0.5)
	other.Digest = "digest of 0"
	busy := shows("p99", 0.5)
	busy.Disturbed = true
	for name, c := range map[string]struct {
		w        workload.Workload
		turns    *bench.Comparison
		quantity string
		want     compare.Verdict
		apart    bool
	}{
		"the turns show no change":               {chat, shows("p99", 1), "p99@chat", compare.Unchanged, false},
		"the turns show a change":                {chat, shows("p99", 1.2), "p99@chat", compare.Regressed, false},
		"too few requests for the percentile":    {chat, shows("mean", 1), "p99@chat", compare.Improved, true},
		"turns with another candidate":           {chat, other, "p99@chat", compare.Improved, true},
		"turns that other work disturbed":        {chat, busy, "p99@chat", compare.Improved, true},
		"no turns":                               {chat, nil, "p99@chat", compare.Improved, true},
		"a mean without turns has no interval":   {chat, nil, "mean@chat", compare.Undecided, true},
		"a time to first token is a mean":        {prefill, shows("mean", 1), "ttft@chat", compare.Unchanged, false},
		"a rate has no interval, and no verdict": {chat, shows("p99", 1), "rate@chat", compare.Undecided, true},
	} {
		a := measured("1", 10, 0.01, under(0.05, c.w, nil))
		b := measured("2", 9, 0.01, turns("digest of 1", 0.89, 0.91), under(0.04, c.w, c.turns))
		row, ok := compare.Results(a, b, margin).Row(c.quantity)
		if !ok || row.Verdict != c.want || row.Apart != c.apart {
			t.Errorf("%s: %+v (%v), want %s, apart %v", name, row, ok, c.want, c.apart)
		}
	}
	alone := compare.Results(measured("1", 10, 0.01, under(0.05, chat, nil)), measured("2", 9, 0.01, under(0.04, chat, nil)), margin)
	if row, _ := alone.Row("p99@chat"); row.Apart || row.Verdict != compare.Improved {
		t.Errorf("where nothing was timed in turns, all is said of the whole: %+v", row)
	}
}
