//go:build cgo

// The exporter reads GPUs through cgo; the plugin itself is built without.

// Package equality compares the two programs: for the same evidence the plugin
// says, out of a real Prometheus, the very number that the exporter publishes.
package equality_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/fleet"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/grafana-plugin/pkg/plugin"
	"github.com/plancast/plancast/tsdb/promtest"
	"github.com/plancast/plancast/units"
)

var (
	begin = time.Date(2025, 3, 3, 9, 0, 0, 0, time.UTC)
	now   = begin.AddDate(0, 0, 15)
)

const scrape = 30 * time.Minute

var (
	fast     = forecast.Criterion{Metric: "p99", Comparison: forecast.Below, Target: 0.032, Unit: units.Seconds}
	faithful = forecast.Criterion{Metric: "accuracy_deviation", Comparison: forecast.Below, Target: 0.005, Unit: units.Ratio}
	many     = forecast.Criterion{Metric: "throughput", Comparison: forecast.AtLeast, Target: 30, Unit: units.PerSec}
)

func TestTheProbabilityOfAMilestoneIsTheOneThatTheExporterPublishes(t *testing.T) {
	best := config.Select{Precision: config.Best}
	due := now.AddDate(0, 0, 6)
	ms := []config.Milestone{
		{Name: "one precision, by a date", Select: config.Select{Precision: "int8"}, Criteria: []forecast.Criterion{fast}, Share: 1, Deadline: due, Ready: 0.9},
		{Name: "one precision, two criteria", Select: config.Select{Precision: "int8"}, Criteria: []forecast.Criterion{fast, faithful}, Share: 0.5, Horizon: 5, Ready: 0.8},
		{Name: "best of two precisions", Select: best, Criteria: []forecast.Criterion{fast}, Share: 1, Horizon: 4, Ready: 0.9},
		{Name: "best of two precisions, which must meet two criteria at once", Select: best, Criteria: []forecast.Criterion{fast, faithful}, Share: 1, Deadline: due, Ready: 0.9},
		{Name: "three criteria, within iterations and by a date", Select: best, Criteria: []forecast.Criterion{fast, faithful, many}, Share: 0.5, Deadline: due, Horizon: 5, Ready: 0.9},
		{Name: "a team that says that nobody works on it", Select: best, Criteria: []forecast.Criterion{fast}, Share: 1, Horizon: 4, Ready: 0.9, Effort: forecast.Maintenance},
		{Name: "some models", Select: config.Select{Precision: config.Best, Models: []string{"resnet*"}}, Criteria: []forecast.Criterion{fast, faithful}, Share: 1, Deadline: due, Ready: 0.9},
	}
	steady := func(d *diary) {
		d.candidates("bert-base", 14, 0.075, nil)
		d.candidates("resnet50", 14, 0.085, nil)
	}
	// failing moves resnet50 to another environment, on a device, where its only build fails.
	failing := func(device string) func(*diary) {
		return func(d *diary) {
			d.candidates("bert-base", 14, 0.075, nil)
			d.candidates("resnet50", 14, 0.085, func(i int, r *history.Record) bool {
				if i == 14 {
					r.Fingerprint, r.Device, r.Iteration = "aa00c4418d21", device, 1
					fail(r)
				}
				return true
			})
		}
	}
	// longAgo does so three days before now, and nothing was measured since.
	longAgo := func(d *diary) {
		d.candidates("bert-base", 14, 0.075, nil)
		d.candidates("resnet50", 12, 0.085, func(i int, r *history.Record) bool {
			if i == 12 {
				r.Fingerprint, r.Iteration = "aa00c4418d21", 1
				fail(r)
			}
			return true
		})
	}
	for _, c := range []struct {
		name  string
		write func(*diary)
		text  func(*diary, *testing.T, []config.Milestone) (string, []*dto.MetricFamily)
		// unknown says that one model has no result, so that milestones that need
		// all of theirs have no probability.
		unknown bool
	}{
		{name: "steady progress", write: steady, text: (*diary).scraped},
		{name: "steady progress, out of the exported history", write: steady, text: (*diary).exported},
		{name: "nothing but failures in another environment", write: failing("NVIDIA L4"), text: (*diary).scraped, unknown: true},
		{name: "nothing but failures in another environment, on another device", write: failing("NVIDIA L40S"), text: (*diary).scraped, unknown: true},
		{name: "nothing but failures in another environment for more than a day", write: longAgo, text: (*diary).scraped, unknown: true},
		{name: "a model left the repository three days ago", write: func(d *diary) {
			steady(d)
			d.left = map[string]time.Time{"resnet50": now.AddDate(0, 0, -3)}
		}, text: (*diary).scraped, unknown: true},
		{name: "a model never had a result", write: func(d *diary) {
			d.candidates("bert-base", 14, 0.075, nil)
			d.candidates("resnet50", 3, 0.085, func(_ int, r *history.Record) bool { fail(r); return true })
		}, text: (*diary).scraped, unknown: true},
		{name: "an int8 build failed in between", write: func(d *diary) {
			d.candidates("bert-base", 14, 0.075, nil)
			d.candidates("resnet50", 14, 0.085, func(i int, r *history.Record) bool {
				if r.Precision == engine.INT8 && i == 9 {
					fail(r)
				}
				return true
			})
		}, text: (*diary).scraped},
		{name: "int8 had no effect at times, and of late", write: func(d *diary) {
			idle := func(at ...int) func(int, *history.Record) bool {
				return func(i int, r *history.Record) bool {
					if r.Precision == engine.INT8 && slices.Contains(at, i) {
						r.Measurement.Layers.NoEffect = "none of the 59 layers that multiply runs in 8 bits"
					}
					return true
				}
			}
			d.candidates("bert-base", 14, 0.075, idle(4, 5, 9))
			d.candidates("resnet50", 14, 0.085, idle(7, 14))
		}, text: (*diary).scraped},
		{name: "the newest candidate is not through", write: func(d *diary) {
			d.candidates("bert-base", 14, 0.075, nil)
			d.candidates("resnet50", 14, 0.085, func(i int, r *history.Record) bool { return i < 14 || r.Precision != engine.INT8 })
		}, text: (*diary).scraped},
		{name: "the newest result was excluded, and one before that", write: func(d *diary) {
			d.candidates("bert-base", 14, 0.075, nil)
			d.candidates("resnet50", 14, 0.085, func(i int, r *history.Record) bool {
				if i == 8 || i == 14 {
					exclude(r, r.Finished.Add(3*time.Hour))
				}
				return true
			})
		}, text: (*diary).scraped},
		{name: "candidates were measured again", write: func(d *diary) {
			d.candidates("bert-base", 14, 0.075, nil)
			d.candidates("resnet50", 13, 0.085, nil)
			d.again("resnet50", 13, begin.AddDate(0, 0, 14), 0.8)
		}, text: (*diary).scraped},
		{name: "another environment since candidate 6", write: func(d *diary) {
			move := func(i int, r *history.Record) bool {
				if i >= 6 {
					r.Fingerprint, r.Device, r.Iteration = "aa00c4418d21", "NVIDIA L40S", i-5
				}
				return true
			}
			d.candidates("bert-base", 14, 0.075, move)
			d.candidates("resnet50", 14, 0.085, move)
		}, text: (*diary).scraped},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d diary
			c.write(&d)
			everywhere(t, &d, ms, c.text, c.unknown)
		})
	}
}

// everywhere holds what plugin and fleet daemon make of a diary against what its exporter
// publishes. unknown says that milestones that need all of their models have no
// probability.
func everywhere(t *testing.T, d *diary, ms []config.Milestone, text func(*diary, *testing.T, []config.Milestone) (string, []*dto.MetricFamily), unknown bool) {
	t.Helper()
	written, families := text(d, t, ms)
	want := published(families)
	store := promtest.Store{URL: promtest.Start(t, written)}
	source := dataSource(t, store)
	req := &backend.QueryDataRequest{}
	for _, m := range ms {
		q, err := json.Marshal(map[string]any{"type": "probability", "source": "milestone", "milestone": m.Name, "resolution": "30m"})
		if err != nil {
			t.Fatal(err)
		}
		req.Queries = append(req.Queries, backend.DataQuery{RefID: m.Name, JSON: q, TimeRange: backend.TimeRange{From: begin, To: now}})
	}
	answer, err := source.QueryData(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	shown := gathered(t, fleetDaemon(t, store, []string{"model"}, ms, now))
	fleet := published(shown)
	if got, want := states(shown), states(families); !maps.Equal(got, want) {
		t.Errorf("the fleet daemon publishes the states %v, the exporter %v", got, want)
	}
	for _, m := range ms {
		p, known := want[m.Name]
		if known == (unknown && m.Share == 1) {
			t.Errorf("%s: the exporter publishes a probability: %v", m.Name, known)
		}
		if got, ok := fleet[m.Name]; ok != known || got != p {
			t.Errorf("%s: the fleet daemon says %v (%v), the exporter %v (%v)", m.Name, got, ok, p, known)
		}
		r := answer.Responses[m.Name]
		if r.Error != nil {
			t.Errorf("%s: %v", m.Name, r.Error)
			continue
		}
		got, ok := r.Frames[0].Fields[0].ConcreteAt(0)
		if ok != known || ok && got.(float64) != p {
			t.Errorf("%s: the plugin says %v (%v), the exporter %v (%v)", m.Name, got, ok, p, known)
			for _, n := range r.Frames[0].Meta.Notices {
				t.Log(n.Text)
			}
		}
		if known && (p == 0 || p == 1) {
			t.Errorf("%s: the exporter says %v, which proves little", m.Name, p)
		}
	}
}

// dataSource is one over the store, until the end of the test.
func dataSource(t *testing.T, store promtest.Store) *plugin.Datasource {
	t.Helper()
	settings := backend.DataSourceInstanceSettings{URL: store.URL, JSONData: []byte(`{"history":"90d","resolution":"30m"}`)}
	if store.Tenant != "" {
		settings.JSONData = []byte(`{"history":"90d","resolution":"30m","httpHeaderName1":"` + promtest.TenantHeader + `"}`)
		settings.DecryptedSecureJSONData = map[string]string{"httpHeaderValue1": store.Tenant}
	}
	instance, err := plugin.New(t.Context(), settings)
	if err != nil {
		t.Fatal(err)
	}
	source := instance.(*plugin.Datasource)
	t.Cleanup(source.Dispose)
	return source
}

// fleetOf is what a fleet daemon publishes that reads a store.
func fleetOf(t *testing.T, store promtest.Store, by []string, ms []config.Milestone, at time.Time) map[string]float64 {
	t.Helper()
	return published(gathered(t, fleetDaemon(t, store, by, ms, at)))
}

// fleetDaemon is one that has read the store once.
func fleetDaemon(t *testing.T, store promtest.Store, by []string, ms []config.Milestone, at time.Time) *fleet.Daemon {
	t.Helper()
	d := openFleet(t, store, by, ms, func() time.Time { return at })
	d.Read(t.Context())
	return d
}

func openFleet(t *testing.T, store promtest.Store, by []string, ms []config.Milestone, clock func() time.Time) *fleet.Daemon {
	t.Helper()
	cfg := config.Default()
	cfg.Milestones = ms
	cfg.Source = &config.Prometheus{
		URL: store.URL, Tenant: store.Tenant, By: by, Interval: time.Minute, Timeout: time.Minute, LookBack: 90 * 24 * time.Hour, Resolution: scrape, Series: 10000, Bytes: 64 << 20, Requests: 6,
	}
	d, err := fleet.New(fleet.Options{Config: cfg, Now: clock, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// gathered is what a fleet daemon shows to a scrape.
func gathered(t *testing.T, d *fleet.Daemon) []*dto.MetricFamily {
	t.Helper()
	w := httptest.NewRecorder()
	d.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(maps.Values(families))
}
