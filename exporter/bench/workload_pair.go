package bench

import (
	"context"
	"fmt"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/workload"
)

// pairTurns is how many turns each engine takes under a workload: few, since each makes
// its inputs and outputs ready again, and enough for an interval.
const pairTurns = 6

// contest serves the workload in turns with the engine of the candidate before, on the
// same requests. Together the turns have as many requests as the windows had, so that
// the workload takes at most twice as long. Whatever goes wrong costs the comparison
// alone.
func (t *traffic) contest(ctx context.Context) error {
	each := t.requests / (2 * pairTurns)
	if t.partner == nil || t.partner.Rebuild || t.result.Latency == nil || each == 0 {
		return nil
	}
	t.progress(engine.Progress{Stage: "workload", Message: fmt.Sprintf("%s: in turns with %s", t.w.Name, t.partner.name())})
	x, err := t.fit(ctx, "workload", t.job.Guard.Patience, func() (x round, elapsed float64, err error) {
		x.observed.device, err = t.watching(func() (err error) {
			elapsed, err = t.alternately(ctx, each, &x)
			return err
		})
		return x, elapsed, err
	})
	if err != nil && ctx.Err() == nil {
		t.warn("not measured in turns with %s: %v", t.partner.name(), err)
		return nil
	}
	if err == nil {
		t.result.Comparison = t.comparison([]round{x})
		t.weigh(t.result.Comparison)
	}
	return err
}

// alternately times the turns of both engines, of each requests, and adds them to a
// round. elapsed is in seconds.
func (t *traffic) alternately(ctx context.Context, each int, x *round) (elapsed float64, err error) {
	for i := range pairTurns {
		requests := t.sequence.Draw(each, t.w.Rate)
		sides := []struct {
			engine engine.Engine
			turns  *[]engine.Window
		}{{t.engine, &x.own}, {t.partner.engine, &x.partner}}
		if i%2 == 1 {
			sides[0], sides[1] = sides[1], sides[0]
		}
		for _, side := range sides {
			served, err := t.serve(ctx, side.engine, requests, t.job.Options.MaxWindow, t.w.Open())
			if err != nil {
				return elapsed, err
			}
			*side.turns = append(*side.turns, engine.Window{Latencies: served.Latencies, Elapsed: served.Elapsed})
			x.observed.add(served)
			elapsed += served.Elapsed
		}
	}
	return elapsed, nil
}

// add counts the queries of a window.
func (o *observation) add(s workload.Served) {
	o.queries += len(s.Latencies)
	for _, v := range s.Services {
		o.spent += v
	}
}

// ChangeOf is how a quantity of the workload changed from the candidate before; false
// where that was not measured in turns.
func (w *WorkloadResult) ChangeOf(quantity string) (Change, bool) {
	if w == nil {
		return Change{}, false
	}
	if phases := workload.PhasesOf[quantity]; len(phases) == 1 { // ttft and tpot are means
		quantity = "mean"
	}
	return w.Comparison.Of(quantity)
}
