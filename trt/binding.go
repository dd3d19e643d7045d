//go:build tensorrt && cgo

package trt

// #cgo CXXFLAGS: -std=c++17 -O2 -Wall -Wno-deprecated-declarations
// #cgo LDFLAGS: -ldl
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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

type library struct{ paths map[string]string }

var (
	openMutex sync.Mutex
	opened    *library
)

// Built tells whether the binding is compiled into this binary.
const Built = true

func openNative(s searchPath) (nativeLibrary, error) {
	openMutex.Lock()
	defer openMutex.Unlock()
	if opened != nil {
		return opened, nil
	}
	handles := map[string]unsafe.Pointer{}
	paths := map[string]string{}
	load := func(name string) error {
		where, err := s.open(name, fileExists, func(path string) error {
			h, err := dlopen(path)
			handles[name] = h
			return err
		})
		if err == nil {
			paths[name] = where
		}
		return err
	}
	major := C.GoString(C.trt_soname_major())
	infer, parser, plugin := "libnvinfer.so."+major, "libnvonnxparser.so."+major, "libnvinfer_plugin.so."+major
	const driver, nvml = "libcuda.so.1", "libnvidia-ml.so.1"
	if err := load(infer); err != nil {
		return nil, err
	}
	// The other two come from where the first did: mixing installations ends badly.
	if dir := filepath.Dir(paths[infer]); dir != "." {
		s.first = append([]string{dir}, s.first...)
	}
	for _, name := range []string{plugin, parser} {
		if err := load(name); err != nil {
			return nil, err
		}
	}
	// Without a driver there is still a version to ask for.
	_ = load(driver)
	_ = load(nvml)
	var e C.trt_error
	if C.trt_attach(handles[infer], handles[parser], handles[plugin], handles[driver], handles[nvml], &e) != C.TRT_OK {
		return nil, &UnavailableError{Reason: C.GoString(&e.text[0])}
	}
	l := &library{paths: paths}
	if err := l.checkVersion(); err != nil {
		return nil, err
	}
	opened = l
	return l, nil
}

// dlopen reads the loader's message in the same C call, since it is per thread.
func dlopen(path string) (unsafe.Pointer, error) {
	c := C.CString(path)
	defer C.free(unsafe.Pointer(c))
	var message [1024]C.char
	h := C.trt_dlopen(c, &message[0], C.size_t(len(message)))
	if h == nil {
		return nil, errors.New(C.GoString(&message[0]))
	}
	return h, nil
}

// checkVersion refuses a library that lacks functions the headers promise.
func (l *library) checkVersion() error {
	var v C.trt_versions
	C.trt_get_versions(&v)
	if v.tensorrt[0] != v.header[0] || v.tensorrt[1] < v.header[1] {
		found := l.versions()
		return &UnavailableError{
			Library: "TensorRT " + strconv.Itoa(int(v.header[0])) + "." + strconv.Itoa(int(v.header[1])) + " or newer of the same major version",
			Found:   []string{"TensorRT " + found.TensorRT + " in " + filepath.Dir(l.paths["libnvinfer.so."+C.GoString(C.trt_soname_major())])},
			Reason:  "the binding was compiled with the headers of " + found.Headers,
		}
	}
	return nil
}

func (l *library) versions() Versions {
	var v C.trt_versions
	C.trt_get_versions(&v)
	dotted := func(n [4]C.int32_t) string { return fmt.Sprintf("%d.%d.%d.%d", n[0], n[1], n[2], n[3]) }
	out := Versions{TensorRT: dotted(v.tensorrt), Headers: dotted(v.header), Driver: C.GoString(&v.driver[0]), Libraries: map[string]string{}}
	if c := int(v.cuda); c > 0 {
		out.CUDA = fmt.Sprintf("%d.%d", c/1000, c%1000/10)
	}
	for name, path := range l.paths {
		out.Libraries[name] = path
	}
	return out
}

// call runs one C function and turns its failure into an *Error with the lines
// logged meanwhile.
func call(op string, f func(*C.trt_error) C.int32_t) error {
	_, err := callLogged(op, f)
	return err
}

func callLogged(op string, f func(*C.trt_error) C.int32_t) ([]LogLine, error) {
	mark := C.trt_log_mark()
	var e C.trt_error
	kind := f(&e)
	if kind == C.TRT_OK {
		return logSince(mark), nil
	}
	out := &Error{Op: op, Text: C.GoString(&e.text[0]), Log: logSince(mark)}
	switch kind {
	case C.TRT_E_ARGUMENT:
		out.Kind = ErrInvalid
	case C.TRT_E_UNSUPPORTED:
		out.Kind = ErrUnsupported
	case C.TRT_E_CANCELED:
		out.Kind = context.Canceled
	case C.TRT_E_MEMORY:
		out.Kind = ErrOutOfMemory
	case C.TRT_E_DEVICE:
		out.Kind = ErrNoDevice
	}
	return out.Log, out.classify()
}

func logSince(mark C.uint64_t) []LogLine {
	const size = 8192
	buf := C.malloc(size)
	defer C.free(buf)
	var lines []LogLine
	var severity C.int32_t
	for C.trt_log_next(&mark, &severity, (*C.char)(buf), size) != 0 {
		lines = append(lines, LogLine{Severity(severity), C.GoString((*C.char)(buf))})
	}
	return lines
}

func (l *library) devices() ([]Device, error) {
	var n C.int32_t
	if err := call("count devices", func(e *C.trt_error) C.int32_t { return C.trt_device_count(&n, e) }); err != nil {
		return nil, err
	}
	out := make([]Device, n)
	for i := range out {
		var d C.trt_device_info
		if err := call("describe device "+strconv.Itoa(i), func(e *C.trt_error) C.int32_t {
			return C.trt_device(C.int32_t(i), &d, e)
		}); err != nil {
			return nil, err
		}
		out[i] = Device{
			Index: i, Name: C.GoString(&d.name[0]), UUID: C.GoString(&d.uuid[0]), PCIBusID: C.GoString(&d.pci[0]),
			ComputeCapability: fmt.Sprintf("%d.%d", d.major, d.minor),
			Multiprocessors:   int(d.multiprocessors), MemoryBytes: int64(d.memory),
		}
	}
	return out, nil
}

func (l *library) memory(device int) (Memory, error) {
	var free, total C.uint64_t
	err := call("ask for device memory", func(e *C.trt_error) C.int32_t {
		return C.trt_memory(C.int32_t(device), &free, &total, e)
	})
	return Memory{FreeBytes: int64(free), TotalBytes: int64(total)}, err
}

func (l *library) live() Objects {
	var n [6]C.int64_t
	C.trt_live(&n[0])
	return Objects{
		Builders: int64(n[0]), Networks: int64(n[1]), Runtimes: int64(n[2]),
		Engines: int64(n[3]), Contexts: int64(n[4]), Benchers: int64(n[5]),
	}
}

// ---- building

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

// ---- engines

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
	for _, t := range g.info().Tensors {
		if !t.Input {
			x.outputs = append(x.outputs, t.Name)
		}
	}
	return x, nil
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
	out := make(map[string]Tensor, len(x.outputs))
	for _, name := range x.outputs {
		t, err := x.read(name)
		if err != nil {
			return nil, err
		}
		out[name] = t
	}
	return out, nil
}

func (x *execution) read(name string) (Tensor, error) {
	c := C.CString(name)
	defer C.free(unsafe.Pointer(c))
	var info C.trt_tensor_info
	var size C.size_t
	if err := call("read output", func(e *C.trt_error) C.int32_t { return C.trt_exec_output(x.h, c, &info, &size, e) }); err != nil {
		return Tensor{}, err
	}
	t := Tensor{DType: DType(info.dtype), Shape: shapeOf(info.dims[:info.rank]), Data: make([]byte, size)}
	err := call("read output", func(e *C.trt_error) C.int32_t {
		return C.trt_exec_read(x.h, c, unsafe.Pointer(unsafe.SliceData(t.Data)), size, e)
	})
	return t, err
}

type bench struct{ h *C.trt_bench }

func (g *engine) newBencher(job benchJob) (nativeBencher, error) {
	const op = "prepare measurement"
	o := C.trt_bench_options{
		profile: C.int32_t(job.Profile), streams: C.int32_t(job.Streams), depth: C.int32_t(job.Depth),
		cuda_graph: flag(job.CUDAGraph), spin_wait: flag(job.SpinWait), transfers: flag(job.Transfers),
	}
	b := &bench{}
	if err := call(op, func(e *C.trt_error) C.int32_t { return C.trt_bench_new(g.h, &o, &b.h, e) }); err != nil {
		return nil, err
	}
	for _, in := range job.inputs {
		name := C.CString(in.name)
		rank, d := dims(in.Shape)
		err := call(op, func(e *C.trt_error) C.int32_t {
			return C.trt_bench_input(b.h, name, rank, d, unsafe.Pointer(unsafe.SliceData(in.Data)), C.size_t(len(in.Data)), e)
		})
		C.free(unsafe.Pointer(name))
		if err != nil {
			b.close()
			return nil, err
		}
	}
	if err := call(op, func(e *C.trt_error) C.int32_t { return C.trt_bench_prepare(b.h, e) }); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
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
