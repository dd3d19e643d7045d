//go:build cgo

package equality_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/tsdb/promtest"
)

// Thirteen gains of 10 % and one of 3 % are out of the ordinary by the results of two
// days. What the two engines did in turns decides: in exporter, fleet daemon and plugin.
func TestAPairDecidesWhatIsAtypicalEverywhere(t *testing.T) {
	const model, last = "resnet50", 14
	pair := func(against int, verdict bench.Verdict, ratio float64) *bench.Comparison {
		return &bench.Comparison{
			Version: fmt.Sprint(against), Digest: fmt.Sprint(model, against), Iteration: against,
			Changes: []bench.Change{{Quantity: "p99", Ratio: ratio, Low: ratio - 0.005, High: ratio + 0.005, Verdict: verdict}},
		}
	}
	usual := pair(last-2, bench.Changed, 0.9)
	for _, c := range []struct {
		name   string
		before *bench.Comparison // of the candidate before the last
		pair   *bench.Comparison // of the last
		want   bool
	}{
		{"not timed in turns", nil, nil, true},
		{"no change", usual, pair(last-1, bench.Equivalent, 1), false},
		{"a usual gain", usual, pair(last-1, bench.Changed, 0.9), false},
		{"a short gain", usual, pair(last-1, bench.Changed, 0.97), true},
		{"no change from an earlier one", usual, pair(last-3, bench.Equivalent, 1), true},
		{"the one before was timed in turns", pair(last-2, bench.Equivalent, 1), nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d diary
			d.candidates(model, last, 0.2, func(i int, r *history.Record) bool {
				v := 0.2 * math.Pow(0.9, float64(i))
				switch i {
				case last - 1:
					r.Measurement.Comparison = c.before
				case last:
					v *= 0.97 / 0.9
					r.Measurement.Comparison = c.pair
				}
				r.Measurement.Latency.Quantiles[0].Value = v
				return r.Precision == "int8"
			})
			ms := []config.Milestone{{Name: "spring", Select: config.Select{Precision: "int8"}, Criteria: []forecast.Criterion{fast}, Share: 1, Horizon: 5, Ready: 0.9}}
			ms[0].Criteria[0].Target = 0.01
			text, families := d.scraped(t, ms)
			if got := states(families)["spring"]; (got == string(forecast.IsAtypical)) != c.want {
				t.Fatalf("the exporter says %s", got)
			}
			store := promtest.Store{URL: promtest.Start(t, text)}
			if got, want := states(gathered(t, fleetDaemon(t, store, []string{"model"}, ms, now)))["spring"], states(families)["spring"]; got != want {
				t.Errorf("the fleet daemon says %s, the exporter %s", got, want)
			}
			events := annotated(t, store, "spring")
			newest := events[len(events)-1]
			if strings.Contains(newest, "atypical") != c.want {
				t.Errorf("the plugin says %q", newest)
			}
		})
	}
}

// annotated are the titles of what the plugin tells of the iterations of a milestone.
func annotated(t *testing.T, store promtest.Store, milestone string) (titles []string) {
	t.Helper()
	source := dataSource(t, store)
	q, err := json.Marshal(map[string]any{"type": "annotations", "source": "milestone", "milestone": milestone, "resolution": "30m"})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := source.QueryData(context.Background(), &backend.QueryDataRequest{Queries: []backend.DataQuery{{RefID: "A", JSON: q, TimeRange: backend.TimeRange{From: begin, To: now}}}})
	if err != nil || answer.Responses["A"].Error != nil {
		t.Fatal(err, answer.Responses["A"].Error)
	}
	field, _ := answer.Responses["A"].Frames[0].FieldByName("title")
	for i := range field.Len() {
		titles = append(titles, field.At(i).(string))
	}
	return slices.DeleteFunc(titles, func(title string) bool { return !strings.Contains(title, "iteration") })
}
