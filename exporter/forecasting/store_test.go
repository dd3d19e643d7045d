package forecasting_test

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/forecasting"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/push"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/tsdb/promtest"
	"github.com/plancast/plancast/units"
)

// results is how many results the imported history holds, one every three days.
const results = 16

// imported is a store that took the history, without --step: it holds one sample for each
// result.
func imported(t *testing.T, start func(testing.TB, string) promtest.Store) promtest.Store {
	t.Helper()
	b := reporttest.NewBuilder(reporttest.Now.Add(-results * 72 * time.Hour))
	for i := range results {
		b.Add("bert", strconv.Itoa(i+1), i+1, engine.FP32, reporttest.Environment("1.32.0"), reporttest.Measured(0.1*float64(30-i)/30))
		b.Skip(72 * time.Hour)
	}
	store := start(t, "10y")
	w, err := push.New(t.Context(), push.Options{URL: store.Write, HTTP: store.Client(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	err = metrics.WriteSamples(w, func(yield func(history.Record, error) bool) {
		for _, r := range b.Records {
			if !yield(r, nil) {
				return
			}
		}
	}, metrics.ExportOptions{Until: reporttest.Now})
	if err == nil {
		_, err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	store.Flush()
	return store
}

// All results are seen however far the question looks back, and whatever the store is.
func TestEveryImportedResultIsReadFromEveryStore(t *testing.T) {
	for name, start := range promtest.Stores {
		t.Run(name, func(t *testing.T) {
			store := imported(t, start)
			const day = 24 * time.Hour
			for _, lookBack := range []time.Duration{results * 3 * day, 60 * day, 90 * day, 365 * day, 5 * 365 * day} {
				for _, step := range []time.Duration{0, time.Hour, 3 * time.Hour} {
					s, _, notes, err := forecasting.ReadPrometheus(t.Context(), forecasting.PromQuery{
						URL: store.URL, Client: store.Client(), Expr: `plancast_engine_latency_seconds{quantile="0.99"}`, Now: reporttest.Now, LookBack: lookBack, Step: step,
						Criterion: forecast.Criterion{Metric: "p99", Comparison: forecast.Below, Target: 0.01, Unit: units.Seconds},
					})
					if lookBack > 365*day && step == time.Hour && err != nil && strings.Contains(err.Error(), "use at least") {
						continue // too fine for as long
					}
					if err != nil {
						t.Fatalf("the last %s every %s: %v", lookBack, step, err)
					}
					var read []string
					for i, o := range s.Observations {
						read = append(read, fmt.Sprintf("%s %.4g %t", o.Time.Format(time.RFC3339), o.Value, o.Valid))
						if !o.Valid || o.Environment == "" {
							t.Errorf("the last %s every %s: observation %d is %+v", lookBack, step, i, o)
						}
					}
					if len(read) != results {
						t.Errorf("the last %s every %s: %d results of %d: %q, notes %q", lookBack, step, len(read), results, read, notes)
					}
				}
			}
		})
	}
}
