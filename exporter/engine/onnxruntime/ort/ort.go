// Package ort calls ONNX Runtime: sessions, values of every kind that models have,
// runs whose outputs the runtime allocates, and I/O bindings. The library is opened
// at run time; nothing of ONNX Runtime is needed to build.
//
// It exists because the Go binding that plancast used before cuts float16 outputs
// to one byte an element and has no scalars of such types, no zero-size tensors of
// them, no absent optional values and no runs without inputs.
package ort

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "api.h"
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

// apiVersion is the version of the C API that is asked for: every release from
// MinimumVersion on has it.
const apiVersion = 17

// MinimumVersion is the oldest release of ONNX Runtime that plancast uses.
const MinimumVersion = "1.17"

// ErrTooOld says that a library is older than MinimumVersion.
var ErrTooOld = errors.New("it is older than ONNX Runtime " + MinimumVersion)

var version string

// Open opens the shared library at path and switches its telemetry off, once a
// process. The library stays loaded: unloading it under its threads is a crash.
func Open(path string) error {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var v *C.char
	err := failed(C.ort_open(name, apiVersion, &v))
	if v != nil {
		version = C.GoString(v)
		C.free(unsafe.Pointer(v))
	}
	if err != nil && version != "" {
		return fmt.Errorf("%w: it is version %s", ErrTooOld, version)
	}
	return err
}

// Version is the library's own.
func Version() string { return version }

// failed turns a message from C into an error.
func failed(message *C.char) error {
	if message == nil {
		return nil
	}
	defer C.free(unsafe.Pointer(message))
	return errors.New(C.GoString(message))
}

// Level is how far a graph is rewritten when a session is opened.
type Level int

// The levels of graph optimization.
const (
	Disabled Level = 0
	Basic    Level = 1
	Extended Level = 2
	All      Level = 99
)

// Options are those of a session.
type Options struct {
	Level     Level
	Threads   int    // 0 is one a core
	Optimized string // where the rewritten model goes; "" is nowhere
}

// Session is a loaded model.
type Session struct {
	p               *C.ort_session
	inputs, outputs names
}

// names are C strings that live as long as their session.
type names struct {
	list []*C.char
	at   **C.char // nil without names
}

func newNames(list []string) names {
	n := names{}
	if len(list) == 0 {
		return n
	}
	n.at = (**C.char)(C.malloc(C.size_t(len(list)) * C.size_t(unsafe.Sizeof(uintptr(0)))))
	n.list = unsafe.Slice(n.at, len(list))
	for i, s := range list {
		n.list[i] = C.CString(s)
	}
	return n
}

func (n names) free() {
	for _, s := range n.list {
		C.free(unsafe.Pointer(s))
	}
	C.free(unsafe.Pointer(n.at))
}

// logErrors is the severity from which ONNX Runtime writes on stderr.
const logErrors = 3

func (o Options) c() (C.ort_options, func()) {
	c := C.ort_options{level: C.int(o.Level), intra_threads: C.int(o.Threads), inter_threads: 1, log_severity: logErrors}
	if o.Optimized != "" {
		c.optimized = C.CString(o.Optimized)
	}
	return c, func() { C.free(unsafe.Pointer(c.optimized)) }
}

// NewSession opens the model at path, to be run on the named inputs and outputs.
func NewSession(path string, inputs, outputs []string, o Options) (*Session, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	options, free := o.c()
	defer free()
	s := &Session{}
	if err := failed(C.ort_session_open(name, &options, &s.p)); err != nil {
		return nil, err
	}
	s.inputs, s.outputs = newNames(inputs), newNames(outputs)
	return s, nil
}

func newSessionOf(model []byte, inputs, outputs []string) (*Session, error) {
	options, free := Options{Threads: 1}.c()
	defer free()
	s := &Session{}
	if err := failed(C.ort_session_open_bytes(unsafe.Pointer(&model[0]), C.size_t(len(model)), &options, &s.p)); err != nil {
		return nil, err
	}
	s.inputs, s.outputs = newNames(inputs), newNames(outputs)
	return s, nil
}

// Close frees the session.
func (s *Session) Close() {
	C.ort_session_close(s.p)
	s.inputs.free()
	s.outputs.free()
	s.p = nil
}

// RunOptions can end a run from another goroutine.
type RunOptions struct{ p *C.ort_run_options }

// NewRunOptions makes options; the caller frees them when no run uses them.
func NewRunOptions() (*RunOptions, error) {
	o := &RunOptions{}
	return o, failed(C.ort_run_options_new(&o.p))
}

// Terminate ends the run that uses the options soon.
func (o *RunOptions) Terminate() error { return failed(C.ort_run_options_terminate(o.p)) }

// Free releases the options.
func (o *RunOptions) Free() { C.ort_run_options_free(o.p) }

// Run runs once and returns the outputs, which ONNX Runtime allocates; the caller
// frees them. opts may be nil.
func (s *Session) Run(inputs []*Value, opts *RunOptions) ([]*Value, error) {
	if len(inputs) != len(s.inputs.list) {
		return nil, fmt.Errorf("%d inputs are given and the session takes %d", len(inputs), len(s.inputs.list))
	}
	var o *C.ort_run_options
	if opts != nil {
		o = opts.p
	}
	in, out := make([]*C.ort_value, len(inputs)+1), make([]*C.ort_value, len(s.outputs.list)+1) // never empty: their address is taken
	for i, v := range inputs {
		in[i] = v.p
	}
	err := failed(C.ort_run(s.p, o, s.inputs.at, &in[0], C.size_t(len(inputs)), s.outputs.at, C.size_t(len(s.outputs.list)), &out[0]))
	if err != nil {
		return nil, err
	}
	return valuesOf(out[:len(out)-1]), nil
}

func valuesOf(list []*C.ort_value) []*Value {
	values := make([]*Value, len(list))
	for i, p := range list {
		values[i] = &Value{p: p}
	}
	return values
}

// Binding holds the inputs and outputs of runs that look nothing up.
type Binding struct {
	s *Session
	p *C.ort_binding
}

// NewBinding makes an empty one.
func (s *Session) NewBinding() (*Binding, error) {
	b := &Binding{s: s}
	return b, failed(C.ort_bind(s.p, &b.p))
}

// Input binds input i.
func (b *Binding) Input(i int, v *Value) error {
	return failed(C.ort_bind_input(b.p, b.s.inputs.list[i], v.p))
}

// Output has output i written into v, which must have its shape.
func (b *Binding) Output(i int, v *Value) error {
	return failed(C.ort_bind_output(b.p, b.s.outputs.list[i], v.p))
}

// Allocated leaves output i to ONNX Runtime, which allocates it at each run.
func (b *Binding) Allocated(i int) error {
	return failed(C.ort_bind_allocated(b.p, b.s.outputs.list[i]))
}

// Run runs once.
func (b *Binding) Run() error { return failed(C.ort_bind_run(b.s.p, b.p)) }

// Outputs are what the last run left, in the order in which outputs were bound, which
// must be all of them; the caller frees them.
func (b *Binding) Outputs() ([]*Value, error) {
	n := len(b.s.outputs.list)
	out := make([]*C.ort_value, n+1) // never empty: its address is taken
	if err := failed(C.ort_bind_outputs(b.p, &out[0], C.size_t(n))); err != nil {
		return nil, err
	}
	return valuesOf(out[:n]), nil
}

// Free releases the binding and not what is bound.
func (b *Binding) Free() { C.ort_bind_free(b.p) }
