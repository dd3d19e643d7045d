package forecasting

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/forecast"
)

// PromQuery asks a Prometheus-compatible API for the history of one series.
type PromQuery struct {
	URL        string // without user and password
	Expr       string // must give one series
	Start, End time.Time
	// Step is the resolution; 0 is the finest within the limit of 11,000 points.
	Step time.Duration
	// EverySample takes each sample for an iteration. Without it, a value that
	// repeats is one iteration, scraped many times.
	EverySample bool
	Client      *http.Client // nil is the default
}

// advised adds to an error of the API what to do about it.
func advised(err error) error {
	what := "is that the address of a Prometheus-compatible API, such as http://localhost:9090? Correct --prometheus.url"
	var network *url.Error
	var answer *promv1.Error
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &network):
		what = "is Prometheus running there, and can this machine reach it? Start it, correct --prometheus.url, or give the history as --csv"
	case errors.As(err, &answer) && answer.Type == promv1.ErrBadData:
		what = "correct --query"
	case errors.As(err, &answer) && answer.Type == promv1.ErrExec:
		what = "ask for less: a shorter --last, a longer --step or a narrower --query"
	case errors.As(err, &answer) && answer.Type == promv1.ErrServer:
		what = "ask for less (a shorter --last, a longer --step), or again once the server is well: its own log says more"
	}
	return fmt.Errorf("%w: %s", err, what)
}

// maxPoints is what Prometheus answers at most for one series.
const maxPoints = 11000

// ReadPrometheus returns the history as observations, and the series' labels.
func ReadPrometheus(ctx context.Context, q PromQuery) ([]forecast.Observation, string, error) {
	u, err := url.Parse(q.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, "", fmt.Errorf("read history from Prometheus: the address is not one such as http://localhost:9090")
	}
	if u.User != nil {
		return nil, "", fmt.Errorf("read history from Prometheus: the address must hold no user or password")
	}
	fail := func(err error) ([]forecast.Observation, string, error) {
		return nil, "", fmt.Errorf("read history of %s from %s: %w", q.Expr, u.Redacted(), err)
	}
	config := api.Config{Address: q.URL}
	if q.Client != nil {
		config.Client = q.Client
	}
	client, err := api.NewClient(config)
	if err != nil {
		return fail(err)
	}
	step := q.Step
	if finest := time.Duration(math.Ceil(q.End.Sub(q.Start).Seconds()/maxPoints)) * time.Second; step == 0 {
		step = max(finest, 15*time.Second)
	} else if step < finest {
		return fail(fmt.Errorf("a step of %s gives more than %d points: use one of at least %s, or a shorter range", step, maxPoints, finest))
	}
	value, _, _, err := promv1.NewAPI(client).QueryRange(ctx, q.Expr, promv1.Range{Start: q.Start, End: q.End, Step: step})
	if err != nil {
		return fail(advised(err))
	}
	matrix, ok := value.(model.Matrix)
	if !ok {
		return fail(fmt.Errorf("it gives a %s, not series over time", value.Type()))
	}
	switch len(matrix) {
	case 0:
		return fail(fmt.Errorf("it gives no series: widen the range, or correct the expression"))
	case 1:
	default:
		return fail(fmt.Errorf("it gives %d series: select one, such as %s", len(matrix), matrix[0].Metric))
	}
	var out []forecast.Observation
	for _, p := range matrix[0].Values {
		v := float64(p.Value)
		if math.IsNaN(v) || math.IsInf(v, 0) {
			continue // unknown at that moment, not an iteration without result
		}
		if n := len(out); n > 0 && !q.EverySample && out[n-1].Value == v {
			continue
		}
		out = append(out, forecast.Observation{Time: p.Timestamp.Time().UTC(), Value: v, Valid: true})
	}
	return out, matrix[0].Metric.String(), nil
}
