package terms

import (
	"fmt"
	"strings"

	"github.com/plancast/plancast/units"
)

// Quantity is one figure of a result that a criterion can name. The table below
// is the only place where its name, unit, good direction and PromQL are written
// down.
type Quantity struct {
	Name          string     `json:"name"`  // as configuration writes it: "p99"
	Title         string     `json:"title"` // as people read it: "P99 latency"
	Expr          string     `json:"expr"`  // PromQL over what the exporter publishes
	Unit          units.Unit `json:"unit"`
	LowerIsBetter bool       `json:"lower"`
}

const latency = "plancast_engine_latency_seconds"

var quantities = []Quantity{
	{"mean", "mean latency", latency + "_sum / " + latency + "_count", units.Seconds, true},
	{"p50", "P50 latency", latency + `{quantile="0.5"}`, units.Seconds, true},
	{"p90", "P90 latency", latency + `{quantile="0.9"}`, units.Seconds, true},
	{"p95", "P95 latency", latency + `{quantile="0.95"}`, units.Seconds, true},
	{"p99", "P99 latency", latency + `{quantile="0.99"}`, units.Seconds, true},
	{"throughput", "throughput", "plancast_engine_throughput_inferences_per_second", units.PerSec, false},
	{"top1", "top-1 accuracy", `plancast_engine_accuracy_ratio{measure="top1"}`, units.Ratio, false},
	{"accuracy_deviation", "accuracy deviation", "plancast_engine_accuracy_deviation_ratio", units.Ratio, true},
	{"memory", "peak memory", `plancast_engine_memory_bytes{kind="peak"}`, units.Bytes, true},
	{"size", "engine size", "plancast_engine_size_bytes", units.Bytes, true},
	{"build_duration", "build time", "plancast_build_duration_seconds", units.Seconds, true},
}

// Quantities lists every quantity, in the order of a report's columns.
func Quantities() []Quantity { return append([]Quantity(nil), quantities...) }

// QuantityByName finds a quantity, and one of a workload as "p99@chat"; the error
// lists the names there are.
func QuantityByName(name string) (Quantity, error) {
	table, base, workload := quantities, name, ""
	if q, w := SplitWorkload(name); w != "" {
		table, base, workload = workloadQuantities, q, w
	}
	names := make([]string, len(table))
	for i, q := range table {
		if q.Name == base {
			return q.of(workload), nil
		}
		names[i] = q.Name
	}
	what := "quantity"
	if workload != "" {
		what = "quantity of a workload"
	}
	return Quantity{}, fmt.Errorf("unknown %s %q: use one of %s", what, base, strings.Join(names, ", "))
}

// UnitOf is QuantityByName for parsers of criteria.
func UnitOf(name string) (units.Unit, error) {
	q, err := QuantityByName(name)
	return q.Unit, err
}

// PrecisionRank orders precisions, the most exact first.
func PrecisionRank(precision string) int {
	for i, p := range []string{"fp32", "fp16", "int8"} {
		if p == precision {
			return i
		}
	}
	return 3
}

// The series that say which result a value belongs to.
const (
	// IterationSeries holds the number of the iteration.
	IterationSeries = "plancast_iteration"
	// TimestampSeries holds when its result came, in seconds since the epoch.
	TimestampSeries = "plancast_iteration_timestamp_seconds"
	// BuiltSeries is whether the newest build gave a result: 0 or 1.
	BuiltSeries = "plancast_engine_last_build_success"
	// EnvironmentSeries names its environment in the label FingerprintLabel.
	EnvironmentSeries = "plancast_candidate_info"
	// CountingSeries names, in the same label, the environment that counts for a
	// model, also while nothing but failures is known of it there.
	CountingSeries   = "plancast_environment_info"
	FingerprintLabel = "fingerprint"
)

// The series that define a milestone.
const (
	// CriterionSeries names each criterion in the label "criterion".
	CriterionSeries = "plancast_milestone_criterion_info"
	// MemberSeries has each model that counts, whether or not it has a result, in the
	// label "model". Where the label PresentLabel is "false", nothing that it did counts.
	MemberSeries = "plancast_milestone_model_ready"
	PresentLabel = "present"
)
