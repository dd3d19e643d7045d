// Package prom asks a Prometheus-compatible API for histories: it plans the
// moments, asks for changes instead of samples, splits what is too much, and
// says what went wrong.
package prom

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend/httpclient"
	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// Options of a client. All are needed.
type Options struct {
	URL        string
	Method     string // GET or POST
	HTTP       *http.Client
	MaxSeries  int
	MaxBytes   int64 // of one answer
	Requests   int   // at the same time
	Resolution time.Duration
}

// Client asks one API. It may be used concurrently.
type Client struct {
	api  v1.API
	host string
	o    Options
	gate *semaphore.Weighted
}

// New makes a client; no request is made.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("the URL of the data source cannot be read")
	}
	raw, err := api.NewClient(api.Config{Address: o.URL, Client: o.HTTP})
	if err != nil {
		return nil, fmt.Errorf("the URL of the data source cannot be read")
	}
	return &Client{
		api:  v1.NewAPI(&transport{Client: raw, get: o.Method == http.MethodGet}),
		host: u.Scheme + "://" + u.Host, o: o, gate: semaphore.NewWeighted(int64(o.Requests)),
	}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.o.HTTP.CloseIdleConnections() }

// transport sends what the API client makes: as GET when asked to, and with an
// error for every status that the API does not use for its own errors.
type transport struct {
	api.Client
	get bool
}

func (t *transport) Do(ctx context.Context, req *http.Request) (*http.Response, []byte, error) {
	if t.get && req.Method == http.MethodPost && req.Body != nil {
		form, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, nil, err
		}
		u := *req.URL
		u.RawQuery = string(form)
		if req, err = http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil); err != nil {
			return nil, nil, err
		}
	}
	resp, body, err := t.Client.Do(ctx, req)
	if err != nil {
		return resp, body, err
	}
	switch code := resp.StatusCode; {
	case code/100 == 2, code == http.StatusBadRequest, code == http.StatusUnprocessableEntity:
	default:
		// The API's own errors come with other statuses, too: 503 for a timeout.
		var told struct {
			Type v1.ErrorType `json:"errorType"`
			Text string       `json:"error"`
		}
		if json.Unmarshal(body, &told) == nil && told.Type != "" && code >= 500 {
			return resp, body, &v1.Error{Type: told.Type, Msg: told.Text}
		}
		return resp, body, &httpStatus{code}
	}
	return resp, body, nil
}

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
}

func (c *Client) do(ctx context.Context, f func(context.Context) error) error {
	if err := c.gate.Acquire(ctx, 1); err != nil {
		return explain(err, c.host, c.o.MaxBytes)
	}
	defer c.gate.Release(1)
	return explain(f(httpclient.WithResponseLimit(ctx, c.o.MaxBytes)), c.host, c.o.MaxBytes)
}

// Instant evaluates an expression at one moment.
func (c *Client) Instant(ctx context.Context, expr string, at time.Time) (model.Vector, error) {
	var out model.Vector
	err := c.do(ctx, func(ctx context.Context) error {
		v, _, _, err := c.api.Query(ctx, expr, at)
		if err != nil {
			return err
		}
		switch v := v.(type) {
		case model.Vector:
			out = v
		case *model.Scalar:
			out = model.Vector{{Value: v.Value, Timestamp: v.Timestamp}}
		default:
			return &v1.Error{Type: v1.ErrBadResponse, Msg: "not a vector"}
		}
		return nil
	})
	if err == nil && len(out) > c.o.MaxSeries {
		return nil, c.tooMany(len(out), expr)
	}
	return out, err
}

func (c *Client) tooMany(n int, expr string) error {
	return refuse("%s has %d series, more than the %d that the data source allows: narrow it with labels, or aggregate it", shorten(expr), n, c.o.MaxSeries)
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
		return Answer{}, refuse("%s has %.0f samples in %s, and every sample would be an iteration: tell iterations apart by a series or by value change", shorten(e.String()), float64(count[0].Value), length)
	}
	var out Answer
	out.Requests = 2
	err = c.do(ctx, func(ctx context.Context) error {
		v, w, _, err := c.api.Query(ctx, fmt.Sprintf("%s[%s]", unwrap(e.root), length), p.End)
		if err != nil {
			return err
		}
		out.Warnings = w
		m, err := matrix(v)
		out.Series = m
		return err
	})
	if err == nil && len(out.Series) > c.o.MaxSeries {
		err = c.tooMany(len(out.Series), e.String())
	}
	return out, err
}

// Steps returns the value at every step.
func (c *Client) Steps(ctx context.Context, e Expr, p Plan) (Answer, error) {
	w := e.window(p.lookback())
	return c.ranges(ctx, p, e, func(Piece) string { return w.String() })
}

// Changes returns the points at which a series appears, takes another value,
// or ends. The server finds them, so a year of history is a few points for
// each series.
func (c *Client) Changes(ctx context.Context, e Expr, p Plan) (Answer, error) {
	w := e.window(p.lookback())
	text := func(q Piece) string { return w.changes(q.Start, p.Step) }
	if e.timed() {
		// Its past is not itself with an offset.
		text = func(Piece) string { return w.String() }
	}
	a, err := c.ranges(ctx, p, e, text)
	var known *Error
	if errors.As(err, &known) && strings.Contains(known.Text, "many-to-") {
		a, err = c.ranges(ctx, p, e, func(Piece) string { return w.String() })
	}
	if err != nil {
		return a, err
	}
	a.Series = settle(a.Series)
	return a, nil
}

func (c *Client) ranges(ctx context.Context, p Plan, e Expr, text func(Piece) string) (Answer, error) {
	var (
		mu  sync.Mutex
		all []Series
		out Answer
	)
	g, gctx := errgroup.WithContext(ctx)
	var ask func(ctx context.Context, q Piece, depth int) error
	ask = func(ctx context.Context, q Piece, depth int) error {
		err := c.do(ctx, func(ctx context.Context) error {
			v, w, _, err := c.api.QueryRange(ctx, text(q), v1.Range{Start: q.Start, End: q.End, Step: p.Step})
			if err != nil {
				return err
			}
			m, err := matrix(v)
			if err != nil {
				return err
			}
			if len(m) > 2*c.o.MaxSeries+2 {
				return c.tooMany(len(m), e.String())
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, m...)
			out.Warnings = append(out.Warnings, w...)
			out.Requests++
			return nil
		})
		var known *Error
		if errors.As(err, &known) && known.tooBig && depth < 4 {
			if a, b, ok := q.halves(p.Step); ok {
				if err := ask(ctx, a, depth+1); err != nil {
					return err
				}
				return ask(ctx, b, depth+1)
			}
		}
		return err
	}
	for _, q := range p.Pieces {
		g.Go(func() error { return ask(gctx, q, 0) })
	}
	if err := g.Wait(); err != nil {
		return Answer{}, err
	}
	out.Series = merge(all)
	slices.Sort(out.Warnings)
	out.Warnings = slices.Compact(out.Warnings)
	if len(out.Series) > c.o.MaxSeries {
		return Answer{}, c.tooMany(len(out.Series), e.String())
	}
	return out, nil
}

func matrix(v model.Value) ([]Series, error) {
	m, ok := v.(model.Matrix)
	if !ok {
		return nil, &v1.Error{Type: v1.ErrBadResponse, Msg: "not a matrix"}
	}
	out := make([]Series, 0, len(m))
	for _, s := range m {
		if s == nil {
			continue
		}
		if len(s.Values) == 0 && len(s.Histograms) > 0 {
			return nil, refuse("it yields native histograms: take a number of them, such as histogram_quantile(0.99, ...)")
		}
		one := Series{Labels: s.Metric, Points: make([]Point, len(s.Values))}
		if one.Labels == nil {
			one.Labels = model.Metric{}
		}
		for i, p := range s.Values {
			one.Points[i] = Point{T: int64(p.Timestamp), V: float64(p.Value)}
		}
		out = append(out, one)
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

// settle drops the points that repeat the one before: a series unchanged over
// the border of two pieces, or every step of one that was asked for whole.
func settle(all []Series) []Series {
	for i := range all {
		all[i].Points = slices.Clip(slices.CompactFunc(all[i].Points, func(a, b Point) bool {
			return a.Gone == b.Gone && (a.Gone || a.V == b.V || (math.IsNaN(a.V) && math.IsNaN(b.V)))
		}))
	}
	return all
}

// Bytes is about how much memory the answer takes.
func (a Answer) Bytes() int64 {
	n := int64(64)
	for _, s := range a.Series {
		n += 96 + int64(cap(s.Points))*24
		for k, v := range s.Labels {
			n += 64 + int64(len(k)+len(v))
		}
	}
	return n
}

// LabelValues lists the values of a label on the series that match.
func (c *Client) LabelValues(ctx context.Context, label string, matches []string, from, to time.Time) ([]string, error) {
	var out []string
	err := c.do(ctx, func(ctx context.Context) error {
		v, _, _, err := c.api.LabelValues(ctx, label, matches, from, to)
		for _, x := range v {
			out = append(out, string(x))
		}
		return err
	})
	return out, err
}

// LabelNames lists the labels of the series that match.
func (c *Client) LabelNames(ctx context.Context, matches []string, from, to time.Time) ([]string, error) {
	var out []string
	err := c.do(ctx, func(ctx context.Context) error {
		v, _, _, err := c.api.LabelNames(ctx, matches, from, to)
		for _, x := range v {
			out = append(out, string(x))
		}
		return err
	})
	return out, err
}

// Version is the version of the server, or "" when it does not tell.
func (c *Client) Version(ctx context.Context) string {
	var out string
	_ = c.do(ctx, func(ctx context.Context) error {
		b, err := c.api.Buildinfo(ctx)
		out = b.Version
		return err
	})
	return out
}
