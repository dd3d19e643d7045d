package history_test

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/workload"
	"github.com/plancast/plancast/terms"
)

// loaded is a record with workloads, written and read as an entry.
func loaded(t *testing.T, edits ...func(*history.Record)) history.Entry {
	t.Helper()
	b := reporttest.NewBuilder(reporttest.Now)
	b.Add("bert", "1", 1, engine.FP32, reporttest.Environment("1.32.0"), func(r *history.Record) {
		reporttest.Measured(0.05)(r)
		for _, edit := range edits {
			edit(r)
		}
	})
	store, err := history.Open(filepath.Join(t.TempDir(), "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	r := b.Records[0]
	r.ID = 0
	if _, err := store.Append(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	for e, err := range store.Entries(context.Background(), history.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	t.Fatal("no entry")
	return history.Entry{}
}

func TestAnEntryHoldsTheFiguresOfItsWorkloads(t *testing.T) {
	e := loaded(t, reporttest.Served, reporttest.Rejected)
	for name, want := range map[string]float64{"p50@chat": 0.1, "p99@chat": 0.125, "rate@chat": 20.2, "goodput@chat": 19.1, "max_rate@chat": 14.5, "p99": 0.05} {
		if v, ok := e.Value(name); !ok || math.Abs(v-want) > 1e-9 {
			t.Errorf("%s is %v, %t; want %v", name, v, ok, want)
		}
	}
	for _, name := range []string{"p99@batch", "rate@batch", "p99@other", "p98@chat", "@chat", "p99@"} {
		if v, ok := e.Value(name); ok && name != "p99@" {
			t.Errorf("%s is %v", name, v)
		}
	}
	if e.DisturbedFor("p99@chat") || e.DisturbedFor("p99") {
		t.Error("it is disturbed")
	}
	if plain := loaded(t); plain.Figures != "" {
		t.Errorf("an entry without workloads has the figures %q", plain.Figures)
	}
}

func TestAPhaseHasFiguresOfItsOwn(t *testing.T) {
	e := loaded(t, reporttest.Served, reporttest.Decoded)
	mean, ok := e.Value("mean@decode")
	if !ok || mean <= 0 {
		t.Fatalf("mean %v, %t", mean, ok)
	}
	if v, ok := e.Value("tpot@decode"); !ok || v != mean {
		t.Errorf("time per output token %v, %t; the mean is %v", v, ok, mean)
	}
	if v, ok := e.Value("tokens@decode"); !ok || math.Abs(v*mean-1) > 1e-9 {
		t.Errorf("%v tokens a second, %t", v, ok)
	}
	for _, name := range []string{"ttft@decode", "tpot@chat", "ttft@chat", "tokens@chat"} {
		if v, ok := e.Value(name); ok {
			t.Errorf("%s is %v", name, v)
		}
	}
}

func TestASaturatedWorkloadHasALatencyWithoutEnd(t *testing.T) {
	e := loaded(t, reporttest.Saturated)
	if v, ok := e.Value("p99@chat"); !ok || !math.IsInf(v, 1) {
		t.Errorf("P99 is %v, %t", v, ok)
	}
	if v, ok := e.Value("goodput@chat"); !ok || v != 0 {
		t.Errorf("goodput is %v, %t", v, ok)
	}
}

func TestAWorkloadIsDisturbedOnItsOwn(t *testing.T) {
	busy := func(r *history.Record) {
		r.Measurement.Workloads[0].Disturbance = &bench.Disturbance{Suffered: 1}
	}
	if e := loaded(t, reporttest.Served, busy); !e.DisturbedFor("p99@chat") || e.DisturbedFor("p99") || e.Disturbed {
		t.Error("a disturbed workload and a quiet engine are not told apart")
	}
	if e := loaded(t, reporttest.Served, reporttest.Disturbed); e.DisturbedFor("p99@chat") || !e.DisturbedFor("p99") {
		t.Error("a quiet workload and a disturbed engine are not told apart")
	}
}

func TestTheQuantitiesOfRecordsIncludeTheirWorkloads(t *testing.T) {
	b := reporttest.NewBuilder(reporttest.Now)
	b.Add("bert", "1", 1, engine.FP32, reporttest.Environment("1.32.0"), func(r *history.Record) {
		reporttest.Measured(0.05)(r)
		reporttest.Decoded(r)
		reporttest.Served(r)
	})
	got := history.QuantitiesOf(b.Records[0], b.Records[0])
	// A decode has no time to first token, and chat none of a phase's figures.
	if want := len(history.Quantities) + 2*len(terms.WorkloadQuantities()) - 1 - len(workload.PhasesOf); len(got) != want {
		t.Fatalf("%d quantities, want %d", len(got), want)
	}
	last := got[len(got)-1]
	if v, ok := last.Of(b.Records[0]); last.Name != "max_rate@chat" || last.Title != "highest rate of chat" || !ok || v != 14.5 {
		t.Errorf("%s (%s) is %v, %t", last.Name, last.Title, v, ok)
	}
}

// Figures come out of a file that may be damaged.
func FuzzFigures(f *testing.F) {
	f.Add("", "p99@chat")
	f.Add("\x08p99@chat12345678", "p99@chat")
	f.Add("\xffp99@chat", "p99@chat")
	f.Fuzz(func(t *testing.T, figures, name string) {
		_, _ = history.Figures(figures).Of(name)
	})
}
