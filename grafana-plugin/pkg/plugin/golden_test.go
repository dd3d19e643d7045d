package plugin

import (
	"math"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/grafana/grafana-plugin-sdk-go/experimental"

	"github.com/plancast/plancast/tsdb/promtest"
)

// questions are one query of every kind.
func questions() map[string]query {
	p99 := []any{criterion(int8P99, "<", "40ms", "seconds")}
	return map[string]query{
		"probability":          {"type": "probability", "criteria": p99, "interval": true},
		"probability-joint":    {"type": "probability", "joint": true, "share": 80, "criteria": []any{criterion(int8P99, "<", "36ms", "seconds"), criterion(`plancast_engine_accuracy_deviation_ratio{precision="int8"}`, "<", "0.3%", "ratio")}},
		"probability-deadline": {"type": "probability", "criteria": p99, "horizon": "date", "deadline": "now+30d"},
		"milestone":            {"type": "probability", "source": "milestone", "milestone": "launch"},
		"trend":                {"type": "trend", "criteria": p99, "joint": true},
		"forecast":             {"type": "forecast", "criteria": p99, "models": "resnet50"},
		"when":                 {"type": "when", "criteria": p99},
		"distribution":         {"type": "when", "show": "distribution", "criteria": p99, "models": "resnet50"},
		"report":               {"type": "report"},
		"drivers":              {"type": "drivers", "criteria": p99},
		"record":               {"type": "record", "criteria": p99},
		"calibration":          {"type": "record", "show": "calibration", "criteria": p99},
		"annotations":          {"type": "annotations", "criteria": p99, "models": "resnet50"},
		"nothing":              {"type": "probability", "criteria": []any{criterion("no_such_metric", "<", "1", "")}},
	}
}

// round keeps goldens the same where fused multiply-add changes last digits.
func round(frames data.Frames) data.Frames {
	for _, f := range frames {
		for _, x := range f.Fields {
			for i := range x.Len() {
				switch v := x.At(i).(type) {
				case float64:
					x.Set(i, math.Round(v*1e6)/1e6)
				case *float64:
					if v != nil {
						r := math.Round(*v*1e6) / 1e6
						x.Set(i, &r)
					}
				}
			}
		}
	}
	return frames
}

func TestGoldenFramesFromARealPrometheus(t *testing.T) {
	s := serve(t, promtest.Start(t, history().OpenMetrics()), nil, nil)
	for name, r := range s.ask(questions()) {
		t.Run(name, func(t *testing.T) {
			if r.Error != nil {
				t.Fatal(r.Error)
			}
			r.Frames = round(r.Frames)
			experimental.CheckGoldenJSONResponse(t, "testdata", name, &r, *update)
			contract(t, r.Frames)
		})
	}
}

// contract checks what the data plane contract asks of numbers and series.
func contract(t *testing.T, frames data.Frames) {
	t.Helper()
	keys := map[string]bool{}
	for _, f := range frames {
		if f.Meta == nil {
			t.Fatal("a frame without a type")
		}
		numeric := f.Meta.Type == data.FrameTypeNumericMulti
		if !numeric && f.Meta.Type != data.FrameTypeTimeSeriesMulti || len(f.Fields) == 0 {
			continue
		}
		want := 2
		if numeric {
			want = 1
		}
		if len(f.Fields) != want || f.Meta.TypeVersion != (data.FrameTypeVersion{0, 1}) {
			t.Errorf("%s has %d fields, version %v", f.Name, len(f.Fields), f.Meta.TypeVersion)
		}
		value := f.Fields[want-1]
		key := value.Name + value.Labels.String()
		if keys[key] {
			t.Errorf("two frames are %s: an alert rule could not distinguish them", key)
		}
		keys[key] = true
	}
}
