package history

import (
	"slices"

	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/units"
)

// Quantity is one figure of a record that a target or milestone can name: what
// package terms knows of it, and where a record holds it.
type Quantity struct {
	terms.Quantity
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

// measured takes 0 for unknown: what another tool measured may lack a quantity.
func measured(of func(Record) float64) func(Record) (float64, bool) {
	return func(r Record) (float64, bool) {
		if !r.OK() {
			return 0, false
		}
		v := of(r)
		return v, v != 0
	}
}

// of says where a record holds each quantity.
var of = map[string]func(Record) (float64, bool){
	"mean":       measured(func(r Record) float64 { return r.Measurement.Latency.Mean }),
	"p50":        latency(0.5),
	"p90":        latency(0.9),
	"p95":        latency(0.95),
	"p99":        latency(0.99),
	"throughput": measured(func(r Record) float64 { return r.Measurement.Throughput }),
	"top1": func(r Record) (float64, bool) {
		if !r.OK() || r.Measurement.Accuracy == nil || r.Measurement.Accuracy.Top1 == nil {
			return 0, false
		}
		return *r.Measurement.Accuracy.Top1, true
	},
	"accuracy_deviation": func(r Record) (float64, bool) {
		if !r.OK() || r.Measurement.Accuracy == nil {
			return 0, false
		}
		return r.Measurement.Accuracy.Deviation, true
	},
	"memory": func(r Record) (float64, bool) {
		if !r.OK() || r.Measurement.Memory.PeakBytes == nil {
			return 0, false
		}
		return float64(*r.Measurement.Memory.PeakBytes), true
	},
	"size": measured(func(r Record) float64 { return float64(r.Measurement.Plan.SizeBytes) }),
	"build_duration": func(r Record) (float64, bool) {
		if !r.OK() || r.Measurement.Plan.Reused {
			return 0, false
		}
		return r.Measurement.Plan.Duration.Seconds(), true
	},
}

// Quantities lists every quantity, in the order of a report's columns.
var Quantities = func() (out []Quantity) {
	for _, q := range terms.Quantities() {
		out = append(out, Quantity{q, of[q.Name]})
	}
	return out
}()

// QuantitiesOf lists every quantity, and behind them those of the records' workloads.
func QuantitiesOf(records ...Record) []Quantity {
	out := slices.Clone(Quantities)
	known := map[string]bool{}
	for _, r := range records {
		if !r.OK() {
			continue
		}
		for _, w := range r.Measurement.Workloads {
			if known[w.Name] {
				continue
			}
			known[w.Name] = true
			for _, x := range terms.WorkloadQuantities() {
				if q, err := QuantityByName(terms.OfWorkload(x.Name, w.Name)); err == nil && w.Shows(x.Name) {
					out = append(out, q)
				}
			}
		}
	}
	return out
}

// QuantityByName finds a quantity; the error lists the names there are.
func QuantityByName(name string) (Quantity, error) {
	q, err := terms.QuantityByName(name)
	return Quantity{q, func(r Record) (float64, bool) { return figure(r, name) }}, err
}

// figure is a quantity of a record, by its name.
func figure(r Record, name string) (float64, bool) {
	quantity, workload := terms.SplitWorkload(name)
	if workload == "" {
		return of[name](r)
	}
	if !r.OK() {
		return 0, false
	}
	w := r.Measurement.Workload(workload)
	if w == nil {
		return 0, false
	}
	return w.Figure(quantity)
}

// UnitOf is QuantityByName for parsers of criteria.
func UnitOf(name string) (units.Unit, error) { return terms.UnitOf(name) }
