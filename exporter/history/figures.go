package history

import (
	"encoding/binary"
	"iter"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/terms"
)

// Figures are the quantities of a record's workloads by name ("p99@chat"), as they
// are stored: the length of each name, the name, and a 64-bit float, little endian.
// Most records have none, which takes nothing; and as one text they are compared and
// copied like the rest of an Entry.
type Figures string

// disturbedFigure is there, as 1, for a workload that something else disturbed.
const disturbedFigure = "disturbed"

// figuresOf are the figures of a measurement.
func figuresOf(m bench.Measurement) Figures {
	var b []byte
	add := func(quantity, workload string, v float64) {
		name := terms.OfWorkload(quantity, workload)
		if len(name) > math.MaxUint8 {
			return // no configuration has such a name
		}
		b = append(append(b, byte(len(name))), name...)
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	for _, w := range m.Workloads {
		for _, q := range terms.WorkloadQuantities() {
			if v, ok := w.Figure(q.Name); ok {
				add(q.Name, w.Name, v)
			}
		}
		if w.Disturbed() {
			add(disturbedFigure, w.Name, 1)
		}
	}
	return Figures(b)
}

// all yields each figure with its name.
func (f Figures) all(yield func(name string, v float64) bool) {
	for rest := string(f); rest != ""; {
		n := 1 + int(rest[0])
		if len(rest) < n+8 || !yield(rest[1:n], math.Float64frombits(binary.LittleEndian.Uint64([]byte(rest[n:n+8])))) {
			return
		}
		rest = rest[n+8:]
	}
}

// Of is the figure of a name, and false when there is none.
func (f Figures) Of(name string) (float64, bool) {
	for known, v := range f.all {
		if known == name {
			return v, true
		}
	}
	return 0, false
}

// WorkloadQuantities lists the quantities of workloads that entries have, by workload.
func WorkloadQuantities(entries iter.Seq2[Entry, error]) ([]Quantity, error) {
	known := map[string]bool{}
	workloads := map[string]bool{}
	for e, err := range entries {
		if err != nil {
			return nil, err
		}
		for name := range e.Figures.all {
			if !known[name] {
				_, workload := terms.SplitWorkload(name)
				known[name], workloads[workload] = true, true
			}
		}
	}
	var out []Quantity
	for _, workload := range slices.Sorted(maps.Keys(workloads)) {
		for _, x := range terms.WorkloadQuantities() {
			name := terms.OfWorkload(x.Name, workload)
			if q, err := QuantityByName(name); err == nil && known[name] {
				out = append(out, q)
			}
		}
	}
	return out, nil
}

// figuresFollow, behind the names of the quantities, says that each entry's figures
// follow its quantities. A plancast that does not know of figures derives the
// entries again.
const figuresFollow = ",@"

func cutFigures(names string) (quantities string, figures bool) {
	return strings.CutSuffix(names, figuresFollow)
}
