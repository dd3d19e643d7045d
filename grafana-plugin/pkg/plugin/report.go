package plugin

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/grafana-plugin/pkg/frames"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb"
	"github.com/plancast/plancast/tsdb/iterations"
	"github.com/plancast/plancast/tsdb/prom"
)

// noTime is "everything that is known".
var noTime time.Time

// reported is how old a result may be to stand in the report.
const reported = "1d"

// column is one figure of the report.
type column struct {
	title, expr, unit string
	values            map[string]float64
}

// engineOf identifies an engine: what has a row in the report.
type engineOf struct{ model, precision, backend, device string }

func engine(m model.Metric) engineOf {
	return engineOf{string(m["model"]), string(m["precision"]), string(m["backend"]), string(m["device"])}
}

func (e engineOf) key() string {
	return strings.Join([]string{e.model, e.precision, e.backend, e.device}, "\x00")
}

// Columns that table treats in a way of their own.
const (
	targetsMet = "targets met"
	lastBuild  = "last build"
	measured   = "measured"
)

// reportColumns are the columns of a report, without values.
func reportColumns() []*column {
	var columns []*column
	for _, name := range []string{"mean", "p99", "throughput", "top1", "accuracy_deviation", "memory"} {
		m, _ := terms.QuantityByName(name)
		columns = append(columns, &column{title: m.Title, expr: m.Expr, unit: frames.Unit(m.Unit)})
	}
	const engines = "model, precision, backend, device"
	return append(columns,
		&column{title: targetsMet, expr: "min by (" + engines + ") (plancast_engine_target_met)"},
		&column{title: lastBuild, expr: "plancast_engine_last_build_success"},
		&column{title: "iteration", expr: terms.IterationSeries},
		&column{title: measured, expr: terms.TimestampSeries})
}

// selected is the column's expression, of the models that a selects.
func (c *column) selected(a *request) (prom.Expr, error) {
	e, err := prom.Parse(c.expr)
	if err != nil {
		return e, err
	}
	filters := a.Filters
	if a.Models != "" {
		filters = append(slices.Clip(filters), prom.Filter{Key: "model", Operator: "=~", Value: a.Models})
	}
	return e.Filter(filters)
}

// report answers with a row for each engine: what it measured last, how that
// changed, and whether its targets are met.
func (d *Datasource) report(ctx context.Context, a *request) (data.Frames, error) {
	var (
		columns = reportColumns()
		mu      sync.Mutex
		rows    = map[string]engineOf{}
		exec    []string
		change  map[string]float64
	)
	g, gctx := errgroup.WithContext(ctx)
	for _, c := range columns {
		c.values = map[string]float64{}
		e, err := c.selected(a)
		if err != nil {
			return nil, err
		}
		exec = append(exec, e.String())
		g.Go(func() error {
			v, err := d.client.Instant(gctx, e.Lasting(reported), a.at)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, s := range v {
				at := engine(s.Metric)
				c.values[at.key()] = float64(s.Value)
				if c.title != targetsMet && at.model != "" {
					rows[at.key()] = at
				}
			}
			return nil
		})
	}
	g.Go(func() (err error) {
		change, err = d.lastChanges(gctx, a)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	order := slices.SortedFunc(maps.Values(rows), func(x, y engineOf) int {
		return cmp.Or(
			strings.Compare(x.model, y.model),
			terms.PrecisionRank(x.precision)-terms.PrecisionRank(y.precision),
			strings.Compare(x.key(), y.key()))
	})
	return data.Frames{table(order, columns, change, exec)}, nil
}

// lastChanges are the newest changes of P99, as ratios, by the key of their engine.
func (d *Datasource) lastChanges(ctx context.Context, a *request) (map[string]float64, error) {
	p99, _ := terms.QuantityByName("p99")
	q := a.Query.Query
	q.By, q.IterationOf, q.TimeOf = iterations.BySeries, terms.IterationSeries, terms.TimestampSeries
	q.Criteria = []tsdb.Criterion{{Expr: p99.Expr, Criterion: forecast.Criterion{Metric: p99.Title, Comparison: forecast.Below, Target: 1, Unit: p99.Unit}}}
	h, err := d.loader.Load(ctx, q, a.at, a.identity)
	if err != nil {
		return nil, err
	}
	change := map[string]float64{}
	for _, s := range h.Series {
		if v, ok := lastChange(s.Iterations); ok {
			change[engine(s.Labels).key()] = v
		}
	}
	return change, nil
}

// table lays the report out.
func table(order []engineOf, columns []*column, change map[string]float64, exec []string) *data.Frame {
	text := func(title string, of func(engineOf) string) *data.Field {
		v := make([]string, len(order))
		for i, r := range order {
			v[i] = of(r)
		}
		return data.NewField(title, nil, v)
	}
	number := func(title, unit string, of func(string) (float64, bool)) *data.Field {
		v := make([]*float64, len(order))
		for i, r := range order {
			if x, ok := of(r.key()); ok {
				v[i] = frames.Number(x)
			}
		}
		f := data.NewField(title, nil, v)
		f.Config = &data.FieldConfig{Unit: unit}
		return f
	}
	f := data.NewFrame("report",
		text("model", func(r engineOf) string { return r.model }),
		text("precision", func(r engineOf) string { return r.precision }))
	for _, c := range columns {
		of := func(key string) (float64, bool) { v, ok := c.values[key]; return v, ok }
		switch c.title {
		case targetsMet:
			f.Fields = append(f.Fields, number("change of P99", "percentunit", func(key string) (float64, bool) { v, ok := change[key]; return v, ok }))
			f.Fields = append(f.Fields, text(c.title, func(r engineOf) string { return word(c.values, r, "yes", "no") }))
		case lastBuild:
			f.Fields = append(f.Fields, text(c.title, func(r engineOf) string { return word(c.values, r, "success", "failed") }))
		case measured:
			v := make([]*time.Time, len(order))
			for i, r := range order {
				if x, ok := c.values[r.key()]; ok {
					t := time.UnixMilli(int64(x * 1000)).UTC()
					v[i] = &t
				}
			}
			f.Fields = append(f.Fields, data.NewField(c.title, nil, v))
		default:
			if len(c.values) > 0 { // a figure that nobody measures has no column
				f.Fields = append(f.Fields, number(c.title, c.unit, of))
			}
		}
	}
	f.Fields = append(f.Fields, text("device", func(r engineOf) string { return r.device }))
	f.Meta = &data.FrameMeta{Type: data.FrameTypeTable, TypeVersion: data.FrameTypeVersion{0, 1}, ExecutedQueryString: strings.Join(exec, "\n")}
	if len(order) == 0 {
		frames.Warn(f, "plancast's exporter published no results in the last day: check that Prometheus scrapes it")
		return f
	}
	failed := 0
	for _, c := range columns {
		if c.title == lastBuild {
			for _, v := range c.values {
				if v == 0 {
					failed++
				}
			}
		}
	}
	if failed > 0 {
		frames.Warn(f, fmt.Sprintf("the newest build failed for %s: an earlier result is shown", count(failed, "engine", "engines")))
	}
	return f
}

func word(values map[string]float64, r engineOf, yes, no string) string {
	switch v, ok := values[r.key()]; {
	case !ok:
		return ""
	case v > 0:
		return yes
	default:
		return no
	}
}

// lastChange is the relative change from the result before the newest, in the
// same environment: the one that a pair showed, if one did.
func lastChange(its []iterations.Iteration) (float64, bool) {
	newest := -1
	for i := len(its) - 1; i >= 0; i-- {
		switch {
		case !its[i].Valid:
		case newest < 0:
			newest = i
		default:
			change, _, ok := iterations.Change(its[i], its[newest])
			return change, ok
		}
	}
	return 0, false
}
