package law

import "math"

const (
	shortestTrend = 4    // results before a trend is thought of
	leastTrend    = 0.05 // a probability of a trend that counts as none, and from which it is counted
	longestEarly  = 40   // results from which a trend has to show
	bandWidth     = 1    // in standard deviations: less than the normal 1.28, since plateaus count in both parts of the variance
)

// follow weighs the approach to a limit against the record law, and prepares it.
func (l *Law) follow(e *History) {
	a := e.approach()
	if l.steady, l.trendWeight = l.c.Trend.weights(a.evidence, l.state[stretches], len(e.z)); l.trendWeight == 0 {
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
		l.centre[j] += l.steady * (path - l.centre[j])
		l.around[j] = bandWidth * math.Sqrt(a.spread+variance)
		l.trendMiddle[j] = path + m
		l.trendScale[j] = 1 / (math.Sqrt(3)/math.Pi*math.Sqrt(v+variance) + 0.001)
	}
}

// weights are the probability of a trend that the history shows, and what a
// trend counts in the probabilities: Early more while results are too few to
// show one. Three numbers are fitted, so both are capped by then. The bands,
// which cannot be two things at once as probabilities can, follow the first.
func (t *Trend) weights(evidence, order float64, n int) (shown, counted float64) {
	evidence = min(max(evidence, -surest), surest)
	order = max(0, (order-0.6)/0.4)
	odds := t.Intercept + t.Evidence*evidence + t.Decisive*max(0, evidence-decisive) + t.Order*order*order
	known := float64(n-fitted) / float64(n-fitted+1)
	shown = max(0, logistic(odds)*known-leastTrend) / (1 - leastTrend)
	square := func(n int) float64 { return float64(shortestTrend*shortestTrend) / float64(n*n) }
	early := t.Early * max(0, square(n)-square(longestEarly))
	return shown, shown + (1-shown)*early*known
}
