package workload

import (
	"math/rand/v2"
	"sort"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/plancast/plancast/exporter/engine"
)

// Sequence draws the requests of a workload. Two of the same workload and seed
// draw the same ones.
type Sequence struct {
	trace  []Traced
	shapes []float64 // shares, added up
	gaps   distuv.Gamma
	which  *rand.Rand
}

// Sequence begins a sequence. Arrivals and shapes have a source each, so that
// changing the mix leaves the arrivals as they are.
func (w Workload) Sequence(seed uint64) *Sequence {
	burstiness := w.Burstiness
	if burstiness == 0 {
		burstiness = 1
	}
	s := &Sequence{
		trace: w.Trace,
		which: rand.New(rand.NewPCG(seed, 1)),
		// A gap of 1 on average. With a shape of 1 it is exponential.
		gaps: distuv.Gamma{Alpha: burstiness, Beta: burstiness, Src: rand.NewPCG(seed, 2)},
	}
	sum := 0.0
	for _, share := range w.Shares() {
		sum += share
		s.shapes = append(s.shapes, sum)
	}
	return s
}

// Draw returns the next n requests, with times from the start of their window. At a
// rate of 0 they are all due at once. Drawn at another rate, the same requests come
// in the same order, with all gaps longer or shorter by one factor. A trace begins
// again with each window, as it was recorded, except at a rate of 0.
func (s *Sequence) Draw(n int, rate float64) []engine.Request {
	out := make([]engine.Request, n)
	if rate > 0 && len(s.trace) > 0 {
		out = out[:min(n, len(s.trace))]
		for i := range out {
			out[i] = engine.Request{At: s.trace[i].At, Input: s.trace[i].Shape}
		}
		return out
	}
	at := 0.0
	for i := range out {
		at += s.gaps.Rand()
		out[i].Input = sort.SearchFloat64s(s.shapes[:len(s.shapes)-1], s.which.Float64())
		if rate > 0 {
			out[i].At = time.Duration(at / rate * float64(time.Second))
		}
	}
	return out
}
