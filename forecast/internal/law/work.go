package law

import "math"

// Constants of the work law, set by hand.
const (
	workMemory = 48   // the newest results that it looks at
	workDecay  = 6    // results after which a gain counts 1/e
	leastGain  = 1e-9 // a smaller one is none
	gainFloor  = 1e-3 // a gain of this size is as good as any where no gap is left
	quietStep  = 1e-3 // a step of this size repeats the result before by half
	quietPrior = 0.1  // share of such steps before any is seen, as one step
	paceMass   = 1    // steps that pace and deviation are drawn towards none and usualStep with
	usualStep  = 0.05
	leastStep  = 3e-3
	surestPace = 3 // most deviations that the pace counts, either way
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

	newest float64 // result
	pace   float64 // gain of a step to expect from the newest steps, in deviations of one
	spread float64 // of one step: that deviation, without the newest

	improving, quiet float64 // shares of the steps before the newest, see State and quietly
}

// work looks at the newest steps; newest says whether the newest result is the
// best.
func (e *History) work(c *Work, shift, newest float64, w *work) {
	n := len(e.z)
	w.gains, w.steps, w.newest = 0, 0, e.z[n-1]
	var all, sum, older, square, better float64 // weighted: all without the newest but older
	for i := n - 1; i > 0 && n-1-i < workMemory; i-- {
		weight := workWeights[n-1-i]
		w.steps += weight
		if a := e.best[i-1] - e.z[i]; a > leastGain {
			w.square[w.gains], w.weight[w.gains] = a*a, weight
			w.gains++
		}
		d := e.z[i-1] - e.z[i]
		sum += weight * d
		if i == n-1 {
			continue
		}
		all += weight
		older += weight * d
		square += weight * d * d
		better += weight * float64(one(d > 0)-one(d < 0))
	}
	mean := older / (all + paceMass)
	variance := (max(square-2*mean*older+mean*mean*all, 0) + paceMass*usualStep*usualStep) / (all + paceMass)
	w.spread = math.Sqrt(variance) + leastStep
	w.pace = max(sum/(w.steps+paceMass), 0) / w.spread
	w.improving = better / (all + 1)
	w.quiet = e.quietly()
	w.level = math.Exp(c.Level + c.Siblings*shift + c.Newest*newest + c.Quiet*w.quiet)
	w.mass = math.Exp(c.LogMass)
}

// quietly is the share of the newest steps that repeat the result before: where
// results repeat, what is measured shows what was changed, and not noise. The
// newest result and the stretch without a gain before it do not count. That
// nothing changes any more would otherwise be taken for a sign of work.
func (e *History) quietly() float64 {
	var all, same float64
	gained := false
	n := len(e.z)
	for i := n - 2; i > 0 && n-1-i < workMemory; i-- {
		if gained = gained || e.best[i-1]-e.z[i] > leastGain; gained {
			weight, d := workWeights[n-1-i], e.z[i-1]-e.z[i]
			all += weight
			same += weight * quietStep * quietStep / (quietStep*quietStep + d*d)
		}
	}
	return (same + quietPrior) / (all + 1)
}

// away is how far x lies beyond the newest result, in deviations of one step.
func (w *work) away(x float64) float64 { return max(w.newest-x, 0) / w.spread }

// beyond is how far a random walk with the pace of the newest steps is beyond a
// target so far away, in its own deviations, after a number of steps whose root
// is root.
func (w *work) beyond(away, root float64) float64 {
	return min(max(w.pace*root-away/root, -surestPace), surestPace)
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

// made is the sum of the newest gains, each as far as it bridges the gap.
func (w *work) made(square float64) (sum float64) {
	square += gainFloor * gainFloor
	for i, a := range w.square[:w.gains] {
		sum += w.weight[i] * a / (a + square)
	}
	return sum
}
