package fleet

import (
	"fmt"
	"net/http"
	"strings"

	promconfig "github.com/prometheus/common/config"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/tsdb/prom"
)

// tenantHeader names the tenant to Mimir and Cortex.
const tenantHeader = "X-Scope-OrgID"

// memory is what the answers to one question may take: a year of some 20,000
// series.
const memory = 512 << 20

// connect makes a client of the store; nothing is asked yet.
func connect(p config.Prometheus) (*prom.Client, error) {
	settings, err := promconfig.LoadHTTPConfig(p.HTTP)
	if err == nil {
		err = settings.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("source.prometheus.http is not a Prometheus http_config: %s", withoutValues(err.Error()))
	}
	settings.SetDirectory(p.Folder)
	if p.Tenant != "" {
		if settings.HTTPHeaders == nil {
			settings.HTTPHeaders = &promconfig.Headers{Headers: map[string]promconfig.Header{}}
		}
		settings.HTTPHeaders.Headers[tenantHeader] = promconfig.Header{Values: []string{p.Tenant}}
	}
	credentials := "correct source.prometheus.http"
	if p.Tenant == "" {
		credentials += ", and name your tenant as source.prometheus.tenant if the store has tenants"
	}
	client, err := promconfig.NewClientFromConfig(*settings, "plancast")
	if err != nil {
		return nil, fmt.Errorf("source.prometheus.http cannot be used: %w", err)
	}
	client.Timeout = p.Timeout
	return prom.New(prom.Options{
		URL: p.URL, Method: http.MethodPost, HTTP: client, MaxSeries: p.Series, MaxBytes: p.Bytes, Memory: memory, Requests: p.Requests, Resolution: p.Resolution,
		Hints: prom.Hints{
			URL: "correct source.prometheus.url", Credentials: credentials, TLS: "name its CA in source.prometheus.http.tls_config",
			Timeout: "raise source.prometheus.timeout", Size: "raise source.prometheus.max_bytes", Series: " by source.prometheus.max_series",
			Requests: "lower source.prometheus.max_requests",
		},
	})
}

// withoutValues keeps of an error of YAML what quotes no value: it may be a secret.
func withoutValues(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if from, to := strings.IndexByte(line, '`'), strings.LastIndexByte(line, '`'); from >= 0 && to > from {
			line = line[:from] + "a value" + line[to+1:]
		}
		out = append(out, line)
	}
	return strings.Join(out, " ")
}
