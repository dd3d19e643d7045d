package standing_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/standing"
)

// A correction reads one model again: of the others nothing is looked at. Only counts are
// looked at here: they are the same on a busy machine.
func TestWhatIsNotReadAgainIsNotLookedAt(t *testing.T) {
	const models = 40
	var tracker standing.Tracker
	record := func(m int) history.Record {
		return history.Record{
			ID: int64(m + 1), Model: fmt.Sprint("model-", m), Version: "1", Digest: "d", Precision: engine.FP32, Fingerprint: "e", Iteration: 1,
			Finished: time.Unix(int64(m), 0), Failure: &history.Failure{Error: engine.Error{Kind: engine.KindCrashed}},
		}
	}
	for m := range models {
		tracker.Load(history.EntryOf(record(m)))
	}
	if got := tracker.Lacks(); len(got) != models {
		t.Fatalf("%d records are lacking, want %d", len(got), models)
	}
	for m := range models {
		tracker.Supply(record(m))
	}
	if got := tracker.Lacks(); len(got) != 0 {
		t.Errorf("records %d are lacking, and all were supplied", got)
	}
	if n := testing.AllocsPerRun(3, func() { tracker.Lacks() }); n > 3 {
		t.Errorf("to find out that nothing is lacking takes %v allocations", n)
	}
	tracker.Forget("model-7")
	tracker.Load(history.EntryOf(record(7)))
	if got := tracker.Lacks(); !slices.Equal(got, []int64{8}) {
		t.Errorf("records %d are lacking, want that of the model that is read again", got)
	}
}
