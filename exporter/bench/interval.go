package bench

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// IntervalConfidence is that of Quantile's Low and High, and of changes.
const IntervalConfidence = 0.90

// batchCounts are the numbers of batches that the variance is estimated with:
// few long ones see slow disturbance, many short ones are the steadier estimate.
var batchCounts = []int{10, 20, 40}

// fewBeyond is below how many queries beyond a percentile their dependence is not
// taken from them alone.
const fewBeyond = 100

// interval is the one in which the true percentile q lies with IntervalConfidence:
// of samples in the order in which they were timed, and the same ones sorted. high is
// infinite when the percentile may lie above the slowest query. ok is false below
// MinQueries.
//
// Queries may depend on each other. In simulations (interval_test.go) of slow
// drifts, bursts and two clocks 85 to 95 % of the intervals hold the true value
// when the queries span a hundred times as long as such a state lasts, and those of
// drifts when they span 25 times. Rare bursts that the queries did not meet they
// cannot show.
//
// The ends are order statistics. Whether a query is at or below the percentile
// is a series of zeros and ones with mean q; the variance of that mean comes
// from batch means, the largest of those with 10, 20 and 40 batches, and at
// least that of independent queries. It says how many independent queries the
// series is worth, and the ranks are Jeffreys' interval for that number. A few queries
// beyond a percentile cannot show how they depend on each other; then those count
// as well that are beyond the middle between it and the median, which are more.
//
// Sources: Heidelberger and Lewis, "Quantile Estimation in Dependent Sequences",
// Operations Research 32 (1984); Wu, "On the Bahadur representation of sample
// quantiles for dependent sequences", Annals of Statistics 33 (2005), on why
// the variance of the indicator is what counts; Schmeiser, "Batch size effects
// in the analysis of simulation output", Operations Research 30 (1982), on the
// number of batches; Brown, Cai and DasGupta, "Interval Estimation for a
// Binomial Proportion", Statistical Science 16 (2001).
func interval(samples, sorted []float64, q float64) (low, high float64, ok bool) {
	n := len(samples)
	if n < MinQueries(q) {
		return 0, 0, false
	}
	worth := independent(samples, NearestRank(sorted, q), q)
	if q > 0.5 && float64(n)*(1-q) < fewBeyond {
		middle := (NearestRank(sorted, 0.5) + NearestRank(sorted, q)) / 2
		below := sort.Search(n, func(i int) bool { return sorted[i] > middle })
		if share := float64(below) / float64(n); share < q { // it is not where most queries take the same
			worth = min(worth, independent(samples, middle, share))
		}
	}
	tail := (1 - IntervalConfidence) / 2
	from := mathext.InvRegIncBeta(worth*q+0.5, worth*(1-q)+0.5, tail)
	to := mathext.InvRegIncBeta(worth*q+0.5, worth*(1-q)+0.5, 1-tail)
	first, last := int(math.Floor(from*float64(n))), int(math.Ceil(to*float64(n)))
	if last > n-1 {
		return sorted[first], math.Inf(1), true
	}
	return sorted[first], sorted[last], true
}

// independent is how many independent queries say as much of the share q that is at
// or below x as samples do: at most len(samples).
func independent(samples []float64, x, q float64) float64 {
	n := float64(len(samples))
	normal := distuv.UnitNormal.Quantile((1 + IntervalConfidence) / 2)
	widest := normal * math.Sqrt(q*(1-q)/n)
	for _, b := range batchCounts {
		m := len(samples) / b
		if m < 2 {
			continue
		}
		var sum, squares float64
		for i := range b {
			below := 0
			for _, v := range samples[i*m : (i+1)*m] {
				if v <= x {
					below++
				}
			}
			mean := float64(below) / float64(m)
			sum += mean
			squares += mean * mean
		}
		variance := (squares - sum*sum/float64(b)) / float64(b-1)
		widest = max(widest, student(b-1)*math.Sqrt(max(0, variance)/float64(b)))
	}
	return q * (1 - q) * normal * normal / (widest * widest)
}
