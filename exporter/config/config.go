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
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
	"go.yaml.in/yaml/v3"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/units"
)

// Config is a checked configuration. It is not changed after Load.
type Config struct {
	Repository Repository
	// State is the folder of everything plancast keeps: the history, plans,
	// reference outputs and caches.
	State string
	// Schedule says when the repository is looked at; Cron is its text.
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
	Models      []Model
	Targets     []Target
	Milestones  []Milestone
	// Notifications says whom plancast tells of its own accord.
	Notifications Notifications
	// Location is the time zone of dates without one.
	Location *time.Location
}

// Repository is where candidates are found.
type Repository struct {
	// URL is a bucket that gocloud.dev/blob opens; a folder is given as its
	// path or as a file URL.
	URL string
	// Quiet is how long a file must not have changed before it is read; 0 takes
	// every file as it is.
	Quiet time.Duration
	// MaxSize is how many bytes the files of a candidate may have together.
	MaxSize int64
	// Backlog is how many versions older than the newest are measured when they
	// have no result; they are taken oldest first.
	Backlog int
}

// ONNXRuntime configures the CPU backend.
type ONNXRuntime struct {
	Library           string // path of the shared library; "" searches
	Threads           int    // intra-op threads; 0 is one per usable core
	GraphOptimization string // disabled, basic, extended or all
}

// TensorRT configures the GPU backend.
type TensorRT struct {
	Libraries []string // folders to look in before all others
	Devices   []int    // GPUs to measure on, as CUDA counts them; empty is all that are alike
	// Require are versions without which nothing is measured, compared by their
	// leading components; "" demands nothing.
	Require struct{ TensorRT, CUDA, Driver string }

	Workspace         int64 // bytes of scratch memory that a layer may use
	OptimizationLevel int   // 0 to 5: how long the builder searches
	TF32              bool  // fp32 engines may round products to TF32
	FP16Fallback      bool  // layers of int8 engines may run in fp16 rather than fp32
	CUDAGraph         bool  // queries are launched as a CUDA graph
	SpinWait          bool  // waiting for the GPU polls
	Transfers         bool  // copying inputs and outputs counts
	// HardwareCompatible plans run on every GPU from Ampere on, more slowly.
	HardwareCompatible bool
	Profile            engine.BatchRange // batch sizes that engines are built for
	Calibration        bench.CalibrationLimits
	KeepPlans          int // plans kept for each model and precision
}

// Worker limits the child process of one job.
type Worker struct {
	Timeout time.Duration
	Memory  int64 // bytes resident; 0 is what the backend needs for most models
	Cores   []int // that it may use; nil is all that plancast may. It is benchmark.cores
}

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
	// Output names the output that class scores are read from; "" chooses by evidence.
	Output string
}

// Default is the configuration of an empty file.
func Default() Config {
	c := Config{
		Repository:  Repository{URL: "models", Quiet: 5 * time.Second, MaxSize: 64 << 30},
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
		Location:      time.UTC,
		Notifications: defaultNotifications(),
	}
	c.Schedule, _ = cron.ParseStandard(c.Cron)
	return c
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
	o.Output = m.Output
	return o
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
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("%s: not YAML: %w", name, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("%s: there is more than one YAML document: keep one", name)
	}
	c := Default()
	d := &decoder{file: name}
	if len(doc.Content) > 0 {
		c.decode(d, doc.Content[0])
	}
	return c, d.err()
}

func (c *Config) decode(d *decoder, root *yaml.Node) {
	var late []func() // what needs the whole file, such as the time zone
	d.mapping("", root, map[string]field{
		"repository": func(key string, n *yaml.Node) {
			d.mapping(key, n, map[string]field{
				"url":      d.scalar(c.repositoryURL),
				"quiet":    d.duration(&c.Repository.Quiet, 0, time.Hour),
				"max_size": d.bytes(&c.Repository.MaxSize, 1<<10, 1<<50),
				"backlog":  d.integer(&c.Repository.Backlog, 0, 1_000_000),
			})
		},
		"state":    d.text(&c.State),
		"schedule": d.scalar(c.schedule),
		"timezone": d.scalar(func(s string) error {
			loc, err := terms.ParseZone(s)
			if err == nil {
				c.Location = loc
			}
			return err
		}),
		"backend": d.oneOf(&c.Backend, "auto", "onnxruntime", "tensorrt"),
		"onnxruntime": func(key string, n *yaml.Node) {
			d.mapping(key, n, map[string]field{
				"library":            d.text(&c.ONNXRuntime.Library),
				"threads":            d.integer(&c.ONNXRuntime.Threads, 0, 1024),
				"graph_optimization": d.oneOf(&c.ONNXRuntime.GraphOptimization, "disabled", "basic", "extended", "all"),
			})
		},
		"tensorrt": func(key string, n *yaml.Node) { c.tensorRT(d, key, n) },
		"precisions": func(key string, n *yaml.Node) {
			c.Precisions = nil
			d.nonEmpty("one of fp32, fp16, int8", d.scalar(func(s string) error {
				p, err := engine.ParsePrecision(s)
				if err == nil && slices.Contains(c.Precisions, p) {
					err = fmt.Errorf("%s is there twice", p)
				}
				if err == nil {
					c.Precisions = append(c.Precisions, p)
				}
				return err
			}))(key, n)
		},
		"worker": func(key string, n *yaml.Node) {
			d.mapping(key, n, map[string]field{
				"timeout": d.duration(&c.Worker.Timeout, time.Second, 7*24*time.Hour),
				"memory":  d.bytes(&c.Worker.Memory, 64<<20, 1<<50),
			})
		},
		"benchmark":     func(key string, n *yaml.Node) { c.benchmark(d, key, n) },
		"models":        d.list(func(key string, n *yaml.Node) { c.model(d, key, n) }),
		"targets":       d.list(func(key string, n *yaml.Node) { c.target(d, key, n) }),
		"notifications": func(key string, n *yaml.Node) { c.notifications(d, key, n) },
		"milestones":    d.list(func(key string, n *yaml.Node) { late = append(late, func() { c.milestone(d, key, n) }) }),
	})
	for _, f := range late {
		f()
	}
	if root.Kind == yaml.MappingNode {
		d.unique(root, "target", names(c.Targets, func(t Target) string { return t.Name }))
		d.unique(root, "milestone", names(c.Milestones, func(m Milestone) string { return m.Name }))
	}
}

func (c *Config) repositoryURL(s string) error {
	if s == "" {
		return errors.New(`must be a folder, or a bucket such as "s3://models"`)
	}
	if strings.Contains(s, "://") {
		if u, err := url.Parse(s); err != nil {
			return fmt.Errorf("not a URL: %w", errors.Unwrap(err))
		} else if u.User != nil {
			return errors.New("must hold no user or password: credentials come from the cloud's usual environment")
		}
	}
	c.Repository.URL = s
	return nil
}

func (c *Config) schedule(s string) error {
	schedule, err := cron.ParseStandard(s)
	if err != nil {
		return fmt.Errorf(`%q is not a cron expression (%w): write one such as "*/5 * * * *" or "@every 1m"`, s, err)
	}
	c.Cron, c.Schedule = s, schedule
	return nil
}

func (c *Config) tensorRT(d *decoder, key string, n *yaml.Node) {
	t := &c.TensorRT
	version := func(p *string) field {
		return d.scalar(func(s string) error {
			if strings.Trim(s, "0123456789.") != "" || s == "" || strings.HasPrefix(s, ".") || strings.HasSuffix(s, ".") {
				return fmt.Errorf(`%q is not a version: write its leading numbers, such as "10.6"`, s)
			}
			*p = s
			return nil
		})
	}
	d.mapping(key, n, map[string]field{
		"libraries": func(key string, n *yaml.Node) {
			t.Libraries = nil
			d.list(d.scalar(func(s string) error {
				if s == "" {
					return errors.New("must be a folder")
				}
				t.Libraries = append(t.Libraries, s)
				return nil
			}))(key, n)
		},
		"devices": func(key string, n *yaml.Node) {
			d.integers(&t.Devices, 0, 1023)(key, n)
			if slices.Sort(t.Devices); len(slices.Compact(slices.Clone(t.Devices))) < len(t.Devices) {
				d.errorf(n, key, "names a GPU twice")
			}
		},
		"require": func(key string, n *yaml.Node) {
			d.mapping(key, n, map[string]field{
				"tensorrt": version(&t.Require.TensorRT), "cuda": version(&t.Require.CUDA), "driver": version(&t.Require.Driver),
			})
		},
		"workspace":           d.bytes(&t.Workspace, 1<<20, 1<<50),
		"optimization_level":  d.integer(&t.OptimizationLevel, 0, 5),
		"tf32":                d.boolean(&t.TF32),
		"fp16_fallback":       d.boolean(&t.FP16Fallback),
		"cuda_graph":          d.boolean(&t.CUDAGraph),
		"spin_wait":           d.boolean(&t.SpinWait),
		"transfers":           d.boolean(&t.Transfers),
		"hardware_compatible": d.boolean(&t.HardwareCompatible),
		"keep_plans":          d.integer(&t.KeepPlans, 1, 1000),
		"profile": func(key string, n *yaml.Node) {
			d.mapping(key, n, map[string]field{
				"min": d.size(&t.Profile.Min), "opt": d.size(&t.Profile.Opt), "max": d.size(&t.Profile.Max),
			})
			if p := t.Profile; p.Min > p.Opt || p.Opt > p.Max {
				d.errorf(n, key, "must rise from min over opt to max, and is %d, %d, %d", p.Min, p.Opt, p.Max)
			}
		},
		"calibration": func(key string, n *yaml.Node) {
			l := &t.Calibration
			d.mapping(key, n, map[string]field{
				"samples":  d.integer(&l.Samples, 0, 1<<30),
				"values":   d.quantity(&l.Values, units.Ratio, 0, 1),
				"channels": d.quantity(&l.Channels, units.Ratio, 0, 1),
				"classes":  d.quantity(&l.Classes, units.Ratio, 0, 1),
			})
		},
	})
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
			_, err := fmt.Sscanf(s, "%d", &b.Seed)
			if err != nil {
				return fmt.Errorf("%q is not a whole number", s)
			}
			return nil
		}),
	})
	d.mapping(key, n, fields)
	if b.MaxWindow < b.MinWindow {
		d.errorf(n, key, "max_window (%s) must not be shorter than min_window (%s)", b.MaxWindow, b.MinWindow)
	}
}

var deviations = []string{bench.DeviationAuto, bench.DeviationTop1, bench.DeviationAgreement, bench.DeviationRelL2}

func (c *Config) model(d *decoder, key string, n *yaml.Node) {
	m := Model{Dims: map[string]int64{}, Inputs: map[string][]int64{}, Profiles: map[string]engine.Profile{}}
	d.mapping(key, n, map[string]field{
		"match": d.scalar(func(s string) error {
			m.Match = s
			return checkPattern(s)
		}),
		"owner":     d.text(&m.Owner),
		"deviation": d.oneOf(&m.Deviation, deviations...),
		"output":    d.text(&m.Output),
		"dims": func(key string, n *yaml.Node) {
			d.each(key, n, func(name, key string, n *yaml.Node) {
				var v int
				d.integer(&v, 0, 1<<30)(key, n) // 0 is the length of an empty cache
				m.Dims[name] = int64(v)
			})
		},
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
	c.Models = append(c.Models, m)
}

// each decodes a mapping whose keys are free.
func (d *decoder) each(key string, n *yaml.Node, item func(name, key string, n *yaml.Node)) {
	fields := map[string]field{}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i].Value
			fields[name] = func(key string, n *yaml.Node) { item(name, key, n) }
		}
	}
	d.mapping(key, n, fields)
}

// selection returns the fields that targets and milestones share.
func (d *decoder) selection(s *Select, name *string, criteria *[]forecast.Criterion) map[string]field {
	s.Precision = Best
	return map[string]field{
		"name": d.scalar(func(text string) error {
			if !labelValue(text) {
				return fmt.Errorf("%q cannot be a name: use up to 100 letters, digits, \"-\", \"_\", \".\" and spaces", text)
			}
			*name = text
			return nil
		}),
		"models":    d.patterns(&s.Models),
		"precision": d.oneOf(&s.Precision, Best, string(engine.FP32), string(engine.FP16), string(engine.INT8)),
		"criteria": d.nonEmpty(`a criterion such as "p99 < 50ms"`, d.scalar(func(text string) error {
			x, err := forecast.ParseCriterion(text, history.UnitOf)
			if err != nil {
				return err
			}
			q, _ := history.QuantityByName(x.Metric)
			if q.LowerIsBetter != x.Comparison.LowerIsBetter() {
				return fmt.Errorf("criterion %q asks for a worse %s: turn the comparison round", text, q.Title)
			}
			*criteria = append(*criteria, x)
			return nil
		})),
	}
}

func (c *Config) target(d *decoder, key string, n *yaml.Node) {
	var t Target
	d.mapping(key, n, d.selection(&t.Select, &t.Name, &t.Criteria))
	d.complete(key, n)
	c.Targets = append(c.Targets, t)
}

func (c *Config) milestone(d *decoder, key string, n *yaml.Node) {
	m := Milestone{Share: terms.Share, Ready: terms.Ready}
	fields := d.selection(&m.Select, &m.Name, &m.Criteria)
	maps.Copy(fields, map[string]field{
		"description": d.text(&m.Description),
		"share":       d.quantity(&m.Share, units.Ratio, 0.0001, 1),
		"horizon":     d.integer(&m.Horizon, 1, terms.MaxHorizon),
		"ready":       d.quantity(&m.Ready, units.Ratio, 0.01, 0.999),
		"environment": d.text(&m.Environment),
		"deadline": d.scalar(func(s string) error {
			t, err := terms.ParseDeadline(s, c.Location)
			m.Deadline = t
			return err
		}),
	})
	d.mapping(key, n, fields)
	d.complete(key, n)
	if n.Kind == yaml.MappingNode && !has(n, "deadline") && !has(n, "horizon") {
		d.errorf(n, key, `needs a deadline (such as "2027-01-31"), a horizon (a number of iterations), or both`)
	}
	c.Milestones = append(c.Milestones, m)
}

// complete reports what a target or milestone cannot do without.
func (d *decoder) complete(key string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		return
	}
	if !has(n, "name") {
		d.errorf(n, key, "needs a name")
	}
	if !has(n, "criteria") {
		d.errorf(n, key, `needs criteria, such as ["p99 < 50ms"]`)
	}
}

func (d *decoder) unique(n *yaml.Node, what string, names []string) {
	seen := map[string]bool{}
	reported := map[string]bool{"": true}
	for _, name := range names {
		if seen[name] && !reported[name] {
			d.errorf(n, what+"s", "more than one %s is named %q", what, name)
			reported[name] = true
		}
		seen[name] = true
	}
}

func names[T any](list []T, name func(T) string) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = name(x)
	}
	return out
}

// labelValue tells whether s reads well as a label value everywhere.
func labelValue(s string) bool {
	if s == "" || len(s) > 100 || strings.TrimSpace(s) != s {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_. ", r))
	})
}
