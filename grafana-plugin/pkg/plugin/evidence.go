package plugin

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/grafana-plugin/pkg/frames"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/units"
)

// maxNotices bounds the notices of one answer; a panel shows them in a list.
const maxNotices = 8

// evidence attaches what the answer rests on: the executed expressions, for
// the query inspector, and notes on how the history was read.
func (a *request) evidence(all data.Frames) {
	if a.history == nil || len(all) == 0 {
		return
	}
	first := all[0]
	if len(a.history.Series) == 0 {
		var exprs []string
		for _, c := range a.Criteria {
			exprs = append(exprs, c.Expr)
		}
		frames.Warn(first, fmt.Sprintf("no series in %s for %s", terms.FormatLookBack(a.History), strings.Join(exprs, ", ")))
	}
	for _, n := range a.history.Notes {
		frames.Info(first, n)
	}
	if n := first.Meta.Notices; len(n) > maxNotices {
		first.Meta.Notices = append(n[:maxNotices-1:maxNotices-1], data.Notice{Severity: data.NoticeSeverityInfo, Text: fmt.Sprintf("and %d more notes", len(n)-maxNotices+1)})
	}
	for _, f := range all {
		f.Meta.ExecutedQueryString = strings.Join(a.history.Executed, "\n")
	}
}

// explain adds the notices of a forecast: the sentence, the evidence, the
// warnings. Results of the lookBack before now are the evidence.
func explain(f *data.Frame, name string, x *forecast.Forecast, lookBack time.Duration) {
	prefix := ""
	if name != "" {
		prefix = name + ": "
	}
	frames.Info(f, prefix+strings.Join(append([]string{x.Summary + "."}, x.Advice...), " "))
	frames.Info(f, prefix+basis(&x.Basis, lookBack))
	for _, w := range x.Basis.Warnings {
		frames.Warn(f, prefix+w)
	}
}

// basis says in one line what a forecast rests on.
func basis(e *forecast.Basis, lookBack time.Duration) string {
	parts := []string{count(e.Observations, "iteration", "iterations") + " of " + terms.FormatLookBack(lookBack)}
	if e.Missed > 0 {
		parts = append(parts, fmt.Sprintf("%d missed", e.Missed))
	}
	if e.Ignored > 0 {
		parts = append(parts, fmt.Sprintf("%d of other environments omitted", e.Ignored))
	}
	if e.Environment != "" {
		parts = append(parts, "environment "+e.Environment)
	}
	if e.PerIteration > 0 {
		parts = append(parts, "one every "+units.Format(e.PerIteration, units.Seconds))
	}
	if len(e.Weights) > 0 {
		var w []string
		sorted := slices.Clone(e.Weights)
		slices.SortFunc(sorted, func(a, b forecast.Weight) int {
			switch {
			case a.Share > b.Share:
				return -1
			case a.Share < b.Share:
				return 1
			}
			return strings.Compare(a.Name, b.Name)
		})
		for _, x := range sorted[:min(3, len(sorted))] {
			w = append(w, fmt.Sprintf("%s %.0f %%", x.Name, 100*x.Share))
		}
		parts = append(parts, "method "+strings.Join(w, ", "))
	}
	if e.Score != nil && e.Score.Questions > 0 {
		parts = append(parts, fmt.Sprintf("back-test Brier score %.3f on %s", e.Score.Brier, count(e.Score.Questions, "question", "questions")))
	}
	return "based on " + strings.Join(parts, "; ")
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return units.Number(float64(n)) + " " + many
}
