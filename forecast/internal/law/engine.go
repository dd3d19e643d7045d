// Package law is the numerical heart of the forecast: how a history of results
// is condensed, and the laws that turn it into probabilities and bands. It
// works on one scale on which lower is better and differences are relative
// gains (see package forecast, which prepares histories); it knows nothing of
// time, units or milestones.
//
// It is internal so that the command that fits the coefficients, the back-test
// and the forecast itself run the very same code.
package law

import (
	"math"
	"slices"
)

// The experts are simple forecasters of the next values; what the past h-step
// errors of each say decides how much it counts. The first five are
// exponential smoothing with a fixed gain (the first, gain 1, repeats the last
// value), then the medians of the last three and seven, then damped trends.
const (
	levels  = 5
	medians = 2
	trends  = 3
	experts = levels + medians + trends
)

var (
	gains = [levels]float64{1, 0.7, 0.4, 0.2, 0.1}

	// A damped trend (Gardner and McKenzie 1985) is an exponential approach to
	// the limit level + slope*phi/(1-phi), with time constant -1/log(phi).
	phi = [trends]float64{0.8, 0.92, 0.98}

	expertNames = [experts]string{
		"last value", "smoothing 0.7", "smoothing 0.4", "smoothing 0.2", "smoothing 0.1",
		"median of 3", "median of 7", "approach, fast", "approach", "approach, slow",
	}

	// How much each expert counts before it has a record: most histories of
	// benchmarks stay where they are.
	expertPrior = [experts]float64{20, 5, 1, 1, 1, 1, 1, 0.3, 0.3, 0.3}

	// The steps ahead at which errors are recorded: experts are judged on the
	// first two, bands are widened by all.
	spans = [4]int{1, 3, 8, 20}
)

const (
	judged      = 2    // how many of spans decide the experts' weights
	trendLevel  = 0.6  // smoothing of a damped trend's level
	trendSlope  = 0.15 // and of its slope
	sharpness   = 20   // power of the ratio of mean absolute errors
	halfMass    = 3    // errors at which half of that power is used
	errorFloor  = 0.002
	memoryDecay = 60 // iterations after which an error counts 1/e
	warmUp      = 2  // the first states are starting values and not judged
	ring        = 4  // past expert states kept; more than the judged spans
)

// expertState is what the experts hold after one result.
type expertState struct {
	level [experts]float64
	slope [trends]float64
}

// at returns the forecast of expert e, h steps ahead; damp is Damp(h).
func (s *expertState) at(e int, damp *[trends]float64) float64 {
	if e < levels+medians {
		return s.level[e]
	}
	t := e - levels - medians
	return s.level[e] + s.slope[t]*damp[t]
}

// Damp returns, for each damped trend, phi + phi^2 + ... + phi^h: how many
// slopes it moves in h steps.
func damp(h int) (d [trends]float64) {
	for t, p := range phi {
		d[t] = p * (1 - math.Pow(p, float64(h))) / (1 - p)
	}
	return d
}

var spanDamp = func() (d [len(spans)][trends]float64) {
	for k, h := range spans {
		d[k] = damp(h)
	}
	return d
}()

// keep is what an error still counts one iteration later.
var keep = math.Exp(-1.0 / memoryDecay)

var logSpans = func() (l [len(spans)]float64) {
	for k, h := range spans {
		l[k] = math.Log(float64(h))
	}
	return l
}()

// record is the experts' walk-forward errors.
type record struct {
	loss [judged][experts]float64 // decayed sums of absolute errors
	mass [judged]float64          // decayed counts
}

// Engine condenses one history, result by result, in constant time for each:
// feeding a history at once or as it grows gives the same bits. The zero value
// is ready; Reset makes it so again and keeps its memory.
type Engine struct {
	z    []float64 // the results
	best []float64 // the best up to and with each

	now    expertState
	past   [ring]expertState // after result i at i % ring
	rec    record            // with the newest result as an outcome
	before record            // without

	trend   []trendState          // after each result
	blended [][len(spans)]float64 // after each result: the blend at each span
	errs    [len(spans)][]float64 // walk-forward errors of the blend
	scratch []float64
}

type trendState struct{ level, slope [trends]float64 }

// Reset forgets the history.
func (e *Engine) Reset() {
	e.z, e.best, e.trend, e.blended = e.z[:0], e.best[:0], e.trend[:0], e.blended[:0]
	for k := range e.errs {
		e.errs[k] = e.errs[k][:0]
	}
	e.rec, e.before = record{}, record{}
}

// Grow makes room for n more results.
func (e *Engine) Grow(n int) {
	e.z, e.best = slices.Grow(e.z, n), slices.Grow(e.best, n)
	e.trend, e.blended = slices.Grow(e.trend, n), slices.Grow(e.blended, n)
	for k := range e.errs {
		e.errs[k] = slices.Grow(e.errs[k], n)
	}
	e.scratch = slices.Grow(e.scratch, n)
}

// Len returns the number of results.
func (e *Engine) Len() int { return len(e.z) }

// Best returns the best result so far.
func (e *Engine) Best() float64 { return e.best[len(e.best)-1] }

// Append takes the next result.
func (e *Engine) Append(z float64) {
	i := len(e.z)
	e.z = append(e.z, z)
	if i == 0 {
		e.best = append(e.best, z)
		for k := range e.now.level {
			e.now.level[k] = z
		}
		e.now.slope = [trends]float64{}
	} else {
		e.best = append(e.best, math.Min(e.best[i-1], z))
		e.judge(i, z)
		e.move(i, z)
	}
	e.past[i%ring] = e.now

	var ts trendState
	copy(ts.level[:], e.now.level[levels+medians:])
	ts.slope = e.now.slope
	e.trend = append(e.trend, ts)

	w := e.rec.weights()
	var b [len(spans)]float64
	for k := range spans {
		for x := range experts {
			b[k] += w[x] * e.now.at(x, &spanDamp[k])
		}
	}
	e.blended = append(e.blended, b)
}

// judge scores the forecasts made earlier for result i.
func (e *Engine) judge(i int, z float64) {
	e.before = e.rec
	for k, h := range spans {
		from := i - h
		if from < warmUp {
			continue
		}
		e.errs[k] = append(e.errs[k], z-e.blended[from][k])
		if k >= judged {
			continue
		}
		s := &e.past[from%ring]
		e.rec.mass[k] = e.rec.mass[k]*keep + 1
		for x := range experts {
			e.rec.loss[k][x] = e.rec.loss[k][x]*keep + math.Abs(z-s.at(x, &spanDamp[k]))
		}
	}
}

// move updates the experts with result i.
func (e *Engine) move(i int, z float64) {
	s := &e.now
	first := 1 / float64(i+1)
	for k, g := range gains {
		s.level[k] += math.Max(g, first) * (z - s.level[k])
	}
	s.level[levels] = e.median(3)
	s.level[levels+1] = e.median(7)
	a, b := math.Max(trendLevel, first), math.Max(trendSlope, first)
	for t, p := range phi {
		x := levels + medians + t
		was := s.level[x]
		expected := was + p*s.slope[t]
		s.level[x] = expected + a*(z-expected)
		s.slope[t] = p*s.slope[t] + b*(s.level[x]-was-p*s.slope[t])
	}
}

// median returns the median of the last k (at most 7) results.
func (e *Engine) median(k int) float64 {
	var buf [7]float64
	n := copy(buf[:k], e.z[max(0, len(e.z)-k):])
	b := buf[:n]
	slices.Sort(b)
	return (b[(n-1)/2] + b[n/2]) / 2
}

// weights turns errors into shares: an expert whose mean absolute error is
// twice the best one's counts 2^-20 with a long record and near its prior
// without one.
func (r *record) weights() (w [experts]float64) {
	mass := r.mass[0] + r.mass[1]
	if mass == 0 {
		return normalise(expertPrior)
	}
	best := math.Inf(1)
	for x := range w {
		w[x] = (r.loss[0][x]+r.loss[1][x])/mass + errorFloor
		best = math.Min(best, w[x])
	}
	power := int(sharpness*mass/(mass+halfMass) + 0.5) // whole, for speed: it saves ten logarithms a result
	for x := range w {
		w[x] = expertPrior[x] * whole(best/w[x], power)
	}
	return normalise(w)
}

// whole returns x to the power n >= 0.
func whole(x float64, n int) float64 {
	y := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			y *= x
		}
		x *= x
	}
	return y
}

func normalise(w [experts]float64) [experts]float64 {
	sum := 0.0
	for _, v := range w {
		sum += v
	}
	for x := range w {
		w[x] /= sum
	}
	return w
}

// quantile returns the p-quantile of x by linear interpolation; it reorders x.
func quantile(x []float64, p float64) float64 {
	at := p * float64(len(x)-1)
	lo := int(at)
	a := nth(x, lo)
	if lo+1 == len(x) {
		return a
	}
	b := slices.Min(x[lo+1:]) // nth leaves the larger ones behind
	return a + (at-float64(lo))*(b-a)
}

// nth returns the k-th smallest of x (from 0), with the smaller ones moved
// before it and the larger ones behind: Hoare's quickselect with the middle
// element as pivot.
func nth(x []float64, k int) float64 {
	lo, hi := 0, len(x)-1
	for lo < hi {
		pivot := x[lo+(hi-lo)/2]
		i, j := lo, hi
		for i <= j {
			for x[i] < pivot {
				i++
			}
			for x[j] > pivot {
				j--
			}
			if i <= j {
				x[i], x[j] = x[j], x[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return x[k]
		}
	}
	return x[k]
}
