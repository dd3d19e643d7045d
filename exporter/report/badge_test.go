package report

import (
	"testing"

	"github.com/plancast/plancast/exporter/standing"
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
		"both met":                  {standing.StatusMet, []VerdictView{target(standing.Met), milestone(standing.Met)}, badge{"met", "meets its thresholds"}},
		"a milestone missed":        {standing.StatusMet, []VerdictView{target(standing.Met), milestone(standing.Missed)}, badge{"undecided", "meets its targets, misses a milestone"}},
		"a target missed":           {standing.StatusMissed, []VerdictView{target(standing.Missed), milestone(standing.Met)}, badge{"missed", "misses a threshold"}},
		"a milestone not known yet": {standing.StatusMet, []VerdictView{target(standing.Met), milestone(standing.Unknown)}, badge{"met", "meets its thresholds"}},
	} {
		if got := badgeOf(ModelView{Status: c.status, Verdicts: c.verdicts}); got != c.want {
			t.Errorf("%s: %+v; want %+v", name, got, c.want)
		}
	}
}
