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
	"path/filepath"
	"strconv"
	"sync"
	"unsafe"
)

type library struct{ paths map[string]string }

var (
	openMutex sync.Mutex
	opened    *library
)

// Built reports whether the binding is compiled into this binary.
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
