// Package push sends an export of the history to a store of metrics by Prometheus'
// remote write.
package push

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/outside"
)

// perRequest is how many samples one request holds: what Prometheus itself sends.
const perRequest = 2000

// Options of a Writer.
type Options struct {
	URL  string // of the remote write endpoint, without user and password
	HTTP *http.Client
	Log  *slog.Logger
	// Skip is how many samples the store took before: they are left out.
	Skip int64
	// Taken is called after each request with the samples that the store has taken in
	// all, those that were skipped included; nil for nobody.
	Taken func(samples int64) error
}

// Writer implements metrics.Samples: it sends samples in requests of bounded size.
// Close sends the rest.
type Writer struct {
	ctx   context.Context
	o     Options
	host  string
	api   *remote.API
	batch []prompb.TimeSeries
	size  int   // samples in batch
	taken int64 // by the store, or skipped
	seen  int64 // samples of the export so far

	series string // of the newest sample
	labels []prompb.Label
}

// New makes a writer; nothing is sent yet. It sends until ctx ends.
func New(ctx context.Context, o Options) (*Writer, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the address is not one such as http://localhost:9090/api/v1/write: correct --remote-write")
	case u.User != nil:
		return nil, errors.New("the address must hold no user or password: remove them from --remote-write and name a file with --http.config.file")
	}
	client := *o.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // credentials would follow
	api, err := remote.NewAPI(o.URL, remote.WithAPIPath(""), remote.WithAPIHTTPClient(&client),
		remote.WithAPIBackoff(remote.BackoffConfig{Min: 500 * time.Millisecond, Max: 10 * time.Second, MaxRetries: 8}))
	if err != nil {
		return nil, err
	}
	return &Writer{ctx: ctx, o: o, host: u.Scheme + "://" + u.Host, api: api, taken: o.Skip}, nil
}

// Family implements metrics.Samples: a store learns types from scrapes.
func (w *Writer) Family(metrics.Family) error { return nil }

var syntax = parser.NewParser(parser.Options{})

// Sample implements metrics.Samples.
func (w *Writer) Sample(series string, v float64, at int64) error {
	if w.seen++; w.seen <= w.o.Skip {
		return nil
	}
	if series != w.series {
		parsed, err := syntax.ParseMetric(series)
		if err != nil {
			return fmt.Errorf("send %s: %w", series, err)
		}
		w.series, w.labels = series, protobuf(parsed)
	}
	if n := len(w.batch); n > 0 && &w.batch[n-1].Labels[0] == &w.labels[0] {
		w.batch[n-1].Samples = append(w.batch[n-1].Samples, prompb.Sample{Value: v, Timestamp: at})
	} else {
		w.batch = append(w.batch, prompb.TimeSeries{Labels: w.labels, Samples: []prompb.Sample{{Value: v, Timestamp: at}}})
	}
	if w.size++; w.size >= perRequest {
		return w.send()
	}
	return nil
}

// protobuf is labels, sorted, as a request has them; a label without a value is
// none.
func protobuf(all labels.Labels) []prompb.Label {
	var out []prompb.Label
	all.Range(func(l labels.Label) {
		if l.Value != "" {
			out = append(out, prompb.Label{Name: l.Name, Value: l.Value})
		}
	})
	return out
}

// Close sends what is left and returns how many samples the store took now.
func (w *Writer) Close() (samples int64, err error) {
	if w.size > 0 {
		err = w.send()
	}
	return w.taken - w.o.Skip, err
}

func (w *Writer) send() error {
	request := &prompb.WriteRequest{Timeseries: w.batch}
	_, err := w.api.Write(w.ctx, remote.WriteV1MessageType, request, remote.WithWriteRetryCallback(func(err error) {
		w.o.Log.Warn("Store does not accept samples for now", "store", w.host, "err", short(err))
	}))
	if err != nil {
		return w.explain(err)
	}
	w.taken += int64(w.size)
	w.batch, w.size = nil, 0
	if w.o.Taken != nil {
		return w.o.Taken(w.taken)
	}
	return nil
}

var tooOld = regexp.MustCompile(`(?i)out of (order|bounds)|too old|too far in the past|timestamp-too-old|sample-out-of-order`)

// explain says what to do about an error. It names the host alone: a path or
// query may hold a secret.
func (w *Writer) explain(err error) error {
	if w.ctx.Err() != nil {
		return fmt.Errorf("send samples to %s: %w", w.host, w.ctx.Err())
	}
	way := "check its log and run the same command again; samples that the store already has do no harm"
	switch text := err.Error(); {
	case tooOld.MatchString(text):
		way = "it does not accept samples this old: set out_of_order_time_window (Thanos Receive: --tsdb.out-of-order.time-window) to more than the age of the history (docs/deployment.md), or import an export with promtool"
	case strings.Contains(text, "no org id"):
		way = "it has tenants: name yours in the file of --http.config.file, such as http_headers: {X-Scope-OrgID: {values: [vision]}}"
	case strings.Contains(text, "status 401"), strings.Contains(text, "status 403"):
		way = "correct its credentials in the file of --http.config.file"
	case strings.Contains(text, "status 404"), strings.Contains(text, "status 405"):
		way = "it does not accept remote write at this address: Prometheus needs --web.enable-remote-write-receiver, and the path is /api/v1/write, for Mimir /api/v1/push"
	}
	return fmt.Errorf("send samples to %s: %s: %s", w.host, short(err), way)
}

// short is the text of an error without addresses, of bounded length.
func short(err error) string {
	var link *url.Error
	if errors.As(err, &link) {
		err = link.Err
	}
	return outside.Line(err.Error(), 300)
}
