package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/grafana-plugin/pkg/frames"
	"github.com/plancast/plancast/grafana-plugin/pkg/models"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb"
	"github.com/plancast/plancast/tsdb/iterations"
	"github.com/plancast/plancast/tsdb/prom"
	"github.com/plancast/plancast/units"
)

// maxEvents bounds the annotations of one answer; the newest are kept.
const maxEvents = 1000

// event is one annotation.
type event struct {
	at          time.Time
	title, text string
	tags        []string
}

// annotations answers with what happened in the time range: iterations,
// atypical ones, failed builds, targets met, deadlines.
func (d *Datasource) annotations(ctx context.Context, a *request) (data.Frames, error) {
	plain := len(a.Criteria) == 0 && a.Milestone == ""
	if plain {
		a.Criteria = []tsdb.Criterion{{Expr: a.IterationOf, Criterion: forecast.Criterion{Metric: "iteration", Comparison: forecast.AtLeast}}}
		a.TimeOf = timeOf(a.Query)
	}
	if err := d.load(ctx, a); err != nil {
		return nil, err
	}
	changes, err := d.changes(ctx, a)
	if err != nil {
		return nil, err
	}
	var events []event
	for _, s := range a.history.Series {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		events = append(events, a.story(s, plain, changes)...)
	}
	failures, err := d.failures(ctx, a)
	if err != nil {
		return nil, err
	}
	events = append(events, failures...)
	if !a.Deadline.IsZero() {
		name := "deadline"
		if a.Milestone != "" {
			name = "deadline of " + a.Milestone
		}
		events = append(events, event{a.Deadline, name, a.Deadline.Format("2 January 2006 15:04 MST"), []string{"deadline"}})
	}
	events = slices.DeleteFunc(events, func(e event) bool { return e.at.Before(a.from) || e.at.After(a.to) })
	slices.SortStableFunc(events, func(x, y event) int { return x.at.Compare(y.at) })
	events = unique(events)
	more := len(events) - maxEvents
	if more > 0 {
		events = events[more:]
	}
	f := frame(events)
	if more > 0 {
		frames.Warn(f, fmt.Sprintf("%d earlier events are not shown: shorten the time range or narrow the expression", more))
	}
	return data.Frames{f}, nil
}

func timeOf(q models.Query) string {
	if q.TimeOf == "" && q.IterationOf == terms.IterationSeries {
		return terms.TimestampSeries
	}
	return q.TimeOf
}

func frame(events []event) *data.Frame {
	n := len(events)
	at, title, text, tags := make([]time.Time, n), make([]string, n), make([]string, n), make([]string, n)
	for i, e := range events {
		at[i], title[i], text[i], tags[i] = e.at, e.title, e.text, strings.Join(e.tags, ",")
	}
	f := data.NewFrame("annotations", data.NewField("time", nil, at), data.NewField("title", nil, title),
		data.NewField("text", nil, text), data.NewField("tags", nil, tags))
	f.Meta = &data.FrameMeta{DataTopic: data.DataTopicAnnotations}
	return f
}

// unique drops what is listed twice: an iteration has several precisions.
func unique(events []event) []event {
	return slices.CompactFunc(events, func(x, y event) bool { return x.at.Equal(y.at) && x.title == y.title && x.text == y.text })
}

// story is what happened to one series.
func (a *request) story(s tsdb.Series, plain bool, changes changes) (out []event) {
	met := false
	var before *iterations.Iteration
	for i := range s.Iterations {
		it := &s.Iterations[i]
		tags := []string{"iteration", s.Model}
		switch {
		case !it.Valid:
			out = append(out, event{it.Time, fmt.Sprintf("%s: iteration %s has no result", s.Model, units.Number(it.Number)), changes.text("", s.Model, *it), []string{"failed", s.Model}})
			continue
		case plain:
			out = append(out, event{it.Time, fmt.Sprintf("%s: iteration %s", s.Model, units.Number(it.Number)), changes.text("", s.Model, *it), tags})
			continue
		}
		text := s.Criterion.Metric + " " + units.Format(it.Value, s.Criterion.Unit)
		title := fmt.Sprintf("%s: iteration %s", s.Model, units.Number(it.Number))
		switch {
		case before == nil:
		case before.Environment != it.Environment:
			text += ", in another environment than before"
			tags = append(tags, "environment")
		default:
			if change, paired, ok := iterations.Change(*before, *it); paired {
				text += fmt.Sprintf(" (%+.1f %%, timed in turns)", 100*change)
			} else if ok {
				text += fmt.Sprintf(" (%+.1f %%)", 100*change)
			}
		}
		if now := s.Criterion.Met(it.Value); now != met {
			met = now
			if met {
				title, tags = fmt.Sprintf("%s meets %s", s.Model, s.Criterion), append(tags, "met")
			} else {
				title, tags = fmt.Sprintf("%s no longer meets %s", s.Model, s.Criterion), append(tags, "lost")
			}
		}
		if !it.Time.Before(a.from) && !it.Time.After(a.to) {
			known := s
			known.Iterations = s.Iterations[:i+1]
			f, err := forecast.Single(known.Forecast(it.Environment, noTime), a.Goal(), it.Time, forecast.Options{})
			if err == nil && f.Atypical != nil && f.Atypical.Is {
				tags = append(tags, "atypical")
				title += " is atypical"
				if len(f.Advice) > 0 {
					text += ". " + f.Advice[0]
				}
			}
		}
		out = append(out, event{it.Time, title, changes.text(text, s.Model, *it), tags})
		before = it
	}
	return out
}

// failures are the builds that failed, where the exporter counts them.
func (d *Datasource) failures(ctx context.Context, a *request) ([]event, error) {
	q := a.Query
	q.By, q.Environment, q.Models = iterations.ByChange, "", ""
	q.Criteria = []tsdb.Criterion{{Expr: `plancast_builds_total{result!="success"}`, Criterion: forecast.Criterion{Metric: "builds", Comparison: forecast.AtLeast}}}
	h, err := d.loader.Load(ctx, q.Query, a.at, a.identity)
	if err != nil {
		return nil, err
	}
	about := map[string]bool{}
	for _, s := range a.history.Series {
		about[s.Model] = true
	}
	var out []event
	for _, s := range h.Series {
		name, kind := string(s.Labels["model"]), string(s.Labels["result"])
		if !about[name] {
			continue
		}
		for i, it := range s.Iterations {
			if (i == 0 && prom.AtStart(it.Known, h.Plan)) || it.Value == 0 || (i > 0 && it.Value < s.Iterations[i-1].Value) {
				continue
			}
			out = append(out, event{it.Time, name + ": a build failed", strings.ReplaceAll(kind, "_", " "), []string{"failed", name}})
		}
	}
	return out, nil
}
