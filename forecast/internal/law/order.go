package law

import "math"

// quantile returns the p-quantile of x by linear interpolation; it reorders x,
// so that the results behind the first p*(len(x)-1) are none smaller.
func quantile(x []float64, p float64) float64 {
	at := p * float64(len(x)-1)
	lo := int(at)
	a, b := nth(x, lo)
	if lo+1 == len(x) {
		return a
	}
	return a + (at-float64(lo))*(b-a)
}

// quantiles returns the p- and q-quantiles of x, p < q; it reorders x.
func quantiles(x []float64, p, q float64) (low, high float64) {
	low = quantile(x, p)
	at := q * float64(len(x)-1)
	lo, from := int(at), int(p*float64(len(x)-1))
	if lo == from {
		from--
	}
	a, b := nth(x[from+1:], lo-from-1) // those before are in place
	if lo+1 == len(x) {
		return low, a
	}
	return low, a + (at-float64(lo))*(b-a)
}

// nth returns the k-th smallest of x (from 0) and the next one (infinity behind
// the last), with the smaller ones moved before it and the larger ones behind:
// Hoare's quickselect (1961) with the element in that place as pivot, which is
// done at once where x is in order. Passes move without guessing, which is
// several times faster than the branches of the textbook; results equal to the
// least are left out together.
func nth(x []float64, k int) (kth, next float64) {
	lo, hi := 0, len(x)
	next = math.Inf(1) // the least from hi on
	for hi-lo > 1 {
		part := x[lo:hi]
		pivot := x[k]
		x[k], part[0] = part[0], pivot
		less, rest := 0, part[1:]
		for j, v := range rest {
			rest[j] = rest[less]
			rest[less] = v
			less += one(v < pivot)
		}
		part[0], part[less] = part[less], pivot
		at := lo + less
		switch {
		case k < at:
			hi, next = at, pivot
			continue
		case k > at && less > 0:
			lo = at + 1
			continue
		case k > at: // the least, perhaps as often as not
			same := 0
			for j, v := range part {
				part[j] = part[same]
				part[same] = v
				same += one(v == pivot)
			}
			if lo += same; k >= lo {
				continue
			}
			if k+1 < lo {
				return pivot, pivot
			}
		default:
			lo = at + 1
		}
		for _, v := range x[lo:hi] {
			if v < next {
				next = v
			}
		}
		return pivot, next
	}
	return x[k], next
}

// one is 1 for true, without a branch.
func one(b bool) (n int) {
	if b {
		n = 1
	}
	return n
}
