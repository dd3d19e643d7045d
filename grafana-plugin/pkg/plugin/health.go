package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/plancast/plancast/grafana-plugin/pkg/models"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/units"
)

// CheckHealth asks a real question over the same path as every query, and says
// what it found.
func (d *Datasource) CheckHealth(ctx context.Context, req *backend.CheckHealthRequest) (*backend.CheckHealthResult, error) {
	now := d.now()
	bad := func(err error) (*backend.CheckHealthResult, error) {
		r := failed(err)
		if r.Status == backend.StatusInternal {
			backend.Logger.Error("the health check failed", "error", err.Error())
			return &backend.CheckHealthResult{Status: backend.HealthStatusError, Message: "the check failed; the plugin's log has the details"}, nil
		}
		return &backend.CheckHealthResult{Status: backend.HealthStatusError, Message: r.Error.Error()}, nil
	}
	if _, err := d.client.Instant(ctx, "1 + 1", now); err != nil {
		return bad(err)
	}
	question, _ := json.Marshal(map[string]any{
		"type": models.Probability, "joint": true, "history": "1d",
		"criteria": []map[string]string{{"expr": terms.IterationSeries, "comparison": ">=", "target": "0"}},
	})
	if r := d.answer(ctx, backend.DataQuery{RefID: "health", JSON: question, TimeRange: backend.TimeRange{From: now.Add(-time.Hour), To: now}}, identity(req.GetHTTPHeaders())); r.Error != nil {
		return bad(r.Error)
	}
	message := "Prometheus"
	if v := d.client.Version(ctx); v != "" {
		message += " " + v
	}
	series, err := d.client.Instant(ctx, `count({__name__=~"plancast_.+"})`, now)
	if err != nil {
		return bad(err)
	}
	if len(series) == 0 {
		message += " answers; it has no plancast series yet (other metrics work as well)"
	} else {
		message += ", " + count(int(series[0].Value), "plancast series", "plancast series")
		if newest, err := d.client.Instant(ctx, "max("+terms.TimestampSeries+")", now); err == nil && len(newest) > 0 {
			age := now.Sub(time.Unix(int64(newest[0].Value), 0))
			message += fmt.Sprintf(", newest result %s old", units.Format(max(age, 0).Seconds(), units.Seconds))
		}
	}
	return &backend.CheckHealthResult{Status: backend.HealthStatusOk, Message: message}, nil
}
