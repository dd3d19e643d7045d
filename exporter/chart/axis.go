package chart

import "math"

// axis carries a range of data to a range of coordinates.
type axis struct {
	from, to, low, high float64
	log                 bool // from and to are powers of ten
}

func (a axis) at(v float64) float64 {
	if a.log {
		v = math.Log10(v)
	}
	if a.to == a.from {
		return (a.low + a.high) / 2
	}
	// Halves keep the difference of huge values finite.
	return a.low + (a.high-a.low)*math.Min(math.Max((v/2-a.from/2)/(a.to/2-a.from/2), -0.5), 1.5)
}

// positive is an axis for positive values, with round ticks: logarithmic, or from
// zero, so that a difference looks as large as it is.
func positive(least, most float64, log bool, low, high float64) (a axis, ticks []float64) {
	if log {
		a = axis{math.Log10(least) - 0.15, math.Log10(most) + 0.05, low, high, true}
		for _, mantissas := range [][]float64{{1, 2, 5}, {1, 3}, {1}} {
			ticks = ticks[:0]
			for e := math.Floor(a.from); e <= math.Ceil(a.to); e++ {
				for _, m := range mantissas {
					if t := m * math.Pow(10, e); math.Log10(t) >= a.from && math.Log10(t) <= a.to {
						ticks = append(ticks, t)
					}
				}
			}
			if len(ticks) <= 7 {
				break
			}
		}
		return a, ticks
	}
	a = axis{0, most * 1.12, low, high, false}
	step := math.Pow(10, math.Floor(math.Log10(a.to/4)))
	for _, k := range []float64{1, 2, 2.5, 5, 10} {
		if a.to/(step*k) <= 5 {
			step *= k
			break
		}
	}
	for i := 0; float64(i)*step <= a.to; i++ {
		ticks = append(ticks, float64(i)*step)
	}
	return a, ticks
}
