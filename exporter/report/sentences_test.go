package report_test

import (
	"slices"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
)

func TestWhatTheRepositoryLacksIsSaidWithTheWayOut(t *testing.T) {
	left := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for want, a := range map[string]standing.Absence{
		"target launch selects no model: check the spelling":                                                        {Kind: standing.KindTarget, Threshold: "launch"},
		"target launch lists b, which the repository does not hold: correct the name, or remove it from the target": {Kind: standing.KindTarget, Threshold: "launch", Model: "b", Listed: true},
		"milestone spring lists b, which the repository does not hold: it counts as not ready until you remove it from the milestone": {
			Kind: standing.KindMilestone, Threshold: "spring", Model: "b", Listed: true, Counts: true},
		"milestone spring lists b, which the repository does not hold since 1 March 2026: it counts as not ready until you remove it from the milestone": {
			Kind: standing.KindMilestone, Threshold: "spring", Model: "b", Listed: true, Counts: true, Since: left},
		"milestone spring matched b, which left the repository on 1 March 2026: it counts as not ready until 31 March 2026; list the models that matter by name": {
			Kind: standing.KindMilestone, Threshold: "spring", Model: "b", Counts: true, Since: left},
		"milestone spring matched b, which left the repository: it counts as not ready for 30 days; list the models that matter by name": {
			Kind: standing.KindMilestone, Threshold: "spring", Model: "b", Counts: true},
		"milestone spring matched b, which left the repository on 1 March 2026: it no longer counts; list it by name if it still matters": {Kind: standing.KindMilestone, Threshold: "spring", Model: "b", Since: left},
	} {
		if got := report.AbsenceText(a); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestTheExpectedDateHasItsRange(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 3, d, 9, 0, 0, 0, time.UTC) }
	at := func(days map[float64]int) []forecast.Date {
		var out []forecast.Date
		for q, d := range days {
			out = append(out, forecast.Date{Quantile: q, Time: day(d)})
		}
		return out
	}
	for _, c := range []struct {
		days map[float64]int
		met  bool
		want string
	}{
		{map[float64]int{0.1: 1, 0.5: 5, 0.9: 9}, false, "expected 5 March 2026 (10 %: 1 March 2026, 90 %: 9 March 2026)"},
		{map[float64]int{0.1: 5, 0.5: 5, 0.9: 9}, false, "expected 5 March 2026 (10 %: 5 March 2026, 90 %: 9 March 2026)"},
		{map[float64]int{0.1: 1, 0.5: 5, 0.9: 5}, false, "expected 5 March 2026 (10 %: 1 March 2026, 90 %: 5 March 2026)"},
		{map[float64]int{0.1: 5, 0.5: 5, 0.9: 5}, false, "expected 5 March 2026"},
		{map[float64]int{0.1: 1, 0.5: 5}, false, "expected 5 March 2026 (10 %: 1 March 2026)"},
		{map[float64]int{0.5: 5}, false, "expected 5 March 2026"},
		{map[float64]int{0.1: 1}, false, ""},
		{map[float64]int{0.5: 5}, true, ""},
		{nil, false, ""},
	} {
		f := report.ForecastView{Forecast: forecast.Forecast{When: at(c.days), Met: c.met}}
		if got := f.Expected(); got != c.want {
			t.Errorf("%v: got %q, want %q", c.days, got, c.want)
		}
	}
}

func TestAChangeIsOneFromATenthOfAPercentOn(t *testing.T) {
	for _, c := range []struct {
		change report.Change
		want   bool
	}{
		{report.Change{Ratio: 0.001}, true}, {report.Change{Ratio: -0.001}, true}, {report.Change{Ratio: 0.0009}, false}, {report.Change{}, false},
		{report.Change{Ratio: 0.5, Verdict: bench.Equivalent}, false}, {report.Change{Ratio: 0.0001, Verdict: bench.Changed}, true},
	} {
		if got := c.change.Significant(); got != c.want {
			t.Errorf("%+v: %v", c.change, got)
		}
	}
}

func TestTheWarningsOfTheHeadlineAreThoseOfItsEngine(t *testing.T) {
	m := model(t, build(reporttest.Input()), "densenet")
	got := m.WarningTexts()
	if want := row(t, m, m.Best).Result.Warnings; len(want) == 0 || len(got) == 0 || got[len(got)-1] != want[len(want)-1] {
		t.Errorf("got %q, want those of %s: %q", got, m.Best, want)
	}
}

func TestANameKeepsItsSpellingAtTheStartOfASentence(t *testing.T) {
	f := report.ForecastView{Forecast: forecast.Forecast{Basis: forecast.Basis{Warnings: []string{
		"t5-small: The newest result is a regression.", "t5-small (p99): only 3 results", "unknown: a model has no result",
	}}}}
	want := []string{"t5-small: The newest result is a regression.", "t5-small (p99): only 3 results", "Unknown: a model has no result"}
	if got := f.Notes(); !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
}
