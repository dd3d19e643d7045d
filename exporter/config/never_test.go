package config_test

import (
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

func TestACriterionThatIsNeverMetIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"p99 < 50ms": "", "accuracy_deviation <= 0": "", "top1 >= 100%": "", "throughput > 180/s": "",
		"p99 < 0ms": "never be met", "p99 <= 0ms": "never be met", "p99 < -5us": "never be met", "memory <= 0": "never be met",
		"accuracy_deviation < 0": "never be met", "top1 > 100%": "never be met", "top1 >= 120%": "never be met",
		"p99 > 50ms": "asks for a worse P99 latency", "throughput < 180/s": "asks for a worse throughput",
	} {
		c, err := forecast.ParseCriterion(text, history.UnitOf)
		if err != nil {
			t.Fatal(err)
		}
		err = config.CheckCriterion(text, c)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
	anything := forecast.Criterion{Metric: "loss", Comparison: forecast.Below, Target: -3, Unit: units.None}
	if err := config.CheckCriterion("loss < -3", anything); err != nil {
		t.Errorf("of a metric that nobody knows: %v", err)
	}
}
