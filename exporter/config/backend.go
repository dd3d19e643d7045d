package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/units"
	"go.yaml.in/yaml/v3"
)

// The values of `backend` besides "auto".
const (
	OnONNXRuntime = "onnxruntime"
	OnTensorRT    = "tensorrt"
)

// Settings are the explicit choices for the backend named, in an environment.
func (c Config) Settings(backend string, env engine.Environment) engine.Settings {
	if backend == OnTensorRT {
		t := c.TensorRT
		return engine.Settings{
			WorkspaceBytes: t.Workspace, OptimizationLevel: &t.OptimizationLevel, TF32: t.TF32, FP16Fallback: t.FP16Fallback,
			CUDAGraph: t.CUDAGraph, SpinWait: t.SpinWait, Transfers: t.Transfers, HardwareCompatible: t.HardwareCompatible,
			ProfileBatch: &t.Profile,
		}
	}
	threads := c.ONNXRuntime.Threads
	if threads == 0 {
		threads = env.Cores
	}
	return engine.Settings{Threads: threads, GraphOptimization: c.ONNXRuntime.GraphOptimization}
}

// Limits are those of a job's process. What the configuration leaves open is
// enough for most models: TensorRT's builder alone holds some 7 GB.
func (c Config) Limits(backend string) Worker {
	w := c.Worker
	switch {
	case w.Memory != 0:
	case backend == OnTensorRT:
		w.Memory = 24 << 30
	default:
		w.Memory = 8 << 30
	}
	return w
}

// Devices are those that the configuration names for the backend; empty is all
// that are alike.
func (c Config) Devices(backend string) []int {
	if backend == OnTensorRT {
		return c.TensorRT.Devices
	}
	return nil
}

// BackendConfig is what opens a backend on a device.
func (c Config) BackendConfig(device int) bench.BackendConfig {
	t := c.TensorRT
	return bench.BackendConfig{
		ONNXRuntimeLibrary: c.ONNXRuntime.Library, TensorRTLibraries: t.Libraries, Device: device,
		RequireTensorRT: t.Require.TensorRT, RequireCUDA: t.Require.CUDA, RequireDriver: t.Require.Driver,
	}
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

func (c *Config) onnxRuntime(d *decoder, key string, n *yaml.Node) {
	d.mapping(key, n, map[string]field{
		"library":            d.path(&c.ONNXRuntime.Library),
		"threads":            d.integer(&c.ONNXRuntime.Threads, 0, 1024),
		"graph_optimization": d.oneOf(&c.ONNXRuntime.GraphOptimization, "disabled", "basic", "extended", "all"),
	})
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
				return checkPath(s)
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
				d.errorf(n, key, "must satisfy min <= opt <= max, and is %d, %d, %d", p.Min, p.Opt, p.Max)
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
