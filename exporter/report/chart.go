package report

import (
	"fmt"
	"maps"
	"slices"

	"github.com/plancast/plancast/exporter/chart"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/units"
)

// chartIterations is how many of the newest iterations are drawn.
const chartIterations = 60

var shapes = map[engine.Precision]chart.Shape{engine.FP16: chart.Square, engine.INT8: chart.Triangle}

// newChart is P99 over a model's iterations, against its targets. It is empty when
// nothing was measured.
func newChart(m ModelView, id string) chart.History {
	c := chart.History{ID: id, Title: "P99 latency of " + m.Name + " over iterations", YTitle: "P99 latency", Unit: units.Seconds}
	last := 0
	for _, h := range m.History {
		for _, p := range h.Points {
			last = max(last, p.Iteration)
		}
	}
	for _, h := range m.History {
		s := chart.Series{Name: string(h.Precision), Shape: shapes[h.Precision]}
		for _, p := range h.Points {
			if p.Iteration <= last-chartIterations {
				continue
			}
			at := fmt.Sprintf("%s, iteration %d (version %s)", h.Precision, p.Iteration, p.Version)
			switch {
			case p.P99 != nil && *p.P99 > 0:
				s.Points = append(s.Points, chart.Point{Iteration: p.Iteration, Value: *p.P99, Text: at + ": " + units.Format(*p.P99, units.Seconds)})
			case p.Failure != "":
				s.Points = append(s.Points, chart.Point{Iteration: p.Iteration, Failed: true, Text: at + " failed: " + kindTitle(p.Failure)})
			default:
				s.Points = append(s.Points, chart.Point{Iteration: p.Iteration})
			}
		}
		if s.Drawn() {
			c.Series = append(c.Series, s)
		}
	}
	targets := map[float64][]string{}
	for _, v := range m.Verdicts {
		if v.P99Target != nil && *v.P99Target > 0 {
			targets[*v.P99Target] = append(targets[*v.P99Target], v.Name)
		}
	}
	for _, t := range slices.Sorted(maps.Keys(targets)) {
		c.Targets = append(c.Targets, chart.Target{Value: t, Text: shorten(and(targets[t]), 40) + " " + units.Format(t, units.Seconds)})
	}
	return c
}

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
