package models

import (
	"regexp"
	"strings"

	"github.com/plancast/plancast/units"
)

// Metric is one of plancast's own figures, as the editor offers it and as a
// criterion of the exporter names it.
type Metric struct {
	Name  string     `json:"name"`  // as configuration writes it: "p99"
	Title string     `json:"title"` // as people read it
	Expr  string     `json:"expr"`  // PromQL
	Unit  units.Unit `json:"unit"`
	Lower bool       `json:"lower"` // lower is better
}

// Metrics are the figures that plancast's exporter publishes for a criterion.
func Metrics() []Metric {
	const latency = "plancast_engine_latency_seconds"
	return []Metric{
		{"p99", "P99 latency", latency + `{quantile="0.99"}`, units.Seconds, true},
		{"p95", "P95 latency", latency + `{quantile="0.95"}`, units.Seconds, true},
		{"p90", "P90 latency", latency + `{quantile="0.9"}`, units.Seconds, true},
		{"p50", "P50 latency", latency + `{quantile="0.5"}`, units.Seconds, true},
		{"mean", "mean latency", latency + "_sum / " + latency + "_count", units.Seconds, true},
		{"throughput", "throughput", "plancast_engine_throughput_inferences_per_second", units.PerSec, false},
		{"accuracy_deviation", "accuracy deviation", "plancast_engine_accuracy_deviation_ratio", units.Ratio, true},
		{"top1", "top-1 accuracy", `plancast_engine_accuracy_ratio{measure="top1"}`, units.Ratio, false},
		{"memory", "peak memory", `plancast_engine_memory_bytes{kind="peak"}`, units.Bytes, true},
		{"size", "engine size", "plancast_engine_size_bytes", units.Bytes, true},
		{"build_duration", "build time", "plancast_build_duration_seconds", units.Seconds, true},
	}
}

// MetricByName finds one of plancast's own figures.
func MetricByName(name string) (Metric, bool) {
	for _, m := range Metrics() {
		if m.Name == name {
			return m, true
		}
	}
	return Metric{}, false
}

var (
	firstName = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
	selector  = regexp.MustCompile(`^\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^{}]*)\})?\s*$`)
)

// MetricOf finds the figure that an expression selects, whatever further
// labels it names. src/sentence.ts does the same.
func MetricOf(expr string) (Metric, bool) {
	have := selector.FindStringSubmatch(expr)
	for _, m := range Metrics() {
		if m.Expr == expr {
			return m, true
		}
		want := selector.FindStringSubmatch(m.Expr)
		if have != nil && want != nil && have[1] == want[1] && (want[2] == "" || strings.Contains(strings.ReplaceAll(have[2], " ", ""), want[2])) {
			return m, true
		}
	}
	return Metric{}, false
}

// Title is a name for an expression that was given none: plancast's own words
// where they fit, else the expression when it is short, else its first metric.
func Title(expr string) string {
	if m, ok := MetricOf(expr); ok {
		return m.Title
	}
	if r := []rune(expr); len(r) <= 40 {
		return expr
	}
	if name := firstName.FindString(expr); name != "" {
		return name
	}
	return "value"
}

// UnitOf is MetricByName for parsers of criteria.
func UnitOf(name string) (units.Unit, error) {
	if m, ok := MetricByName(name); ok {
		return m.Unit, nil
	}
	return units.None, invalid("criterion", "%q is not one of plancast's figures", name)
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
