package config

import (
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

// guard returns the keys of benchmark that decide what is believed. They are no
// part of the fingerprint: changing them starts no new series.
func (c *Config) guard(d *decoder) map[string]field {
	g := &c.Guard
	return map[string]field{
		"patience":        d.duration(&g.Patience, 0, time.Hour),
		"max_disturbance": d.quantity(&g.MaxDisturbance, units.Ratio, 0.001, 1),
		"pair":            d.boolean(&c.Pair),
		"repeat":          d.integer(&c.Repeat, 0, 100),
		"margin":          d.quantity(&g.Margin, units.Ratio, 0.001, 0.5),
		"rebuild":         d.duration(&g.Rebuild, 0, 24*time.Hour),
		"cores": func(key string, n *yaml.Node) {
			d.integers(&c.Worker.Cores, 0, 1023)(key, n)
			if slices.Sort(c.Worker.Cores); len(slices.Compact(slices.Clone(c.Worker.Cores))) < len(c.Worker.Cores) {
				d.errorf(n, key, "names a core twice")
			}
		},
	}
}

// percentiles are the quantities that name one.
var percentiles = map[string]float64{"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}

// GuardFor is the guard of the model named: the highest percentile that a target
// or milestone asks of it decides.
func (c Config) GuardFor(model string) bench.Guard {
	g := c.Guard
	consider := func(s Select, criteria []forecast.Criterion) {
		if !s.Matches(model) {
			return
		}
		for _, x := range criteria {
			g.Percentile = max(g.Percentile, percentiles[x.Metric])
		}
	}
	for _, t := range c.Targets {
		consider(t.Select, t.Criteria)
	}
	for _, m := range c.Milestones {
		consider(m.Select, m.Criteria)
	}
	return g
}
