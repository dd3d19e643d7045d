package main

import (
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/pass"
)

func TestCheckCountsTheDevicesThatMeasureSideBySide(t *testing.T) {
	b := pass.Backend{Name: "tensorrt", Reason: "the configuration asks for it", Devices: []int{0},
		Environment: engine.Environment{BackendVersion: "10.6.0", Device: "NVIDIA L4"}}
	if got, want := backendSentence(b), "tensorrt 10.6.0 on NVIDIA L4: the configuration asks for it"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	b.Devices = []int{0, 2}
	if got, want := backendSentence(b), "tensorrt 10.6.0 on NVIDIA L4 (2 side by side): the configuration asks for it"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
