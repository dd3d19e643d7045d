package law

import "math"

// Criterion is one of several that the results of one model have to meet in the
// same iteration.
type Criterion struct {
	Law *Law
	X   float64 // the target
}

// Together bounds, from above, the probabilities that one of the next 1, 2, ...,
// len(p) iterations meets all criteria at once. There are two ways to get there,
// and the bound is the chance that either does:
//
//   - a record of the worst margin. gap is how far the best of n iterations so
//     far was from meeting all (the least, over iterations, of the greatest
//     gain still missing); that it is bridged is a record like any other, in
//     the widest of the histories;
//   - what is expected: at each step the product of the chances that every
//     criterion is met there, on the expected path or the trend.
//
// It grows with every target and falls with no better newest result: gap does,
// and the rest depends on each criterion as Reached does.
func Together(criteria []Criterion, gap float64, n int, p []float64) {
	first := criteria[0].Law
	var of ranges
	for _, c := range criteria {
		of.spread, of.noise = max(of.spread, c.Law.ranges.spread), max(of.noise, c.Law.ranges.noise)
		c.Law.tighten(len(p))
	}
	c := &first.c
	hazard := math.Exp(c.Record.start(n, of) + c.Record.gap(max(gap, 0), math.Log(max(gap, 0)+gapFloor)))
	path := pathChance{product: 1}
	for j := range p {
		all := 1.0
		for _, c := range criteria {
			all *= c.Law.expected(c.X, j)
		}
		path.add(math.Log(all / max(1-all, 1e-300)))
		rec := chance(hazard * first.powers.record[j])
		v := 1 - (1-rec)*(1-path.chance(c.Persistence))
		p[j] = min(max(v, 1-Surest), Surest)
	}
}

// expected is the chance that the result j+1 steps ahead is x or better.
func (l *Law) expected(x float64, j int) float64 {
	v := logistic((x - l.level[j]) * l.tight[j])
	if l.trendWeight > 0 {
		v += l.trendWeight * (logistic((x-l.trendMiddle[j])*l.trendScale[j]) - v)
	}
	return v
}
