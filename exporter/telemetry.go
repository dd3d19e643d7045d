package main

import (
	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/tensorrt"
	"github.com/plancast/plancast/exporter/gpu"
)

// watchDevice is the worker's worker.Watcher: jobs on TensorRT have a GPU, and
// nothing else touches NVML.
func watchDevice(b engine.Backend) (bench.Sampler, func(), error) {
	t, ok := b.(*tensorrt.Backend)
	if !ok {
		return nil, nil, nil
	}
	// CUDA's own word on which GPU it is: its indexes are not NVML's.
	d, err := t.Device()
	if err != nil {
		return nil, nil, err
	}
	w, err := gpu.NewWatcher(gpu.Options{}, gpu.ID{UUID: d.UUID, PCIBusID: d.PCIBusID})
	if err != nil {
		return nil, nil, err
	}
	return w, w.Close, nil
}
