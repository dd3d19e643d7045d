package history

import (
	"fmt"
	"strings"

	"github.com/plancast/plancast/units"
)

// Quantity is one figure of a record that a target or milestone can name. The
// table below is the only place where a name, its unit and its good direction
// are written down.
type Quantity struct {
	Name          string // as configuration writes it: "p99"
	Title         string // as people read it: "P99 latency"
	Unit          units.Unit
	LowerIsBetter bool
	// Of returns the figure in its base unit, and false when it was not
	// measured.
	Of func(Record) (float64, bool)
}

func latency(q float64) func(Record) (float64, bool) {
	return func(r Record) (float64, bool) {
		if !r.OK() {
			return 0, false
		}
		x, ok := r.Measurement.Latency.At(q)
		return x.Value, ok
	}
}

func measured(of func(Record) float64) func(Record) (float64, bool) {
	return func(r Record) (float64, bool) {
		if !r.OK() {
			return 0, false
		}
		return of(r), true
	}
}

// Quantities lists every figure, in the order of a report's columns.
var Quantities = []Quantity{
	{"mean", "mean latency", units.Seconds, true, measured(func(r Record) float64 { return r.Measurement.Latency.Mean })},
	{"p50", "P50 latency", units.Seconds, true, latency(0.5)},
	{"p90", "P90 latency", units.Seconds, true, latency(0.9)},
	{"p95", "P95 latency", units.Seconds, true, latency(0.95)},
	{"p99", "P99 latency", units.Seconds, true, latency(0.99)},
	{"throughput", "throughput", units.PerSec, false, measured(func(r Record) float64 { return r.Measurement.Throughput })},
	{"top1", "top-1 accuracy", units.Ratio, false, func(r Record) (float64, bool) {
		if !r.OK() || r.Measurement.Accuracy == nil || r.Measurement.Accuracy.Top1 == nil {
			return 0, false
		}
		return *r.Measurement.Accuracy.Top1, true
	}},
	{"accuracy_deviation", "accuracy deviation", units.Ratio, true, func(r Record) (float64, bool) {
		if !r.OK() || r.Measurement.Accuracy == nil {
			return 0, false
		}
		return r.Measurement.Accuracy.Deviation, true
	}},
	{"memory", "peak memory", units.Bytes, true, func(r Record) (float64, bool) {
		if !r.OK() || r.Measurement.Memory.PeakBytes == nil {
			return 0, false
		}
		return float64(*r.Measurement.Memory.PeakBytes), true
	}},
	{"size", "engine size", units.Bytes, true, measured(func(r Record) float64 { return float64(r.Measurement.Plan.SizeBytes) })},
	{"build_duration", "build time", units.Seconds, true, func(r Record) (float64, bool) {
		if !r.OK() || r.Measurement.Plan.Reused {
			return 0, false
		}
		return r.Measurement.Plan.Duration.Seconds(), true
	}},
}

// QuantityByName finds a figure; the error lists the names there are.
func QuantityByName(name string) (Quantity, error) {
	names := make([]string, len(Quantities))
	for i, q := range Quantities {
		if q.Name == name {
			return q, nil
		}
		names[i] = q.Name
	}
	return Quantity{}, fmt.Errorf("there is no metric %q: use one of %s", name, strings.Join(names, ", "))
}

// UnitOf is QuantityByName for parsers of criteria.
func UnitOf(name string) (units.Unit, error) {
	q, err := QuantityByName(name)
	return q.Unit, err
}
