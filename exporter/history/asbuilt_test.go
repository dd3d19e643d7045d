package history_test

import (
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

func TestAPlanIsCompleteWithItsOneResult(t *testing.T) {
	for _, c := range []struct {
		name string
		has  []engine.Precision
		want bool
	}{
		{"a model at every precision", engine.Precisions, true},
		{"a model that lacks one", engine.Precisions[:2], false},
		{"a plan", []engine.Precision{engine.AsBuilt}, true},
	} {
		var entries []history.Entry
		for i, p := range c.has {
			entries = append(entries, history.Entry{ID: int64(i + 1), Model: "net", Version: "1", Precision: p})
		}
		if got := history.TrialOf(entries...).Complete(engine.Precisions); got != c.want {
			t.Errorf("%s: complete is %t", c.name, got)
		}
	}
}
