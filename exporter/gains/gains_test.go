package gains_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/gains"
)

func observations(kind gains.Kind, ratios ...float64) (out []gains.Observation) {
	for i, r := range ratios {
		out = append(out, gains.Observation{Model: fmt.Sprint("m", i), Kind: kind, Ratio: r})
	}
	return out
}

// The expectations were worked out apart from this program, from the formulas and
// the closed forms of Student's distribution.
func TestWhatAKindBringsIsEstimated(t *testing.T) {
	for _, c := range []struct {
		ratios          []float64
		gained          int
		mean            float64
		best, least     float64
		at50, at80, at1 float64 // probability of a ratio of at most 0.5, 0.8 and 1
	}{
		{[]float64{0.5}, 1, 0.707107, 0.5, 0.5, 0.225068, 0.611047, 0.774932},
		{[]float64{0.39, 0.5, 0.62, 0.7, 0.88, 1.02}, 5, 0.691969, 0.39, 0.88, 0.191885, 0.654205, 0.836535},
	} {
		all := gains.Estimate(observations("int8", c.ratios...))
		if len(all) != 1 {
			t.Fatalf("%d gains", len(all))
		}
		g := all[0]
		near := func(what string, got, want float64) {
			t.Helper()
			if math.Abs(got-want) > 2e-6 {
				t.Errorf("%v: %s %v; want %v", c.ratios, what, got, want)
			}
		}
		if g.Models != len(c.ratios) || g.Gained != c.gained {
			t.Errorf("%v: %d models, %d gained", c.ratios, g.Models, g.Gained)
		}
		near("mean", g.Mean, c.mean)
		near("best", g.Best, c.best)
		near("least", g.Least, c.least)
		near("P(0.5)", g.Below(0.5), c.at50)
		near("P(0.8)", g.Below(0.8), c.at80)
		near("P(1)", g.Below(1), c.at1)
	}
}

func TestTheLawsOfAGain(t *testing.T) {
	const seed = 5
	r := rand.New(rand.NewPCG(seed, seed))
	for range 2000 {
		n := 1 + r.IntN(12)
		ratios := make([]float64, n)
		for i := range ratios {
			ratios[i] = math.Exp(0.5 * r.NormFloat64())
		}
		g := gains.Estimate(observations("fusion", ratios...))[0]
		least, most := slices.Min(ratios), slices.Max(ratios)
		if g.Mean < min(least, 1)-1e-12 || g.Mean > max(most, 1)+1e-12 {
			t.Fatalf("%v: the mean %v is not between them and 1", ratios, g.Mean)
		}
		before := 0.0
		for x := 0.01; x < 4; x *= 1.3 {
			p := g.Below(x)
			if p < before || p < 0 || p > 1 {
				t.Fatalf("%v: P(%v) = %v after %v", ratios, x, p, before)
			}
			before = p
		}
		if g.Below(0) != 0 || g.Below(-1) != 0 || g.Below(math.Inf(1)) != 1 {
			t.Fatal("the ends are wrong")
		}
		// Whatever the models are called, and in whatever order they come.
		shuffled := observations("fusion", ratios...)
		r.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if h := gains.Estimate(shuffled)[0]; h.Mean != g.Mean || h.Below(0.7) != g.Below(0.7) {
			t.Fatal("the order of the models matters")
		}
	}
}

// What few models showed is shrunk, and what many showed is believed.
func TestFewModelsShrinkAGain(t *testing.T) {
	before := 1.0
	for n := 1; n <= 64; n *= 2 {
		g := gains.Estimate(observations("int8", slices.Repeat([]float64{0.6}, n)...))[0]
		if g.Mean >= before || g.Mean <= 0.6 {
			t.Errorf("%d models at 0.6: %v, after %v", n, g.Mean, before)
		}
		before = g.Mean
	}
	if before > 0.606 {
		t.Errorf("64 models at 0.6: %v", before)
	}
}

// What is said of another model comes true as often as it says: the 80 % interval
// of the next model, over kinds whose mean and spread are drawn.
func TestTheNextModelIsForeseen(t *testing.T) {
	const seed, rounds = 11, 3000
	r := rand.New(rand.NewPCG(seed, seed))
	for _, n := range []int{2, 5, 20} {
		inside := 0
		for range rounds {
			mean, spread := -0.3+0.2*r.NormFloat64(), 0.1+0.2*r.Float64()
			draw := func() float64 { return math.Exp(mean + spread*r.NormFloat64()) }
			ratios := make([]float64, n)
			for i := range ratios {
				ratios[i] = draw()
			}
			if p := gains.Estimate(observations("int8", ratios...))[0].Below(draw()); p > 0.1 && p < 0.9 {
				inside++
			}
		}
		if share := float64(inside) / rounds; share < 0.74 || share > 0.9 {
			t.Errorf("after %d models %.1f %% of the next ones lie in the 80 %% interval", n, 100*share)
		}
	}
}

func TestOnlyWhatHelpedOthersAndIsNewHereIsAdvised(t *testing.T) {
	var all []gains.Observation
	all = append(all, observations(gains.Precision(engine.INT8), 0.5, 0.6, 0.7)...)
	all = append(all, observations(gains.Precision(engine.FP16), 0.8, 0.9)...)
	all = append(all, observations(gains.Kind(change.Fusion), 0.9)...)             // one model is an anecdote
	all = append(all, observations(gains.Kind(change.Pruning), 1.1, 1.2, 0.99)...) // it made models slower
	all = append(all, observations(gains.Kind(change.Kernel), 0, math.Inf(1), math.NaN())...)
	estimated := gains.Estimate(all)
	if estimated[0].Kind != "int8" || len(estimated) != 4 {
		t.Errorf("%+v", estimated)
	}
	none := func(gains.Kind) bool { return false }
	unknown := func(gains.Kind) (float64, bool) { return 0, false }
	got := gains.Untried(estimated, none, unknown)
	if len(got) != 2 || got[0].Kind != "int8" || got[1].Kind != "fp16" || got[0].Reaches != nil {
		t.Errorf("untried: %+v", got)
	}
	if got := gains.Untried(estimated, func(k gains.Kind) bool { return k == "int8" }, unknown); len(got) != 1 || got[0].Kind != "fp16" {
		t.Errorf("int8 was tried: %+v", got)
	}
	got = gains.Untried(estimated, none, func(gains.Kind) (float64, bool) { return 0.8, true })
	if p := got[0].Reaches; p == nil || *p != estimated[0].Below(0.8) || *p < 0.7 || *p > 0.95 {
		t.Errorf("int8 reaches 0.8 with %v", p)
	}
	if len(gains.Estimate(nil)) != 0 {
		t.Error("nothing was observed")
	}
}

func TestKindsHaveNames(t *testing.T) {
	for kind, want := range map[gains.Kind]string{"int8": "INT8", gains.Kind(change.RuntimeUpgrade): "runtime upgrade"} {
		if got := kind.Title(); got != want {
			t.Errorf("%s: %q", kind, got)
		}
	}
}
