//go:build tensorrt && cgo

package trt

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
	"unsafe"
)

type runtimeHandle struct{ h *C.trt_runtime }

func (l *library) newRuntime(device int) (nativeRuntime, error) {
	r := &runtimeHandle{}
	err := call("make runtime", func(e *C.trt_error) C.int32_t { return C.trt_runtime_new(C.int32_t(device), &r.h, e) })
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (r *runtimeHandle) close() { C.trt_runtime_free(r.h) }

type engine struct{ h *C.trt_engine }

func (r *runtimeHandle) load(plan []byte) (nativeEngine, error) {
	g := &engine{}
	err := call("load plan", func(e *C.trt_error) C.int32_t {
		return C.trt_engine_load(r.h, unsafe.Pointer(unsafe.SliceData(plan)), C.size_t(len(plan)), &g.h, e)
	})
	if err != nil {
		// Damage shows in many ways; what is none of the others is damage.
		var native *Error
		if errors.As(err, &native) && native.Kind == nil {
			native.Kind = ErrCorruptPlan
		}
		return nil, err
	}
	return g, nil
}

func (g *engine) close() { C.trt_engine_free(g.h) }

func (g *engine) info() EngineInfo {
	var i C.trt_engine_info
	C.trt_get_engine_info(g.h, &i)
	out := EngineInfo{
		Name: C.GoString(i.name), Profiles: int(i.profiles), Layers: int(i.layers),
		DeviceBytes: int64(i.device_bytes), ContextBytes: int64(i.context_bytes),
	}
	for k := range i.tensors {
		var t C.trt_tensor_info
		if C.trt_engine_tensor(g.h, k, &t) != C.TRT_OK {
			continue
		}
		info := tensorInfo(&t)
		for p := range i.profiles {
			if !info.Input || info.Host {
				break
			}
			var d [C.TRT_MAX_DIMS]C.int64_t
			at := func(which C.int32_t) Shape {
				rank := C.trt_engine_profile(g.h, t.name, p, which, &d[0])
				return shapeOf(d[:max(rank, 0)])
			}
			info.Profiles = append(info.Profiles, Range{Min: at(0), Opt: at(1), Max: at(2)})
		}
		out.Tensors = append(out.Tensors, info)
	}
	return out
}

func (g *engine) inspect() ([]byte, error) {
	var text *C.char
	if err := call("inspect engine", func(e *C.trt_error) C.int32_t { return C.trt_engine_inspect(g.h, &text, e) }); err != nil {
		return nil, err
	}
	defer C.trt_string_free(text)
	return []byte(C.GoString(text)), nil
}

type execution struct {
	h       *C.trt_exec
	outputs []string
}

func (g *engine) newContext(profile int) (nativeContext, error) {
	x := &execution{}
	err := call("make context", func(e *C.trt_error) C.int32_t {
		return C.trt_exec_new(g.h, C.int32_t(profile), &x.h, e)
	})
	if err != nil {
		return nil, err
	}
	x.outputs = g.outputs(nil)
	return x, nil
}

// outputs are the names of those that no link takes.
func (g *engine) outputs(links []Link) (names []string) {
	for _, t := range g.info().Tensors {
		if !t.Input && !slices.ContainsFunc(links, func(l Link) bool { return l.Output == t.Name }) {
			names = append(names, t.Name)
		}
	}
	return names
}

func (x *execution) close() { C.trt_exec_free(x.h) }

func (x *execution) infer(inputs []namedTensor) (map[string]Tensor, error) {
	const op = "infer"
	for _, in := range inputs {
		name := C.CString(in.name)
		rank, d := dims(in.Shape)
		err := call(op, func(e *C.trt_error) C.int32_t {
			return C.trt_exec_input(x.h, name, rank, d, unsafe.Pointer(unsafe.SliceData(in.Data)), C.size_t(len(in.Data)), e)
		})
		C.free(unsafe.Pointer(name))
		if err != nil {
			return nil, err
		}
	}
	if err := call(op, func(e *C.trt_error) C.int32_t { return C.trt_exec_run(x.h, e) }); err != nil {
		return nil, err
	}
	return readAll(x.outputs,
		func(name *C.char, info *C.trt_tensor_info, size *C.size_t, e *C.trt_error) C.int32_t {
			return C.trt_exec_output(x.h, name, info, size, e)
		},
		func(name *C.char, data unsafe.Pointer, size C.size_t, e *C.trt_error) C.int32_t {
			return C.trt_exec_read(x.h, name, data, size, e)
		})
}

// readAll copies outputs from the device.
func readAll(names []string, describe func(*C.char, *C.trt_tensor_info, *C.size_t, *C.trt_error) C.int32_t,
	read func(*C.char, unsafe.Pointer, C.size_t, *C.trt_error) C.int32_t) (map[string]Tensor, error) {
	const op = "read output"
	one := func(name string) (Tensor, error) {
		c := C.CString(name)
		defer C.free(unsafe.Pointer(c))
		var info C.trt_tensor_info
		var size C.size_t
		if err := call(op, func(e *C.trt_error) C.int32_t { return describe(c, &info, &size, e) }); err != nil {
			return Tensor{}, err
		}
		t := Tensor{DType: DType(info.dtype), Shape: shapeOf(info.dims[:info.rank]), Data: make([]byte, size)}
		err := call(op, func(e *C.trt_error) C.int32_t { return read(c, unsafe.Pointer(unsafe.SliceData(t.Data)), size, e) })
		return t, err
	}
	out := make(map[string]Tensor, len(names))
	for _, name := range names {
		t, err := one(name)
		if err != nil {
			return nil, err
		}
		out[name] = t
	}
	return out, nil
}

type bench struct {
	h    *C.trt_bench
	free []string // outputs that no link takes
}

func (g *engine) newBencher(job benchJob) (nativeBencher, error) {
	o := C.trt_bench_options{
		profile: C.int32_t(job.Profile), streams: C.int32_t(job.Streams), depth: C.int32_t(job.Depth), steps: C.int32_t(len(job.steps)),
		cuda_graph: flag(job.CUDAGraph), spin_wait: flag(job.SpinWait), transfers: flag(job.Transfers),
	}
	b := &bench{free: g.outputs(job.links)}
	if err := call(opPrepare, func(e *C.trt_error) C.int32_t { return C.trt_bench_new(g.h, &o, &b.h, e) }); err != nil {
		return nil, err
	}
	if err := b.prepare(job); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

const opPrepare = "prepare measurement"

func (b *bench) prepare(job benchJob) error {
	for _, l := range job.links {
		input, output := C.CString(l.Input), C.CString(l.Output)
		err := call(opPrepare, func(e *C.trt_error) C.int32_t {
			return C.trt_bench_link(b.h, input, output, unsafe.Pointer(unsafe.SliceData(l.Start.Data)), C.size_t(len(l.Start.Data)), C.size_t(l.room()), e)
		})
		C.free(unsafe.Pointer(input))
		C.free(unsafe.Pointer(output))
		if err != nil {
			return err
		}
	}
	for i, step := range job.steps {
		for _, in := range step {
			name := C.CString(in.name)
			rank, d := dims(in.Shape)
			err := call(opPrepare, func(e *C.trt_error) C.int32_t {
				return C.trt_bench_input(b.h, C.int32_t(i), name, rank, d, unsafe.Pointer(unsafe.SliceData(in.Data)), C.size_t(len(in.Data)), e)
			})
			C.free(unsafe.Pointer(name))
			if err != nil {
				return err
			}
		}
	}
	return call(opPrepare, func(e *C.trt_error) C.int32_t { return C.trt_bench_prepare(b.h, e) })
}

func (b *bench) query() error {
	return call("run a query", func(e *C.trt_error) C.int32_t { return C.trt_bench_query(b.h, e) })
}

func (b *bench) outputs(step int) (map[string]Tensor, error) {
	return readAll(b.free,
		func(name *C.char, info *C.trt_tensor_info, size *C.size_t, e *C.trt_error) C.int32_t {
			return C.trt_bench_output(b.h, C.int32_t(step), name, info, size, e)
		},
		func(name *C.char, data unsafe.Pointer, size C.size_t, e *C.trt_error) C.int32_t {
			return C.trt_bench_read(b.h, C.int32_t(step), name, data, size, e)
		})
}

func (b *bench) close() { C.trt_bench_free(b.h) }

func (b *bench) run(ctx context.Context, w Window) (*Samples, error) {
	// C reads the flag while Go may move goroutines but not this memory: it is C's.
	abort := (*int32)(C.calloc(1, 4))
	defer C.free(unsafe.Pointer(abort))
	over := make(chan struct{})
	unregister := context.AfterFunc(ctx, func() { atomic.StoreInt32(abort, 1); close(over) })
	window := C.trt_window{
		warmup: C.double(w.Warmup.Seconds()), min_duration: C.double(w.MinDuration.Seconds()),
		max_duration: C.double(w.MaxDuration.Seconds()), min_queries: C.int64_t(w.MinQueries),
	}
	var s C.trt_samples
	err := call("measure", func(e *C.trt_error) C.int32_t {
		return C.trt_bench_run(b.h, &window, (*C.int32_t)(unsafe.Pointer(abort)), &s, e)
	})
	if !unregister() {
		<-over
	}
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil, fmt.Errorf("tensorrt: measure: %w", context.Cause(ctx))
		}
		return nil, err
	}
	n := int(s.queries)
	column := func(p *C.double) []float64 {
		if p == nil {
			return nil
		}
		return append([]float64(nil), unsafe.Slice((*float64)(p), n)...)
	}
	return &Samples{
		Enqueue: column(s.enqueue), H2D: column(s.h2d), Compute: column(s.compute), D2H: column(s.d2h),
		EndToEnd: column(s.end_to_end), Start: column(s.start),
		Stream: append([]int32(nil), unsafe.Slice((*int32)(s.stream), n)...),
		Warmup: int(s.warmup), Wall: float64(s.wall), Span: float64(s.span), HostWall: time.Duration(float64(s.host_wall) * float64(time.Second)),
		ContextBytes: int64(s.context_bytes), PeakBytes: int64(s.peak_bytes),
	}, nil
}
