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

// atypical compares the newest gain with the predictive distribution of the
// five before it: Student's t with four degrees of freedom around their mean,
// the textbook interval for one more draw of a normal population with unknown
// mean and spread (Geisser 1993, section 2.2). It is exact for separate normal
// gains. Gains of a history that is nothing but noise share results and so are
// correlated; the rate is then 4 % for normal and 5 % for heavy-tailed noise
// (Student's t, 3), and 6 % for heavy-tailed gains: TestAtypicalFalseAlarms.
//
// It returns nil when there are not six gains between valid results.
func atypical(h *history) *Atypical {
	n := len(h.values)
	if n == 0 || !h.valid[n-1] {
		return nil // a missed iteration has no gain to judge
	}
	var z []float64
	for i := n - 1; i >= 0 && len(z) < atypicalGains+2; i-- {
		if h.valid[i] {
			z = append(z, h.scale.To(h.values[i]))
		}
	}
	if len(z) < atypicalGains+2 {
		return nil
	}
	var gains [atypicalGains]float64
	newest := z[1] - z[0]
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
	t := distuv.StudentsT{Mu: mean, Sigma: sd * math.Sqrt(1+1.0/atypicalGains), Nu: atypicalGains - 1}
	level := FalseAlarms
	if h.concern != "" {
		level = ConcernedAlarms
	}
	chance := t.CDF(newest)
	return &Atypical{
		Is:       chance < level,
		Gain:     ratio(h, newest),
		Expected: ratio(h, mean),
		Lowest:   ratio(h, t.Quantile(level)),
		Chance:   chance,
		Concern:  h.concern,
	}
}
