package bench

import (
	"context"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
)

// visit plays rounds on a machine that both engines share: turn by turn, the
// candidate being slower by a factor.
func visit(r *rand.Rand, m machine, slower, drift float64, rounds, perTurn int) (own, other [][]float64) {
	const turns = 20
	all := m(r, 2*rounds*turns*perTurn)
	at := 0
	turn := func(factor float64) []float64 {
		v := slices.Clone(all[at : at+perTurn])
		at += perTurn
		for i := range v {
			v[i] *= factor * (1 + drift*float64(at)/float64(len(all)))
		}
		return v
	}
	for i := range rounds * turns {
		if i%2 == 0 {
			own = append(own, turn(slower))
			other = append(other, turn(1))
		} else {
			b := turn(1)
			own = append(own, turn(slower))
			other = append(other, b)
		}
	}
	return own, other
}

func TestAPairSeesWhatIsThereAndNothingElse(t *testing.T) {
	guard := DefaultGuard()
	p50 := func(v []float64) float64 { return NearestRank(slices.Sorted(slices.Values(v)), 0.5) }
	p99 := func(v []float64) float64 { return NearestRank(slices.Sorted(slices.Values(v)), 0.99) }
	const runs = 60
	for name, c := range map[string]struct {
		machine machine
		drift   float64
		rounds  int // a clear change is not waited for longer than one
	}{
		"an idle machine":               {drifting(0.2), 0, 2},
		"a machine that grows slower":   {drifting(0.2), 0.5, 2},
		"bursts of other work":          {switching(0.0005, 0.01, 1.5, 0.2), 0, 2},
		"two speeds within seconds":     {switching(0.0005, 0.0005, 1.4, 0), 0, 2},
		"an idle machine, one round":    {drifting(0.2), 0, 1},
		"bursts, one round":             {switching(0.0005, 0.01, 1.5, 0.2), 0, 1},
		"two speeds, one round":         {switching(0.0005, 0.0005, 1.4, 0), 0, 1},
		"a growing slowness, one round": {drifting(0.2), 0.5, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, f := range []struct {
				what   string
				figure func([]float64) float64
				least  int
			}{{"P50", p50, 4}, {"P99", p99, 200}} {
				what, figure, least := f.what, f.figure, f.least
				r := rand.New(rand.NewPCG(5, 6))
				claims, found, wrong, held := 0, 0, 0, 0
				for range runs {
					own, other := visit(r, c.machine, 1, c.drift, c.rounds, 400)
					_, low, high, ok := Ratio(own, other, figure, least)
					if !ok {
						t.Fatal("no ratio")
					}
					if guard.verdict(low, high) == Changed {
						claims++
					}
					if low <= 1 && 1 <= high {
						held++
					}
					own, other = visit(r, c.machine, 1.1, c.drift, c.rounds, 400)
					_, low, high, _ = Ratio(own, other, figure, least)
					switch v := guard.verdict(low, high); {
					case v == Changed && low > 1:
						found++
					case v == Changed:
						wrong++
					}
				}
				if claims > runs/20 {
					t.Errorf("%s of the same engine: %d of %d are called changed", what, claims, runs)
				}
				if held < runs*80/100 {
					t.Errorf("%s: %d of %d intervals hold the ratio", what, held, runs)
				}
				if wrong > runs/50 {
					t.Errorf("%s of an engine 10 %% slower: %d are called faster", what, wrong)
				}
				if (what == "P50" || !strings.HasPrefix(name, "bursts")) && found < runs*9/10 {
					t.Errorf("%s of an engine 10 %% slower: found %d of %d times", what, found, runs)
				}
			}
		})
	}
}

func TestVerdicts(t *testing.T) {
	g := Guard{Margin: 0.02}
	for _, c := range []struct {
		low, high float64
		want      Verdict
	}{
		{0.60, 0.64, Changed}, {1.021, 1.3, Changed},
		{0.99, 1.01, Equivalent}, {1, 1, Equivalent}, {1.005, 1.015, Equivalent},
		{0.97, 1.01, Inconclusive}, {1.01, 1.05, Inconclusive}, {0.5, 2, Inconclusive},
	} {
		if got := g.verdict(c.low, c.high); got != c.want {
			t.Errorf("%v to %v: %s, want %s", c.low, c.high, got, c.want)
		}
	}
}

// The tables of the signed-rank test: Hollander, Wolfe and Chicken, A.4.
func TestSignedRank(t *testing.T) {
	for n, want := range map[int]int{5: 0, 6: 2, 8: 5, 10: 10, 20: 60} {
		if got := signedRank(n); got != want {
			t.Errorf("n = %d: %d, want %d", n, got, want)
		}
	}
}

func TestTooFewQueriesForARatio(t *testing.T) {
	mean := func(v []float64) float64 { return v[0] }
	one := [][]float64{{1}, {1}, {1}}
	if _, _, _, ok := Ratio(one, one, mean, 1); ok {
		t.Error("three sections show a spread")
	}
	eight := slices.Repeat([][]float64{{1, 1}}, 8)
	if _, _, _, ok := Ratio(eight, eight, mean, 3); ok {
		t.Error("eight sections of 2 do not make five of 3")
	}
	ten := slices.Repeat([][]float64{{1, 1}}, 10)
	if _, _, _, ok := Ratio(ten, ten, mean, 4); !ok {
		t.Error("ten sections of 2 make five of 4")
	}
}

// before is a partner that follows a script.
func before(t *testing.T, s fake.Script) *Partner {
	t.Helper()
	path := filepath.Join(t.TempDir(), "before.json")
	if err := fake.Write(path, s); err != nil {
		t.Fatal(err)
	}
	return &Partner{Version: "1", Digest: "d1", ModelPath: path}
}

func TestACandidateIsTimedInTurnsWithTheOneBefore(t *testing.T) {
	for name, c := range map[string]struct {
		own, partner fake.Script
		ratio        float64
		verdict      Verdict
		windows      int
	}{
		"a third faster":    {fake.Script{Latency: ms(2)[0], Jitter: 0.01}, fake.Script{Latency: ms(3)[0], Jitter: 0.01}, 2. / 3, Changed, 2},
		"the same":          {fake.Script{Latency: ms(2)[0], Jitter: 0.01}, fake.Script{Latency: ms(2)[0], Jitter: 0.01}, 1, Equivalent, 2},
		"3 % slower":        {fake.Script{Latency: ms(2.06)[0], Jitter: 0.005}, fake.Script{Latency: ms(2)[0], Jitter: 0.004}, 1.03, Changed, 2},
		"too small to tell": {fake.Script{Latency: ms(2.04)[0], Jitter: 0.02}, fake.Script{Latency: ms(2)[0], Jitter: 0.02}, 1.02, Inconclusive, 2},
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t, c.own)
			j.Partner = before(t, c.partner)
			m, err := Measure(context.Background(), fake.New(), j, nil)
			if err != nil {
				t.Fatal(err)
			}
			change, ok := m.Comparison.Of("p99")
			if !ok || math.Abs(change.Ratio/c.ratio-1) > 0.02 || change.Low > change.Ratio || change.High < change.Ratio || change.Verdict != c.verdict {
				t.Errorf("%+v, warnings %q", m.Comparison, m.Warnings)
			}
			if m.Comparison.Version != "1" || m.Comparison.Digest != "d1" || m.Comparison.Windows != c.windows || len(m.Comparison.Changes) != 6 {
				t.Errorf("%+v", m.Comparison)
			}
			if math.Abs(m.Latency.Mean/time.Duration(c.own.Latency).Seconds()-1) > 0.01 {
				t.Errorf("the partner's queries are among the candidate's: mean %v", m.Latency.Mean)
			}
		})
	}
}

// A comparison that a few more windows can decide gets them, within the bound.
func TestMoreWindowsDecideWhatTwoCannot(t *testing.T) {
	j := job(t, fake.Script{Latency: ms(2)[0], Jitter: 0.2})
	j.Partner = before(t, fake.Script{Latency: ms(2.01)[0], Jitter: 0.197})
	j.Options.MaxWindows = 40
	m, err := Measure(context.Background(), fake.New(), j, nil)
	if err != nil {
		t.Fatal(err)
	}
	change, _ := m.Comparison.Of("p99")
	if m.Windows <= 2 || m.Windows > 40 || change.Verdict == Inconclusive {
		t.Errorf("%d windows, %+v", m.Windows, change)
	}
}

// Whatever a comparison shows, it costs the latency stage once more at most: the partner
// has no window without one of the candidate's, no turn more than the candidate in any of
// them, and the windows of both stay within the bound of the latency.
func TestAPairCostsTheLatencyStageOnceMoreAtMost(t *testing.T) {
	script := func(latency, jitter float64) fake.Script { return fake.Script{Latency: ms(latency)[0], Jitter: jitter} }
	for name, c := range map[string]struct {
		own, partner fake.Script
		verdict      Verdict
		more         bool // windows than the latency takes alone
	}{
		"a clear change":                      {script(2, 0.01), script(3, 0.01), Changed, false},
		"none":                                {script(2, 0.01), script(2, 0.01), Equivalent, false},
		"open, and further windows decide it": {script(2, 0.06), script(2.01, 0.06), "", true},
		"open to the last":                    {script(2, 0.3), script(2.04, 0.3), Inconclusive, false},
		"a latency that does not settle":      {fake.Script{Latencies: ms(2, 3, 4, 2.5, 5, 3.5)}, script(3, 0.3), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			measure := func(p *Partner) (Measurement, *hardware) {
				h := &hardware{Backend: fake.New()}
				j := job(t, c.own)
				j.Options.Concurrency, j.Partner = nil, p
				m, err := Measure(context.Background(), h, j, nil)
				if err != nil {
					t.Fatal(err)
				}
				return m, h
			}
			most := DefaultOptions().MaxWindows
			alone, _ := measure(nil)
			m, h := measure(before(t, c.partner))
			own, partner := h.engines[0], h.engines[1]
			p99, _ := m.Comparison.Of("p99")
			if c.verdict != "" && p99.Verdict != c.verdict {
				t.Errorf("%+v", p99)
			}
			if m.Comparison.Windows > m.Windows || m.Windows > most || !c.more && m.Windows > alone.Windows {
				t.Errorf("%d windows, %d of them compared; %d without a partner, at most %d", m.Windows, m.Comparison.Windows, alone.Windows, most)
			}
			if partner.turns > own.turns { // each has one warm-up
				t.Errorf("the partner had %d turns, the candidate %d", partner.turns, own.turns)
			}
		})
	}
}

func TestWhatHindersAComparisonCostsTheComparisonAlone(t *testing.T) {
	other := []engine.TensorInfo{{Name: "z", DType: engine.Float32, Dims: []engine.Dim{{Size: 4}}}}
	for name, c := range map[string]struct {
		partner *Partner
		says    string
	}{
		"its engine does not load":   {before(t, fake.Script{Fault: fake.OutOfMemory, At: "load"}), "as the script says"},
		"it does not build":          {before(t, fake.Script{Fault: fake.BuildFailed}), "as the script says"},
		"it does not run":            {before(t, fake.Script{Fault: fake.RunFailed, At: "time"}), "as the script says"},
		"it has other inputs":        {before(t, fake.Script{Inputs: other}), "its inputs are"},
		"the repository has it not":  {&Partner{Version: "1"}, "the repository no longer holds the candidate"},
		"its kept engine is damaged": {&Partner{Version: "1", Plan: &engine.Plan{Path: "/dev/null"}}, "unexpected end of JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t, fake.Script{Latency: ms(2)[0]})
			j.Partner = c.partner
			m, err := Measure(context.Background(), fake.New(), j, nil)
			if err != nil {
				t.Fatal(err)
			}
			if m.Comparison != nil || !m.Stable || len(m.Warnings) != 1 || !strings.HasPrefix(m.Warnings[0], "not measured in turns with version 1: ") || !strings.Contains(m.Warnings[0], c.says) {
				t.Errorf("%+v, warnings %q", m.Comparison, m.Warnings)
			}
		})
	}
}

func TestTheKeptEngineIsUsed(t *testing.T) {
	kept := filepath.Join(t.TempDir(), "kept.plan")
	if err := fake.Write(kept, fake.Script{Latency: ms(4)[0]}); err != nil {
		t.Fatal(err)
	}
	j := job(t, fake.Script{Latency: ms(2)[0]})
	j.Partner = before(t, fake.Script{Fault: fake.BuildFailed})
	j.Partner.Plan = &engine.Plan{Path: kept}
	m, err := Measure(context.Background(), fake.New(), j, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := m.Comparison.Of("mean"); !ok || math.Abs(c.Ratio-0.5) > 1e-9 {
		t.Errorf("%+v, warnings %q", m.Comparison, m.Warnings)
	}
}

// A second build at first sight shows what building alone changes; it is carried
// on, and a later change of that size says so.
func TestARebuildIsADraw(t *testing.T) {
	j := job(t, fake.Script{Latency: ms(2)[0], Jitter: 0.01, BuildTime: fake.Duration(time.Second)})
	j.Partner = &Partner{Version: "1", Digest: "d", Rebuild: true, ModelPath: j.ModelPath}
	m, err := Measure(context.Background(), fake.New(), j, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := m.Rebuild.Of("p50"); !ok || m.Comparison != nil || math.Abs(c.Ratio-1) > 0.01 {
		t.Fatalf("rebuild %+v, comparison %+v", m.Rebuild, m.Comparison)
	}

	j.Guard.Rebuild = time.Millisecond
	if m, err = Measure(context.Background(), fake.New(), j, nil); err != nil || m.Rebuild != nil {
		t.Errorf("a build of a second within a bound of 1 ms: %+v, %v", m.Rebuild, err)
	}

	draw := &Comparison{Version: "1", Changes: []Change{{Quantity: "p50", Ratio: 1.05, Low: 1.04, High: 1.06}, {Quantity: "p99", Ratio: 1, Low: 0.999, High: 1.001}}}
	j = job(t, fake.Script{Latency: ms(1.9)[0], Jitter: 0.005})
	j.Partner, j.Rebuild = before(t, fake.Script{Latency: ms(2)[0], Jitter: 0.005}), draw
	if m, err = Measure(context.Background(), fake.New(), j, nil); err != nil {
		t.Fatal(err)
	}
	p50, _ := m.Comparison.Of("p50")
	p99, _ := m.Comparison.Of("p99")
	if p50.Verdict != Changed || !p50.WithinRebuild || p99.Verdict != Changed || p99.WithinRebuild || m.Rebuild != draw {
		t.Errorf("P50 %+v, P99 %+v, carried %+v", p50, p99, m.Rebuild)
	}
}
