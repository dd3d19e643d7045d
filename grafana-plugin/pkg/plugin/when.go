package plugin

import (
	"context"
	"fmt"
	"strconv"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/plancast/plancast/grafana-plugin/pkg/frames"
	"github.com/plancast/plancast/grafana-plugin/pkg/models"
)

// when answers with the dates, or the further iterations, by which the goal is
// reached with 10, 50 and 90 %, or with the chance of each further iteration.
func (d *Datasource) when(ctx context.Context, a *request) (data.Frames, error) {
	if err := d.load(ctx, a); err != nil {
		return nil, err
	}
	if len(a.history.Series) == 0 {
		return data.Frames{frames.None(data.FrameTypeNumericMulti)}, nil
	}
	all, err := a.forecasts(ctx, a.at)
	if err != nil {
		return nil, err
	}
	var out data.Frames
	for _, x := range all {
		if a.Show == models.ShowDistribution {
			out = append(out, distribution(x))
			continue
		}
		known := map[float64]int{}
		for i, w := range x.forecast.When {
			known[w.Quantile] = i
		}
		for _, q := range []float64{0.1, 0.5, 0.9} {
			var v *float64
			i, ok := known[q]
			switch {
			case ok && a.Show == models.ShowDate:
				v = frames.Number(float64(x.forecast.When[i].Time.UnixMilli()))
			case ok:
				v = frames.Number(x.forecast.When[i].Iterations)
			}
			name := fmt.Sprintf("%s %.0f %%", x.name, 100*q)
			if len(all) == 1 {
				name = fmt.Sprintf("%.0f %%", 100*q)
			}
			config := frames.Neutral(name, "time:YYYY-MM-DD")
			if a.Show == models.ShowIterations {
				decimals := uint16(1)
				config = frames.Neutral(name, "none")
				config.Decimals = &decimals
			}
			config.NoValue = "not foreseeable"
			out = append(out, frames.Numeric(string(a.Show), frames.With(x.labels, "percentile", strconv.Itoa(int(100*q))), v, config))
		}
	}
	a.attachNotes(out[0], all)
	return out, nil
}

// distribution is the chance that the goal is reached with exactly the next,
// the second next, ... iteration; a histogram of one bucket an iteration.
func distribution(x named) *data.Frame {
	n := len(x.forecast.Within)
	number := make([]string, n)
	low, high, chance := make([]float64, n), make([]float64, n), make([]float64, n)
	before := 0.0
	for i, p := range x.forecast.Within {
		number[i] = strconv.Itoa(i + 1)
		// Grafana draws buckets at multiples of their width only: a bar begins at its iteration.
		low[i], high[i], chance[i] = float64(i+1), float64(i+2), p.Value-before
		before = p.Value
	}
	c := data.NewField("chance", x.labels, chance)
	c.Config = &data.FieldConfig{DisplayNameFromDS: x.name, Unit: "percentunit"}
	f := data.NewFrame("distribution", data.NewField("iteration", nil, number), data.NewField("xMin", nil, low), data.NewField("xMax", nil, high), c)
	f.Meta = &data.FrameMeta{Type: "histogram"}
	return f
}
