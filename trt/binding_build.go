//go:build tensorrt && cgo

package trt

// #include <stdlib.h>
// #include "shim.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/cgo"
	"strings"
	"sync"
	"time"
	"unsafe"
)

type builder struct{ h *C.trt_builder }

func (l *library) newBuilder(device int) (nativeBuilder, error) {
	const op = "make builder"
	var free, total C.uint64_t
	if err := call(op, func(e *C.trt_error) C.int32_t { return C.trt_memory(C.int32_t(device), &free, &total, e) }); err != nil {
		return nil, err
	}
	if err := l.builderResource(); err != nil {
		return nil, err
	}
	b := &builder{}
	if err := call(op, func(e *C.trt_error) C.int32_t { return C.trt_builder_new(C.int32_t(device), &b.h, e) }); err != nil {
		return nil, err
	}
	return b, nil
}

// builderResource makes the library with the builder's kernels available, from the
// folder libnvinfer came from.
func (l *library) builderResource() error {
	dir := filepath.Dir(l.paths["libnvinfer.so."+C.GoString(C.trt_soname_major())])
	if dir == "." {
		dir = ""
	}
	c := C.CString(dir)
	defer C.free(unsafe.Pointer(c))
	return call("make builder", func(e *C.trt_error) C.int32_t { return C.trt_builder_resource(c, e) })
}

func (b *builder) close() { C.trt_builder_free(b.h) }

type network struct{ h *C.trt_network }

func (b *builder) parse(model []byte, path string) (nativeNetwork, error) {
	c := C.CString(path)
	defer C.free(unsafe.Pointer(c))
	n := &network{}
	err := call("parse "+path, func(e *C.trt_error) C.int32_t {
		return C.trt_parse(b.h, unsafe.Pointer(unsafe.SliceData(model)), C.size_t(len(model)), c, &n.h, e)
	})
	if err == nil {
		return n, nil
	}
	if n.h == nil {
		return nil, err
	}
	defer n.close()
	refused := &ParseError{Model: path}
	var native *Error
	if errors.As(err, &native) {
		refused.Log = native.Log
	}
	for i := range int(C.trt_parser_error_count(n.h)) {
		var p C.trt_parser_error
		C.trt_get_parser_error(n.h, C.int32_t(i), &p)
		out := ParserError{
			Code: ParserCode(p.code), Message: C.GoString(p.text), NodeIndex: int(p.node),
			NodeName: C.GoString(p.node_name), Operator: C.GoString(p.node_operator),
			Source: fmt.Sprintf("%s:%d %s", C.GoString(p.file), p.line, C.GoString(p.function)),
		}
		if f := C.GoString(p.functions); f != "" {
			out.Functions = strings.Split(f, "\n")
		}
		refused.Errors = append(refused.Errors, out)
	}
	return nil, refused
}

func (n *network) close() { C.trt_network_free(n.h) }

func (n *network) info() NetworkInfo {
	var in, out, layers, quantize C.int32_t
	C.trt_network_counts(n.h, &in, &out, &layers, &quantize)
	info := NetworkInfo{Layers: int(layers), QuantizeLayers: int(quantize)}
	tensors := func(count C.int32_t, input C.int32_t) (ts []TensorInfo) {
		for i := range count {
			var t C.trt_tensor_info
			C.trt_network_tensor(n.h, input, i, &t)
			ts = append(ts, tensorInfo(&t))
		}
		return ts
	}
	info.Inputs, info.Outputs = tensors(in, 1), tensors(out, 0)
	return info
}

func tensorInfo(t *C.trt_tensor_info) TensorInfo {
	return TensorInfo{
		Name: C.GoString(t.name), Input: t.input != 0, DType: DType(t.dtype), Host: t.host != 0,
		Format: C.GoString(t.format), Shape: shapeOf(t.dims[:t.rank]),
	}
}

func shapeOf(dims []C.int64_t) Shape {
	s := make(Shape, len(dims))
	for i, d := range dims {
		s[i] = int64(d)
	}
	return s
}

// dims gives C a shape; the pointer is good for one call.
func dims(s Shape) (C.int32_t, *C.int64_t) {
	c := make([]C.int64_t, max(len(s), 1))
	for i, d := range s {
		c[i] = C.int64_t(d)
	}
	return C.int32_t(len(s)), &c[0]
}

// callbacks is what the exported functions below find through the handle.
type callbacks struct {
	mu       sync.Mutex
	progress func(Progress)
	tree     *progressTree
	next     func() (map[string][]float32, error)
	stop     func()
	err      error // of next
	panicked any   // in progress or next; raised again on the caller's stack
}

func (c *callbacks) guard() {
	if p := recover(); p != nil {
		c.panicked = p
		c.stop()
	}
}

//export goTrtProgress
func goTrtProgress(h C.uintptr_t, event C.int32_t, name, parent *C.char, number C.int32_t) {
	c := cgo.Handle(h).Value().(*callbacks)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.guard()
	if c.panicked != nil {
		return
	}
	phase := C.GoString(name)
	var p Progress
	switch event {
	case 0:
		p = c.tree.start(phase, C.GoString(parent), int(number))
	case 1:
		p = c.tree.step(phase, int(number))
	default:
		p = c.tree.finish(phase)
	}
	c.progress(p)
}

//export goTrtBatch
func goTrtBatch(h C.uintptr_t, count C.int32_t, names **C.char, buffers **C.float, elements *C.int64_t) (result C.int32_t) {
	c := cgo.Handle(h).Value().(*callbacks)
	c.mu.Lock()
	defer c.mu.Unlock()
	result = -1
	defer c.guard()
	batch, err := c.next()
	if errors.Is(err, io.EOF) {
		return 0
	}
	if err != nil {
		c.err = err
		return -1
	}
	ns, bs, es := unsafe.Slice(names, count), unsafe.Slice(buffers, count), unsafe.Slice(elements, count)
	for i := range ns {
		name := C.GoString(ns[i])
		v, ok := batch[name]
		if !ok {
			c.err = invalidf("a calibration batch has no values for input %q", name)
			return -1
		}
		if int64(len(v)) != int64(es[i]) {
			c.err = invalidf("a calibration batch has %d values for input %q, its shape has %d", len(v), name, es[i])
			return -1
		}
		copy(unsafe.Slice((*float32)(unsafe.Pointer(bs[i])), len(v)), v)
	}
	return 1
}

func (n *network) build(ctx context.Context, job buildJob) (*BuildResult, error) {
	const op = "build engine"
	o := C.trt_build_options{
		tf32: flag(job.TF32), level: -1, timing_iterations: C.int32_t(job.TimingIterations),
		ampere_plus: flag(job.HardwareCompatibility == AmperePlus), workspace: C.uint64_t(job.WorkspaceBytes),
		fp16: flag(job.Precision == FP16 || job.FP16Fallback), int8: flag(job.Precision == INT8),
	}
	switch {
	case job.OptimizationLevel == -1:
		o.level = 0
	case job.OptimizationLevel > 0:
		o.level = C.int32_t(job.OptimizationLevel)
	}
	c := &callbacks{progress: job.Progress, tree: newProgressTree()}
	if job.Progress != nil {
		o.progress = 1
	}
	if job.calibration != nil {
		o.calibrate = 1
		if c.next = job.Calibration.Next; c.next != nil {
			o.calibrate = 2
		}
	}
	handle := cgo.NewHandle(c)
	defer handle.Delete()
	o.callbacks = C.uintptr_t(handle)

	var b *C.trt_build
	if err := call(op, func(e *C.trt_error) C.int32_t { return C.trt_build_new(n.h, &o, &b, e) }); err != nil {
		return nil, err
	}
	defer C.trt_build_free(b)
	c.stop = func() { C.trt_build_cancel(b) }
	for i, ranges := range job.profiles {
		for _, r := range ranges {
			name := C.CString(r.name)
			rank, lo := dims(r.Min)
			_, opt := dims(r.Opt)
			_, hi := dims(r.Max)
			err := call(op, func(e *C.trt_error) C.int32_t {
				return C.trt_build_profile(b, C.int32_t(i), name, rank, lo, opt, hi, e)
			})
			C.free(unsafe.Pointer(name))
			if err != nil {
				return nil, err
			}
		}
	}
	for name, s := range job.calibration {
		cname := C.CString(name)
		rank, d := dims(s)
		C.trt_build_calibration_input(b, cname, rank, d)
		C.free(unsafe.Pointer(cname))
	}
	if job.calibration != nil {
		if cache := job.Calibration.Cache; len(cache) > 0 {
			C.trt_build_calibration_cache(b, unsafe.Pointer(unsafe.SliceData(cache)), C.size_t(len(cache)))
		}
	}
	if len(job.TimingCache) > 0 {
		C.trt_build_timing_cache(b, unsafe.Pointer(unsafe.SliceData(job.TimingCache)), C.size_t(len(job.TimingCache)))
	}

	// The cancellation may be under way when the build ends: the build handle must
	// not be freed before it is over.
	over := make(chan struct{})
	unregister := context.AfterFunc(ctx, func() { C.trt_build_cancel(b); close(over) })
	begun := time.Now()
	log, err := callLogged(op, func(e *C.trt_error) C.int32_t { return C.trt_build_run(b, e) })
	took := time.Since(begun)
	if !unregister() {
		<-over
	}
	switch {
	case c.panicked != nil:
		panic(c.panicked)
	case err == nil:
	case c.err != nil:
		return nil, fmt.Errorf("tensorrt: %s: read calibration batch: %w", op, c.err)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("tensorrt: %s: %w", op, context.Cause(ctx))
	default:
		return nil, err
	}
	r := &BuildResult{
		Plan: buildOutput(b, C.TRT_BUILD_PLAN), TimingCache: buildOutput(b, C.TRT_BUILD_TIMING_CACHE),
		Duration: took, Quantized: n.info().QuantizeLayers > 0, Log: log,
		CacheUse: cacheUse(len(job.TimingCache) > 0, C.trt_build_cache_valid(b) != 0, C.GoString(C.trt_build_cache_reason(b)), log),
	}
	if job.calibration != nil {
		var batches, fromCache C.int32_t
		var samples C.int64_t
		C.trt_build_calibration(b, &batches, &samples, &fromCache)
		r.Calibration = &CalibrationResult{
			Cache: buildOutput(b, C.TRT_BUILD_CALIBRATION_CACHE), FromCache: fromCache != 0,
			Batches: int(batches), Samples: int64(samples),
		}
	}
	return r, nil
}

func flag(on bool) C.int32_t {
	if on {
		return 1
	}
	return 0
}

func buildOutput(b *C.trt_build, which C.int32_t) []byte {
	var size C.size_t
	p := C.trt_build_output(b, which, &size)
	return append([]byte(nil), unsafe.Slice((*byte)(p), int(size))...)
}
