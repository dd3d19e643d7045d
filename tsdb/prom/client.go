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
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/common/model"
)

// Options of a client. All are needed but those that say otherwise.
type Options struct {
	URL        string
	Method     string // GET or POST
	HTTP       *http.Client
	MaxSeries  int
	MaxBytes   int64 // of one answer, decompressed
	Memory     int64 // that the answers to one question may take; 0 is 32 MiB
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
	c.o.Memory = cmp.Or(c.o.Memory, memory)
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
		d.budget = &budget{limit: c.o.Memory}
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

// At evaluates an expression at one moment: each series of the answer has one point.
func (c *Client) At(ctx context.Context, expr string, at time.Time) (Answer, error) {
	a, err := c.instant(ctx, expr, at, &decoder{maxSeries: c.o.MaxSeries})
	if err != nil {
		return Answer{}, c.named(err, expr)
	}
	if a.kind != "vector" && a.kind != "scalar" {
		return Answer{}, c.explain(errSyntax)
	}
	series := slices.DeleteFunc(a.series, func(s Series) bool { return len(s.Points) == 0 })
	return Answer{Series: series, Warnings: a.warnings, Requests: 1, Partial: a.partial}, nil
}

// Instant is At as a vector, for those whom a part of the store is enough.
func (c *Client) Instant(ctx context.Context, expr string, at time.Time) (model.Vector, error) {
	a, err := c.At(ctx, expr, at)
	if err != nil {
		return nil, err
	}
	out := make(model.Vector, len(a.Series))
	for i, s := range a.Series {
		out[i] = &model.Sample{Metric: s.Labels, Value: model.SampleValue(s.Points[0].V), Timestamp: model.Time(s.Points[0].T)}
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
		return refuse("the answer to %s takes more than %d MiB of memory: narrow it with labels, aggregate it, or shorten the history", shorten(expr), c.o.Memory>>20)
	}
	return err
}

// LabelValues lists the values of a label on the series that match.
func (c *Client) LabelValues(ctx context.Context, label string, matches []string, from, to time.Time) ([]string, error) {
	return c.names(ctx, http.MethodGet, "api/v1/label/"+url.PathEscape(label)+"/values", matches, from, to)
}

// Values is LabelValues, with what the store says of its answer, which has no series.
func (c *Client) Values(ctx context.Context, label string, matches []string, from, to time.Time) ([]string, Answer, error) {
	a, err := c.list(ctx, http.MethodGet, "api/v1/label/"+url.PathEscape(label)+"/values", matches, from, to)
	return a.strings, Answer{Warnings: a.warnings, Requests: 1, Partial: a.partial}, err
}

// LabelNames lists the labels of the series that match.
func (c *Client) LabelNames(ctx context.Context, matches []string, from, to time.Time) ([]string, error) {
	return c.names(ctx, c.o.Method, "api/v1/labels", matches, from, to)
}

func (c *Client) names(ctx context.Context, method, path string, matches []string, from, to time.Time) ([]string, error) {
	a, err := c.list(ctx, method, path, matches, from, to)
	return a.strings, err
}

func (c *Client) list(ctx context.Context, method, path string, matches []string, from, to time.Time) (answer, error) {
	a, err := c.request(ctx, method, path, url.Values{"match[]": matches, "start": {seconds(from)}, "end": {seconds(to)}}, &decoder{})
	return a, c.named(err, "the list of names")
}

// Version is the version of the server, or "" when it does not say.
func (c *Client) Version(ctx context.Context) string {
	a, err := c.request(ctx, http.MethodGet, "api/v1/status/buildinfo", nil, &decoder{})
	if err != nil {
		return ""
	}
	return a.version
}
