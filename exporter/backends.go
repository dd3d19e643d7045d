package main

import (
	"fmt"
	"strings"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime"
	"github.com/plancast/plancast/exporter/engine/tensorrt"
	"github.com/plancast/plancast/trt"
)

// backend is a runtime that plancast knows.
type backend struct {
	name  string
	built bool // into this program
	open  func(bench.BackendConfig) engine.Backend
}

// backends lists the runtimes, the preferred first.
var backends = []backend{
	{tensorrt.Name, trt.Built, func(c bench.BackendConfig) engine.Backend {
		return tensorrt.New(tensorrt.Options{
			Libraries: c.TensorRTLibraries, Device: c.Device,
			Require: trt.Require{TensorRT: c.RequireTensorRT, CUDA: c.RequireCUDA, Driver: c.RequireDriver},
		})
	}},
	{onnxruntime.Name, true, func(c bench.BackendConfig) engine.Backend {
		return onnxruntime.New(onnxruntime.Options{Library: c.ONNXRuntimeLibrary})
	}},
}

func backendNames() []string {
	var names []string
	for _, b := range backends {
		if b.built {
			names = append(names, b.name)
		}
	}
	return names
}

// openBackend is the worker's worker.Opener.
func openBackend(name string, config bench.BackendConfig) (engine.Backend, error) {
	for _, b := range backends {
		if b.built && b.name == name {
			return b.open(config), nil
		}
	}
	return nil, &engine.Error{Kind: engine.KindUnavailable, Op: "open backend", Subject: name,
		Message: fmt.Sprintf("this build of plancast has only %s", strings.Join(backendNames(), ", "))}
}
