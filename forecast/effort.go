package forecast

import (
	"math"
	"time"
)

// attained is the share of the way from the first result to the target. Where
// the first was there already, the way is the one back: from the worst result
// since the target was last met.
func (h *history) attained(met bool) float64 {
	if met {
		return 1
	}
	target, from, at := h.criterion.Target, h.values[0], h.values[len(h.values)-1]
	if h.criterion.Met(from) {
		from = at
		for i := len(h.values) - 1; !h.criterion.Met(h.values[i]); i-- {
			if v := h.values[i]; (v > from) == h.criterion.Comparison.LowerIsBetter() {
				from = v
			}
		}
	}
	// Halves keep the differences of huge values finite.
	share := (from/2 - at/2) / (from/2 - target/2)
	if math.IsNaN(share) {
		return 0
	}
	return math.Min(math.Max(share, 0), nearlyThere)
}

// nearlyThere is the most that is attained of what is not met.
const nearlyThere = 0.999

// The usual gain of a history is drawn towards a typical one's while it has
// shown few; so is the rate of iterations that gain.
const (
	leastGain     = 0.005 // a gain below 0.5 % is no improvement
	typicalGain   = 0.08
	gainMass      = 2.0
	typicalEvery  = 10.0 // iterations per improvement
	effectiveMass = 1.0
)

// effort counts what is left in improvements of the usual size, and says what
// it would take.
func (l *outlook) effort(target float64, g Goal, now time.Time) {
	f, h := &l.forecast, &l.history
	gap := h.z[len(h.z)-1] - target
	if gap <= 0 { // on the bound of a strict criterion
		gap = leastGain
	}
	best := h.z[0]
	sum, count := 0.0, 0.0
	for _, z := range h.z[1:] {
		if best-z >= leastGain {
			sum += best - z
			count++
			best = z
		}
	}
	gain := (sum + gainMass*typicalGain) / (count + gainMass)
	every := (float64(len(h.values)-1) + effectiveMass*typicalEvery) / (count + effectiveMass)
	usual := ratio(h, gain)
	eff := &Effort{Effective: gap / gain, Gain: &usual}
	eff.Iterations = eff.Effective * every
	eff.Confidence = l.curve.at(eff.Iterations)
	f.Effort = eff

	n := math.Inf(1)
	if g.Iterations > 0 {
		n = float64(g.Iterations)
	}
	if !g.Deadline.IsZero() {
		n = math.Min(n, l.cadence.expect(now, g.Deadline))
	}
	f.Needs = &Needs{}
	if math.IsInf(n, 1) {
		n = defaultIterations
	}
	if n >= 1 {
		per := ratio(h, gap/n)
		f.Needs.GainPerIteration = &per
	}
	if t, ok := l.curve.when(&l.cadence, now, g.ready()); ok {
		f.Needs.Deadline = &t
	}
}

// ratio turns a gain on the scale into a share of the value.
func ratio(h *history, gain float64) float64 {
	switch {
	case !h.scale.Log:
		return gain
	case h.criterion.Comparison.LowerIsBetter():
		return -math.Expm1(-gain)
	default:
		return math.Min(math.Expm1(gain), math.MaxFloat64)
	}
}
