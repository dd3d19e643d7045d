package config

import (
	"fmt"
	"regexp"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"go.yaml.in/yaml/v3"
)

// Model says what is particular to some models. The first that matches counts.
type Model struct {
	Match  string // name or shell pattern
	Owner  string
	Dims   map[string]int64   // symbolic dimensions by name, or "input/position"
	Inputs map[string][]int64 // whole shapes by input name
	// Profiles are the ranges of shapes that TensorRT builds for, by input name.
	Profiles map[string]engine.Profile
	// Deviation is how accuracy deviation is computed; "" is as in Benchmark.
	Deviation string
	// Reference is what the deviation is measured against, as in bench.Options.
	Reference string
	// Output names the output that class scores are read from; "" chooses by evidence.
	Output string
}

// ModelFor is what the configuration says of the model named.
func (c Config) ModelFor(name string) Model {
	for _, m := range c.Models {
		if (Select{Models: []string{m.Match}}).Matches(name) {
			return m
		}
	}
	return Model{}
}

// BenchmarkFor is how the model named is benchmarked.
func (c Config) BenchmarkFor(name string) bench.Options {
	o := c.Benchmark
	m := c.ModelFor(name)
	if m.Deviation != "" {
		o.Deviation = m.Deviation
	}
	o.Output, o.Reference = m.Output, m.Reference
	o.Workloads = c.WorkloadsFor(name)
	return o
}

// dims reads sizes by name.
func (d *decoder) dims(to map[string]int64) field {
	return func(key string, n *yaml.Node) {
		d.each(key, n, func(name, key string, n *yaml.Node) {
			var v int
			d.integer(&v, 0, 1<<30)(key, n) // 0 is the length of an empty cache
			to[name] = int64(v)
		})
	}
}

func (c *Config) model(d *decoder, key string, n *yaml.Node) {
	m := Model{Dims: map[string]int64{}, Inputs: map[string][]int64{}, Profiles: map[string]engine.Profile{}}
	d.mapping(key, n, map[string]field{
		"match": d.scalar(func(s string) error {
			m.Match = s
			return checkModelPattern(s)
		}),
		"owner":     d.text(&m.Owner),
		"deviation": d.oneOf(&m.Deviation, deviations...),
		"reference": d.scalar(m.refer),
		"output":    d.text(&m.Output),
		"dims":      d.dims(m.Dims),
		"inputs": func(key string, n *yaml.Node) {
			d.each(key, n, func(name, key string, n *yaml.Node) {
				var shape []int64
				d.shape(&shape)(key, n)
				m.Inputs[name] = shape
			})
		},
		"profiles": func(key string, n *yaml.Node) {
			d.each(key, n, func(name, key string, n *yaml.Node) {
				var p engine.Profile
				d.mapping(key, n, map[string]field{"min": d.shape(&p.Min), "opt": d.shape(&p.Opt), "max": d.shape(&p.Max)})
				if len(p.Min) == 0 || len(p.Opt) != len(p.Min) || len(p.Max) != len(p.Min) {
					d.errorf(n, key, "needs min, opt and max, each a shape of as many dimensions")
				}
				m.Profiles[name] = p
			})
		},
	})
	if m.Match == "" {
		d.errorf(n, key, "needs a match: a model's name or a pattern")
	}
	if m.Reference == bench.ReferenceLabels && m.Deviation != "" {
		d.errorf(n, key, "sets a deviation, and reference: labels has its own, the share of wrong answers: remove deviation")
	}
	c.Models = append(c.Models, m)
}

var versionNumber = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)

// refer sets the reference.
func (m *Model) refer(s string) error {
	version, named := bench.Options{Reference: s}.ReferenceVersion()
	switch {
	case s == "auto":
		m.Reference = ""
	case s == bench.ReferenceTrained, s == bench.ReferenceLabels, named && versionNumber.MatchString(version):
		m.Reference = s
	default:
		return fmt.Errorf("%q is not a reference: use auto, version N, %s or %s", s, bench.ReferenceTrained, bench.ReferenceLabels)
	}
	return nil
}
