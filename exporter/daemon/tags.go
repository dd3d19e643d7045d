package daemon

import (
	"context"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/units"
)

// writeResults gives the newest version of each model its results as tags, once it is
// measured at every precision. What is not written now is with the next pass.
func (d *Daemon) writeResults(ctx context.Context, repo *candidate.Repository) {
	for _, m := range d.state().Models {
		if m.Current == nil || !m.Current.Complete(m.Precisions) {
			continue
		}
		if err := repo.Tag(ctx, m.Name, m.Current.Version, tags(m)); err != nil {
			d.log.Warn("Results are not written", "err", err)
			return // the registry is in trouble, not the model
		}
	}
}

// tags are the results of a model's newest candidate: the figures of its fastest engine,
// and the answers of its targets.
func tags(m *standing.Model) map[string]string {
	out := map[string]string{}
	for _, v := range m.Verdicts {
		if v.Threshold.Kind == standing.KindTarget {
			out["target."+v.Threshold.Name] = string(v.Outcome)
		}
	}
	e, ok := fastest(*m.Current)
	if !ok {
		return out
	}
	out["precision"] = string(e.Precision)
	for _, name := range []string{"p99", "throughput", "accuracy_deviation"} {
		q, err := history.QuantityByName(name)
		if v, known := e.Value(name); err == nil && known {
			out[name] = units.Format(v, q.Unit)
		}
	}
	if r, known := m.Record(e); known {
		out["device"] = r.Device
	}
	return out
}

// fastest is the measured entry with the lowest P99.
func fastest(t history.Trial) (best history.Entry, ok bool) {
	for e := range t.Entries() {
		v, known := e.Value("p99")
		if !known {
			continue
		}
		if b, _ := best.Value("p99"); !ok || v < b {
			best, ok = e, true
		}
	}
	return best, ok
}
