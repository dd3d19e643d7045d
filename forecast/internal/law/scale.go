package law

import (
	"math"
	"slices"
)

// Scale carries values of a metric to the scale on which lower is better and
// differences are relative gains: logarithms where the metric is positive,
// shares of its usual size where it can be zero or negative, and signs where all
// results were zero, which have no size. Multiplying all
// values and the target by one number changes nothing but the last bits.
type Scale struct {
	Log  bool
	sign float64 // 1 when lower is better, else -1
	unit float64 // of the linear scale, 0 where only signs are known; the smallest value of the logarithmic one
}

// The scale keeps this many orders of magnitude below the smallest value, so
// that a zero after positive values is a very good (or bad) result, no error.
const floorShare = 1e-6

// limit keeps the arithmetic on the scale finite.
const limit = 1e6

// ScaleOf chooses the scale for finite values in time order, of which the
// newest decides only when it is alone: a better newest result must not change
// the scale it is judged on.
func ScaleOf(values []float64, lowerIsBetter bool, scratch []float64) (Scale, []float64) {
	s := Scale{sign: 1, unit: 1}
	if !lowerIsBetter {
		s.sign = -1
	}
	older := values
	if len(older) > 1 {
		older = older[:len(older)-1]
	}
	if len(older) == 0 {
		return s, scratch
	}
	if least := slices.Min(older); least > 0 {
		s.Log = true
		s.unit = math.Max(least*floorShare, math.SmallestNonzeroFloat64)
		return s, scratch
	}
	scratch = scratch[:0]
	for _, v := range older {
		if v != 0 {
			scratch = append(scratch, math.Abs(v))
		}
	}
	if len(scratch) == 0 {
		s.unit = 0
		return s, scratch
	}
	s.unit = quantile(scratch, 0.5)
	return s, scratch
}

// Sized reports whether the scale knows how large a change is. It does not where all
// values that decide are zero.
func (s Scale) Sized() bool { return s.Log || s.unit != 0 }

// To carries a value to the scale.
func (s Scale) To(v float64) float64 {
	if s.Log {
		return s.sign * math.Log(max(v, s.unit))
	}
	if s.unit == 0 {
		switch {
		case v > 0:
			return s.sign
		case v < 0:
			return -s.sign
		}
		return 0
	}
	return s.sign * min(max(v/s.unit, -limit), limit)
}

// From carries a point of the scale back to a value; it never overflows.
func (s Scale) From(z float64) float64 {
	v := s.sign * z
	if s.Log {
		v = math.Exp(v)
	} else {
		v *= s.unit
	}
	return min(max(v, -math.MaxFloat64), math.MaxFloat64)
}
