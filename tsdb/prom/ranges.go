package prom

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"
)

// Point is a value and since when it holds.
type Point struct {
	T    int64   // milliseconds since the epoch
	V    float64 // NaN is a value, too
	Gone bool    // the series ends here; V means nothing
}

// Series is a labelled history, in order of time.
type Series struct {
	Labels model.Metric
	Points []Point
}

// Answer is the histories of an expression.
type Answer struct {
	Series   []Series // in the order of their labels
	Warnings []string // the server's
	Requests int      // that were made
	Partial  bool     // parts of the store did not answer, as the server says
}

// Samples returns the raw samples of a plain metric. It refuses before they
// are pulled when there are too many.
func (c *Client) Samples(ctx context.Context, e Expr, p Plan) (Answer, error) {
	if !e.Selector() {
		return c.Steps(ctx, e, p)
	}
	length := model.Duration(p.Length()).String()
	count, err := c.Instant(ctx, fmt.Sprintf("max(count_over_time(%s[%s]))", unwrap(e.root), length), p.End)
	if err != nil {
		return Answer{}, err
	}
	if len(count) > 0 && float64(count[0].Value) > MaxPoints {
		return Answer{}, refuse("%s has %.0f samples in %s, and every sample would be an iteration: count iterations by a series or by value change", shorten(e.String()), float64(count[0].Value), length)
	}
	a, err := c.instant(ctx, fmt.Sprintf("%s[%s]", unwrap(e.root), length), p.End, &decoder{maxSeries: c.o.MaxSeries})
	if err == nil && a.kind != "matrix" {
		err = c.explain(errSyntax)
	}
	if err == nil && a.native {
		err = errNative
	}
	if err != nil {
		return Answer{}, c.named(err, e.String())
	}
	return Answer{Series: a.series, Warnings: a.warnings, Requests: 2, Partial: a.partial}, nil
}

// Steps returns the value at every step.
func (c *Client) Steps(ctx context.Context, e Expr, p Plan) (Answer, error) {
	w := e.window(Lookback(p.Step))
	return c.ranges(ctx, p, e, false, func(Piece) string { return w.String() })
}

// States returns what Changes does, for a plan of few steps: the server answers with the
// value at every step, which costs it a fifth of comparing each with the one before.
func (c *Client) States(ctx context.Context, e Expr, p Plan) (Answer, error) {
	w := e.window(Lookback(p.Step))
	return c.ranges(ctx, p, e, true, func(Piece) string { return w.String() })
}

// Changes returns the points at which a series appears, takes another value,
// or ends. The server finds them, so a year of history is a few points for
// each series.
func (c *Client) Changes(ctx context.Context, e Expr, p Plan) (Answer, error) {
	if e.timed() {
		// Its past is not itself with an offset.
		return c.States(ctx, e, p)
	}
	w := e.window(Lookback(p.Step))
	a, err := c.ranges(ctx, p, e, false, func(q Piece) string { return w.changes(q.Start, p.Step) })
	var known *Error
	if errors.As(err, &known) && strings.Contains(known.Text, "many-to-") {
		return c.States(ctx, e, p)
	}
	if err != nil {
		return a, err
	}
	a.Series = settle(a.Series)
	return a, nil
}

// ranges asks for all pieces of a plan. When settled, what is read becomes changes: points
// that repeat the one before are dropped, and ends are marked.
func (c *Client) ranges(ctx context.Context, p Plan, e Expr, settled bool, text func(Piece) string) (Answer, error) {
	var (
		mu  sync.Mutex
		all []Series
		out Answer
	)
	used := &budget{limit: c.o.Memory}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.o.Requests)
	var ask func(ctx context.Context, q Piece, depth int) error
	ask = func(ctx context.Context, q Piece, depth int) error {
		// A series and the marks of its end are two.
		d := &decoder{maxSeries: 2*c.o.MaxSeries + 2, settled: settled, budget: used}
		if settled {
			d.step, d.until = p.Step.Milliseconds(), p.End.UnixMilli()
		}
		a, err := c.request(ctx, c.o.Method, "api/v1/query_range", url.Values{
			"query": {text(q)}, "start": {seconds(q.Start)}, "end": {seconds(q.End)}, "step": {strconv.FormatFloat(p.Step.Seconds(), 'f', -1, 64)},
			"nocache": {"1"}, // else VictoriaMetrics answers for other moments
		}, d)
		switch {
		case err != nil:
		case a.kind != "matrix":
			err = c.explain(errSyntax)
		case a.native:
			err = errNative
		}
		var known *Error
		if errors.As(err, &known) && known.tooBig && depth < 4 {
			if a, b, ok := q.halves(p.Step); ok {
				if err := ask(ctx, a, depth+1); err != nil {
					return err
				}
				return ask(ctx, b, depth+1)
			}
		}
		if err != nil {
			return c.named(err, e.String())
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, a.series...)
		out.Warnings = append(out.Warnings, a.warnings...)
		out.Partial = out.Partial || a.partial
		out.Requests++
		return nil
	}
	for _, q := range p.Pieces {
		g.Go(func() error { return ask(gctx, q, 0) })
	}
	if err := g.Wait(); err != nil {
		return Answer{}, err
	}
	out.Series = merge(all)
	if settled {
		out.Series = settle(out.Series)
	}
	slices.Sort(out.Warnings)
	out.Warnings = slices.Compact(out.Warnings)
	if len(out.Series) > c.o.MaxSeries {
		return Answer{}, c.named(errSeries, e.String())
	}
	return out, nil
}

// merge puts together what belongs to one series: from several pieces, out of
// order, repeated, and with the marks of its ends.
func merge(all []Series) []Series {
	by := map[string]*Series{}
	for _, s := range all {
		gone := s.Labels[goneLabel] != ""
		labels := s.Labels
		if gone {
			labels = labels.Clone()
			delete(labels, goneLabel)
			for i := range s.Points {
				s.Points[i].Gone = true
			}
		}
		key := labels.String()
		t := by[key]
		if t == nil {
			t = &Series{Labels: labels}
			by[key] = t
		}
		t.Points = append(t.Points, s.Points...)
	}
	keys := make([]string, 0, len(by))
	for k := range by {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	out := make([]Series, 0, len(by))
	for _, k := range keys {
		s := by[k]
		// At one moment a value counts more than an end.
		slices.SortStableFunc(s.Points, func(a, b Point) int {
			switch {
			case a.T != b.T:
				return int(math.Copysign(1, float64(a.T-b.T)))
			case a.Gone == b.Gone:
				return 0
			case a.Gone:
				return 1
			default:
				return -1
			}
		})
		s.Points = slices.CompactFunc(s.Points, func(a, b Point) bool { return a.T == b.T })
		s.Points = slices.Clip(s.Points)
		out = append(out, *s)
	}
	return out
}

// Extend continues an answer with a newer one to the same question whose first moment
// is the last of this one. A series that the newer one lacks then has ended, if only for
// a while: it may look less far back.
func (a Answer) Extend(newer Answer, from time.Time) Answer {
	at := from.UnixMilli()
	fresh := make(map[string]int, len(newer.Series))
	for i, s := range newer.Series {
		fresh[s.Labels.String()] = i
	}
	warnings := slices.Sorted(slices.Values(slices.Concat(a.Warnings, newer.Warnings)))
	out := Answer{Warnings: slices.Compact(warnings), Requests: a.Requests + newer.Requests, Partial: a.Partial || newer.Partial}
	for _, s := range a.Series {
		var late []Point
		key := s.Labels.String()
		if i, ok := fresh[key]; ok {
			late = newer.Series[i].Points
			delete(fresh, key)
		}
		points := slices.Clip(s.Points)
		last := points[len(points)-1]
		switch {
		case len(late) > 0 && late[0].T == at: // both say what holds then
			if last.T == at {
				points = points[:len(points)-1]
			}
		case !last.Gone:
			points = append(points, Point{T: at + 1, Gone: true})
		}
		out.Series = append(out.Series, Series{s.Labels, append(points, late...)})
	}
	for _, i := range fresh {
		out.Series = append(out.Series, newer.Series[i])
	}
	slices.SortFunc(out.Series, func(a, b Series) int { return strings.Compare(a.Labels.String(), b.Labels.String()) })
	out.Series = settle(out.Series)
	return out
}

// settle drops the points that repeat the one before: a series unchanged over
// the border of two pieces, or every step of one that was asked for whole.
func settle(all []Series) []Series {
	for i := range all {
		all[i].Points = slices.Clip(slices.CompactFunc(all[i].Points, same))
	}
	return all
}

// Bytes is about how much memory the answer takes.
func (a Answer) Bytes() int64 {
	n := int64(64)
	for _, s := range a.Series {
		n += labelBytes(s.Labels) + int64(cap(s.Points))*pointBytes
	}
	return n
}
