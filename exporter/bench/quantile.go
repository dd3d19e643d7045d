package bench

import (
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat"
)

// Percentiles are the quantiles of every Latency.
var Percentiles = []float64{0.5, 0.9, 0.95, 0.99}

// confidence of the bounds on percentiles, MLPerf's.
const confidence = 0.99

// MinQueries is the least number of queries of which the percentile q can be
// given at all: with fewer, more than one run in a hundred has no query above
// the true percentile. It is the smallest n with q^n <= 1 - confidence: 459
// for P99.
func MinQueries(q float64) int {
	return int(math.Ceil(math.Log(1-confidence) / math.Log(q)))
}

// overLatency is MLPerf's early-stopping criterion: the largest number t of
// queries above a latency L, among n, with which the percentile q is still
// below L with the confidence above. That is the largest t for which a
// binomial variable of n trials and success probability 1-q is at most t with
// probability at most 1 - confidence; its distribution function is the
// regularized incomplete beta function I_q(n-t, t+1). -1 when not even t = 0
// will do.
//
// Source: MLCommons, "MLPerf Inference Rules", appendix on early stopping.
func overLatency(n int, q float64) int {
	// The probability grows with t, and t stays below the expectation n(1-q).
	return sort.Search(int(float64(n)*(1-q))+1, func(t int) bool {
		return mathext.RegIncBeta(float64(n-t), float64(t+1), q) > 1-confidence
	}) - 1
}

// minQueriesForBound is the least number of queries from which earlyStopping
// gives a bound: 662 for P99.
func minQueriesForBound(q float64) int {
	n := MinQueries(q)
	for overLatency(n, q) < 1 {
		n++
	}
	return n
}

// earlyStopping is MLPerf's estimate of the percentile q from above: with 99 %
// confidence the true percentile is not higher. Of n sorted latencies it is the
// t-th largest, t being overLatency(n, q); MLPerf gives none when t is 0.
// sorted must be in ascending order.
func earlyStopping(sorted []float64, q float64) (float64, bool) {
	t := overLatency(len(sorted), q)
	if t < 1 {
		return 0, false
	}
	return sorted[len(sorted)-t], true
}

// NearestRank is the smallest observation with at least the share q of all
// observations at or below it. sorted must be in ascending order and not empty.
func NearestRank(sorted []float64, q float64) float64 {
	rank := int(math.Ceil(q * float64(len(sorted)) * (1 - 1e-12)))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Summarize condenses the latencies, in seconds, of queries of the given batch.
// Percentiles with fewer queries than MinQueries are left out. The order of
// samples is kept.
func Summarize(batch int, samples []float64) Latency {
	l := Latency{Batch: batch, Queries: len(samples), Buckets: map[int]int64{}}
	if len(samples) == 0 {
		return l
	}
	sorted := slices.Clone(samples)
	slices.Sort(sorted)
	l.Min, l.Max = sorted[0], sorted[len(sorted)-1]
	l.Mean = stat.Mean(sorted, nil)
	l.Sum = l.Mean * float64(len(sorted))
	if len(sorted) > 1 {
		l.StdDev = stat.StdDev(sorted, nil)
	}
	for _, q := range Percentiles {
		if len(sorted) < MinQueries(q) {
			continue
		}
		x := Quantile{Q: q, Value: NearestRank(sorted, q)}
		if upper, ok := earlyStopping(sorted, q); ok {
			x.Upper = &upper
		}
		if low, high, ok := interval(samples, sorted, q); ok {
			x.Low = &low
			if !math.IsInf(high, 1) {
				x.High = &high
			}
		}
		l.Quantiles = append(l.Quantiles, x)
	}
	for _, v := range sorted {
		l.Buckets[bucket(v)]++
	}
	return l
}

// bucket is the index i of the native histogram bucket with
// b^(i-1) < v <= b^i, b being 2^(2^-BucketSchema). A time that a clock rounded
// to zero counts as a nanosecond.
func bucket(v float64) int {
	const perOctave = 1 << BucketSchema
	frac, exp := math.Frexp(max(v, 1e-9)) // frac in [0.5, 1)
	// The position within the octave is searched among exact bounds, so that a
	// value on a bound falls below it as Prometheus has it.
	return (exp-1)*perOctave + sort.SearchFloat64s(octave[:], frac)
}

// octave holds the bounds of the buckets between 1/2 and 1.
var octave = func() (bounds [1 << BucketSchema]float64) {
	for i := range bounds {
		bounds[i] = 0.5 * math.Exp2(float64(i)/float64(len(bounds)))
	}
	return bounds
}()
