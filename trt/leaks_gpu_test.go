//go:build tensorrt && cgo && gpu

package trt_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/plancast/plancast/trt"
)

func TestCloseInAnyOrder(t *testing.T) {
	l := library(t)
	before := l.Live()
	r, err := l.NewRuntime(0)
	if err != nil {
		t.Fatal(err)
	}
	e, err := r.Load(smallPlan(t))
	if err != nil {
		t.Fatal(err)
	}
	c, err := e.NewContext(0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.NewBencher(trt.BenchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	e.Close()
	if _, err := e.NewContext(0); !errors.Is(err, trt.ErrClosed) {
		t.Errorf("a context of a closed engine: %v", err)
	}
	if _, err := c.Infer(map[string]trt.Tensor{"image": images(1, 1)}); err != nil {
		t.Errorf("a context outlives its engine's Close: %v", err)
	}
	if _, err := b.Run(t.Context(), trt.Window{MinQueries: 5}); err != nil {
		t.Error(err)
	}
	b.Close()
	c.Close()
	c.Close()
	if got := l.Live(); got != before {
		t.Errorf("live %+v, before %+v", got, before)
	}
}

func TestOutOfDeviceMemory(t *testing.T) {
	l := library(t)
	total, err := l.DeviceMemory(0)
	if err != nil {
		t.Fatal(err)
	}
	// A context for the largest batch takes tens of GB; enough of them cannot fit.
	r := build(t, newConvNet(16, 7).model(), trt.BuildOptions{Batch: trt.BatchRange{Min: 1, Opt: 8, Max: 100000}})
	e := load(t, r.Plan)
	need := e.Info().ContextBytes
	streams := int(total.TotalBytes/max(need, 1)) + 1
	if streams > 128 {
		t.Skipf("a context takes only %d bytes", need)
	}
	before, _ := l.DeviceMemory(0)
	_, err = e.NewBencher(trt.BenchOptions{Streams: streams})
	if !errors.Is(err, trt.ErrOutOfMemory) {
		t.Errorf("%d contexts of %d bytes: %v", streams, need, err)
	}
	t.Log(err)
	after, _ := l.DeviceMemory(0)
	if lost := before.FreeBytes - after.FreeBytes; lost > 64<<20 {
		t.Errorf("%d bytes lost", lost)
	}
	c, err := e.NewContext(0)
	if err != nil {
		t.Fatalf("the device is usable afterwards: %v", err)
	}
	defer c.Close()
	if _, err := c.Infer(map[string]trt.Tensor{"image": images(2, 1)}); err != nil {
		t.Error(err)
	}
}

func residentBytes(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// leaks runs cycles until every cache and pool has filled, the allocator's arenas
// above all, then those that count, and compares memory before and after these.
func leaks(t *testing.T, filling, cycles int, cycle func(i int)) {
	t.Helper()
	l := library(t)
	state := func() (int64, int64, trt.Objects) {
		runtime.GC()
		m, err := l.DeviceMemory(0)
		if err != nil {
			t.Fatal(err)
		}
		return m.FreeBytes, residentBytes(t), l.Live()
	}
	for i := range filling {
		cycle(i)
	}
	free, resident, live := state()
	for i := range cycles {
		cycle(i)
	}
	freeEnd, residentEnd, liveEnd := state()
	if free-freeEnd > 8<<20 {
		t.Errorf("device memory: %d bytes lost", free-freeEnd)
	}
	if residentEnd-resident > 16<<20 {
		t.Errorf("host memory: %d bytes more", residentEnd-resident)
	}
	if liveEnd != live {
		t.Errorf("live objects %+v, before %+v", liveEnd, live)
	}
	t.Logf("%d cycles: device %+d bytes, host %+d bytes", cycles, free-freeEnd, residentEnd-resident)
}

func TestNoLeakInUse(t *testing.T) {
	plan := smallPlan(t)
	l := library(t)
	r, err := l.NewRuntime(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	x := images(4, 1)
	leaks(t, 600, 1000, func(i int) {
		e, err := r.Load(plan)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		c, err := e.NewContext(0)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Infer(map[string]trt.Tensor{"image": x}); err != nil {
			t.Fatal(err)
		}
		b, err := e.NewBencher(trt.BenchOptions{CUDAGraph: true, Transfers: i%2 == 0})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if _, err := b.Run(t.Context(), trt.Window{MinQueries: 10}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNoLeakInFailure(t *testing.T) {
	plan := smallPlan(t)
	l := library(t)
	b, err := l.NewBuilder(0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	r, err := l.NewRuntime(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	model := newConvNet(16, 1).model()
	random := rand.New(rand.NewPCG(1, 1))
	leaks(t, 50, 200, func(i int) {
		switch i % 3 {
		case 0:
			if _, err := r.Load(plan[:random.IntN(len(plan)-1)+1]); err == nil {
				t.Error("a truncated plan was loaded")
			}
		case 1:
			// From inside the graph on: the bytes before it are a whole, empty model.
			if _, err := b.Parse(model[:20+random.IntN(len(model)/2)]); err == nil {
				t.Error("a truncated model was parsed")
			}
		case 2:
			n, err := b.Parse(model)
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			ctx, cancel := context.WithCancel(t.Context())
			if _, err := n.Build(ctx, trt.BuildOptions{OptimizationLevel: 1, Progress: func(trt.Progress) { cancel() }}); !errors.Is(err, context.Canceled) {
				t.Errorf("canceled: %v", err)
			}
		}
	})
}
