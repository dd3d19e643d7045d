package plugin

import (
	"context"
	"fmt"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/grafana-plugin/pkg/frames"
)

// drivers answers with the probability of every criterion of every model, what
// holds the milestone back most first.
func (d *Datasource) drivers(ctx context.Context, a *request) (data.Frames, error) {
	if err := d.load(ctx, a); err != nil {
		return nil, err
	}
	if len(a.history.Series) == 0 {
		return data.Frames{frames.None(data.FrameTypeNumericMulti)}, nil
	}
	if err := a.gate.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer a.gate.Release(1)
	m := a.history.Milestone(a.Query.Query, noTime)
	// A part is found again by its position: two may have the same model.
	type key struct{ model, criterion string }
	index := map[key][]int{}
	for i, s := range m.Series {
		k := key{s.Model, s.Criterion.String()}
		index[k] = append(index[k], i)
	}
	f, err := forecast.Joint(m, a.at, forecast.Options{})
	if err != nil {
		return nil, err
	}
	var out data.Frames
	for _, p := range f.Parts {
		k := key{p.Model, p.Criterion.String()}
		s := a.history.Series[index[k][0]]
		index[k] = index[k][1:]
		labels := frames.Labels(s.Labels)
		labels["criterion"] = p.Criterion.String()
		var v *float64
		switch {
		case p.Forecast.Met:
			v = frames.Number(1)
		case p.Forecast.Probability != nil:
			v = frames.Number(p.Forecast.Probability.Value)
		}
		name := p.Model + ": " + p.Criterion.String()
		if a.Legend != "" && a.Legend != "__auto" {
			name = frames.Legend(a.Legend, labels)
		}
		out = append(out, frames.Numeric("probability", labels, v, frames.Percent(name)))
	}
	explain(out[0], "", &f, a.History)
	if f.Met {
		return out, nil
	}
	frames.Info(out[0], fmt.Sprintf("%d of %d models are ready", f.ModelsReady, f.ModelsTotal))
	return out, nil
}
