package plugin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/grafana-plugin/pkg/frames"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb"
)

// maxFans is how many series a forecast panel draws; each is five lines.
const maxFans = 12

// forecast answers with the results so far, one point an iteration, the bands
// of those to come, and the target.
func (d *Datasource) forecast(ctx context.Context, a *request) (data.Frames, error) {
	if err := d.load(ctx, a); err != nil {
		return nil, err
	}
	if len(a.history.Series) == 0 {
		return data.Frames{frames.None(data.FrameTypeTimeSeriesMulti)}, nil
	}
	drawn, err := a.drawn()
	if err != nil {
		return nil, err
	}
	var out data.Frames
	var all []named
	targets := map[string]bool{}
	names := a.names(drawn)
	known, others := a.asKnown(a.at, time.Time{})
	for i, s := range a.history.Series {
		if len(all) == maxFans {
			break
		}
		if !a.draws(s) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		x := names[len(all)]
		if x.forecast, err = forecast.Single(known[i], a.Goal(), a.at, forecast.Options{Score: true, Others: others[i]}); err != nil {
			return nil, err
		}
		all = append(all, x)
		out = append(out, a.fan(s, x, len(drawn) == 1)...)
		if key := s.Criterion.String(); !targets[key] {
			targets[key] = true
			out = append(out, a.target(s))
		}
	}
	a.attachNotes(out[0], all)
	if n := len(drawn); n > maxFans {
		frames.Warn(out[0], fmt.Sprintf("%d of %d series are drawn: narrow the expression to see others", maxFans, n))
	}
	return out, nil
}

// draws says whether a series is about a criterion that the query draws.
func (a *request) draws(s tsdb.Series) bool {
	return a.Drawn == nil || a.Drawn.MatchString(s.Criterion.String())
}

// drawn are the series that the query draws; the others are evidence only.
func (a *request) drawn() ([]tsdb.Series, error) {
	var out []tsdb.Series
	criteria := map[string]bool{}
	for _, s := range a.history.Series {
		criteria[s.Criterion.String()] = true
		if a.draws(s) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		have := slices.Sorted(maps.Keys(criteria))
		return nil, &terms.Invalid{Field: "criterion", Reason: fmt.Sprintf("it matches none of %s", strings.Join(have, ", "))}
	}
	return out, nil
}

// fan is one series: what was, and what may come.
func (a *request) fan(s tsdb.Series, x named, single bool) data.Frames {
	unit := frames.Unit(s.Criterion.Unit)
	name := func(part string) string {
		if single {
			return part
		}
		return x.name + " " + part
	}
	var times []time.Time
	var values []*float64
	env := x.forecast.Basis.Environment
	for _, it := range s.Iterations {
		if it.Valid && it.Environment == env && !it.Time.Before(a.from) && !it.Time.After(a.at) {
			times, values = append(times, it.Time), append(values, frames.Number(it.Value))
		}
	}
	history := frames.Plain(x.name, unit)
	history.Custom = map[string]any{"drawStyle": "line", "showPoints": "always", "pointSize": 6, "lineInterpolation": "linear"}
	if single { // the first color of Grafana's palette is the target's
		history.Color = fixed("blue")
	}
	out := data.Frames{frames.Series("value", frames.With(x.labels, "part", "history"), times, values, history)}

	n, ahead := len(x.forecast.Bands), max(a.Iterations, 10)
	per := time.Duration(x.forecast.Basis.PerIteration * float64(time.Second))
	if !a.Deadline.IsZero() && per > 0 {
		ahead = max(1, int(a.Deadline.Sub(a.at)/per)+1)
	}
	n = min(n, ahead)
	if n == 0 || per <= 0 {
		return out
	}
	var future []time.Time
	var low, mid, high []*float64
	if k := len(values); k > 0 { // the bands begin where the history ends
		future = append(future, times[k-1])
		low, mid, high = append(low, values[k-1]), append(mid, values[k-1]), append(high, values[k-1])
	}
	for i, b := range x.forecast.Bands[:n] {
		future = append(future, a.at.Add(time.Duration(i+1)*per))
		low, mid, high = append(low, frames.Number(b.Low)), append(mid, frames.Number(b.Median)), append(high, frames.Number(b.High))
	}
	band := func(part, percentile string, v []*float64, custom map[string]any) {
		c := frames.Plain(name(part), unit)
		c.Custom = custom
		if single {
			c.Color = fixed("blue")
		} else if percentile != "50" {
			custom["hideFrom"] = map[string]bool{"legend": true, "tooltip": false, "viz": false}
		}
		out = append(out, frames.Series("value", frames.With(x.labels, "part", "forecast", "percentile", percentile), future, v, c))
	}
	band("10 %", "10", low, map[string]any{"lineWidth": 1, "lineStyle": dashes(2, 6), "showPoints": "never"})
	band("50 %", "50", mid, map[string]any{"lineWidth": 2, "lineStyle": dashes(8, 6), "showPoints": "never"})
	band("90 %", "90", high, map[string]any{"lineWidth": 1, "lineStyle": dashes(2, 6), "showPoints": "never", "fillBelowTo": name("10 %"), "fillOpacity": 18})
	return out
}

func fixed(color string) map[string]any {
	return map[string]any{"mode": "fixed", "fixedColor": color}
}

func dashes(on, off int) map[string]any {
	return map[string]any{"fill": "dash", "dash": []int{on, off}}
}

// target is a line from the first result to the end of the panel.
func (a *request) target(s tsdb.Series) *data.Frame {
	end := a.to
	if end.Before(a.at) {
		end = a.at
	}
	if a.Deadline.After(end) {
		end = a.Deadline
	}
	v := s.Criterion.Target
	c := frames.Plain("target "+s.Criterion.String(), frames.Unit(s.Criterion.Unit))
	c.Custom = map[string]any{"lineWidth": 1, "lineStyle": dashes(10, 10), "showPoints": "never"}
	c.Color = fixed("green")
	return frames.Series("value", data.Labels{"part": "target", "criterion": s.Criterion.String()}, []time.Time{a.from, end}, []*float64{&v, &v}, c)
}
