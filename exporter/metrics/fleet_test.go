package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/terms"
)

// fleetEvidence is that of a fleet in which one model is measured on two hosts;
// on the second it takes a second for a query.
func fleetEvidence() standing.Evidence {
	in := reporttest.Input()
	in.By = []string{"model", "instance"}
	in.Labels = map[string]map[string]string{}
	in.Targets = nil
	in.Milestones = in.Milestones[:1]
	in.Milestones[0].Models = nil
	in.Milestones[0].Where = terms.Selector{}.With("instance", "gpu-*")
	model := in.Records[0].Model
	var records []history.Record
	var models []standing.Held
	for _, host := range []string{"gpu-1", "gpu-2"} {
		name := model + "@" + host
		in.Labels[name] = map[string]string{"model": model, "instance": host}
		for _, m := range in.Models {
			if m.Name == model {
				m.Name = name
				models = append(models, m)
			}
		}
		for _, r := range in.Records {
			if r.Model != model {
				continue
			}
			r.Model = name
			if r.ID = int64(len(records) + 1); host == "gpu-2" && r.OK() {
				m := *r.Measurement
				m.Latency.Quantiles = nil
				for _, q := range r.Measurement.Latency.Quantiles {
					q.Value = 1
					m.Latency.Quantiles = append(m.Latency.Quantiles, q)
				}
				r.Measurement = &m
			}
			records = append(records, r)
		}
	}
	in.Models, in.Records = models, records
	return in
}

func fleetCollector(t testing.TB) *Collector {
	t.Helper()
	c := NewCollector(snapshot(t, fleetEvidence()))
	c.SetActivity(Activity{Fleet: &Fleet{Read: reporttest.Now, Duration: 3 * time.Second, Failed: true}})
	return c
}

func TestAFleetPublishesItsMilestonesAndLeavesTheRestToItsExporters(t *testing.T) {
	got := gatherFrom(t, fleetCollector(t))
	for name := range got {
		known := strings.HasPrefix(name, "plancast_milestone_") || strings.HasPrefix(name, "plancast_fleet_") || strings.HasPrefix(name, "plancast_forecast_")
		if !known && name != "plancast_build_info" && name != "plancast_engine_target_met" {
			t.Errorf("a fleet publishes %s, which its exporters publish as well", name)
		}
	}
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"plancast_fleet_models", nil, 2},
		{"plancast_fleet_last_read_success", nil, 0},
		{"plancast_fleet_read_timestamp_seconds", nil, timestamp(reporttest.Now)},
		{"plancast_fleet_read_duration_seconds", nil, 3},
		{"plancast_milestone_models_selected", nil, 2},
		{"plancast_milestone_info", []string{"by=model,instance", `selector={instance=~"gpu-.*"}`}, 1},
	} {
		if v, ok := value(got, c.name, c.labels...); !ok || v != c.want {
			t.Errorf("%s%v is %v, %t; want %v", c.name, c.labels, v, ok, c.want)
		}
	}
	for _, m := range got["plancast_engine_target_met"].GetMetric() {
		for _, l := range m.GetLabel() {
			switch {
			case l.GetName() == "model" && strings.Contains(l.GetValue(), "@"):
				t.Errorf("the label model is %s and not the exporters'", l.GetValue())
			case l.GetName() == "criterion" && strings.HasPrefix(l.GetValue(), "p99") && m.GetGauge().GetValue() != 0:
				t.Errorf("of an engine that misses a criterion on one of two hosts it says %v", m)
			}
		}
	}
}
