package forecast

import (
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/stat/distuv"
)

// peerNames are the methods that people use today, for comparison only: the
// line of predict_linear, the double exponential smoothing of Prometheus, and
// the Monte Carlo simulation of past gains that delivery tools do.
var peerNames = [...]string{"linear", "holt", "monte carlo"}

// peers answers one question the way each peer would. z is a history of at
// least firstCut results on the scale where lower is better.
func peers(said, z []float64, target float64, steps int, seed uint64) {
	said[0] = linear(z, target, steps)
	said[1] = holt(z, target, steps)
	said[2] = monteCarlo(z, target, steps, seed)
}

// linear is the chance that the value steps ahead is at most target, by least
// squares with normal errors: Student's t around the extended line.
func linear(z []float64, target float64, steps int) float64 {
	n := float64(len(z))
	mean, middle := 0.0, (n-1)/2
	for _, v := range z {
		mean += v / n
	}
	var xy, xx, rest float64
	for i, v := range z {
		x := float64(i) - middle
		xy += x * (v - mean)
		xx += x * x
	}
	slope := xy / xx
	for i, v := range z {
		r := v - mean - slope*(float64(i)-middle)
		rest += r * r
	}
	x := n - 1 + float64(steps) - middle
	sd := math.Max(math.Sqrt(rest/(n-2)*(1+1/n+x*x/xx)), 1e-12)
	return distuv.StudentsT{Mu: mean + slope*x, Sigma: sd, Nu: n - 2}.CDF(target)
}

// holt is the same by double exponential smoothing with both factors 0.5 and
// the normal spread of its one-step errors.
func holt(z []float64, target float64, steps int) float64 {
	const factor = 0.5
	level, slope := z[0], z[1]-z[0]
	square := 0.0
	for i, v := range z[1:] {
		expected := level + slope
		if i > 0 {
			square += (v - expected) * (v - expected)
		}
		was := level
		level = factor*v + (1-factor)*expected
		slope = factor*(level-was) + (1-factor)*slope
	}
	sd := math.Max(math.Sqrt(square/float64(len(z)-2)), 1e-12)
	return distuv.Normal{Mu: level + slope*float64(steps), Sigma: sd}.CDF(target)
}

// monteCarlo replays gains of the past, drawn with replacement, and counts the
// futures that reach the target on their way.
func monteCarlo(z []float64, target float64, steps int, seed uint64) float64 {
	const futures = 200
	rng := rand.New(rand.NewPCG(seed, uint64(len(z))<<8|uint64(steps)))
	hits := 0
	for range futures {
		v := z[len(z)-1]
		for range steps {
			i := 1 + rng.IntN(len(z)-1)
			if v += z[i] - z[i-1]; v <= target {
				hits++
				break
			}
		}
	}
	return (float64(hits) + 0.5) / (futures + 1)
}
