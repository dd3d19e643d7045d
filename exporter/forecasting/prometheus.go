package forecasting

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb"
	"github.com/plancast/plancast/tsdb/iterations"
	"github.com/plancast/plancast/tsdb/prom"
)

// PromQuery asks a Prometheus-compatible API for the history of one series.
type PromQuery struct {
	URL  string // without user and password
	Expr string // must give one series
	// Criterion is what the values have to meet.
	Criterion forecast.Criterion
	Now       time.Time
	LookBack  time.Duration
	// Step is the resolution; 0 is the finest that one request allows.
	Step time.Duration
	// EverySample takes each sample for an iteration. Without it, an iteration is
	// what plancast's own series count, or else a new value.
	EverySample bool
	Timeout     time.Duration // of one answer
	Client      *http.Client  // nil is one of its own
}

// The limits of what is read for one series.
const (
	maxSeries = 100
	maxBytes  = 64 << 20
	requests  = 6
	// resolution is the finest step that is asked for, the usual scrape interval.
	resolution = 15 * time.Second
)

// ReadPrometheus returns the history of one series, as the Grafana plugin reads
// it, and what a reader of it should know.
func ReadPrometheus(ctx context.Context, q PromQuery) (s forecast.Series, notes []string, err error) {
	u, err := url.Parse(q.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return s, nil, errors.New("read history from Prometheus: the address is not one such as http://localhost:9090: correct --prometheus.url")
	}
	if u.User != nil {
		return s, nil, errors.New("read history from Prometheus: the address must hold no user or password: remove them from --prometheus.url")
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("read history of %s from %s://%s: %w", q.Expr, u.Scheme, u.Host, err)
		}
	}()
	if q.LookBack < time.Minute || q.LookBack > terms.MaxLookBack {
		return s, nil, fmt.Errorf("it looks back %s: use --last between 1m and %s", terms.FormatDuration(q.LookBack), terms.FormatDuration(terms.MaxLookBack))
	}
	client := q.Client
	if client == nil {
		client = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone(), Timeout: q.Timeout}
	}
	c, err := prom.New(prom.Options{
		URL: q.URL, Method: http.MethodPost, HTTP: client, MaxSeries: maxSeries, MaxBytes: maxBytes, Requests: requests, Resolution: resolution,
		Hints: prom.Hints{URL: "correct --prometheus.url", Timeout: "raise --prometheus.timeout", Credentials: "no credentials are sent: give an address that needs none", Size: "select one series"},
	})
	if err != nil {
		return s, nil, err
	}
	defer c.Close()
	query := tsdb.Query{
		Criteria: []tsdb.Criterion{{Expr: q.Expr, Criterion: q.Criterion}}, Model: "model",
		By: iterations.BySeries, IterationOf: terms.IterationSeries, TimeOf: terms.TimestampSeries,
		History: q.LookBack, Resolution: resolution,
	}
	if q.EverySample {
		query.By = iterations.BySample
	}
	if q.Step > 0 {
		query.Resolution, query.Exact = q.Step, true
	}
	l := tsdb.NewLoader(c, tsdb.Settings{Resolution: resolution}, func() time.Time { return q.Now })
	h, err := l.Load(ctx, query, q.Now, "")
	if err != nil {
		return s, nil, err
	}
	switch len(h.Series) {
	case 0:
		return s, nil, fmt.Errorf("it has no series in %s: look further back with --last, or correct --query", terms.FormatLookBack(q.LookBack))
	case 1:
		return h.Series[0].Forecast("", q.Now), h.Notes, nil
	}
	return s, nil, fmt.Errorf("it has %d series: select one by its labels, such as %s", len(h.Series), h.Series[0].Labels)
}
