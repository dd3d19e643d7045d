package metrics

import (
	"slices"
	"strings"
	"testing"
)

// The plugin judges a backfilled range by what the series of the milestone say:
// a missing share would be taken for 100 %.
func TestAReplayHoldsEveryFamilyOfAMilestone(t *testing.T) {
	for _, f := range Families() {
		if strings.HasPrefix(f.Name, "plancast_milestone_") && !slices.ContainsFunc(replayed, func(r Family) bool { return r.Name == f.Name }) {
			t.Errorf("a replay leaves out %s", f.Name)
		}
	}
}
