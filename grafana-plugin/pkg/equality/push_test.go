//go:build cgo

package equality_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/push"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/grafana-plugin/pkg/plugin"
	"github.com/plancast/plancast/tsdb/promtest"
)

// A history that was pushed is the same evidence as one that was scraped: it has
// failures, an environment that changed, and a sample on both sides of each change.
func TestAPushedHistoryIsTheSameEvidence(t *testing.T) {
	var d diary
	d.candidates("bert-base", 14, 0.075, func(i int, r *history.Record) bool {
		if i >= 6 {
			r.Fingerprint, r.Iteration = "aa00c4418d21", i-5
		}
		return true
	})
	d.candidates("resnet50", 14, 0.085, func(i int, r *history.Record) bool {
		if r.Precision == engine.INT8 && i == 9 {
			fail(r)
		}
		return true
	})
	ms := []config.Milestone{{
		Name: "spring", Select: config.Select{Precision: config.Best}, Criteria: []forecast.Criterion{fast, faithful}, Share: 0.5, Deadline: now.AddDate(0, 0, 6), Ready: 0.9,
	}}
	in := d.input(ms, now)
	families := gather(t, in)
	want := published(families)["spring"]
	if want == 0 || want == 1 {
		t.Fatalf("the exporter says %v, which proves little", want)
	}
	for _, s := range []struct {
		name  string
		start func() string
		flush func(address string)
	}{
		{"Prometheus", func() string { return promtest.StartReceiver(t, "10y") }, func(string) {}},
		{"VictoriaMetrics", func() string { return promtest.StartEmptyVictoriaMetrics(t) }, func(address string) { promtest.FlushVictoriaMetrics(t, address) }},
	} {
		t.Run(s.name, func(t *testing.T) {
			address := s.start()
			w, err := push.New(t.Context(), push.Options{URL: address + "/api/v1/write", HTTP: http.DefaultClient, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			records := func(yield func(history.Record, error) bool) {
				for _, r := range in.Records {
					if !yield(r, nil) {
						return
					}
				}
			}
			if err := metrics.WriteSamples(w, records, metrics.ExportOptions{Edges: true, Until: now}); err != nil {
				t.Fatal(err)
			}
			for _, f := range families { // as scraped once
				if n := f.GetName(); strings.HasPrefix(n, "plancast_milestone_") {
					for _, m := range f.GetMetric() {
						if err := w.Sample(n+"{"+labels(m)+"}", m.GetGauge().GetValue(), now.UnixMilli()); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
			sent, err := w.Close()
			if err != nil || sent < 500 {
				t.Fatal(sent, err)
			}
			s.flush(address)

			if got := fleetOf(t, address, []string{"model"}, ms, now)["spring"]; got != want {
				t.Errorf("the fleet daemon says %v, the exporter %v", got, want)
			}
			instance, err := plugin.New(context.Background(), backend.DataSourceInstanceSettings{URL: address, JSONData: []byte(`{"history":"90d","resolution":"30m"}`)})
			if err != nil {
				t.Fatal(err)
			}
			source := instance.(*plugin.Datasource)
			defer source.Dispose()
			q, err := json.Marshal(map[string]any{"type": "probability", "source": "milestone", "milestone": "spring", "resolution": "30m"})
			if err != nil {
				t.Fatal(err)
			}
			answer, err := source.QueryData(context.Background(), &backend.QueryDataRequest{Queries: []backend.DataQuery{{RefID: "A", JSON: q, TimeRange: backend.TimeRange{From: begin, To: now}}}})
			if err != nil || answer.Responses["A"].Error != nil {
				t.Fatal(err, answer.Responses["A"].Error)
			}
			if got, _ := answer.Responses["A"].Frames[0].Fields[0].ConcreteAt(0); got != want {
				t.Errorf("the plugin says %v, the exporter %v", got, want)
			}
		})
	}
}
