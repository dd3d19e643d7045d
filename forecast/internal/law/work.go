package law

import "math"

// workMemory is how many of the newest results the work law looks at, and
// workDecay after how many a gain counts 1/e.
const (
	workMemory = 48
	workDecay  = 6
	leastGain  = 1e-9 // a smaller one is none
	gainFloor  = 1e-3 // a gain of this size is as good as any where no gap is left
	newestEdge = 2e-3 // how sharply the newest result counts as the best
	orderedEnd = 40   // the newest results whose order is looked at
)

var workWeights = func() (w [workMemory]float64) {
	for i := range w {
		w[i] = math.Exp(-float64(i) / workDecay)
	}
	return w
}()

// work is what a history that people work on goes on doing.
type work struct {
	square, weight [workMemory]float64 // of each gain over the best so far, newest first
	gains          int
	steps          float64 // sum of the weights of all steps, gain or not
	level          float64 // factor of the hazard
	mass           float64
}

func (e *History) work(c *Work, shift float64, w *work) {
	w.gains, w.steps = 0, 0
	for i := len(e.z) - 1; i > 0 && len(e.z)-1-i < workMemory; i-- {
		weight := workWeights[len(e.z)-1-i]
		w.steps += weight
		if a := e.best[i-1] - e.z[i]; a > leastGain {
			w.square[w.gains], w.weight[w.gains] = a*a, weight
			w.gains++
		}
	}
	w.level = math.Exp(c.Level + c.Siblings*shift)
	w.mass = math.Exp(c.LogMass)
}

// prior is what the hazard of one step is drawn towards.
func (w *work) prior(c *Work, g, logGap float64) float64 {
	return w.mass * math.Exp(c.Intercept-c.LogGap*logGap-c.Gap*g)
}

// hazard is the cumulative hazard of a gain whose square, on the scale of what
// several steps reach, is square.
func (w *work) hazard(prior, square, growth float64) float64 {
	return (prior + w.made(square)) / (w.steps + w.mass) * w.level * growth
}

// rate is the usual gain of one step.
func (w *work) rate() (sum float64) {
	for i, a := range w.square[:w.gains] {
		sum += w.weight[i] * math.Sqrt(a)
	}
	return sum / (w.steps + w.mass)
}

// made is the sum of the newest gains, each as far as it bridges the gap.
func (w *work) made(square float64) (sum float64) {
	square += gainFloor * gainFloor
	for i, a := range w.square[:w.gains] {
		sum += w.weight[i] * a / (a + square)
	}
	return sum
}

// chance is the probability that people work on the history, as far as the
// results before the newest show it.
func (c *State) chance(f *[5]float64, effort float64) float64 {
	p := logistic(c.Intercept + c.Records*f[0] + c.Order*f[1] + c.Beaten*f[2] + c.Stretches*f[3] + c.LogLength*f[4] + effort)
	return max(0, p-leastWorked) / (1 - leastWorked)
}

// state returns the terms of State.
func (e *History) state() [5]float64 {
	n := len(e.z)
	z, best := e.z[:n-1], e.best[:n-1]
	m := len(z)
	records := 0.0
	for i := 1; i < m; i++ {
		if z[i] < best[i-1]-leastGain {
			records++
		}
	}
	half := max(1, m/2)
	beaten := 0.0
	if m > half {
		for _, v := range z[half:] {
			if v < best[half-1]-leastGain {
				beaten++
			}
		}
	}
	return [5]float64{
		(records + 0.5) / (float64(max(m-1, 0)) + 2),
		ordered(z[max(0, m-orderedEnd):]),
		(beaten + 0.3) / (float64(max(m-half, 0)) + 1),
		e.order(),
		math.Log(float64(max(n, 4)) / 10),
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

// order is Kendall's rank correlation between time and the medians of six equal
// stretches of the history before the newest result (of each result, while
// there are fewer than six): 1 when every stretch is better than all before it.
// Steps and plateaus seldom reach 0.9, a steady approach to a limit hardly ever
// stays below.
func (e *History) order() float64 {
	const most = 6
	z := e.z[:len(e.z)-1]
	stretches := min(most, len(z))
	if stretches < 2 {
		return 0
	}
	var m [most]float64
	sum := 0.0
	for b := range stretches {
		e.scratch = append(e.scratch[:0], z[b*len(z)/stretches:(b+1)*len(z)/stretches]...)
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
	return sum / float64(stretches*(stretches-1)/2)
}

// newestIsBest is 1 where the newest result is clearly the best so far, 0 where
// it clearly is not, and grows with a better one.
func (e *History) newestIsBest() float64 {
	n := len(e.z)
	if n < 2 {
		return 0.5
	}
	return logistic((e.best[n-2] - e.z[n-1]) / newestEdge)
}
