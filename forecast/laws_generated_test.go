package forecast

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/plancast/plancast/bench/torture/dose"
)

// generated is how many histories the laws are tried on.
const generated = 20_000

// anyHistory draws a history of any kind, many of them with zeros: at the start,
// now and then, or always but for the newest.
func anyHistory(rng *rand.Rand) (values []float64, c Criterion) {
	n := 1 + rng.IntN(24)
	values = made(kinds[rng.IntN(len(kinds))], n, rng)
	switch rng.IntN(6) {
	case 0:
		values[0] = 0 // the first FP32 deviation always is
	case 1:
		for i := range values[:n-1] {
			values[i] = 0
		}
	case 2:
		for i := range values {
			if rng.Float64() < 0.3 {
				values[i] = 0
			}
		}
	case 3:
		for i := range values {
			values[i] -= 0.08 // both signs
		}
	}
	c = Criterion{Metric: "x", Comparison: []Comparison{Below, AtMost, Above, AtLeast}[rng.IntN(4)]}
	scale := math.Pow(10, float64(rng.IntN(13)-9))
	for i := range values {
		values[i] *= scale
	}
	c.Target = values[rng.IntN(n)] * (0.5 + rng.Float64())
	return values, c
}

func TestLawsOverGeneratedHistories(t *testing.T) {
	rng := rand.New(rand.NewPCG(17, 19))
	n := dose.Of(t, "histories", generated)
	if testing.Short() {
		n /= 20
	}
	for i := range n {
		values, c := anyHistory(rng)
		size := slices.Max(values) - slices.Min(values) + math.Abs(c.Target)
		if size == 0 {
			size = 1
		}
		g := Goal{Iterations: 1 + rng.IntN(20)}
		ask := func(values []float64, c Criterion) float64 {
			p := single(t, Series{Criterion: c, Observations: daily(values...)}, g, after(len(values))).Probability.Value
			if !(p >= 0 && p <= 1) {
				t.Fatalf("history %d: %v, %v, within %d: probability %v", i, values, c, g.Iterations, p)
			}
			return p
		}
		better := -1.0
		if !c.Comparison.LowerIsBetter() {
			better = 1
		}
		history := fmt.Sprintf("history %d: %v, %v, within %d", i, values, c, g.Iterations)
		last, easier := -1.0, c
		for k := range 6 { // from far beyond to easy
			easier.Target = c.Target + better*size*[6]float64{1, 0.3, 0.01, 0, -0.1, -1}[k]
			if k == 2 && rng.IntN(2) == 0 {
				easier.Target = 0
				if better*(easier.Target-c.Target) < 0 || better*(c.Target+better*size*0.3-easier.Target) < 0 {
					continue
				}
			}
			p := ask(values, easier)
			if p < last-1e-12 {
				t.Fatalf("%s: target %v gives %v, a harder one %v", history, easier.Target, p, last)
			}
			last = p
		}
		last = -1.0
		newest := slices.Clone(values)
		for _, x := range [5]float64{-1, -0.2, 0, 0.1, 1} {
			newest[len(values)-1] = values[len(values)-1] + better*size*x
			p := ask(newest, c)
			if p < last-1e-12 {
				t.Fatalf("%s: newest %v gives %v, a worse one %v", history, newest[len(values)-1], p, last)
			}
			last = p
		}
		scaled, other := slices.Clone(values), c
		for k := range scaled {
			scaled[k] *= 1e-9
		}
		other.Target *= 1e-9
		if a, b := ask(values, c), ask(scaled, other); math.Abs(a-b) > 1e-5 {
			t.Fatalf("%s: %v, times 1e-9 %v", history, a, b)
		}
	}
	dose.Done(t, "histories", n, "monotone in target and newest result, independent of the unit, between 0 and 1")
}

// largestJump is how far one more result that continues a pattern may move the
// probability, in log odds, from the fifth result on; where both numbers are
// beyond 2 and 98 % nobody sees it.
const largestJump = 2.3

func TestMoreOfTheSameDoesNotMakeJumps(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 29))
	n := 400
	if testing.Short() {
		n = 40
	}
	worst := 0.0
	for i := range n {
		gain := 0.01 + 0.19*rng.Float64()
		noise := 0.1 * gain * rng.Float64()
		ahead := 1 + 3*rng.Float64() // gains of that size from the newest result to the target
		var v []float64
		last := math.NaN()
		for k := range 20 {
			v = append(v, math.Exp(-gain*float64(k)+noise*rng.NormFloat64()))
			c := Criterion{Metric: "x", Comparison: AtMost, Target: math.Exp(-gain * (float64(k) + ahead))}
			p := single(t, Series{Criterion: c, Observations: daily(v...)}, Goal{Iterations: 5}, after(len(v))).Probability.Value
			p = min(max(p, 0.02), 0.98)
			odds := math.Log(p / (1 - p))
			if d := math.Abs(odds - last); k >= 4 {
				worst = max(worst, d)
				if d > largestJump {
					t.Fatalf("history %d: gains of %.3f, noise %.3f, target %.2f gains ahead: result %d moves the probability to %.3f by %.2f in log odds", i, gain, noise, ahead, k+1, p, d)
				}
			}
			last = odds
		}
	}
	t.Logf("largest jump %.2f in log odds", worst)
}
