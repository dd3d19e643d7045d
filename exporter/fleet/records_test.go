package fleet

import (
	"math"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb/iterations"
)

func TestAStoreSaysHowAWorkloadFared(t *testing.T) {
	var quantities []terms.Quantity
	for _, name := range []string{"p99", "p99@chat", "rate@chat", "p99@quiet", "p99@gone"} {
		q, err := terms.QuantityByName(name)
		if err != nil {
			t.Fatal(err)
		}
		quantities = append(quantities, q)
	}
	m := measurement(&iterations.Step{
		Values: []float64{0.01, math.Inf(1), 164, 0.02, math.NaN()}, Disturbed: []bool{false, true, true, false, true},
	}, quantities, engine.FP32)
	chat, quiet := m.Workload("chat"), m.Workload("quiet")
	if v, ok := chat.Figure("p99"); !ok || !math.IsInf(v, 1) || chat.Answered != 164 || !chat.Disturbed() {
		t.Errorf("saturated at 164/s while other work disturbed it: P99 %v (%v), %+v", v, ok, chat)
	}
	if v, ok := quiet.Figure("p99"); !ok || v != 0.02 || quiet.Disturbed() || !quiet.Stable {
		t.Errorf("a workload that was served: P99 %v (%v), %+v", v, ok, quiet)
	}
	if m.Workload("gone") != nil || m.Disturbed() || !m.Stable {
		t.Errorf("what disturbed a workload disturbed all: %+v", m)
	}
}
