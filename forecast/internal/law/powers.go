package law

import "math"

// logs are the logarithms of 1, 2, ...
var logs = func() (l [1000]float64) {
	for j := range l {
		l[j] = math.Log(float64(j + 1))
	}
	return l
}()

func logOf(n int) float64 {
	if n <= len(logs) {
		return logs[n-1]
	}
	return math.Log(float64(n))
}

// powers are 1, 2, ... to the powers that the laws grow with.
type powers struct {
	record, work, reach, root []float64
	of                        [4]float64
}

func newPowers(c *Coefficients, logStep []float64) *powers {
	p := &powers{of: exponents(c)}
	for k, x := range []*[]float64{&p.record, &p.work, &p.reach, &p.root} {
		*x = make([]float64, len(logStep))
		for j, s := range logStep {
			(*x)[j] = math.Exp(p.of[k] * s)
		}
	}
	return p
}

func exponents(c *Coefficients) [4]float64 {
	return [4]float64{c.Record.LogSteps, c.Work.LogSteps, -2 * c.Work.Reach, 0.5}
}

var usualPowers = func() *powers {
	c := Default()
	return newPowers(&c, logs[:])
}()

// room makes the law ready for a horizon; all its memory is one piece.
func (l *Law) room(horizon int) {
	if parts := []*[]float64{&l.level, &l.tight, &l.trendMiddle, &l.trendScale, &l.around, &l.centre}; cap(l.centre) < horizon {
		all := make([]float64, len(parts)*horizon)
		for i, x := range parts {
			*x = all[i*horizon : (i+1)*horizon : (i+1)*horizon]
		}
	} else {
		for _, x := range parts {
			*x = (*x)[:horizon]
		}
	}
	l.tight = l.tight[:0]
	if len(l.logStep) < horizon {
		l.logStep, l.powers = logs[:], nil
		for j := len(logs); j < horizon; j++ {
			l.logStep = append(l.logStep, logOf(j+1))
		}
	}
	if l.powers == nil || l.powers.of != exponents(&l.c) || len(l.powers.record) < horizon {
		if l.powers = usualPowers; l.powers.of != exponents(&l.c) || horizon > len(logs) {
			l.powers = newPowers(&l.c, l.logStep)
		}
	}
}
