package iterations

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/forecast"
)

// engineOf reads "1:90/0.1 2:- 3:70/?" as iterations of two criteria, a day
// apart: "-" failed without a trace, "?" was not measured.
func engineOf(t *testing.T, text string, late time.Duration) Engine {
	t.Helper()
	e := Engine{Criteria: make([][]Iteration, 2)}
	for _, f := range strings.Fields(text) {
		var n int
		var values string
		if _, err := fmt.Sscanf(f, "%d:%s", &n, &values); err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 5, n, 12, 0, 0, 0, time.UTC).Add(late)
		it := Iteration{Number: float64(n), Time: at, Known: at.Add(time.Minute), Environment: "e"}
		if values == "-" {
			it.Guessed, it.Time = true, at.Add(7*time.Hour)
			for k := range e.Criteria {
				e.Criteria[k] = append(e.Criteria[k], it)
			}
			continue
		}
		for k, v := range strings.Split(values, "/") {
			one := it
			if v != "?" {
				if _, err := fmt.Sscan(v, &one.Value); err != nil {
					t.Fatal(err)
				}
				one.Valid = true
			}
			e.Criteria[k] = append(e.Criteria[k], one)
		}
	}
	return e
}

func TestOneEngineStandsForACandidate(t *testing.T) {
	criteria := []forecast.Criterion{
		{Metric: "p99", Comparison: forecast.Below, Target: 50},
		{Metric: "deviation", Comparison: forecast.Below, Target: 0.5},
	}
	for _, c := range []struct{ name, fp32, int8, want string }{
		{"the nearest to meeting both", "1:60/0 2:55/0", "1:40/0.9 2:40/0.6", "1:60/0 2:55/0"},
		{"the one that meets both", "1:60/0 2:55/0", "1:40/0.9 2:40/0.4", "1:60/0 2:40/0.4"},
		{"the other one where one failed", "1:60/0 2:55/0", "1:40/0.4 2:-", "1:40/0.4 2:55/0"},
		{"an iteration without gain where both failed", "1:60/0 2:- 3:50/0", "1:40/0.4 2:- 3:30/0.4", "1:40/0.4 2:missed 3:30/0.4"},
		{"the newest is left out until all are through", "1:60/0 2:55/0", "1:40/0.4", "1:40/0.4"},
		{"one that was given up is not waited for", "1:60/0 2:55/0 3:45/0", "1:40/0.4", "1:40/0.4 2:55/0 3:45/0"},
		{"a figure that was not measured is missing", "1:60/?", "1:70/?", "1:60/?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			its := Best(criteria, []Engine{engineOf(t, c.fp32, 0), engineOf(t, c.int8, time.Hour)}, false)
			var got []string
			for i, it := range its[0] {
				value := func(k int) string {
					if !its[k][i].Valid {
						return "?"
					}
					return fmt.Sprint(its[k][i].Value)
				}
				text := fmt.Sprintf("%v:%s/%s", it.Number, value(0), value(1))
				if it.Guessed {
					text = fmt.Sprintf("%v:missed", it.Number)
				}
				got = append(got, text)
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
		})
	}
}

func TestACandidateIsFinishedAndKnownWithItsLastEngine(t *testing.T) {
	criteria := []forecast.Criterion{{Metric: "p99", Comparison: forecast.Below, Target: 50}, {Metric: "deviation", Comparison: forecast.Below, Target: 0.5}}
	its := Best(criteria, []Engine{engineOf(t, "1:60/0 2:55/0 3:50/0", 0), engineOf(t, "1:40/0.4 3:30/0.4", time.Hour)}, false)[0]
	noon := func(day int) time.Time { return time.Date(2026, 5, day, 12, 0, 0, 0, time.UTC) }
	for i, want := range []struct{ time, known time.Time }{
		{noon(1).Add(time.Hour), noon(1).Add(time.Hour + time.Minute)},
		{noon(2), noon(3).Add(time.Hour + time.Minute)}, // only the next candidate shows that nothing more comes
		{noon(3).Add(time.Hour), noon(3).Add(time.Hour + time.Minute)},
	} {
		if !its[i].Time.Equal(want.time) || !its[i].Known.Equal(want.known) {
			t.Errorf("iteration %d finished %s, known %s; want %s, %s", i+1, its[i].Time, its[i].Known, want.time, want.known)
		}
	}
}
