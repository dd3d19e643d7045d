package main

import (
	"fmt"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/gpu"
	"github.com/plancast/plancast/trt"
)

// watchDevice is the worker's worker.Watcher: jobs on TensorRT have a GPU, and
// nothing else touches NVML.
func watchDevice(name string, config bench.BackendConfig) (bench.Sampler, func(), error) {
	if name != "tensorrt" {
		return nil, nil, nil
	}
	// CUDA's own word on which GPU the index means: CUDA_VISIBLE_DEVICES and
	// CUDA's order make it another one than NVML's.
	lib, err := trt.Open(trt.Options{LibraryPath: config.TensorRTLibraries})
	if err != nil {
		return nil, nil, err
	}
	devices, err := lib.Devices()
	if err != nil {
		return nil, nil, err
	}
	if config.Device < 0 || config.Device >= len(devices) {
		return nil, nil, fmt.Errorf("there is no device %d: CUDA has %d", config.Device, len(devices))
	}
	d := devices[config.Device]
	w, err := gpu.NewWatcher(gpu.Options{}, gpu.ID{UUID: d.UUID, PCIBusID: d.PCIBusID})
	if err != nil {
		return nil, nil, err
	}
	return w, w.Close, nil
}
