package history

import (
	"math"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/terms"
)

// Entry is one record reduced to what verdicts, current results and forecasts
// need. A long history is held as entries; the record itself is read from the
// store when somebody looks at it.
//
// It is plain data and small (about 220 bytes besides its strings, which
// entries of one load share).
type Entry struct {
	ID          int64
	Model       string
	Version     string
	Digest      string
	Precision   engine.Precision
	Fingerprint string // of environment, settings and conditions
	Iteration   int    // 0: came out of order

	Finished Moment

	Failure     engine.Kind // "" when the job was measured
	Values      Values
	Figures     Figures // of its workloads
	Unquantized int32   // arithmetic layers of an int8 engine that are not int8; 0 when unknown

	Stable    bool // the windows agreed
	Disturbed bool // something else used the machine meanwhile: decides nothing
	NoEffect  bool // nothing in the engine computes in its precision: see bench.LayerSummary.NoEffect
	// Superseded says that a newer record of the same job counts instead.
	Superseded bool
	// Excluded says that somebody took the result out: it is no evidence and
	// has no verdict.
	Excluded bool
}

// Values are the quantities of a record, in the order of Quantities and in
// their base units; NaN where a quantity was not measured.
type Values [quantityCount]float64

// quantityCount is the length of Quantities, which a test holds it to.
const quantityCount = 11

// Moment is a time as Unix nanoseconds: a third of the size of a time.Time.
type Moment int64

// MomentOf is t as a Moment.
func MomentOf(t time.Time) Moment { return Moment(t.UnixNano()) }

// Time is the moment in UTC.
func (m Moment) Time() time.Time { return time.Unix(0, int64(m)).UTC() }

// EntryOf reduces a record.
func EntryOf(r Record) Entry {
	e := Entry{
		ID: r.ID, Model: r.Model, Version: r.Version, Digest: r.Digest, Precision: r.Precision, Fingerprint: r.Fingerprint, Iteration: r.Iteration,
		Finished: MomentOf(r.Finished), Superseded: r.SupersededBy != 0, Excluded: r.Excluded != nil,
	}
	for i, q := range Quantities {
		v, ok := q.Of(r)
		if !ok {
			v = math.NaN()
		}
		e.Values[i] = v
	}
	if r.Failure != nil {
		e.Failure = r.Failure.Kind
	}
	if r.OK() {
		e.Stable, e.Disturbed = r.Measurement.Stable, r.Measurement.Disturbed()
		e.Figures = figuresOf(*r.Measurement)
		if l := r.Measurement.Layers; l != nil {
			e.Unquantized = int32(min(len(l.Unquantized), math.MaxInt32))
			e.NoEffect = l.NoEffect != ""
		}
	}
	return e
}

// OK reports whether the job was measured.
func (e Entry) OK() bool { return e.Failure == "" }

// Unsupported reports whether the backend cannot give the precision at all.
func (e Entry) Unsupported() bool { return e.Failure == engine.KindUnsupportedPrecision }

// Counts reports whether the entry may be evidence: it is neither excluded nor
// superseded.
func (e Entry) Counts() bool { return !e.Excluded && !e.Superseded }

// Value returns a quantity in its base unit, and false when it was not measured
// or there is no quantity of that name.
func (e Entry) Value(quantity string) (float64, bool) {
	if _, workload := terms.SplitWorkload(quantity); workload != "" {
		return e.Figures.Of(quantity)
	}
	for i := range Quantities {
		if Quantities[i].Name == quantity {
			v := e.Values[i]
			return v, !math.IsNaN(v)
		}
	}
	return 0, false
}

// DisturbedFor reports whether something else used the machine while a quantity was
// measured: a workload is measured on its own.
func (e Entry) DisturbedFor(quantity string) bool {
	if _, workload := terms.SplitWorkload(quantity); workload != "" {
		_, disturbed := e.Figures.Of(terms.OfWorkload(disturbedFigure, workload))
		return disturbed
	}
	return e.Disturbed
}

// Entries reduces records.
func Entries(records []Record) []Entry {
	out := make([]Entry, len(records))
	for i, r := range records {
		out[i] = EntryOf(r)
	}
	return out
}
