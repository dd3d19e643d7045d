package bench

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
)

// hardware runs requests side by side, so that concurrency pays, and keeps count of
// the seconds that each engine was timed with one request in flight and with more.
type hardware struct {
	*fake.Backend
	engines []*lane // in the order in which they were loaded
}

type lane struct {
	engine.Engine
	single, side float64
	turns        int // with one request in flight, warm-ups included
}

func (h *hardware) Load(ctx context.Context, p engine.Plan, o engine.LoadOptions) (engine.Engine, error) {
	e, err := h.Backend.Load(ctx, p, o)
	if err != nil {
		return nil, err
	}
	h.engines = append(h.engines, &lane{Engine: e})
	return h.engines[len(h.engines)-1], nil
}

func (l *lane) Time(ctx context.Context, inputs []engine.Tensor, o engine.TimeOptions) (engine.Window, error) {
	lanes := max(1, o.Concurrency)
	o.Duration *= time.Duration(lanes)
	o.MaxDuration *= time.Duration(lanes)
	w, err := l.Engine.Time(ctx, inputs, o)
	w.Elapsed /= float64(lanes)
	for i := range w.Latencies {
		w.Latencies[i] /= float64(lanes)
	}
	if lanes == 1 {
		l.turns++
		l.single += w.Elapsed
	} else {
		l.side += w.Elapsed
	}
	return w, err
}

// The throughput of the best point is compared in turns as the latency is, and all
// that is timed for a comparison takes no longer than the latency alone.
func TestTheThroughputIsComparedInTurns(t *testing.T) {
	for name, c := range map[string]struct {
		own, partner fake.Script
		concurrency  []int
		ratio        float64
		verdict      Verdict
	}{
		"a third faster":         {fake.Script{Latency: ms(0.2)[0], Jitter: 0.02}, fake.Script{Latency: ms(0.3)[0], Jitter: 0.02}, []int{1, 4}, 1.5, Changed},
		"a third slower":         {fake.Script{Latency: ms(0.3)[0], Jitter: 0.02}, fake.Script{Latency: ms(0.2)[0], Jitter: 0.02}, []int{1, 4}, 2. / 3, Changed},
		"the same":               {fake.Script{Latency: ms(2)[0], Jitter: 0.02}, fake.Script{Latency: ms(2)[0], Jitter: 0.02}, []int{1, 2}, 1, Equivalent},
		"queries of 20 ms":       {fake.Script{Latency: ms(18)[0], Jitter: 0.02}, fake.Script{Latency: ms(20)[0], Jitter: 0.02}, []int{1, 2}, 1 / 0.9, Changed},
		"best at the latency's":  {fake.Script{Latency: ms(2)[0], Jitter: 0.02}, fake.Script{Latency: ms(3)[0], Jitter: 0.02}, nil, 1.5, Changed},
		"an open comparison":     {fake.Script{Latency: ms(2)[0], Jitter: 0.3}, fake.Script{Latency: ms(2.04)[0], Jitter: 0.3}, []int{1, 2}, 1.02, ""},
		"latencies that scatter": {fake.Script{Latency: ms(1)[0], Jitter: 0.5}, fake.Script{Latency: ms(1)[0], Jitter: 0.5}, []int{1, 8}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := &hardware{Backend: fake.New()}
			j := job(t, c.own)
			j.Options.Concurrency = c.concurrency
			j.Partner = before(t, c.partner)
			m, err := Measure(context.Background(), h, j, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := m.Comparison.Of("throughput")
			if !ok || math.Abs(got.Ratio/c.ratio-1) > 0.05 || got.Low > got.Ratio || got.High < got.Ratio || got.Verdict != c.verdict && (c.verdict != "" || got.Verdict == Changed) {
				t.Errorf("%+v, %t, warnings %q", got, ok, m.Warnings)
			}
			own, partner := h.engines[0], h.engines[1]
			alone := j.Options.WarmUp.Seconds() // and the latency's windows
			for range m.Windows {
				alone += max(j.Options.MinWindow.Seconds(), m.Latency.Mean*float64(j.Options.MinQueries))
			}
			sweep := float64(max(len(c.concurrency)-1, 0)) * j.Options.SweepWindow.Seconds()
			const slack = 1.03 // turns end with a whole query
			if own.single > slack*alone+0.1 {
				t.Errorf("the candidate alone was timed for %.2f s, of %.2f s", own.single, alone)
			}
			warmUps := 2 * j.Options.WarmUp.Seconds()
			// What the candidate's own windows would take with the partner's queries.
			slower := time.Duration(c.partner.Latency).Seconds() / time.Duration(c.own.Latency).Seconds()
			if cost, most := partner.single/max(slower, 1)+partner.side+own.side-sweep, own.single+warmUps; cost > slack*most+0.1 {
				t.Errorf("the comparison took %.2f s (%.2f, %.2f and %.2f of the candidate), the latency %.2f s", cost, partner.single, partner.side, own.side-sweep, most)
			}
		})
	}
}

// Other work during the contest costs its verdict alone.
func TestADisturbedContestIsInconclusive(t *testing.T) {
	h := &scriptedHost{loads: []Load{load(nil), load(nil), load(nil), load(func(l *Load) { l.Others = 2 })}} // the sweep, two windows, the contest
	j := job(t, fake.Script{Latency: ms(0.2)[0], Jitter: 0.02})
	j.Partner, j.Guard.Patience = before(t, fake.Script{Latency: ms(0.3)[0], Jitter: 0.02}), 0
	m, err := Measure(context.Background(), &hardware{Backend: fake.New()}, j, nil, On(h))
	if err != nil {
		t.Fatal(err)
	}
	p99, _ := m.Comparison.Of("p99")
	x, ok := m.Comparison.Of("throughput")
	if !ok || x.Verdict != Inconclusive || p99.Verdict != Changed || m.Disturbed() || !m.Stable {
		t.Errorf("%+v, disturbed %t, stable %t", m.Comparison, m.Disturbed(), m.Stable)
	}
}
