// Package prom asks a Prometheus-compatible API for histories: it plans the
// moments, asks for changes instead of samples, splits what is too much, reads
// answers as a stream within limits, and says what went wrong.
package prom

import (
	"cmp"
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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"
)

// Options of a client. All are needed but those that say otherwise.
type Options struct {
	URL        string
	Method     string // GET or POST
	HTTP       *http.Client
	MaxSeries  int
	MaxBytes   int64 // of one answer, decompressed
	Requests   int   // at the same time
	Resolution time.Duration
	// CloseIdle closes idle connections; nil is HTTP's own way, which does not
	// reach through a wrapped transport.
	CloseIdle func()
	Hints     Hints
}

// Client asks one API. It may be used concurrently.
type Client struct {
	base   *url.URL
	host   string
	o      Options
	http   http.Client
	gate   chan struct{}
	closed atomic.Bool
}

// New makes a client; no request is made. It never follows a redirect: whoever
// answers at the address could send credentials to another host.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("the URL of the API cannot be read")
	}
	c := &Client{base: u, host: u.Scheme + "://" + u.Host, o: o, http: *o.HTTP, gate: make(chan struct{}, o.Requests)}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http.Transport = unmoved{cmp.Or[http.RoundTripper](o.HTTP.Transport, http.DefaultTransport)}
	if c.o.CloseIdle == nil {
		c.o.CloseIdle = o.HTTP.CloseIdleConnections
	}
	c.o.Hints = c.o.Hints.orDefault()
	return c, nil
}

// Close lets go of idle connections; those in use follow when their answer is
// there.
func (c *Client) Close() {
	c.closed.Store(true)
	c.o.CloseIdle()
}

// request asks the API at path, and decodes what it answers.
func (c *Client) request(ctx context.Context, method, path string, form url.Values, d *decoder) (out answer, err error) {
	if err := ctx.Err(); err != nil {
		return out, c.explain(err)
	}
	select {
	case c.gate <- struct{}{}:
	case <-ctx.Done():
		return out, c.explain(ctx.Err())
	}
	defer func() {
		<-c.gate
		if c.closed.Load() {
			c.o.CloseIdle()
		}
	}()
	if d.budget == nil {
		d.budget = &budget{}
	}
	resp, err := c.send(ctx, method, path, form)
	if err == nil && method == http.MethodPost && (resp.StatusCode == http.StatusMethodNotAllowed || resp.StatusCode == http.StatusNotImplemented) {
		resp.Body.Close()
		resp, err = c.send(ctx, http.MethodGet, path, form) // some proxies pass on nothing else
	}
	if err != nil {
		return out, c.explain(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return out, c.explain(refusal(resp))
	}
	out, err = d.decode(&bounded{resp.Body, c.o.MaxBytes})
	if err == nil {
		// To its end, so that the connection can be used again.
		_, _ = io.CopyN(io.Discard, resp.Body, 1<<10)
	}
	return out, c.explain(err)
}

func (c *Client) send(ctx context.Context, method, path string, form url.Values) (*http.Response, error) {
	u := *c.base.JoinPath(path)
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	} else {
		u.RawQuery = form.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return c.http.Do(req)
}

// unmoved hides from http.Client where a redirect points: its errors would quote
// an address that cannot be parsed, with whatever is secret in it.
type unmoved struct{ http.RoundTripper }

const moved = "Plancast-Location"

func (u unmoved) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := u.RoundTripper.RoundTrip(req)
	if err == nil && resp.StatusCode/100 == 3 {
		resp.Header[moved] = resp.Header["Location"]
		resp.Header.Del("Location")
	}
	return resp, err
}

// refusal is the error of an answer whose status is not one of success.
func refusal(resp *http.Response) error {
	code := resp.StatusCode
	if to := resp.Header.Get(moved); to != "" {
		return &redirect{code: code, to: target(resp.Request.URL, to)}
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // an error of which a part has come says as much
	var api struct{ ErrorType, Error string }
	switch own := json.Unmarshal(body, &api) == nil && api.ErrorType != ""; {
	case own && (code >= 500 || code == http.StatusBadRequest || code == http.StatusUnprocessableEntity):
		return &apiError{api.ErrorType, api.Error[:min(len(api.Error), maxText)]} // also with 503, for a timeout
	case code == http.StatusBadRequest || code == http.StatusUnprocessableEntity:
		return errSyntax
	}
	return &httpStatus{code}
}

// target is the host that a redirect points to: no path, query or user, which
// may hold secrets.
func target(from *url.URL, to string) string {
	u, err := from.Parse(to)
	if err != nil || u.Host == "" || len(u.Host) > 200 {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

func seconds(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', -1, 64)
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

// Instant evaluates an expression at one moment.
func (c *Client) Instant(ctx context.Context, expr string, at time.Time) (model.Vector, error) {
	a, err := c.instant(ctx, expr, at, &decoder{maxSeries: c.o.MaxSeries})
	if err != nil {
		return nil, c.named(err, expr)
	}
	if a.kind != "vector" && a.kind != "scalar" {
		return nil, c.explain(errSyntax)
	}
	out := make(model.Vector, 0, len(a.series))
	for _, s := range a.series {
		if len(s.Points) > 0 {
			out = append(out, &model.Sample{Metric: s.Labels, Value: model.SampleValue(s.Points[0].V), Timestamp: model.Time(s.Points[0].T)})
		}
	}
	return out, nil
}

func (c *Client) instant(ctx context.Context, expr string, at time.Time, d *decoder) (answer, error) {
	return c.request(ctx, c.o.Method, "api/v1/query", url.Values{"query": {expr}, "time": {seconds(at)}}, d)
}

// named says which expression is too much.
func (c *Client) named(err error, expr string) error {
	switch {
	case errors.Is(err, errSeries):
		return refuse("%s has more series than the %d that are allowed%s: narrow it with labels, or aggregate it", shorten(expr), c.o.MaxSeries, c.o.Hints.Series)
	case errors.Is(err, errMemory):
		return refuse("the answer to %s takes more than %d MiB of memory: narrow it with labels, aggregate it, or shorten the history", shorten(expr), memory>>20)
	}
	return err
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
	return Answer{Series: a.series, Warnings: a.warnings, Requests: 2}, nil
}

// Steps returns the value at every step.
func (c *Client) Steps(ctx context.Context, e Expr, p Plan) (Answer, error) {
	w := e.window(p.lookback())
	return c.ranges(ctx, p, e, false, func(Piece) string { return w.String() })
}

// Changes returns the points at which a series appears, takes another value,
// or ends. The server finds them, so a year of history is a few points for
// each series.
func (c *Client) Changes(ctx context.Context, e Expr, p Plan) (Answer, error) {
	w := e.window(p.lookback())
	whole := func() (Answer, error) {
		return c.ranges(ctx, p, e, true, func(Piece) string { return w.String() })
	}
	if e.timed() {
		// Its past is not itself with an offset.
		return whole()
	}
	a, err := c.ranges(ctx, p, e, false, func(q Piece) string { return w.changes(q.Start, p.Step) })
	var known *Error
	if errors.As(err, &known) && strings.Contains(known.Text, "many-to-") {
		return whole()
	}
	if err != nil {
		return a, err
	}
	a.Series = settle(a.Series)
	return a, nil
}

// ranges asks for all pieces of a plan. When settled, points that repeat the one
// before are dropped while they are read.
func (c *Client) ranges(ctx context.Context, p Plan, e Expr, settled bool, text func(Piece) string) (Answer, error) {
	var (
		mu  sync.Mutex
		all []Series
		out Answer
	)
	used := &budget{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.o.Requests)
	var ask func(ctx context.Context, q Piece, depth int) error
	ask = func(ctx context.Context, q Piece, depth int) error {
		// A series and the marks of its end are two.
		d := &decoder{maxSeries: 2*c.o.MaxSeries + 2, settled: settled, budget: used}
		a, err := c.request(ctx, c.o.Method, "api/v1/query_range", url.Values{
			"query": {text(q)}, "start": {seconds(q.Start)}, "end": {seconds(q.End)}, "step": {strconv.FormatFloat(p.Step.Seconds(), 'f', -1, 64)},
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

// LabelValues lists the values of a label on the series that match.
func (c *Client) LabelValues(ctx context.Context, label string, matches []string, from, to time.Time) ([]string, error) {
	return c.names(ctx, http.MethodGet, "api/v1/label/"+url.PathEscape(label)+"/values", matches, from, to)
}

// LabelNames lists the labels of the series that match.
func (c *Client) LabelNames(ctx context.Context, matches []string, from, to time.Time) ([]string, error) {
	return c.names(ctx, c.o.Method, "api/v1/labels", matches, from, to)
}

func (c *Client) names(ctx context.Context, method, path string, matches []string, from, to time.Time) ([]string, error) {
	a, err := c.request(ctx, method, path, url.Values{"match[]": matches, "start": {seconds(from)}, "end": {seconds(to)}}, &decoder{})
	return a.strings, c.named(err, "the list of names")
}

// Version is the version of the server, or "" when it does not say.
func (c *Client) Version(ctx context.Context) string {
	a, err := c.request(ctx, http.MethodGet, "api/v1/status/buildinfo", nil, &decoder{})
	if err != nil {
		return ""
	}
	return a.version
}
