package trt

import (
	"os"
	"path/filepath"
	"sync"
)

// Options of Open.
type Options struct {
	// LibraryPath lists folders to look in before all others.
	LibraryPath []string
}

// Library is TensorRT, opened. It needs no closing and serves concurrent callers.
type Library struct{ n nativeLibrary }

// Open finds and opens the TensorRT libraries and, where there is one, the NVIDIA
// driver. The libraries are opened once for the process: a later Open returns the
// same ones, whatever its options. The error wraps ErrUnavailable.
func Open(o Options) (*Library, error) {
	n, err := openNative(newSearchPath(o, os.Getenv, filepath.Glob))
	if err != nil {
		return nil, err
	}
	return &Library{n: n}, nil
}

// Versions names what was opened.
func (l *Library) Versions() Versions { return l.n.versions() }

// Device is a GPU that CUDA may use.
type Device struct {
	Index             int // CUDA's, after CUDA_VISIBLE_DEVICES
	Name              string
	UUID              string // "GPU-..." or "MIG-..." as nvidia-smi writes it
	PCIBusID          string
	ComputeCapability string // "9.0"
	Multiprocessors   int
	MemoryBytes       int64
}

// Devices lists the GPUs. Without a driver or a GPU the error wraps ErrNoDevice.
func (l *Library) Devices() ([]Device, error) { return l.n.devices() }

// Memory is the state of a device's memory, all processes together.
type Memory struct{ FreeBytes, TotalBytes int64 }

// DeviceMemory asks CUDA for the memory of a device.
func (l *Library) DeviceMemory(device int) (Memory, error) { return l.n.memory(device) }

// Objects counts open native objects.
type Objects struct{ Builders, Networks, Runtimes, Engines, Contexts, Benchers int64 }

// Live counts the objects not yet closed, for leak tests. A native object that a
// child still needs counts until that child is closed.
func (l *Library) Live() Objects { return l.n.live() }

// NewBuilder makes a builder on a device. It takes seconds while no other builder is
// open: TensorRT loads its kernels for the first and drops them with the last. Keep
// one open between builds.
func (l *Library) NewBuilder(device int) (*Builder, error) {
	n, err := l.n.newBuilder(device)
	if err != nil {
		return nil, err
	}
	return &Builder{n: n}, nil
}

// NewRuntime makes a runtime, which loads plans, on a device.
func (l *Library) NewRuntime(device int) (*Runtime, error) {
	n, err := l.n.newRuntime(device)
	if err != nil {
		return nil, err
	}
	return &Runtime{n: n, version: l.Versions().TensorRT}, nil
}

// guard makes closing safe: calls in progress hold it shared or alone, and Close
// waits for them.
type guard struct {
	mu     sync.RWMutex
	closed bool
}

func (g *guard) shared() (unlock func(), err error) {
	g.mu.RLock()
	if g.closed {
		g.mu.RUnlock()
		return nil, ErrClosed
	}
	return g.mu.RUnlock, nil
}

func (g *guard) alone() (unlock func(), err error) {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil, ErrClosed
	}
	return g.mu.Unlock, nil
}

// close runs free once.
func (g *guard) close(free func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.closed = true
		free()
	}
}
