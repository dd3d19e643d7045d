package daemon

import (
	"maps"
	"slices"
	"testing"

	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
)

func TestTagsAreTheResultsOfTheNewestCandidate(t *testing.T) {
	state := reporttest.State(reporttest.Input())
	of := func(name string) map[string]string {
		t.Helper()
		i := slices.IndexFunc(state.Models, func(m *standing.Model) bool { return m.Name == name })
		if i < 0 {
			t.Fatalf("there is no model %s", name)
		}
		return tags(state.Models[i])
	}
	measured := of("squeezenet")
	for _, name := range []string{"precision", "p99", "throughput", "device"} {
		if measured[name] == "" {
			t.Errorf("squeezenet has no %s: %v", name, measured)
		}
	}
	if measured["precision"] != "int8" {
		t.Errorf("its fastest engine is int8, the tags are of %q", measured["precision"])
	}
	if failed := of("silero-vad"); failed["p99"] != "" || failed["target.realtime"] != "unknown" {
		t.Errorf("a candidate that failed has the tags %v", failed)
	}
	t.Log(slices.Sorted(maps.Keys(measured)))
}
