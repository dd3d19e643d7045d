package bench

import (
	"math"
	"slices"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/workload"
)

// WorkloadResult is what one workload showed of an engine. Rates are in requests per
// second; a request is one call, whatever its batch.
type WorkloadResult struct {
	workload.Workload
	// Failure says why nothing else is known: the engine rejected a shape. It is no
	// failure of the candidate.
	Failure *engine.Error `json:"failure,omitempty"`
	// Capacity is the rate that the mix reaches in a closed loop at the workload's
	// concurrency: no open loop can be served beyond it.
	Capacity float64 `json:"capacity_per_s,omitempty"`
	// Saturated says that requests arrive faster than the engine serves them. Their
	// latency grows for as long as they do, so there is none.
	Saturated bool `json:"saturated,omitempty"`

	// Latency is from when a request was due until its answer; in a closed loop it is
	// the call's. Wait is the part of it until an engine instance was free. Nil when
	// saturated.
	Latency *Latency `json:"latency,omitempty"`
	Wait    *Latency `json:"wait,omitempty"`
	// Answered is the rate of answers; when saturated it is Capacity.
	Answered float64 `json:"answered_per_s,omitempty"`
	// Goodput is how many answers came within the workload's limit; nil without one.
	Goodput *float64 `json:"goodput_per_s,omitempty"`
	// HighestRate is the highest rate at which the percentile asked for stays within the
	// limit: 0 when it does at none that was tried, nil when not searched for.
	HighestRate *float64 `json:"highest_rate_per_s,omitempty"`

	// Comparison is of the latency with that of the candidate before, on the same
	// requests; its quantities are "mean", "p50" and so on. Nil when there was none to
	// compare with.
	Comparison *Comparison `json:"comparison,omitempty"`

	Starts Starts       `json:"starts"`
	Mix    []ShapeTimes `json:"mix,omitempty"` // in the order of Shapes
	// Generation is nil without a phase, and where the model's cache is not recognized.
	Generation *Generation `json:"generation,omitempty"`

	Stable      bool          `json:"stable"`
	Windows     int           `json:"windows"`
	Timeline    []TimedWindow `json:"timeline,omitempty"`
	Disturbance *Disturbance  `json:"disturbance,omitempty"` // nil when nobody watched
	Warnings    []string      `json:"warnings,omitempty"`
}

// Starts say how punctual the calls began that an engine instance was free for, in
// seconds after they were due.
type Starts struct {
	P50  float64 `json:"p50_s"`
	P99  float64 `json:"p99_s"`
	Late int     `json:"late"` // by more than LateStart
}

// LateStart is from when on a call counts as begun late, in seconds.
const LateStart = 0.001

// ShapeTimes is how long calls of one shape take, the waiting not included.
type ShapeTimes struct {
	Shape   string   `json:"shape"` // "sequence 128"
	Queries int      `json:"queries"`
	P50     float64  `json:"p50_s"`
	P99     *float64 `json:"p99_s,omitempty"` // nil under 459 queries
	// BackToBack is P50 in the closed loop that came before, where no call follows a pause;
	// nil where the workload is a closed loop itself.
	BackToBack *float64 `json:"back_to_back_p50_s,omitempty"`
}

// Disturbed reports whether other work decides what the figures are.
func (w WorkloadResult) Disturbed() bool { return w.Disturbance != nil && w.Disturbance.Suffered > 0 }

// Figure is a quantity of terms.WorkloadQuantities, false when it is not known. A
// latency that grows for as long as requests arrive is +Inf.
func (w WorkloadResult) Figure(quantity string) (float64, bool) {
	q, percentile := percentileOf[quantity]
	switch latency := percentile || slices.Contains([]string{"mean", "ttft", "tpot"}, quantity); {
	case w.Failure != nil || !w.Shows(quantity):
		return 0, false
	case quantity == "tokens":
		if w.Generation == nil {
			return 0, false
		}
		return w.Generation.Tokens, true
	case quantity == "rate":
		return w.Answered, true
	case quantity == "goodput":
		return stated(w.Goodput)
	case quantity == "max_rate":
		return stated(w.HighestRate)
	case latency && w.Saturated:
		return math.Inf(1), true
	case !latency || w.Latency == nil:
		return 0, false
	case percentile:
		x, ok := w.Latency.At(q)
		return x.Value, ok
	}
	return w.Latency.Mean, true
}

// SetFigure sets what Figure says of a quantity: of a result of which only figures are
// known.
func (w *WorkloadResult) SetFigure(quantity string, v float64) {
	latency := func() *Latency {
		if w.Latency == nil {
			w.Latency = &Latency{}
		}
		return w.Latency
	}
	switch quantity {
	case "rate":
		w.Answered = v
	case "goodput":
		w.Goodput = &v
	case "max_rate":
		w.HighestRate = &v
	case "tokens":
		w.Generation = &Generation{Tokens: v}
	case "ttft":
		w.Phase, latency().Mean = workload.Prefill, v
	case "tpot":
		w.Phase, latency().Mean = workload.Decode, v
	case "mean":
		latency().Mean = v
	default:
		if q, ok := percentileOf[quantity]; ok {
			latency().Quantiles = append(latency().Quantiles, Quantile{Q: q, Value: v})
		}
	}
}

func stated(v *float64) (float64, bool) {
	if v == nil {
		return 0, false
	}
	return *v, true
}

var percentileOf = func() map[string]float64 {
	out := map[string]float64{}
	for _, q := range Percentiles {
		out[QuantityOf(q)] = q
	}
	return out
}()

// Workload finds the result of a workload; nil when there is none.
func (m Measurement) Workload(name string) *WorkloadResult {
	for i := range m.Workloads {
		if m.Workloads[i].Name == name {
			return &m.Workloads[i]
		}
	}
	return nil
}
