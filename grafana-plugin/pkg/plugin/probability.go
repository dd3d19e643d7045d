package plugin

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/grafana-plugin/pkg/frames"
	"github.com/plancast/plancast/tsdb"
)

// scored is up to how many series the method's own record is added.
const scored = 5

// probability answers with one number for each series, or one for all.
func (d *Datasource) probability(ctx context.Context, a *request) (data.Frames, error) {
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
		p := x.forecast.Probability
		value := func(f func(*forecast.Probability) float64) *float64 {
			if p == nil {
				return nil
			}
			return frames.Number(f(p))
		}
		out = append(out, frames.Numeric("probability", x.labels, value(func(p *forecast.Probability) float64 { return p.Value }), frames.Percent(x.name)))
		if a.Interval {
			out = append(out,
				frames.Numeric("probability", frames.With(x.labels, "bound", "lower"), value(func(p *forecast.Probability) float64 { return p.Lower }), frames.Percent(x.name+" lower")),
				frames.Numeric("probability", frames.With(x.labels, "bound", "upper"), value(func(p *forecast.Probability) float64 { return p.Upper }), frames.Percent(x.name+" upper")))
		}
	}
	a.attachNotes(out[0], all)
	return out, nil
}

// named is a forecast with the labels and the name of what it is about.
type named struct {
	labels   data.Labels
	name     string
	forecast forecast.Forecast
}

// forecasts are the forecasts of a query as known at a moment: one of all
// series together, or one of each.
func (a *request) forecasts(ctx context.Context, at time.Time) ([]named, error) {
	o := forecast.Options{Score: len(a.history.Series) <= scored}
	known := at
	if !at.Before(a.at) {
		known = time.Time{}
	}
	if a.Joint || len(a.history.Series) >= spread {
		if err := a.gate.Acquire(ctx, 1); err != nil {
			return nil, err
		}
		defer a.gate.Release(1)
	}
	if a.Joint {
		f, err := forecast.Joint(a.history.Milestone(a.Query.Query, known), at, o)
		if err != nil {
			return nil, err
		}
		labels, name := data.Labels{}, "milestone"
		if a.Milestone != "" {
			labels["milestone"], name = a.Milestone, a.Milestone
		}
		if a.Legend != "" && a.Legend != "__auto" {
			name = frames.Legend(a.Legend, labels)
		}
		return []named{{labels, name, f}}, nil
	}
	out := a.names(a.history.Series)
	all, others := a.asKnown(at, known)
	err := each(ctx, len(out), func(i int) (err error) {
		x := o
		x.Others = others[i]
		out[i].forecast, err = forecast.Single(all[i], a.Goal(), at, x)
		return err
	})
	return out, err
}

// asKnown returns the series as known at a moment (the zero time: all of it),
// and for each what the others had shown by then.
func (a *request) asKnown(at, known time.Time) ([]forecast.Series, []forecast.Record) {
	all := make([]forecast.Series, len(a.history.Series))
	for i, s := range a.history.Series {
		all[i] = s.Forecast(a.Fingerprint, known)
	}
	return all, forecast.Records(all, at)
}

// names are the labels and names of series, before there are forecasts.
func (a *request) names(series []tsdb.Series) []named {
	out := make([]named, len(series))
	sets := make([]data.Labels, len(series))
	for i, s := range series {
		sets[i] = a.labels(s)
		out[i].labels = sets[i]
	}
	names := frames.Names(sets, a.Legend, func(i int) string {
		if len(series) == 1 && series[i].Labels[model.LabelName(a.Model)] != "" {
			return series[i].Model
		}
		return series[i].Criterion.Metric
	})
	for i := range out {
		out[i].name = names[i]
	}
	return out
}

// labels of a series; several criteria are distinguished by a label of their own.
func (a *request) labels(s tsdb.Series) data.Labels {
	l := frames.Labels(s.Labels)
	if len(a.Criteria) > 1 {
		l["criterion"] = s.Criterion.String()
	}
	return l
}

// spread is from how many series on a forecast uses all cores. One of these
// runs at a time: more would only need more memory.
const spread = 8

// each calls f for 0 to n-1 on all cores, until an error or the end of ctx.
func each(ctx context.Context, n int, f func(int) error) error {
	if n < spread {
		for i := range n {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := f(i); err != nil {
				return err
			}
		}
		return nil
	}
	workers := min(runtime.GOMAXPROCS(0), n)
	g, ctx := errgroup.WithContext(ctx)
	for w := range workers {
		g.Go(func() error {
			for i := w; i < n; i += workers {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := f(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// attachNotes attaches sentences: of each forecast when they are few, in sum when
// they are many.
func (a *request) attachNotes(f *data.Frame, all []named) {
	if len(all) <= 3 {
		for i := range all {
			name := all[i].name
			if len(all) == 1 {
				name = ""
			}
			explain(f, name, &all[i].forecast, a.History)
		}
		return
	}
	met, few, least, most := 0, 0, 1<<30, 0
	for i := range all {
		x := &all[i].forecast
		if x.Met {
			met++
		}
		n := x.Basis.Observations
		if n < forecast.FewResults {
			few++
		}
		least, most = min(least, n), max(most, n)
	}
	frames.Info(f, fmt.Sprintf("%s, %d of them met; based on %d to %d iterations each", count(len(all), "series", "series"), met, least, most))
	if few > 0 {
		frames.Warn(f, fmt.Sprintf("%s fewer than %d iterations: their probability is little more than a base rate", haveHas(few), forecast.FewResults))
	}
}

func haveHas(n int) string {
	if n == 1 {
		return "1 series has"
	}
	return count(n, "", "series have")
}
