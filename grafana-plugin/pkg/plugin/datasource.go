// Package plugin answers Grafana: queries, resources and health checks, one
// file for each kind of question.
package plugin

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/httpclient"
	"github.com/grafana/grafana-plugin-sdk-go/backend/instancemgmt"
	"github.com/grafana/grafana-plugin-sdk-go/backend/resource/httpadapter"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"golang.org/x/sync/semaphore"

	"github.com/plancast/plancast/grafana-plugin/pkg/models"
	"github.com/plancast/plancast/tsdb"
	"github.com/plancast/plancast/tsdb/cache"
	"github.com/plancast/plancast/tsdb/prom"
)

// ID is the plugin's id.
const ID = "plancast-milestone-datasource"

// MemoryLimit is from how many bytes on the plugin collects garbage more
// eagerly, so that many who load large dashboards at once do not let it grow.
// GOMEMLIMIT overrides it.
const MemoryLimit = 200 << 20

var (
	_ backend.QueryDataHandler      = (*Datasource)(nil)
	_ backend.CallResourceHandler   = (*Datasource)(nil)
	_ backend.CheckHealthHandler    = (*Datasource)(nil)
	_ instancemgmt.InstanceDisposer = (*Datasource)(nil)
)

// Datasource is one configured data source. A change of its settings makes a
// new one; the old one answers what it has begun.
type Datasource struct {
	settings models.Settings
	client   *prom.Client
	loader   *tsdb.Loader
	answers  *cache.Cache[data.Frames]
	gate     *semaphore.Weighted
	now      func() time.Time
	backend.CallResourceHandler
}

// New makes the instance for settings.
func New(ctx context.Context, s backend.DataSourceInstanceSettings) (instancemgmt.Instance, error) {
	return newAt(ctx, s, time.Now)
}

func newAt(ctx context.Context, s backend.DataSourceInstanceSettings, now func() time.Time) (*Datasource, error) {
	settings, err := models.LoadSettings(s)
	if err != nil {
		return nil, backend.DownstreamError(fmt.Errorf("the settings of data source %q are not complete: %w", s.Name, err))
	}
	opts, err := s.HTTPClientOptions(ctx)
	if err != nil {
		return nil, backend.DownstreamError(fmt.Errorf("the HTTP settings of data source %q cannot be used: %w", s.Name, err))
	}
	opts.ForwardHTTPHeaders = settings.OAuth || len(forwardedCookies(s.JSONData)) > 0
	var transport *http.Transport
	configure := opts.ConfigureTransport
	opts.ConfigureTransport = func(o httpclient.Options, t *http.Transport) {
		if configure != nil {
			configure(o, t)
		}
		transport = t
	}
	client, err := httpclient.New(opts)
	if err != nil {
		return nil, backend.DownstreamError(fmt.Errorf("the TLS or proxy settings of data source %q cannot be used: %w", s.Name, err))
	}
	p, err := prom.New(prom.Options{
		URL: settings.URL, Method: settings.Method, HTTP: client, MaxSeries: settings.MaxSeries,
		MaxBytes: settings.MaxBytes, Requests: settings.Requests, Resolution: settings.Resolution,
		// The SDK wraps the transport, so that its connections can only be closed here.
		CloseIdle: transport.CloseIdleConnections,
		Hints: prom.Hints{
			Credentials: "check Authentication in the data source's settings", TLS: "add its CA certificate under TLS settings",
			Timeout: "raise the timeout in the data source's settings", Size: "raise the limit in the data source's settings",
			Series: " by the data source's settings", Requests: "lower the number of requests in the data source's settings",
			Method: "set the HTTP method to POST",
		},
	})
	if err != nil {
		return nil, backend.DownstreamError(err)
	}
	d := &Datasource{settings: settings, client: p, loader: tsdb.NewLoader(p, settings.Loader(), now), answers: cache.New(settings.CacheBytes/8, size, now), gate: semaphore.NewWeighted(1), now: now}
	d.CallResourceHandler = httpadapter.New(d.routes())
	return d, nil
}

// Dispose closes idle connections; queries under way continue.
func (d *Datasource) Dispose() { d.client.Close() }
