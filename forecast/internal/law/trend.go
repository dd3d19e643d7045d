package law

import "math"

const (
	shortestTrend = 4    // results before a trend is thought of
	leastTrend    = 0.05 // a probability of a trend that counts as none, and from which it is counted
	bandWidth     = 1    // in standard deviations: less than the normal 1.28, since plateaus count in both parts of the variance
)

// follow weighs the approach to a limit against the record law, and prepares it.
func (l *Law) follow(e *History) {
	a := e.approach()
	if l.trendWeight = l.c.Trend.weight(a.evidence, l.state[stretches], len(e.z)); l.trendWeight == 0 {
		return
	}
	x := fade
	for j := range l.centre {
		path, variance := a.ahead(&x)
		path += a.behind
		for k, f := range fade {
			x[k] *= f
		}
		m, v := a.best(j+1, l.logStep[j])
		l.centre[j] += l.leads() * (path - l.centre[j])
		l.around[j] = bandWidth * math.Sqrt(a.spread+variance)
		l.trendMiddle[j] = path + m
		l.trendScale[j] = 1 / (math.Sqrt(3)/math.Pi*math.Sqrt(v+variance) + 0.001)
	}
}

// weight is the probability of a trend. Three numbers are fitted, so it is
// capped while there are few results.
func (t *Trend) weight(evidence, order float64, n int) float64 {
	evidence = min(max(evidence, -surest), surest)
	order = max(0, (order-0.6)/0.4)
	odds := t.Intercept + t.Evidence*evidence + t.Decisive*max(0, evidence-decisive) + t.Order*order*order
	p := logistic(odds) * float64(n-fitted) / float64(n-fitted+1)
	return max(0, p-leastTrend) / (1 - leastTrend)
}

// leads is how far the approach to a limit leads the bands. They cannot be two
// things at once as probabilities can, so they follow it when it is likely.
func (l *Law) leads() float64 { return l.trendWeight }
