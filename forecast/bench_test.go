package forecast

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/plancast/plancast/forecast/internal/law"
)

// BenchmarkThousandSeries is the job of one rebuild: 1,000 histories of 200
// iterations, each with probabilities, bands and dates.
func BenchmarkThousandSeries(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	series := make([]Series, 1000)
	for i := range series {
		series[i] = Series{Model: fmt.Sprint(i), Criterion: latency, Observations: daily(made(kinds[i%len(kinds)], 200, rng)...)}
	}
	now := after(200)
	g := Goal{Iterations: 10, Deadline: now.AddDate(0, 1, 0)}
	for b.Loop() {
		for _, s := range series {
			if _, err := Single(s, g, now, Options{}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkIterations shows how the cost grows with the length of a history.
func BenchmarkIterations(b *testing.B) {
	for _, n := range []int{100, 200, 400, 800, 1600, 3200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			s := Series{Criterion: latency, Observations: daily(made("steps", n, rng)...)}
			g := Goal{Iterations: 10, Deadline: after(n + 30)}
			for b.Loop() {
				if _, err := Single(s, g, after(n), Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSeries shows how the cost of a milestone grows with its series.
func BenchmarkSeries(b *testing.B) {
	for _, n := range []int{5, 10, 20, 40} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			m := JointGoal{Goal: Goal{Deadline: after(80)}, Share: 0.8}
			for i := range n {
				m.Series = append(m.Series, Series{Model: fmt.Sprint(i), Criterion: latency, Observations: daily(made(kinds[i%len(kinds)], 50, rng)...)})
			}
			for b.Loop() {
				if _, err := Joint(m, after(50), Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkInnerLoop is one history condensed and asked, in memory used before:
// it allocates nothing.
func BenchmarkInnerLoop(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	v := made("approach", 200, rng)
	scale, _ := law.ScaleOf(v, true, nil)
	var e law.History
	var l law.Law
	c := law.Default()
	p := make([]float64, 200)
	b.ReportAllocs()
	for b.Loop() {
		e.Reset()
		for _, x := range v {
			e.Append(scale.To(x))
		}
		e.Law(&c, law.Context{}, len(p), &l)
		l.Reached(scale.To(0.03), p)
		for h := 1; h <= 20; h++ {
			l.Band(h)
		}
	}
}

// BenchmarkApproach is the history that costs most: one that follows a trend.
func BenchmarkApproach(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	s := Series{Criterion: latency, Observations: daily(approach(200, rng)...)}
	g := Goal{Iterations: 10, Deadline: after(230)}
	for b.Loop() {
		if _, err := Single(s, g, after(200), Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkJoint is a milestone of 1,000 models with 200 iterations each, at
// times of their own or at the same times.
func BenchmarkJoint(b *testing.B) {
	for name, apart := range map[string]time.Duration{"same times": 0, "own times": time.Minute} {
		b.Run(name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(1, 1))
			m := JointGoal{Goal: Goal{Iterations: 5, Deadline: after(230)}, Share: 0.8}
			for i := range 1000 {
				o := daily(made(kinds[i%len(kinds)], 200, rng)...)
				for k := range o {
					o[k].Time = o[k].Time.Add(time.Duration(i) * apart)
				}
				m.Series = append(m.Series, Series{Model: fmt.Sprint(i), Criterion: latency, Observations: o})
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Joint(m, after(201), Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
