package main

import (
	"fmt"
	"strings"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime"
)

// backend is a runtime that this build of plancast has.
type backend struct {
	name string
	open func(bench.BackendConfig) (engine.Backend, error)
}

// backends lists the runtimes, the preferred first.
var backends = []backend{
	{"onnxruntime", func(c bench.BackendConfig) (engine.Backend, error) {
		return onnxruntime.New(onnxruntime.Options{Library: c.ONNXRuntimeLibrary}), nil
	}},
}

func backendNames() []string {
	names := make([]string, len(backends))
	for i, b := range backends {
		names[i] = b.name
	}
	return names
}

// openBackend is the worker's worker.Opener.
func openBackend(name string, config bench.BackendConfig) (engine.Backend, error) {
	for _, b := range backends {
		if b.name == name {
			return b.open(config)
		}
	}
	return nil, &engine.Error{Kind: engine.KindUnavailable, Op: "open backend", Subject: name,
		Message: fmt.Sprintf("this plancast has only %s", strings.Join(backendNames(), ", "))}
}
