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
	// Siblings are expressions for other series of the same metric and project.
	Siblings []string
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
// it, those of its siblings, and what a reader of it should know.
func ReadPrometheus(ctx context.Context, q PromQuery) (s forecast.Series, siblings []forecast.Series, notes []string, err error) {
	u, err := url.Parse(q.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return s, nil, nil, errors.New("read history from Prometheus: the address is not one such as http://localhost:9090: correct --prometheus.url")
	}
	if u.User != nil {
		return s, nil, nil, errors.New("read history from Prometheus: the address must hold no user or password: remove them from --prometheus.url")
	}
	expr := q.Expr
	defer func() {
		if err != nil {
			err = fmt.Errorf("read history of %s from %s://%s: %w", expr, u.Scheme, u.Host, err)
		}
	}()
	if q.LookBack < time.Minute || q.LookBack > terms.MaxLookBack {
		return s, nil, nil, fmt.Errorf("it looks back %s: use --last between 1m and %s", terms.FormatDuration(q.LookBack), terms.FormatDuration(terms.MaxLookBack))
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
		return s, nil, nil, err
	}
	defer c.Close()
	query := tsdb.Query{
		Model: "model", By: iterations.BySeries, IterationOf: terms.IterationSeries, TimeOf: terms.TimestampSeries,
		History: q.LookBack, Resolution: resolution,
	}
	if q.EverySample {
		query.By = iterations.BySample
	}
	if q.Step > 0 {
		query.Resolution, query.Exact = q.Step, true
	}
	l := tsdb.NewLoader(c, tsdb.Settings{Resolution: resolution}, func() time.Time { return q.Now })
	load := func() (*tsdb.History, error) {
		query.Criteria = []tsdb.Criterion{{Expr: expr, Criterion: q.Criterion}}
		h, err := l.Load(ctx, query, q.Now, "")
		if err == nil && len(h.Series) == 0 {
			err = fmt.Errorf("it has no series in %s: look further back with --last, or correct the expression", terms.FormatLookBack(q.LookBack))
		}
		return h, err
	}
	h, err := load()
	if err != nil {
		return s, nil, nil, err
	}
	one := h.Series[0]
	if n := len(h.Series); n > 1 {
		return s, nil, nil, fmt.Errorf("it has %d series: select one by its labels, such as %s", n, one.Labels)
	}
	for _, expr = range q.Siblings {
		others, err := load()
		if err != nil {
			return s, nil, nil, err
		}
		for _, x := range others.Series {
			if !x.Labels.Equal(one.Labels) {
				siblings = append(siblings, x.Forecast("", q.Now))
			}
		}
	}
	return one.Forecast("", q.Now), siblings, h.Notes, nil
}
