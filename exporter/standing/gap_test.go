package standing

import (
	"slices"
	"testing"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

func TestTheNewestVersionWithoutAResultIsAGap(t *testing.T) {
	entry := func(version, fingerprint string, measured bool) history.Entry {
		r := history.Record{ID: 1, Model: "net", Version: version, Digest: "d" + version, Precision: engine.FP32, Fingerprint: fingerprint, Iteration: 1}
		if measured {
			r.Measurement = &bench.Measurement{}
		} else {
			r.Failure = &history.Failure{Error: engine.Error{Kind: engine.KindCrashed}}
		}
		return history.EntryOf(r)
	}
	accepted := func(v string) Version { return Version{Version: v, Digest: "d" + v, State: Accepted} }
	rejected := func(v string) Version { return Version{Version: v, State: Refused, Reason: "no model.onnx"} }
	for name, c := range map[string]struct {
		versions []Version
		entries  []history.Entry
		want     []Gap
	}{
		"measured here":               {[]Version{accepted("2")}, []history.Entry{entry("2", "here", true)}, nil},
		"measured elsewhere":          {[]Version{accepted("2")}, []history.Entry{entry("2", "there", true)}, []Gap{{"net", "2", GapWaiting, ""}}},
		"failed":                      {[]Version{accepted("2")}, []history.Entry{entry("2", "here", false)}, []Gap{{"net", "2", GapFailed, ""}}},
		"an older one was measured":   {[]Version{accepted("2"), accepted("10")}, []history.Entry{entry("2", "here", true)}, []Gap{{"net", "10", GapWaiting, ""}}},
		"the newest is rejected":      {[]Version{rejected("2"), accepted("1")}, []history.Entry{entry("1", "here", true)}, []Gap{{"net", "2", GapRefused, "no model.onnx"}}},
		"an older one is rejected":    {[]Version{rejected("1"), accepted("2")}, []history.Entry{entry("2", "here", true)}, nil},
		"the newest waits":            {[]Version{accepted("1"), {Version: "2", State: Pending, Reason: "still copied"}}, []history.Entry{entry("1", "here", true)}, []Gap{{"net", "2", GapPending, "still copied"}}},
		"a rejected one has no order": {[]Version{accepted("1"), rejected("v3")}, []history.Entry{entry("1", "here", true)}, []Gap{{"net", "v3", GapRefused, "no model.onnx"}}},
		"all are rejected":            {[]Version{rejected("v1")}, nil, []Gap{{"net", "v1", GapRefused, "no model.onnx"}}},
		"there is none":               {nil, []history.Entry{entry("1", "here", true)}, []Gap{{"net", "", GapNowhere, ""}}},
	} {
		m := &Model{Held: Held{Name: "net", Versions: c.versions, Precisions: []engine.Precision{engine.FP32}, Fingerprint: "here"}}
		for _, h := range history.ByModel(c.entries) {
			m.History = h
		}
		if got := (&State{Models: []*Model{m}}).Gaps(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v; want %+v", name, got, c.want)
		}
	}
	s := &State{Refused: []Refusal{{"my model", "a blank"}}}
	if got := s.Gaps(); !slices.Equal(got, []Gap{{"my model", "", GapUnusable, "a blank"}}) {
		t.Errorf("a folder that is no model: %+v", got)
	}
}
