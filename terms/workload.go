package terms

import (
	"strconv"
	"strings"

	"github.com/plancast/plancast/units"
)

// WorkloadLabel names the workload in the series of its figures.
const WorkloadLabel = "workload"

// workloadName marks the place of a workload's name in the PromQL of
// WorkloadQuantities.
const workloadName = "$workload"

// The series of a workload that say how far its figures count.
const (
	// WorkloadLatencySeries is a summary of its latency, absent while SaturatedSeries is 1.
	WorkloadLatencySeries = "plancast_workload_latency_seconds"
	// SaturatedSeries is 1 where requests arrive faster than the engine serves them: the
	// latency has no end then.
	SaturatedSeries = "plancast_workload_saturated"
	// WorkloadDisturbedSeries is 1 where other work disturbed the workload.
	WorkloadDisturbedSeries = "plancast_workload_disturbed"
)

// workloadQuantities are the figures that a criterion can name of a workload.
var workloadQuantities = []Quantity{
	{"mean", "mean latency", ofWorkload(WorkloadLatencySeries+"_sum") + " / " + ofWorkload(WorkloadLatencySeries+"_count"), units.Seconds, true},
	{"p50", "P50 latency", ofWorkload(WorkloadLatencySeries, "quantile", "0.5"), units.Seconds, true},
	{"p90", "P90 latency", ofWorkload(WorkloadLatencySeries, "quantile", "0.9"), units.Seconds, true},
	{"p95", "P95 latency", ofWorkload(WorkloadLatencySeries, "quantile", "0.95"), units.Seconds, true},
	{"p99", "P99 latency", ofWorkload(WorkloadLatencySeries, "quantile", "0.99"), units.Seconds, true},
	{"rate", "rate", ofWorkload("plancast_workload_rate_requests_per_second"), units.PerSec, false},
	{"goodput", "goodput", ofWorkload("plancast_workload_goodput_requests_per_second"), units.PerSec, false},
	{"max_rate", "highest rate", ofWorkload("plancast_workload_max_rate_requests_per_second"), units.PerSec, false},
	{"ttft", "time to first token", ofWorkload("plancast_workload_ttft_seconds"), units.Seconds, true},   // of the phase prefill
	{"tpot", "time per output token", ofWorkload("plancast_workload_tpot_seconds"), units.Seconds, true}, // of the phase decode
	{"tokens", "tokens a second", ofWorkload("plancast_workload_tokens_per_second"), units.PerSec, false},
}

// ofWorkload is a series of a workload.
func ofWorkload(series string, label ...string) string {
	matchers := []string{WorkloadLabel + `="` + workloadName + `"`}
	for i := 0; i+1 < len(label); i += 2 {
		matchers = append(matchers, label[i]+"="+strconv.Quote(label[i+1]))
	}
	return series + "{" + strings.Join(matchers, ",") + "}"
}

// WorkloadQuantities lists the quantities of a workload; in their PromQL
// workloadName stands for its name.
func WorkloadQuantities() []Quantity { return append([]Quantity(nil), workloadQuantities...) }

// OfWorkload names a quantity of a workload: "p99@chat".
func OfWorkload(quantity, workload string) string { return quantity + "@" + workload }

// SplitWorkload takes "p99@chat" apart. workload is "" for a quantity of the engine.
func SplitWorkload(name string) (quantity, workload string) {
	quantity, workload, _ = strings.Cut(name, "@")
	return quantity, workload
}

// of is the quantity of a workload; for "" it is the quantity itself.
func (q Quantity) of(workload string) Quantity {
	if workload != "" {
		q.Name, q.Title = OfWorkload(q.Name, workload), q.Title+" of "+workload
		q.Expr = strings.ReplaceAll(q.Expr, workloadName, workload)
	}
	return q
}
