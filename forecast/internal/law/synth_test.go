package law

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

func TestScratchSynth(t *testing.T) {
	if os.Getenv("SYNTH") == "" {
		t.Skip()
	}
	c := Default()
	fmt.Sscan(os.Getenv("TP"), &c.TrendPrior)
	fmt.Sscan(os.Getenv("PE"), &c.Persistence)
	fmt.Sscan(os.Getenv("OA"), &c.OwnAfter)
	for _, mode := range []string{"all", "smooth", "steps"} {
		rng := rand.New(rand.NewPCG(1, 2))
		var bins [10][3]float64
		var in, nb, n, brier, hits, sum, tw float64
		var cov [3][2]float64
		for range 1500 {
			N := 12 + rng.IntN(60)
			A := 0.3 + 1.2*rng.Float64()
			tau := math.Exp(math.Log(6) + rng.Float64()*math.Log(10))
			p := 0.15 + 0.85*rng.Float64()
			if mode == "smooth" {
				p = 1
			}
			if mode == "steps" {
				p = 0.15 + 0.2*rng.Float64()
			}
			sd := math.Exp(math.Log(0.003) + rng.Float64()*math.Log(15))
			var z []float64
			at := 0.0
			for i := range N + 20 {
				if rng.Float64() < p {
					at = float64(i)
				}
				z = append(z, math.Log(1+A*math.Exp(-at/tau))+sd*rng.NormFloat64())
			}
			e := Engine{}
			for _, v := range z[:N] {
				e.Append(v)
			}
			var l Law
			e.Law(&c, 20, &l)
			tw += l.trendWeight
			q := make([]float64, 20)
			for _, h := range []int{3, 5, 10, 20} {
				lo, _, hi := l.Band(h)
				nb++
				k := min(2, h/5)
				cov[k][1]++
				if lo <= z[N+h-1] && z[N+h-1] <= hi {
					in++
					cov[k][0]++
				}
				m := math.Inf(1)
				for _, v := range z[N : N+h] {
					m = min(m, v)
				}
				for _, g := range []float64{.02, .05, .1, .2, .4} {
					l.Reached(l.best+math.Log(1-g), q)
					y := 0.0
					if m <= l.best+math.Log(1-g) {
						y = 1
					}
					v := q[h-1]
					b := &bins[min(9, int(v*10))]
					b[0]++
					b[1] += v
					b[2] += y
					brier += (v - y) * (v - y)
					n++
					hits += y
					sum += v
				}
			}
		}
		ece := 0.0
		for _, b := range bins {
			ece += math.Abs(b[1]-b[2]) / n
		}
		r := hits / n
		t.Logf("%s n %.0f hit %.3f mean p %.3f ece %.3f brier %.4f const %.4f cover %.3f (%.3f %.3f %.3f) tw %.2f", mode, n, r, sum/n, ece, brier/n, r*(1-r), in/nb, cov[0][0]/cov[0][1], cov[1][0]/cov[1][1], cov[2][0]/cov[2][1], tw/1500)
		for _, b := range bins {
			if b[0] > 0 {
				t.Logf("   %5.0f %.3f %.3f", b[0], b[1]/b[0], b[2]/b[0])
			}
		}
	}
}
