package forecast

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// The newest gain is atypical when it is smaller than all but FalseAlarms of
// the gains that the five before it predict; with a Concern, all but
// ConcernedAlarms. These are the shares of stationary histories that are
// flagged without cause.
const (
	FalseAlarms     = 0.05
	ConcernedAlarms = 0.15
	atypicalGains   = 5
	quietGain       = 0.005 // the spread of gains is never taken as smaller
)

// gainLaw is the predictive law of one more gain, in units of its spread, with
// the points below which a gain is atypical.
var (
	gainLaw   = distuv.StudentsT{Sigma: 1, Nu: atypicalGains - 1}
	alarmed   = gainLaw.Quantile(FalseAlarms)
	concerned = gainLaw.Quantile(ConcernedAlarms)
)

// atypical compares the newest gain with the predictive distribution of the
// five before it: Student's t with four degrees of freedom around their mean,
// the textbook interval for one more draw of a normal population with unknown
// mean and spread (Geisser 1993, section 2.2). It is exact for separate normal
// gains. Gains of a history that is nothing but noise share results and so are
// correlated; the rate is then 4 % for normal and 5 % for heavy-tailed noise
// (Student's t, 3), and 6 % for heavy-tailed gains: TestAtypicalFalseAlarms.
//
// Where the newest two results were measured in turns, the newest gain is the
// pair's, and has to be atypical at the best end of its interval; one that may be
// no change is not.
//
// It returns nil when there are not six gains between valid results.
func atypical(h *history) *Atypical {
	n := len(h.values)
	if n == 0 || !h.valid[n-1] || h.disturbed {
		return nil // a missed iteration has no gain to judge, and that of a disturbed one is not its own
	}
	var z [atypicalGains + 2]float64 // the newest valid results, newest first
	found := 0
	for i := n - 1; i >= 0 && found < len(z); i-- {
		if h.valid[i] {
			z[found] = h.z[i]
			found++
		}
	}
	if found < len(z) {
		return nil
	}
	var gains [atypicalGains]float64
	mean := 0.0
	for i := range gains {
		gains[i] = z[i+2] - z[i+1]
		mean += gains[i] / atypicalGains
	}
	square := 0.0
	for _, g := range gains {
		square += (g - mean) * (g - mean)
	}
	sd := math.Max(math.Sqrt(square/(atypicalGains-1)), quietGain)
	sigma := sd * math.Sqrt(1+1.0/atypicalGains)
	level, lowest := FalseAlarms, alarmed
	if h.concern != "" {
		level, lowest = ConcernedAlarms, concerned
	}
	newest, best := h.newestGain(z[1], z[0])
	chance := gainLaw.CDF((newest - mean) / sigma)
	return &Atypical{
		Is:       gainLaw.CDF((best-mean)/sigma) < level,
		Gain:     ratio(h, newest),
		Expected: ratio(h, mean),
		Lowest:   ratio(h, mean+sigma*lowest),
		Chance:   chance,
		Concern:  h.concern,
	}
}

// newestGain is that of the newest result and the most that it may be, on the scale:
// what a pair shows or, without one, the difference of the two results.
func (h *history) newestGain(before, now float64) (gain, most float64) {
	p := h.pair
	if !(p.Ratio > 0 && p.Low > 0 && p.High > 0) || !h.scale.Log {
		return before - now, before - now
	}
	of := func(ratio float64) float64 { return before - h.scale.To(h.scale.From(before)*ratio) }
	if !p.Changed {
		return of(p.Ratio), math.Inf(1)
	}
	return of(p.Ratio), max(of(p.Low), of(p.High))
}
