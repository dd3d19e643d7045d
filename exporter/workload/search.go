package workload

// MaxRate searches the highest rate below ceiling at which holds is true, by
// bisection: at most probes questions, and no more than it takes to know the rate
// within tolerance, a share of it. It is 0 when the lowest rate that was tried does
// not hold. holds should be true up to some rate and false beyond.
//
// A rate near what an engine can do at all is the likely answer, so the search first
// goes down from there, in steps that double.
func MaxRate(ceiling, tolerance float64, probes int, holds func(rate float64) (bool, error)) (float64, error) {
	low, high := 0.0, ceiling
	for step := 0.1; probes > 0 && low == 0 && step < 2; step *= 2 {
		rate := max(ceiling*(1-step), high/2)
		ok, err := holds(rate)
		if err != nil {
			return 0, err
		}
		if probes--; ok {
			low = rate
		} else {
			high = rate
		}
	}
	for ; probes > 0 && low > 0 && high-low > tolerance*high; probes-- {
		rate := (low + high) / 2
		ok, err := holds(rate)
		if err != nil {
			return low, err
		}
		if ok {
			low = rate
		} else {
			high = rate
		}
	}
	return low, nil
}
