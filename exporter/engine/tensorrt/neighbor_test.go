//go:build tensorrt && cgo && gpu

package tensorrt

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/gpu"
	"github.com/plancast/plancast/exporter/host"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
)

const atWork = "the neighbor is at work"

// A second process that infers on the same GPU disturbs each result, also in a
// container, where NVML's process list does not show it. Once it is gone, nothing
// on the GPU does.
func TestASecondProcessOnTheGPUDisturbs(t *testing.T) {
	if os.Getenv("PLANCAST_TEST_NEIGHBOR") != "" {
		neighbor(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), "PLANCAST_TEST_NEIGHBOR=1")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	leave := func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
	defer leave()
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), atWork) {
		t.Log(lines.Text())
	}
	beside := watched(t)
	leave()
	alone := watched(t)
	t.Logf("beside: %+v, device %+v", beside.Disturbance, beside.Telemetry)
	t.Logf("alone:  %+v, device %+v", alone.Disturbance, alone.Telemetry)
	if !beside.Disturbed() || beside.Stable || !strings.Contains(beside.Disturbance.Cause, "on the GPU") && !strings.Contains(beside.Disturbance.Cause, "the GPU at work") {
		t.Errorf("beside a neighbor: stable %t, %+v", beside.Stable, beside.Disturbance)
	}
	if alone.Disturbance.Device > 0.05 {
		t.Errorf("alone: %+v", alone.Disturbance)
	}
}

// neighbor infers until it is killed.
func neighbor(t *testing.T) {
	j := job(t, t.TempDir(), engine.FP32, "")
	j.ModelPath = onnxtest.Write(t, onnxtest.Classifier(64, 4096, 1000))
	j.Options.Concurrency, j.Options.MaxWindows = nil, 1
	measure(t, j) // its engine is built and kept
	j.Options.MinWindow, j.Options.MaxWindow = time.Minute, time.Minute
	os.Stdout.WriteString(atWork + "\n")
	for {
		measure(t, j)
	}
}

// watched measures as a worker does: the processors and the GPU are watched.
func watched(t *testing.T) bench.Measurement {
	t.Helper()
	b := New(Options{})
	defer b.Close()
	d, err := b.Device()
	if err != nil {
		t.Fatal(err)
	}
	w, err := gpu.NewWatcher(gpu.Options{}, gpu.ID{UUID: d.UUID, PCIBusID: d.PCIBusID})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	j := job(t, t.TempDir(), engine.FP32, "")
	j.Options.MinWindow, j.Options.Concurrency = 500*time.Millisecond, nil
	j.Guard = bench.DefaultGuard()
	j.Guard.Patience = 5 * time.Second
	m, err := bench.Measure(t.Context(), b, j, nil, bench.On(&host.Host{}), bench.Watched(w))
	if err != nil {
		t.Fatal(err)
	}
	return m
}
