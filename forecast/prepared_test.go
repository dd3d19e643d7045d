package forecast

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// What was prepared gives the same forecasts, also as of a moment before the
// newest result, and leaves the memory of others alone.
func TestPreparedSeriesGiveTheSameForecasts(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 1))
	for range 60 {
		var plain, prepared []Series
		for k := range 1 + rng.IntN(6) {
			var values []float64
			for range rng.IntN(40) {
				values = append(values, 0.05+0.05*rng.Float64())
			}
			o := daily(values...)
			for i := range o {
				o[i].Valid = rng.IntN(9) > 0
				if rng.IntN(30) == 0 {
					o[i].Environment = "another"
				}
			}
			s := Series{Model: fmt.Sprint("model-", k/2), Criterion: latency, Observations: o}
			plain, prepared = append(plain, s), append(prepared, s.Prepared())
		}
		now := epoch.AddDate(0, 0, 60)
		for _, at := range []time.Time{now, epoch.AddDate(0, 0, 10), now} {
			m := JointGoal{Name: "launch", Series: plain, Share: 0.8, Goal: Goal{Iterations: 5, Deadline: now.AddDate(0, 1, 0)}}
			want, err := Joint(m, at, Options{Futures: 100})
			if err != nil {
				t.Fatal(err)
			}
			m.Series = prepared
			got, err := Joint(m, at, Options{Futures: 100})
			if err != nil {
				t.Fatal(err)
			}
			if a, b := text(t, got), text(t, want); a != b {
				t.Fatalf("as of %s\n got %s\nwant %s", at, a, b)
			}
			for i := range plain {
				want, err := Single(plain[i], m.Goal, at, Options{})
				if err != nil {
					t.Fatal(err)
				}
				got, err := Single(prepared[i], m.Goal, at, Options{})
				if err != nil {
					t.Fatal(err)
				}
				if a, b := text(t, got), text(t, want); a != b {
					t.Fatalf("series %d as of %s\n got %s\nwant %s", i, at, a, b)
				}
			}
		}
	}
}

func text(t *testing.T, f Forecast) string {
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
