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

// damp returns, for each damped trend, phi + phi^2 + ... + phi^h: how many
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

// History condenses one history, result by result, in constant time for each:
// feeding a history at once or as it grows gives the same bits. The zero value
// is ready; Reset makes it so again and keeps its memory.
type History struct {
	z    []float64 // the results
	best []float64 // the best up to and with each

	now  expertState
	past [ring]expertState // after result i at i % ring
	recs [2]record         // without and with the newest result as an outcome,
	with int               // which is the latter

	level   []float64                      // of the fast damped trend, after each result
	blended [blendRing][len(spans)]float64 // the blend at each span, after result i at i % blendRing
	errs    [len(spans)][]float64          // walk-forward errors of the blend
	scratch []float64
	path    []float64 // of the approach to a limit, through the newest results but one
}

// blendRing is how many results the blends are kept for: more than the longest
// span, and a power of two.
const blendRing = 32

// Reset forgets the history.
func (e *History) Reset() {
	e.z, e.best, e.level = e.z[:0], e.best[:0], e.level[:0]
	for k := range e.errs {
		e.errs[k] = e.errs[k][:0]
	}
	e.recs = [2]record{}
}

// Grow makes room for n results in all, in one piece of memory, in an engine
// that holds none.
func (e *History) Grow(n int) {
	if cap(e.z) >= n {
		return
	}
	room := make([]float64, (5+len(spans))*n)
	piece := func() []float64 {
		p := room[:0:n]
		room = room[n:]
		return p
	}
	e.z, e.best, e.scratch, e.level, e.path = piece(), piece(), piece(), piece(), piece()
	for k := range e.errs {
		e.errs[k] = piece()
	}
}

// Len returns the number of results.
func (e *History) Len() int { return len(e.z) }

// Best returns the best result so far.
func (e *History) Best() float64 { return e.best[len(e.best)-1] }

// Append takes the next result.
func (e *History) Append(z float64) {
	i := len(e.z)
	e.z = append(e.z, z)
	if i == 0 {
		e.best = append(e.best, z)
		for k := range e.now.level {
			e.now.level[k] = z
		}
		e.now.slope = [trends]float64{}
	} else {
		e.best = append(e.best, min(e.best[i-1], z))
		e.judge(i, z)
		e.move(i, z)
	}
	e.past[i%ring] = e.now

	e.level = append(e.level, e.now.level[levels+medians])

	var w [experts]float64
	e.rec().raised(&w)
	mass, still := 0.0, 0.0
	for x := range levels + medians {
		mass += w[x]
		still += w[x] * e.now.level[x]
	}
	for x := levels + medians; x < experts; x++ {
		mass += w[x]
	}
	share := 1 / mass
	b := &e.blended[i%blendRing]
	for k := range spans {
		sum := still
		for t := range trends {
			x := levels + medians + t
			sum += w[x] * (e.now.level[x] + e.now.slope[t]*spanDamp[k][t])
		}
		b[k] = sum * share
	}
}

// judge scores the forecasts made earlier for result i.
func (e *History) judge(i int, z float64) {
	was := &e.recs[e.with]
	e.with ^= 1
	rec := &e.recs[e.with]
	for k, h := range spans {
		from := i - h
		if from >= warmUp {
			e.errs[k] = append(e.errs[k], z-e.blended[from%blendRing][k])
		}
		if k >= judged {
			continue
		}
		if from < warmUp {
			rec.mass[k], rec.loss[k] = was.mass[k], was.loss[k]
			continue
		}
		s, old, loss := &e.past[from%ring], &was.loss[k], &rec.loss[k]
		rec.mass[k] = was.mass[k]*keep + 1
		for x := range levels + medians {
			loss[x] = old[x]*keep + math.Abs(z-s.level[x])
		}
		for t := range trends {
			x := levels + medians + t
			loss[x] = old[x]*keep + math.Abs(z-(s.level[x]+s.slope[t]*spanDamp[k][t]))
		}
	}
}

// rec is the record with the newest result as an outcome, before the one without.
func (e *History) rec() *record    { return &e.recs[e.with] }
func (e *History) before() *record { return &e.recs[e.with^1] }

// move updates the experts with result i.
func (e *History) move(i int, z float64) {
	s := &e.now
	first := 1 / float64(i+1)
	for k, g := range gains {
		s.level[k] += max(g, first) * (z - s.level[k])
	}
	s.level[levels], s.level[levels+1] = e.medians()
	a, b := max(trendLevel, first), max(trendSlope, first)
	for t, p := range phi {
		x := levels + medians + t
		was := s.level[x]
		expected := was + p*s.slope[t]
		s.level[x] = expected + a*(z-expected)
		s.slope[t] = p*s.slope[t] + b*(s.level[x]-was-p*s.slope[t])
	}
}

// medians returns the medians of the last three and the last seven results, or
// of as many as there are.
func (e *History) medians() (of3, of7 float64) {
	if len(e.z) < 7 {
		return median(e.z[max(0, len(e.z)-3):]), median(e.z)
	}
	z := (*[7]float64)(e.z[len(e.z)-7:])
	var k [7]int64
	for i, v := range z {
		k[i] = key(v)
	}
	of3 = unkey(max(min(k[4], k[5]), min(max(k[4], k[5]), k[6])))
	// Of seven, leave out the least and the greatest of the first five, of the
	// three left and the next, and of the two left and the last: none of those
	// can be the median, and no step of it is a guess for the processor.
	a, b, c, d := min(k[0], k[1]), max(k[0], k[1]), min(k[2], k[3]), max(k[2], k[3])
	p, q, r := max(a, c), min(b, d), min(max(min(a, c), k[4]), max(b, d))
	x, y := max(min(p, q), min(r, k[5])), min(max(p, q), max(r, k[5]))
	return of3, unkey(max(min(x, y), min(max(x, y), k[6])))
}

// key orders numbers as whole ones, which compare faster; unkey is its inverse.
func key(v float64) int64 {
	b := int64(math.Float64bits(v))
	return b ^ int64(uint64(b>>63)>>1)
}

func unkey(k int64) float64 { return math.Float64frombits(uint64(k ^ int64(uint64(k>>63)>>1))) }

// median returns the median of at most 7 results.
func median(z []float64) float64 {
	var buf [7]float64
	b := buf[:copy(buf[:], z)]
	slices.Sort(b)
	return (b[(len(b)-1)/2] + b[len(b)/2]) / 2
}

// weights turns errors into shares: an expert whose mean absolute error is
// twice the best one's counts 2^-20 with a long record and near its prior
// without one.
func (r *record) weights() (w [experts]float64) {
	r.raised(&w)
	sum := 0.0
	for _, v := range w {
		sum += v
	}
	for x := range w {
		w[x] /= sum
	}
	return w
}

// raised fills in numbers in proportion to the weights.
func (r *record) raised(raised *[experts]float64) {
	*raised = expertPrior
	mass := r.mass[0] + r.mass[1]
	if mass == 0 {
		return
	}
	var w [experts]float64
	best := math.Inf(1)
	for x := range w { // mean absolute errors, times mass
		w[x] = r.loss[0][x] + r.loss[1][x] + errorFloor*mass
		if w[x] < best {
			best = w[x]
		}
	}
	// A whole power by squaring, for speed: it saves ten logarithms a result.
	power := int(sharpness*mass/(mass+halfMass) + 0.5) // at most sharpness, 5 bits
	for x, v := range w {
		v = best / v
		v2 := v * v
		v4 := v2 * v2
		v8 := v4 * v4
		p := raised[x]
		if power&1 != 0 {
			p *= v
		}
		if power&2 != 0 {
			p *= v2
		}
		if power&4 != 0 {
			p *= v4
		}
		if power&8 != 0 {
			p *= v8
		}
		if power&16 != 0 {
			p *= v8 * v8
		}
		raised[x] = p
	}
}
