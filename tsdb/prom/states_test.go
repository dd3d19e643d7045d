package prom_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/plancast/plancast/tsdb/prom"
	"github.com/plancast/plancast/tsdb/promtest"
)

// States and Changes are two ways to ask for one thing: over days with results, without
// scrapes, and after an engine was taken away.
func TestStatesAreTheSameAsChanges(t *testing.T) {
	begin := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	until := begin.AddDate(0, 0, 30)
	engine := func(model string, last time.Time) promtest.Engine {
		results := promtest.Improving(1, 12, begin, 40*time.Hour, 0.08, 0.03, "3fa91c07b2de")
		for i := range results {
			if results[i].Time.After(last) {
				results = results[:i]
				break
			}
		}
		return promtest.Engine{Model: model, Precision: "fp16", Backend: "tensorrt", Device: "NVIDIA L4", Results: results}
	}
	for name, h := range map[string]promtest.History{
		"scraped":  {Until: until, Scrape: 15 * time.Minute, Gaps: [][2]time.Time{{begin.AddDate(0, 0, 5), begin.AddDate(0, 0, 9)}}},
		"exported": {Until: until},
	} {
		t.Run(name, func(t *testing.T) {
			h.Engines = []promtest.Engine{engine("bert-base", until), engine("resnet50", begin.AddDate(0, 0, 10))}
			client, err := prom.New(prom.Options{URL: promtest.Start(t, h.OpenMetrics()), Method: http.MethodPost, HTTP: &http.Client{}, MaxSeries: 100, MaxBytes: 1 << 20, Requests: 2, Resolution: 15 * time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			for _, text := range []string{"plancast_iteration", "plancast_engine_latency_seconds", "max by (model) (plancast_iteration_timestamp_seconds)", "plancast_nothing"} {
				for _, step := range []time.Duration{24 * time.Hour, time.Hour} {
					e, err := prom.Parse(text)
					if err != nil {
						t.Fatal(err)
					}
					plan, err := prom.NewPlan(until.AddDate(0, 0, 3), 40*24*time.Hour, step, true)
					if err != nil {
						t.Fatal(err)
					}
					changes, err := client.Changes(t.Context(), e, plan)
					if err != nil {
						t.Fatal(err)
					}
					states, err := client.States(t.Context(), e, plan)
					if err != nil {
						t.Fatal(err)
					}
					if text != "plancast_nothing" && len(changes.Series) == 0 {
						t.Errorf("%s: no series", text)
					}
					if got, want := shown(states), shown(changes); got != want {
						t.Errorf("%s every %s: states\n%s\nchanges\n%s", text, step, got, want)
					}
				}
			}
		})
	}
}

// shown is an answer without the values of ends, which mean nothing.
func shown(a prom.Answer) string {
	for _, s := range a.Series {
		for i := range s.Points {
			if s.Points[i].Gone {
				s.Points[i].V = 0
			}
		}
	}
	return fmt.Sprint(a.Series)
}
