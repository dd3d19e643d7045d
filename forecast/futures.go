package forecast

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// futures are simulated: in each, every model has a pace and a uniform number,
// and is ready as soon as the curve of its probabilities reaches that number.
// The milestone is there when enough models are. Draws are the same for every
// horizon, deadline and target.
type futures struct {
	n     int
	open  []*model         // whose readiness depends on the future
	need  int              // of them
	u     []float32        // the number of each open model in each future, future by future
	steps [curves]arrivals // of the milestone
}

// pace of a future: an index of nodes.
func pace(future int) int { return future % cadenceNodes }

// blockOf futures are simulated together: what a block needs of one model is
// read once and stays near.
const blockOf = 16

// simulate draws n futures. The shared component enters through a normal copula
// (Li 2000): u = Phi(sqrt(r) Z + sqrt(1-r) e).
func (j *joint) simulate(n int, r float64, seed uint64) *futures {
	s := &futures{n: n, need: j.need}
	steps := 0
	for _, m := range j.models {
		steps = max(steps, len(m.curve))
		switch {
		case m.certain():
			s.need--
		case len(m.curve) > 0:
			s.open = append(s.open, m)
		}
	}
	s.u = make([]float32, 0, n*len(s.open))
	rng := rand.New(rand.NewPCG(seed, 0x706c616e63617374))
	a, b := math.Sqrt(r), math.Sqrt(1-r)
	for range n {
		shared := a * rng.NormFloat64()
		for _, m := range j.models {
			if x := shared + b*rng.NormFloat64(); len(m.curve) > 0 && !m.certain() {
				s.u = append(s.u, float32(x))
			}
		}
	}
	guides := make([]guide, len(s.open))
	for i, m := range s.open {
		guides[i].fill(m)
	}
	blocks := (n + blockOf - 1) / blockOf
	arrived := make([][curves][blockOf]int, blocks)
	spread(blocks, func(b int) {
		from, to := b*blockOf, min((b+1)*blockOf, n)
		ready := make([][blockOf][curves]int32, steps) // models, by the step that makes them so
		for i := range guides {
			g := &guides[i]
			for k := from; k < to; k++ {
				u := &s.u[k*len(s.open)+i]
				*u = float32(normal(float64(*u)))
				for w := range curves {
					if step := g.first(float64(*u), w); step < steps {
						ready[step][k-from][w]++
					}
				}
			}
		}
		for w := range curves {
			for k := range to - from {
				left := int32(s.need)
				step := 0
				for ; step < steps; step++ {
					if left -= ready[step][k][w]; left <= 0 {
						break
					}
				}
				arrived[b][w][k] = step
			}
		}
	})
	for w := range curves {
		s.steps[w] = make(arrivals, steps)
		for k := range n {
			if step := arrived[k/blockOf][w][k%blockOf]; step < steps {
				s.steps[w][step]++
			}
		}
		for i := 1; i < steps; i++ {
			s.steps[w][i] += s.steps[w][i-1]
		}
	}
	return s
}

// normal is the standard normal distribution function to 4e-9 (cubic between
// points with their slopes), a fifth of the time of the exact one: two thousand
// futures do not show more. It is bounded by normalEnd standard deviations.
func normal(x float64) float64 {
	at := (min(max(x, -normalEnd), normalEnd-1e-9) + normalEnd) * normalSteps
	c := &normalPieces[int(at)]
	at -= float64(int(at))
	return c[0] + at*(c[1]+at*(c[2]+at*c[3]))
}

const (
	normalEnd   = 6
	normalSteps = 32 // pieces of one standard deviation
)

var normalPieces = func() (c [2 * normalEnd * normalSteps][4]float64) {
	at := func(i int) (p, slope float64) {
		x := float64(i)/normalSteps - normalEnd
		return distuv.UnitNormal.CDF(x), distuv.UnitNormal.Prob(x) / normalSteps
	}
	for i := range c {
		p, a := at(i)
		q, b := at(i + 1)
		c[i] = [4]float64{p, a, 3*(q-p) - 2*a - b, 2*(p-q) + a + b}
	}
	return c
}()

// arrivals counts the futures that are there within 0, 1, 2, ... iterations.
type arrivals []int

func (a arrivals) within(steps int) int {
	if len(a) == 0 {
		return 0
	}
	return a[min(steps, len(a)-1)]
}

// at returns within how many iterations so many futures are there.
func (a arrivals) at(rank int) float64 {
	for i, n := range a {
		if n >= rank {
			return float64(i)
		}
	}
	return math.Inf(1)
}

// guide finds the first step at which a model's curves reach a number.
type guide struct {
	curve curve
	back  [curves]shift  // of a number, instead of the curve
	from  [guides]uint16 // where to look for numbers from i/guides
}

const guides = 256

func (g *guide) fill(m *model) {
	c := m.curve
	g.curve = c
	for w, s := range m.ends {
		g.back[w] = s.back()
	}
	i := 0
	for k := range g.from {
		for i < len(c) && c[i] < float64(k)/guides {
			i++
		}
		g.from[k] = uint16(i)
	}
}

// first returns the least i at which one of the curves is u or more, or more than any
// step.
func (g *guide) first(u float64, which int) int {
	u = g.back[which].of(u)
	if u > g.curve[len(g.curve)-1] {
		return math.MaxInt
	}
	i := int(g.from[min(int(u*guides), guides-1)])
	for g.curve[i] < u {
		i++
	}
	return i
}

// numbers are, for each pace, the numbers up to which the open models are ready by a
// moment.
type numbers [cadenceNodes][]float64

// until fills in those of one curve by t, for no more than limit iterations (0:
// no limit): read at the equally likely paces that Single sums over.
func (s *futures) until(n *numbers, which int, now, t time.Time, limit int) {
	for i, m := range s.open {
		for k, x := range m.paces(now, t) {
			if limit > 0 {
				x = math.Min(x, float64(limit))
			}
			n[k][i] = m.curve.atShifted(x, m.ends[which])
		}
	}
}

// paces are how many iterations of a model come until t, with all its series.
func (m *model) paces(now, t time.Time) (n [cadenceNodes]float64) {
	for i, l := range m.outlooks {
		c := &l.cadence
		for k, x := range c.paces(c.expect(now, t)) {
			if i == 0 || x < n[k] {
				n[k] = x
			}
		}
	}
	return n
}

func (s *futures) numbers() (n numbers) {
	for k := range n {
		n[k] = make([]float64, len(s.open))
	}
	return n
}

// ready reports whether the milestone is there in one future.
func (s *futures) ready(future int, n *numbers) bool {
	up := n[pace(future)]
	u := s.u[future*len(up):][:len(up)]
	ready := 0
	for i, x := range up {
		if float64(u[i]) <= x {
			ready++
		}
	}
	return ready >= s.need
}

// by counts the futures that are there by t, within limit iterations.
func (s *futures) by(which int, now, t time.Time, limit int) int {
	n := s.numbers()
	s.until(&n, which, now, t, limit)
	return s.first(s.all(), &n)
}

// all lists the futures.
func (s *futures) all() []int {
	all := make([]int, s.n)
	for i := range all {
		all[i] = i
	}
	return all
}

// first moves the futures that are ready before the others, and counts them.
func (s *futures) first(some []int, n *numbers) (count int) {
	ready := make([]bool, len(some))
	const share = 64
	spread((len(some)+share-1)/share, func(b int) {
		for i := b * share; i < min((b+1)*share, len(some)); i++ {
			ready[i] = s.ready(some[i], n)
		}
	})
	for i, r := range ready {
		if r {
			some[i], some[count] = some[count], some[i]
			ready[i], ready[count] = ready[count], true
			count++
		}
	}
	return count
}

// A date is found to one part in a million of the time until then, from a
// second to the end of what can be foreseen.
const (
	nearest   = 1.0
	precision = 1e-6
)

// when finds the moments by which the milestone is there in so many futures, by
// rank; those that cannot be foreseen are absent. Moments are halved in
// proportion, and of the futures only those are looked at that arrive in between.
func (s *futures) when(now time.Time, ranks []int) map[int]time.Time {
	n := s.numbers()
	date := func(seconds float64) time.Time { return now.Add(time.Duration(seconds * 1e9)).UTC() }
	ranks = slices.Sorted(slices.Values(ranks))
	// upTo are the ranks that count futures reach.
	upTo := func(ranks []int, count int) int {
		i, _ := slices.BinarySearch(ranks, count+1)
		return i
	}
	dates := map[int]time.Time{}
	var narrow func(lo, hi float64, some []int, before int, ranks []int)
	narrow = func(lo, hi float64, some []int, before int, ranks []int) {
		if len(ranks) == 0 {
			return
		}
		if hi-lo <= precision*hi {
			for _, r := range ranks {
				dates[r] = date(hi)
			}
			return
		}
		mid := math.Sqrt(lo * hi)
		s.until(&n, middle, now, date(mid), 0)
		count := s.first(some, &n)
		early := upTo(ranks, before+count)
		narrow(lo, mid, some[:count], before, ranks[:early])
		narrow(mid, hi, some[count:], before+count, ranks[early:])
	}
	s.until(&n, middle, now, date(farthest), 0)
	all := s.all()
	count := s.first(all, &n)
	narrow(nearest, farthest, all[:count], 0, ranks[:upTo(ranks, count)])
	return dates
}
