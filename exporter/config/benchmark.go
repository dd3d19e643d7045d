package config

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/units"
	"go.yaml.in/yaml/v3"
)

// Worker limits the child process of one job.
type Worker struct {
	Timeout time.Duration
	Memory  int64 // bytes resident; 0 is what the backend needs for most models
	Cores   []int // that it may use; nil is all that plancast may. It is benchmark.cores
	// Env names variables that it gets besides those that runtimes need.
	Env []string `json:",omitempty"`
	// Unconfined leaves it the files, the network and the processes of plancast's user.
	Unconfined bool `json:",omitempty"`
}

func (c *Config) worker(d *decoder, key string, n *yaml.Node) {
	d.mapping(key, n, map[string]field{
		"timeout": d.duration(&c.Worker.Timeout, time.Second, 7*24*time.Hour),
		"memory":  d.bytes(&c.Worker.Memory, 64<<20, 1<<50),
		"env":     d.list(d.scalar(c.workerVariable)),
		"sandbox": d.scalar(func(s string) error {
			if s != "on" && s != "off" {
				return fmt.Errorf("%q is neither on nor off", s)
			}
			c.Worker.Unconfined = s == "off"
			return nil
		}),
	})
}

func (c *Config) workerVariable(name string) error {
	if name == "" || strings.ContainsAny(name, "= ") {
		return fmt.Errorf("%q is not the name of an environment variable", name)
	}
	c.Worker.Env = append(c.Worker.Env, name)
	return nil
}

// Measures reports whether candidates are measured at p: models at the configured
// precisions, and plans that a team built itself as they are.
func (c Config) Measures(p engine.Precision) bool {
	return p == engine.AsBuilt || slices.Contains(c.Precisions, p)
}

func (c *Config) precisions(d *decoder, key string, n *yaml.Node) {
	c.Precisions = nil
	d.nonEmpty("one of fp32, fp16, int8", d.scalar(func(s string) error {
		p := engine.Precision(s)
		if !slices.Contains(engine.Precisions, p) {
			return fmt.Errorf("%q is not a precision to build for: use fp32, fp16 or int8", s)
		}
		if slices.Contains(c.Precisions, p) {
			return fmt.Errorf("%s is listed twice", p)
		}
		c.Precisions = append(c.Precisions, p)
		return nil
	}))(key, n)
}

func (c *Config) benchmark(d *decoder, key string, n *yaml.Node) {
	b := &c.Benchmark
	fields := c.guard(d)
	maps.Copy(fields, map[string]field{
		"warm_up":              d.duration(&b.WarmUp, 0, 10*time.Minute),
		"min_queries":          d.integer(&b.MinQueries, 1, 10_000_000),
		"min_window":           d.duration(&b.MinWindow, 0, time.Hour),
		"max_window":           d.duration(&b.MaxWindow, 10*time.Millisecond, 24*time.Hour),
		"max_windows":          d.integer(&b.MaxWindows, 1, 1000),
		"throughput_tolerance": d.quantity(&b.ThroughputTolerance, units.Ratio, 0.001, 0.999),
		"p99_tolerance":        d.quantity(&b.P99Tolerance, units.Ratio, 0.001, 0.999),
		"batches":              d.integers(&b.Batches, 1, 65536),
		"concurrency":          d.integers(&b.Concurrency, 1, 1024),
		"sweep_window":         d.duration(&b.SweepWindow, 10*time.Millisecond, time.Hour),
		"deviation":            d.oneOf(&b.Deviation, deviations...),
		"max_deviation":        d.quantity(&b.MaxDeviation, units.Ratio, 0, 1000),
		"seed": d.scalar(func(s string) error {
			v, err := strconv.ParseUint(s, 10, 64)
			if err != nil || strconv.FormatUint(v, 10) != s {
				return fmt.Errorf("%q is not a whole number from 0 to %d", s, uint64(math.MaxUint64))
			}
			b.Seed = v
			return nil
		}),
	})
	d.mapping(key, n, fields)
	if b.MaxWindow < b.MinWindow {
		d.errorf(n, key, "max_window (%s) must not be shorter than min_window (%s)", b.MaxWindow, b.MinWindow)
	}
}

var deviations = []string{bench.DeviationAuto, bench.DeviationTop1, bench.DeviationAgreement, bench.DeviationRelL2}
