// Package config reads plancast.yml. Decoding is strict: an unknown key, a
// value of the wrong kind or out of range and a reference to nothing are
// errors, all reported at once, each with its line and what would be right.
//
// docs/configuration.md describes every key; a test holds it against this code.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	"go.yaml.in/yaml/v3"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/workload"
	"github.com/plancast/plancast/terms"
)

// Config is a checked configuration. It is not changed after Load.
type Config struct {
	Repository Repository
	// Source is what a fleet daemon reads; nil for an exporter, which measures what
	// its repository holds.
	Source *Prometheus
	// State is the folder of everything plancast keeps: the history, plans,
	// reference outputs and caches.
	State string
	// Schedule says when passes begin; Cron is its text.
	Cron     string
	Schedule cron.Schedule
	// Backend is "auto", "onnxruntime" or "tensorrt".
	Backend     string
	ONNXRuntime ONNXRuntime
	TensorRT    TensorRT
	Precisions  []engine.Precision
	Worker      Worker
	Benchmark   bench.Options
	Guard       bench.Guard // against disturbance; for a model it is GuardFor
	Pair        bool        // candidates are timed in turns with the one before
	Repeat      int         // how often a disturbed or unstable result is measured again
	// Remeasure is how many of the newest candidates are measured again after a
	// change of environment.
	Remeasure  int
	Models     []Model
	Workloads  []workload.Workload
	Targets    []Target
	Milestones []Milestone
	traces     []traceFile
	// MaxSeries is how many series of models /metrics has at most.
	MaxSeries int
	// Notifications says whom plancast notifies of its own accord.
	Notifications Notifications
	// Location is the time zone of dates without one.
	Location *time.Location
}

// Default is the configuration of an empty file.
func Default() Config {
	c := Config{
		Repository:  Repository{URL: "models", Quiet: 5 * time.Second, MaxSize: 64 << 30, MaxModels: 1000, Import: ImportNewest, KeepDeleted: 30 * 24 * time.Hour},
		State:       "plancast-data",
		Cron:        "@every 1m",
		Backend:     "auto",
		ONNXRuntime: ONNXRuntime{GraphOptimization: "all"},
		TensorRT: TensorRT{
			Workspace: 1 << 30, OptimizationLevel: 3, FP16Fallback: true, CUDAGraph: true, SpinWait: true, Transfers: true,
			Profile: engine.BatchRange{Min: 1, Opt: 8, Max: 8}, Calibration: bench.DefaultCalibrationLimits(), KeepPlans: 3,
		},
		Precisions:    slices.Clone(engine.Precisions),
		Worker:        Worker{Timeout: 30 * time.Minute},
		Benchmark:     bench.DefaultOptions(),
		Guard:         bench.DefaultGuard(),
		Pair:          true,
		MaxSeries:     250_000,
		Repeat:        2,
		Remeasure:     5,
		Location:      time.UTC,
		Notifications: defaultNotifications(),
	}
	c.Schedule, _ = cron.ParseStandard(c.Cron)
	return c
}

// Load reads and checks the file at path. Relative paths in it are relative to
// its folder. The error joins everything that is wrong.
func Load(path string) (Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w: write one (docs/configuration.md) or name another with --config.file", err)
	}
	defer f.Close()
	c, err := Parse(f, path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration %s:\n%w", path, err)
	}
	base := filepath.Dir(path)
	if err := c.readTraces(base); err != nil {
		return Config{}, fmt.Errorf("read configuration %s:\n%w", path, err)
	}
	c.State = relativeTo(base, c.State)
	if !strings.Contains(c.Repository.URL, "://") {
		c.Repository.URL = relativeTo(base, c.Repository.URL)
	}
	if c.ONNXRuntime.Library != "" {
		c.ONNXRuntime.Library = relativeTo(base, c.ONNXRuntime.Library)
	}
	for i, dir := range c.TensorRT.Libraries {
		c.TensorRT.Libraries[i] = relativeTo(base, dir)
	}
	if c.Source != nil {
		c.Source.Folder = base
	}
	for i, r := range c.Notifications.Receivers {
		if r.URLFile != "" {
			c.Notifications.Receivers[i].URLFile = relativeTo(base, r.URLFile)
		}
	}
	return c, nil
}

func relativeTo(base, p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(base, p)
}

// Parse reads a configuration from r; name stands for it in errors.
func Parse(r io.Reader, name string) (Config, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return Config{}, err
	}
	root, err := document(name, text)
	if err != nil {
		return Config{}, err
	}
	c := Default()
	d := &decoder{file: name}
	if root != nil {
		c.decode(d, root)
	}
	return c, d.err()
}

// yamlPlace is how the YAML library begins an error that has a line.
var yamlPlace = regexp.MustCompile(`(?s)^yaml: line (\d+): (.*)$`)

// document is the one document of a YAML file; nil when the file is empty.
func document(name string, text []byte) (*yaml.Node, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		if line := tabbed(text); line > 0 {
			return nil, fmt.Errorf("%s:%d: it is indented with a tab, which YAML does not allow: use spaces", name, line)
		}
		if m := yamlPlace.FindStringSubmatch(err.Error()); m != nil {
			return nil, fmt.Errorf("%s:%s: not YAML: %s", name, m[1], m[2])
		}
		return nil, fmt.Errorf("%s: not YAML: %w", name, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: there is more than one YAML document: keep one", name)
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	return doc.Content[0], nil
}

// tabbed is the first line whose indentation holds a tab; 0 without any.
func tabbed(text []byte) int {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]; bytes.ContainsRune(indent, '\t') {
			return n
		}
	}
	return 0
}

func (c *Config) decode(d *decoder, root *yaml.Node) {
	var late []func() // what needs the whole file, such as the time zone and the workloads
	whole := func(read func(*decoder, string, *yaml.Node)) field {
		return d.list(func(key string, n *yaml.Node) { late = append(late, func() { read(d, key, n) }) })
	}
	d.mapping("", root, map[string]field{
		"repository": func(key string, n *yaml.Node) { c.repository(d, key, n) },
		"source":     func(key string, n *yaml.Node) { c.source(d, key, n) },
		"state":      d.path(&c.State),
		"schedule":   d.scalar(c.schedule),
		"timezone": d.scalar(func(s string) error {
			loc, err := terms.ParseZone(s)
			if err == nil {
				c.Location = loc
			}
			return err
		}),
		"backend":     d.oneOf(&c.Backend, "auto", "onnxruntime", "tensorrt"),
		"onnxruntime": func(key string, n *yaml.Node) { c.onnxRuntime(d, key, n) },
		"tensorrt":    func(key string, n *yaml.Node) { c.tensorRT(d, key, n) },
		"precisions":  func(key string, n *yaml.Node) { c.precisions(d, key, n) },
		"worker":      func(key string, n *yaml.Node) { c.worker(d, key, n) },
		"benchmark":   func(key string, n *yaml.Node) { c.benchmark(d, key, n) },
		"environment": func(key string, n *yaml.Node) {
			d.mapping(key, n, map[string]field{"remeasure": d.integer(&c.Remeasure, 0, 1000)})
		},
		"models":        d.list(func(key string, n *yaml.Node) { c.model(d, key, n) }),
		"workloads":     d.named(d.list(func(key string, n *yaml.Node) { c.workload(d, key, n) })),
		"targets":       d.named(whole(c.target)),
		"notifications": func(key string, n *yaml.Node) { c.notifications(d, key, n) },
		"metrics": func(key string, n *yaml.Node) {
			d.mapping(key, n, map[string]field{"max_series": d.integer(&c.MaxSeries, 1000, 10_000_000)})
		},
		"milestones": d.named(whole(c.milestone)),
	})
	for _, f := range late {
		f()
	}
	if root.Kind == yaml.MappingNode {
		c.fleet(d, root)
	}
}
