package forecasting_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/forecasting"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/tsdb/promtest"
	"github.com/plancast/plancast/units"
)

// results is how many results the imported history holds, one every three days.
const results = 16

func exported(t *testing.T) string {
	t.Helper()
	b := reporttest.NewBuilder(reporttest.Now.Add(-results * 72 * time.Hour))
	for i := range results {
		b.Add("bert", strconv.Itoa(i+1), i+1, engine.FP32, reporttest.Environment("1.32.0"), reporttest.Measured(0.1*float64(30-i)/30))
		b.Skip(72 * time.Hour)
	}
	var out strings.Builder
	if err := metrics.WriteOpenMetrics(&out, func(yield func(history.Record, error) bool) {
		for _, r := range b.Records {
			if !yield(r, nil) {
				return
			}
		}
	}, metrics.ExportOptions{Until: reporttest.Now, TempDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// After the documented import, without --step, a database holds one sample for
// each result. All of them are seen however far the question looks back, and
// whatever the database is.
func TestEveryImportedResultIsRead(t *testing.T) {
	text := exported(t)
	for name, start := range map[string]func(testing.TB, string) string{"Prometheus": promtest.Start, "VictoriaMetrics": promtest.StartVictoriaMetrics} {
		t.Run(name, func(t *testing.T) {
			url := start(t, text)
			const day = 24 * time.Hour
			for _, lookBack := range []time.Duration{results * 3 * day, 60 * day, 90 * day, 365 * day, 5 * 365 * day} {
				for _, step := range []time.Duration{0, time.Hour, 3 * time.Hour} {
					s, _, notes, err := forecasting.ReadPrometheus(t.Context(), forecasting.PromQuery{
						URL: url, Expr: `plancast_engine_latency_seconds{quantile="0.99"}`, Now: reporttest.Now, LookBack: lookBack, Step: step, Timeout: time.Hour,
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
