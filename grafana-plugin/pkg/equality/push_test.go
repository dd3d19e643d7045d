//go:build cgo

package equality_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/push"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/tsdb/promtest"
)

// A history that was pushed is the same evidence as one that was scraped: it has
// failures, an environment that changed, and a sample on both sides of each change.
func TestAPushedHistoryIsTheSameEvidenceInEveryStore(t *testing.T) {
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
	records := func(yield func(history.Record, error) bool) {
		for _, r := range in.Records {
			if !yield(r, nil) {
				return
			}
		}
	}
	for name, start := range promtest.Stores {
		t.Run(name, func(t *testing.T) {
			store := start(t, "10y")
			send := func(write func(*push.Writer) error) {
				w, err := push.New(t.Context(), push.Options{URL: store.Write, HTTP: store.Client(), Log: slog.New(slog.DiscardHandler)})
				if err == nil {
					err = write(w)
				}
				if err == nil {
					_, err = w.Close()
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			// Somebody pushes the history into a store that has scraped already.
			send(func(w *push.Writer) (err error) {
				for _, f := range families {
					if n := f.GetName(); strings.HasPrefix(n, "plancast_milestone_") {
						for _, m := range f.GetMetric() {
							err = errors.Join(err, w.Sample(n+"{"+labels(m)+"}", m.GetGauge().GetValue(), now.UnixMilli()))
						}
					}
				}
				return err
			})
			send(func(w *push.Writer) error {
				return metrics.WriteSamples(w, records, metrics.ExportOptions{Edges: true, Until: now})
			})
			store.Flush()

			if got := fleetOf(t, store, []string{"model"}, ms, now)["spring"]; got != want {
				t.Errorf("the fleet daemon says %v, the exporter %v", got, want)
			}
			source := dataSource(t, store)
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
