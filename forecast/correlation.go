package forecast

import (
	"cmp"
	"math"
	"slices"
)

// The correlation between series before any evidence, and how many pairs of
// gains it counts as.
const (
	priorCorrelation = 0.3
	correlationMass  = 30.0
	mostCorrelation  = 0.95
	mostPairs        = 2000 // that the estimate looks at
	fewestGains      = 4    // that a pair has to share
)

// correlation estimates the shared component of the series from the ranks of
// gains that pairs of them made between the same two times, drawn towards
// the prior. The newest gain of each is left out: a better newest result must
// not lower a milestone's probability.
func correlation(outlooks []*outlook) float64 {
	all := make([]gainRecord, len(outlooks))
	spread(len(outlooks), func(i int) { all[i] = outlooks[i].history.gains() })
	// All pairs of few series; of many, each with its nearest neighbours, so
	// that the cost grows with the series and not with their square.
	neighbours := max(1, mostPairs/max(len(outlooks), 1))
	if len(outlooks)*(len(outlooks)-1)/2 <= mostPairs {
		neighbours = len(outlooks)
	}
	type pair struct{ rank, n float64 }
	found := make([][]pair, len(outlooks))
	spread(len(outlooks), func(i int) {
		var m matcher
		for k := max(0, i-neighbours); k < i; k++ {
			if rank, n := m.spearman(&all[i], &all[k]); n >= fewestGains {
				found[i] = append(found[i], pair{rank, float64(n)})
			}
		}
	})
	sum, mass := priorCorrelation*correlationMass, correlationMass
	for _, pairs := range found {
		for _, p := range pairs {
			sum += p.n * p.rank
			mass += p.n
		}
	}
	return math.Min(math.Max(sum/mass, 0), mostCorrelation)
}

// gainRecord is the gains of a series, in time order.
type gainRecord struct {
	times [][2]int64 // between which each was made
	gains []float64
	order []int     // the gains from the least to the greatest
	ranks []float64 // of all; ties share their mean rank
}

func (h *history) gains() (r gainRecord) {
	n := max(0, len(h.values)-2)
	r.times, r.gains, r.order = make([][2]int64, 0, n), make([]float64, 0, n), make([]int, 0, n)
	for t := 1; t < len(h.values)-1; t++ {
		if h.valid[t] && h.valid[t-1] {
			r.order = append(r.order, len(r.gains))
			r.times = append(r.times, [2]int64{h.times[t-1].UnixNano(), h.times[t].UnixNano()})
			r.gains = append(r.gains, h.z[t-1]-h.z[t])
		}
	}
	slices.SortFunc(r.order, func(a, b int) int { return cmp.Compare(r.gains[a], r.gains[b]) })
	r.ranks = make([]float64, len(r.order))
	rank(r.order, r.gains, r.ranks)
	return r
}

// rank fills in the ranks of the gains named in order.
func rank(order []int, gains, ranks []float64) {
	for i := 0; i < len(order); {
		k := i
		for k < len(order) && gains[order[k]] == gains[order[i]] {
			k++
		}
		for _, at := range order[i:k] {
			ranks[at] = float64(i+k-1) / 2
		}
		i = k
	}
}

// matcher holds the memory in which pairs are matched.
type matcher struct{ a, b matched }

// matched is what of one series another one has as well.
type matched struct {
	at    []int // of the gains, in time order
	in    []bool
	order []int
	ranks []float64 // of the gains at
}

// spearman returns the rank correlation of the gains that two series made
// between the same times, 0 when either is constant, and their number. Series
// with the same times, such as those of one pipeline, are ranked only once.
func (m *matcher) spearman(a, b *gainRecord) (r float64, n int) {
	if slices.Equal(a.times, b.times) {
		return products(a.ranks, b.ranks), len(a.ranks)
	}
	m.a.at, m.b.at = m.a.at[:0], m.b.at[:0]
	for i, k := 0, 0; i < len(a.times) && k < len(b.times); {
		switch c := slices.Compare(a.times[i][:], b.times[k][:]); {
		case c < 0:
			i++
		case c > 0:
			k++
		default:
			m.a.at, m.b.at = append(m.a.at, i), append(m.b.at, k)
			i++
			k++
		}
	}
	if n = len(m.a.at); n < fewestGains {
		return 0, n
	}
	return products(m.a.rank(a), m.b.rank(b)), n
}

// rank returns the ranks of the matched gains among themselves.
func (m *matched) rank(r *gainRecord) []float64 {
	m.in = append(m.in[:0], make([]bool, len(r.gains))...)
	for _, i := range m.at {
		m.in[i] = true
	}
	m.order = m.order[:0]
	for _, i := range r.order {
		if m.in[i] {
			m.order = append(m.order, i)
		}
	}
	all := append(m.ranks[:0], make([]float64, len(r.gains))...)
	m.ranks = all
	rank(m.order, r.gains, all)
	for k, i := range m.at { // at rises, so nothing is overwritten that is still to be read
		all[k] = all[i]
	}
	return all[:len(m.at)]
}

// products is the correlation of ranks.
func products(ra, rb []float64) float64 {
	mean := float64(len(ra)-1) / 2
	var xy, xx, yy float64
	for i := range ra {
		x, y := ra[i]-mean, rb[i]-mean
		xy += x * y
		xx += x * x
		yy += y * y
	}
	if xx == 0 || yy == 0 {
		return 0
	}
	return xy / math.Sqrt(xx*yy)
}
