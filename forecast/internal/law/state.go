package law

import "math"

const (
	states      = 8    // terms of State,
	stretches   = 3    // the place of that of Stretches among them
	orderedEnd  = 40   // the newest results whose order and line are looked at
	leastWorked = 0.01 // a probability of work that counts as none, and from which it is counted
	surestLine  = 8    // most that the evidence for a line counts, either way
)

// chance is the probability that people work on the history, as far as the
// results before the newest show it.
func (c *State) chance(f *[states]float64, effort float64) float64 {
	odds := c.Intercept + effort
	for i, v := range [states]float64{c.Records, c.Order, c.Beaten, c.Stretches, c.LogLength, c.Improving, c.Quiet, c.Line} {
		odds += v * f[i]
	}
	p := logistic(odds)
	return max(0, p-leastWorked) / (1 - leastWorked)
}

// state returns the terms of State.
func (e *History) state(w *work) [states]float64 {
	n := len(e.z)
	z, best := e.z[:n-1], e.best[:n-1]
	m := len(z)
	records := 0.0
	for i := 1; i < m; i++ {
		if z[i] < best[i-1]-leastGain {
			records++
		}
	}
	newest := z[max(0, m-orderedEnd):]
	half := max(1, m/2)
	beaten := 0.0
	if m > half {
		for _, v := range z[half:] {
			if v < best[half-1]-leastGain {
				beaten++
			}
		}
	}
	return [states]float64{
		(records + 0.5) / (float64(max(m-1, 0)) + 2),
		ordered(newest),
		(beaten + 0.3) / (float64(max(m-half, 0)) + 1),
		e.order(),
		math.Log(float64(max(n, 4)) / 10),
		w.improving,
		w.quiet,
		straight(newest),
	}
}

// ordered is Kendall's rank correlation between time and improvement, drawn
// towards 0 with the weight of three pairs.
func ordered(z []float64) float64 {
	sum := 0
	for i, later := range z {
		for _, v := range z[:i] {
			sum += one(later < v) - one(later > v)
		}
	}
	k := float64(len(z))
	return float64(sum) / (k*(k-1)/2 + 3)
}

// straight is the log likelihood ratio of a straight line in time against a
// level, with the sign of the improvement, as a share of surestLine. The mean
// costs one degree of freedom; errors are at least errorFloor.
func straight(z []float64) float64 {
	n := float64(len(z))
	if n < 2 {
		return 0
	}
	middle := (n - 1) / 2
	var mean, square, product float64 // of z-z[0] with itself and with time
	for i, v := range z {
		v -= z[0]
		mean += v / n
		square += v * v
		product += (float64(i) - middle) * v
	}
	level := max(square-n*mean*mean, 0)
	line := max(level-product*product/(n*(n*n-1)/12), 0)
	floor := n * errorFloor * errorFloor
	ratio := min((n-1)/2*math.Log((level+floor)/(line+floor)), surestLine) / surestLine
	return math.Copysign(ratio, -product)
}

// order is Kendall's rank correlation between time and the medians of six equal
// stretches of the history before the newest result (of each result, while
// there are fewer than six): 1 when every stretch is better than all before it.
// Steps and plateaus seldom reach 0.9, a steady approach to a limit hardly ever
// stays below.
func (e *History) order() float64 {
	const most = 6
	z := e.z[:len(e.z)-1]
	parts := min(most, len(z))
	if parts < 2 {
		return 0
	}
	var m [most]float64
	sum := 0.0
	for b := range parts {
		e.scratch = append(e.scratch[:0], z[b*len(z)/parts:(b+1)*len(z)/parts]...)
		m[b] = quantile(e.scratch, 0.5)
		for _, earlier := range m[:b] {
			switch {
			case m[b] < earlier:
				sum++
			case m[b] > earlier:
				sum--
			}
		}
	}
	return sum / float64(parts*(parts-1)/2)
}
