// Command chain asks whether the forecast should use a history that is linked by
// pairs, as price indices are, instead of the results as they were measured.
//
//	go run ./bench/chain
//
// It invents histories: true changes, the machine's drift as a random walk, noise
// of each result, and a pair at each step that shows the true change with a small
// error. The measured history has drift and noise in it. The linked one ends at the
// newest result and goes back by the pairs. A chosen one is the linked one where
// results and pairs differ by less than 5 % from visit to visit, and a step that its pair
// does not show for certain is none; elsewhere it is the measured one. All are asked whether
// a target is met within five iterations, and scored (Brier) by what was measured then. Each
// line also has the mean differences from the score of the measured one, with their
// standard errors.
package main

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"github.com/plancast/plancast/forecast"
)

// change makes the true changes of one history, as logarithms: below 0 is faster.
type change func(r *rand.Rand) func() float64

var populations = []struct {
	name string
	change
}{
	{"nobody works", func(r *rand.Rand) func() float64 {
		return func() float64 { return 0.02 * r.NormFloat64() }
	}},
	{"every second try is a gain", func(r *rand.Rand) func() float64 {
		size := 0.02 + 0.1*r.Float64()
		return func() float64 {
			if r.Float64() < 0.5 {
				return -size * r.ExpFloat64()
			}
			return 0.005 * r.NormFloat64()
		}
	}},
	{"steady gains", func(r *rand.Rand) func() float64 {
		size := 0.02 + 0.04*r.Float64()
		return func() float64 { return -size + 0.01*r.NormFloat64() }
	}},
}

const (
	noise   = 0.01  // of a result
	pairing = 0.004 // of a pair
	sure    = 1.645 // standard deviations to each end of a pair's interval, 90 %
	most    = 0.05  // difference of results and pairs, root mean square, up to which they are linked
	within  = 5     // iterations
)

func main() {
	histories := flag.Int("histories", 2000, "histories of each population and drift")
	flag.Parse()
	fmt.Println("| population | drift an iteration | Brier, measured | linked - measured | linked below 5 % - measured | the same, uncertain steps flat | linked |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- |")
	for _, p := range populations {
		for _, drift := range []float64{0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.1} {
			if err := compare(p.name, p.change, drift, *histories); err != nil {
				fmt.Fprintln(os.Stderr, "chain:", err)
				os.Exit(1)
			}
		}
	}
}

// difference of a score from that of the measured history.
type difference struct{ sum, square float64 }

func (d *difference) add(x float64) { d.sum, d.square = d.sum+x, d.square+x*x }

func (d difference) text(n float64) string {
	mean := d.sum / n
	return fmt.Sprintf("%+.4f ± %.4f", mean, math.Sqrt((d.square/n-mean*mean)/n))
}

func compare(name string, c change, drift float64, histories int) error {
	r := rand.New(rand.NewPCG(11, 12))
	measured, chosen := 0.0, 0
	var linked, below, flat difference
	for range histories {
		n := 5 + r.IntN(26)
		y, pairs := history(r, c(r), drift, n)
		target := y[n-1] * math.Exp(-[]float64{0.03, 0.08, 0.15}[r.IntN(3)])
		met := 0.0
		for _, v := range y[n:] {
			if v <= target {
				met = 1
			}
		}
		a, err := score(y[:n], target, met)
		if err != nil {
			return err
		}
		measured += a
		b, err := score(link(y[:n], pairs, 0), target, met)
		if err != nil {
			return err
		}
		linked.add(b - a)
		if apart(y[:n], pairs) >= most {
			below.add(0)
			flat.add(0)
			continue
		}
		chosen++
		below.add(b - a)
		if b, err = score(link(y[:n], pairs, sure*pairing), target, met); err != nil {
			return err
		}
		flat.add(b - a)
	}
	n := float64(histories)
	fmt.Printf("| %s | %g %% | %.4f | %s | %s | %s | %.0f %% |\n", name, 100*drift, measured/n, linked.text(n), below.text(n), flat.text(n), 100*float64(chosen)/n)
	return nil
}

// history is what was measured, n results and those within the horizon, and the changes
// that the pairs of the n show.
func history(r *rand.Rand, next func() float64, drift float64, n int) (measured, pairs []float64) {
	truth, machine := 0.0, 0.0
	pairs = make([]float64, n)
	for i := range n + within {
		step := 0.0
		if i > 0 {
			step = next()
			truth += step
			machine += drift * r.NormFloat64()
		}
		if i < n {
			pairs[i] = step + pairing*r.NormFloat64()
		}
		measured = append(measured, 0.1*math.Exp(truth+machine+noise*r.NormFloat64()))
	}
	return measured, pairs
}

// link goes back from the newest result by the pairs; a change of at most unsure is none.
func link(measured, pairs []float64, unsure float64) []float64 {
	n := len(measured)
	linked := make([]float64, n)
	linked[n-1] = measured[n-1]
	for i := n - 1; i > 0; i-- {
		step := pairs[i]
		if math.Abs(step) <= unsure {
			step = 0
		}
		linked[i-1] = linked[i] * math.Exp(-step)
	}
	return linked
}

// apart is how far results and pairs differ from visit to visit, root mean square.
func apart(measured, pairs []float64) float64 {
	square := 0.0
	for i := 1; i < len(measured); i++ {
		d := math.Log(measured[i]/measured[i-1]) - pairs[i]
		square += d * d
	}
	return math.Sqrt(square / float64(len(measured)-1))
}

// score is the Brier score of the forecast that a history gives.
func score(values []float64, target, met float64) (float64, error) {
	s := forecast.Series{Criterion: forecast.Criterion{Metric: "p99", Comparison: forecast.AtMost, Target: target}}
	day := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, v := range values {
		s.Observations = append(s.Observations, forecast.Observation{Time: day, Value: v, Environment: "e", Valid: true})
		day = day.AddDate(0, 0, 1)
	}
	f, err := forecast.Single(s, forecast.Goal{Iterations: within}, day, forecast.Options{})
	if err != nil {
		return 0, err
	}
	if f.Probability == nil {
		return 0, fmt.Errorf("no probability for %d results", len(values))
	}
	return (f.Probability.Value - met) * (f.Probability.Value - met), nil
}
