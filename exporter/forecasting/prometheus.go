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
	Client      *http.Client
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
	c, err := q.connect()
	if err != nil {
		return s, nil, nil, fmt.Errorf("read history from Prometheus: %w", err)
	}
	defer c.Close()
	l := tsdb.NewLoader(c, tsdb.Settings{Resolution: resolution}, func() time.Time { return q.Now })
	h, err := q.load(ctx, l, q.Expr)
	if err != nil {
		return s, nil, nil, err
	}
	one := h.Series[0]
	if n := len(h.Series); n > 1 {
		return s, nil, nil, fmt.Errorf("read history of %s: it has %d series: select one by its labels, such as %s", q.Expr, n, one.Labels)
	}
	for _, expr := range q.Siblings {
		others, err := q.load(ctx, l, expr)
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

// connect checks what q asks for and makes a client of its API; no request is made.
func (q PromQuery) connect() (*prom.Client, error) {
	u, err := url.Parse(q.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the address is not one such as http://localhost:9090: correct --prometheus.url")
	case u.User != nil:
		return nil, errors.New("the address must hold no user or password: remove them from --prometheus.url")
	case q.LookBack < time.Minute || q.LookBack > terms.MaxLookBack:
		return nil, fmt.Errorf("it looks back %s: use --last between 1m and %s", terms.FormatDuration(q.LookBack), terms.FormatDuration(terms.MaxLookBack))
	}
	return prom.New(prom.Options{
		URL: q.URL, Method: http.MethodPost, HTTP: q.Client, MaxSeries: maxSeries, MaxBytes: maxBytes, Requests: requests, Resolution: resolution,
		Hints: prom.Hints{URL: "correct --prometheus.url", Timeout: "raise --prometheus.timeout", Credentials: "correct the file of --http.config.file", Size: "select one series"},
	})
}

// load reads the history of expr, which has at least one series. The errors of l name
// the server.
func (q PromQuery) load(ctx context.Context, l *tsdb.Loader, expr string) (*tsdb.History, error) {
	query := tsdb.Query{
		Model: "model", By: iterations.BySeries, IterationOf: terms.IterationSeries, TimeOf: terms.TimestampSeries,
		History: q.LookBack, Resolution: resolution, Criteria: []tsdb.Criterion{{Expr: expr, Criterion: q.Criterion}},
	}
	if q.EverySample {
		query.By = iterations.BySample
	}
	if q.Step > 0 {
		query.Resolution, query.Exact = q.Step, true
	}
	h, err := l.Load(ctx, query, q.Now, "")
	if err == nil && len(h.Series) == 0 {
		err = fmt.Errorf("it has no series in %s: look further back with --last, or correct the expression", terms.FormatLookBack(q.LookBack))
	}
	if err != nil {
		return nil, fmt.Errorf("read history of %s: %w", expr, err)
	}
	return h, nil
}
