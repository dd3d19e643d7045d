package forecast

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/plancast/plancast/forecast/internal/law"
)

// Growing a history result by result gives the bits of reading it at once.
func TestBatchEqualsIncremental(t *testing.T) {
	everyHistory(t, func(t *testing.T, s Series, rng *rand.Rand) {
		h, err := clean(s)
		if err != nil {
			t.Fatal(err)
		}
		learned := law.Default()
		var growing law.Engine
		var a, b law.Law
		p, q := make([]float64, 20), make([]float64, 20)
		scale, _ := law.ScaleOf(h.values, true, 0, nil)
		for n := 1; n <= len(h.values); n++ {
			growing.Append(scale.To(h.values[n-1]))
			growing.Law(&learned, 20, &a)
			var batch law.Engine
			for _, v := range h.values[:n] {
				batch.Append(scale.To(v))
			}
			batch.Law(&learned, 20, &b)
			x := growing.Best() - 0.1
			a.Reached(x, p)
			b.Reached(x, q)
			if !slices.Equal(p, q) {
				t.Fatalf("after %d results: %v growing, %v at once", n, p, q)
			}
			l1, m1, h1 := a.Band(9)
			if l2, m2, h2 := b.Band(9); l1 != l2 || m1 != m2 || h1 != h2 {
				t.Fatalf("after %d results the bands differ", n)
			}
		}
	})
}

// What the back-test scores is what Single says.
func TestBacktestScoresTheForecastItself(t *testing.T) {
	v := made("steps", 40, rand.New(rand.NewPCG(3, 3)))
	s := Series{Criterion: Criterion{Metric: "x", Comparison: AtMost}, Observations: daily(v...)}
	h, err := clean(s)
	if err != nil {
		t.Fatal(err)
	}
	tr := tester{learned: law.Default()}
	if !tr.walk(0, h) {
		t.Fatal("too short")
	}
	at := moments(40, defaultCuts)
	i := 0
	for _, n := range at {
		best := slices.Min(v[:n])
		for _, steps := range askedSteps {
			if n+steps > len(v) {
				continue
			}
			for _, share := range askedShares {
				k := s
				k.Observations = s.Observations[:n]
				k.Criterion.Target = best * (1 - share)
				f := single(t, k, Goal{Iterations: steps}, after(n))
				if got := tr.asked[i].said[0]; math.Abs(got-f.Probability.Value) > 1e-9 {
					t.Fatalf("at %d, %v in %d: back-test %v, forecast %v", n, share, steps, got, f.Probability.Value)
				}
				if hit := slices.Min(v[n:n+steps]) <= k.Criterion.Target; hit != tr.asked[i].hit {
					t.Fatalf("at %d, %v in %d: outcome %v", n, share, steps, hit)
				}
				i++
			}
		}
	}
	if i != len(tr.asked) {
		t.Errorf("%d questions, want %d", len(tr.asked), i)
	}
}

func TestBacktestReport(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	var series []Series
	for i := range 60 {
		c := Criterion{Metric: "x", Comparison: Below}
		if i%3 == 0 {
			c.Comparison = Above
		}
		series = append(series, Series{Criterion: c, Observations: daily(made([]string{"noise", "steps"}[i%2], 20+rng.IntN(60), rng)...)})
	}
	series = append(series, Series{Criterion: latency, Observations: daily(1, 2, 3)}, Series{})
	var seen []int
	r := Backtest(series, BacktestOptions{Peers: true, Progress: func(done, total int) { seen = append(seen, done, total) }})
	if r.Series != 60 || r.Skipped != 2 || len(seen) != 2*62 || seen[122] != 62 || seen[123] != 62 {
		t.Errorf("%d series, %d skipped, progress %v", r.Series, r.Skipped, seen)
	}
	n := 0
	for _, b := range r.Bins {
		n += b.Questions
	}
	if n != r.Plancast.Questions || n == 0 {
		t.Errorf("%d questions in bins, %d in all", n, r.Plancast.Questions)
	}
	names := map[string]Score{}
	for _, p := range r.Peers {
		names[p.Name] = p.Score
		if (p.Name == "linear" || p.Name == "holt") && p.Score.Brier <= r.Plancast.Brier {
			t.Errorf("%s has Brier %v, plancast %v", p.Name, p.Score.Brier, r.Plancast.Brier)
		}
	}
	if len(names) != 4 || names["base rate"].Skill != 0 {
		t.Errorf("peers %+v", names)
	}
	if c := *r.Plancast.Coverage; c <= 0.5 || c >= 1 {
		t.Errorf("coverage %v", c)
	}
	if got, want := asJSON(t, Backtest(series, BacktestOptions{Peers: true})), asJSON(t, r); got != want {
		t.Errorf("again %s, want %s", got, want)
	}
}

func TestPeersKnowTheEasyCases(t *testing.T) {
	down := make([]float64, 20)
	for i := range down {
		down[i] = -0.05*float64(i) + 0.001*float64(i%2)
	}
	for k, method := range []func() (near, far float64){
		func() (float64, float64) { return linear(down, down[19]-0.2, 10), linear(down, down[19]-2, 10) },
		func() (float64, float64) { return holt(down, down[19]-0.2, 10), holt(down, down[19]-2, 10) },
		func() (float64, float64) {
			return monteCarlo(down, down[19]-0.2, 10, 1), monteCarlo(down, down[19]-2, 10, 1)
		},
	} {
		if near, far := method(); near < 0.95 || far > 0.05 {
			t.Errorf("%s: %v for a gain on the line, %v for one far beyond", peerNames[k], near, far)
		}
	}
}

// approach is an improving history with known truth: an exponential approach
// to a limit, in steps, with noise.
func approach(n int, rng *rand.Rand) []float64 {
	drop, tau := 0.3+1.2*rng.Float64(), 6*math.Pow(10, rng.Float64())
	step, noise := 0.15+0.85*rng.Float64(), 0.003*math.Pow(15, rng.Float64())
	v := make([]float64, n)
	at := 0.0
	for i := range v {
		if rng.Float64() < step {
			at = float64(i)
		}
		v[i] = 0.05 * (1 + drop*math.Exp(-at/tau)) * math.Exp(noise*rng.NormFloat64())
	}
	return v
}

// Improving histories of 7 to 66 results, questions about the 3 to 20 next
// ones: what is said must come true as often, and 80 % bands hold 80 %. The
// tolerances are what docs/forecasting.md claims, a little above what the
// fixed seed gives.
func TestSynthetic(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	learned := law.Default()
	var e law.Engine
	var l law.Law
	var bins [10][3]float64
	var in, bands, n, brier, hits float64
	for range 600 {
		size := 7 + rng.IntN(60)
		v := approach(size+20, rng)
		scale, _ := law.ScaleOf(v[:size], true, 0, nil)
		e.Reset()
		for _, x := range v[:size] {
			e.Append(scale.To(x))
		}
		e.Law(&learned, 20, &l)
		for _, h := range askedSteps {
			low, _, high := l.Band(h)
			if z := scale.To(v[size+h-1]); low <= z && z <= high {
				in++
			}
			bands++
			reached := scale.To(slices.Min(v[size : size+h]))
			for _, share := range askedShares {
				x := e.Best() - gapOf(share, true)
				p, y := l.ReachedWithin(x, h), 0.0
				if reached <= x {
					y = 1
				}
				b := &bins[min(9, int(10*p))]
				b[0]++
				b[1] += p
				b[2] += y
				n++
				hits += y
				brier += (p - y) * (p - y)
			}
		}
	}
	calibration := 0.0
	for _, b := range bins {
		calibration += math.Abs(b[1]-b[2]) / n
	}
	rate := hits / n
	t.Logf("calibration error %.3f, coverage %.3f, Brier %.4f, of the rate itself %.4f", calibration, in/bands, brier/n, rate*(1-rate))
	if calibration > 0.04 {
		t.Errorf("calibration error %.3f", calibration)
	}
	if c := in / bands; c < 0.77 || c > 0.84 {
		t.Errorf("80 %% bands cover %.3f", c)
	}
	if brier/n > 0.7*rate*(1-rate) {
		t.Errorf("Brier %.4f, of the rate itself %.4f", brier/n, rate*(1-rate))
	}
}
