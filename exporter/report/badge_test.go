package report

import (
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
)

// A card is green only where nothing on it is red.
func TestABadgeReflectsTargetsAndMilestones(t *testing.T) {
	target := func(o standing.Outcome) VerdictView {
		return VerdictView{Kind: standing.KindTarget, Name: "launch", Outcome: o}
	}
	milestone := func(o standing.Outcome) VerdictView {
		return VerdictView{Kind: standing.KindMilestone, Name: "spring", Outcome: o}
	}
	for name, c := range map[string]struct {
		status   standing.Status
		verdicts []VerdictView
		want     badge
	}{
		"both met":                  {standing.StatusMet, []VerdictView{target(standing.Met), milestone(standing.Met)}, badge{Class: "met", Text: "meets its thresholds"}},
		"a milestone missed":        {standing.StatusMet, []VerdictView{target(standing.Met), milestone(standing.Missed)}, badge{Class: "undecided", Text: "meets its targets, misses a milestone"}},
		"a target missed":           {standing.StatusMissed, []VerdictView{target(standing.Missed), milestone(standing.Met)}, badge{Class: "missed", Text: "misses a threshold"}},
		"a milestone not known yet": {standing.StatusMet, []VerdictView{target(standing.Met), milestone(standing.Unknown)}, badge{Class: "met", Text: "meets its thresholds"}},
	} {
		if got := badgeOf(ModelView{Status: c.status, Verdicts: c.verdicts}); got.Class != c.want.Class || got.Text != c.want.Text || got.Hint == "" {
			t.Errorf("%s: %+v; want %+v", name, got, c.want)
		}
	}
}

// Everyone who reads a badge can learn what it means.
func TestEveryBadgeHasAHint(t *testing.T) {
	seen := map[string]string{}
	note := func(what, hint string) {
		if len(hint) < 20 || !strings.HasSuffix(hint, ".") {
			t.Errorf("%s: %q explains nothing", what, hint)
		}
		seen[hint] = what
	}
	for _, s := range forecast.States() {
		note(string(s), MilestoneView{State: s, Threshold: 0.9}.StateHint())
	}
	for _, s := range resultStates {
		note(string(s), s.Hint())
	}
	statuses := []standing.Status{standing.StatusMet, standing.StatusMissed, standing.StatusFailed, standing.StatusMeasuring, standing.StatusUnknown, standing.StatusUndecided, standing.StatusMeasured, standing.StatusNoResult}
	for _, s := range statuses {
		note("status "+string(s), statusHint(s))
	}
	if want := len(forecast.States()) + len(resultStates) + len(statuses); len(seen) != want {
		t.Errorf("%d hints for %d badges: two say the same", len(seen), want)
	}
}

func TestNumbersStayWithTheirUnits(t *testing.T) {
	for text, want := range map[string]string{
		"must gain 3.3 %.":             "must gain 3.3\u00a0%.",
		"P99 61 ms, wanted < 50 ms":    "P99 61\u00a0ms, wanted <\u00a050\u00a0ms",
		"1 result of 4 models, 2 days": "1 result of 4 models, 2 days",
	} {
		if got := glue(text); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
