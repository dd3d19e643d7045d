package plugin

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/plancast/plancast/grafana-plugin/pkg/frames"
)

// trendWork bounds the forecasts that one trend computes: points times series.
const trendWork = 20_000

// maxTrend bounds the points of a trend, whatever the panel's width.
const maxTrend = 500

// trend answers with the probability as it was known at each past moment: only
// what the database held by then counts.
func (d *Datasource) trend(ctx context.Context, a *request) (data.Frames, error) {
	if err := d.load(ctx, a); err != nil {
		return nil, err
	}
	n := len(a.history.Series)
	if n == 0 {
		return data.Frames{frames.None(data.FrameTypeTimeSeriesMulti)}, nil
	}
	moments := a.moments(n)
	type line struct {
		named
		probability, lower, upper []*float64
	}
	var lines []line
	if a.Joint {
		lines = make([]line, 1)
	} else {
		lines = make([]line, n)
		for i, s := range a.names(a.history.Series) {
			lines[i].named = s
		}
	}
	for i := range lines {
		lines[i].probability = make([]*float64, len(moments))
		lines[i].lower, lines[i].upper = make([]*float64, len(moments)), make([]*float64, len(moments))
	}
	// Without a date, a probability changes only when something new is known.
	changed := a.news()
	same := func(i int) bool {
		if i == 0 || !a.Deadline.IsZero() {
			return false
		}
		k, _ := slices.BinarySearchFunc(changed, moments[i-1].Add(1), time.Time.Compare)
		return k == len(changed) || changed[k].After(moments[i])
	}
	var last []named
	for i, t := range moments {
		if !same(i) || i == len(moments)-1 {
			all, err := a.forecasts(ctx, t)
			if err != nil {
				return nil, err
			}
			last = all
		}
		for k := range lines {
			lines[k].named = last[k]
			if p := last[k].forecast.Probability; p != nil {
				lines[k].probability[i] = frames.Number(p.Value)
				lines[k].lower[i], lines[k].upper[i] = frames.Number(p.Lower), frames.Number(p.Upper)
			}
		}
	}
	var out data.Frames
	for _, l := range lines {
		out = append(out, frames.Series("probability", l.labels, moments, l.probability, frames.Percent(l.name)))
		if a.Interval {
			low, high := frames.Percent(l.name+" lower"), frames.Percent(l.name+" upper")
			for _, c := range []*data.FieldConfig{low, high} {
				c.Custom = map[string]any{"lineWidth": 0, "hideFrom": map[string]bool{"legend": true, "tooltip": false, "viz": false}}
			}
			high.Custom["fillBelowTo"] = l.name + " lower"
			high.Custom["fillOpacity"] = 12
			out = append(out,
				frames.Series("probability", frames.With(l.labels, "bound", "lower"), moments, l.lower, low),
				frames.Series("probability", frames.With(l.labels, "bound", "upper"), moments, l.upper, high))
		}
	}
	a.attachNotes(out[0], last)
	frames.Info(out[0], fmt.Sprintf("each of the %d points uses only what was known at that time", len(moments)))
	return out, nil
}

// moments are the points of a trend: equally far apart, the last one now.
func (a *request) moments(series int) []time.Time {
	n := maxTrend
	if a.points > 0 {
		n = min(n, a.points)
	}
	n = max(2, min(n, trendWork/max(series, 1)))
	from := a.from
	if !from.Before(a.at) {
		return []time.Time{a.at}
	}
	step := a.at.Sub(from) / time.Duration(n-1)
	step = max(step, a.interval, time.Second).Round(time.Second)
	var out []time.Time
	for t := a.at; !t.Before(from) && len(out) < n; t = t.Add(-step) {
		out = append(out, t)
	}
	slices.Reverse(out)
	return out
}

// news are the moments at which something new became known, in order.
func (a *request) news() []time.Time {
	var out []time.Time
	for _, s := range a.history.Series {
		for _, it := range s.Iterations {
			t := it.Known
			if it.Time.After(t) {
				t = it.Time
			}
			out = append(out, t)
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return out
}
