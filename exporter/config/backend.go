package config

import (
	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
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
