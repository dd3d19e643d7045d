package ort

// #include "api.h"
// #include <stdlib.h>
import "C"

import (
	"errors"
	"time"
	"unsafe"
)

// Window is what the lanes of a timed window share. It is over after the least number
// of queries of all lanes and the least time, or after the longest time, or once it is
// stopped.
type Window struct{ p *C.ort_window }

// NewWindow makes a window that has not begun; longest 0 is no bound.
func NewWindow(queries int, duration, longest time.Duration) (*Window, error) {
	p := C.ort_window_new(C.int64_t(queries), C.int64_t(duration), C.int64_t(longest))
	if p == nil {
		return nil, errors.New("no memory for a window")
	}
	return &Window{p}, nil
}

// Begin sets the origin of the window's times.
func (w *Window) Begin() { C.ort_window_begin(w.p) }

// Stop ends the window after the queries that run. Any thread may call it.
func (w *Window) Stop() { C.ort_window_stop(w.p) }

// Count is the number of queries so far.
func (w *Window) Count() int { return int(C.ort_window_count(w.p)) }

// Free releases the window, which no lane uses any more.
func (w *Window) Free() { C.free(unsafe.Pointer(w.p)) }

// Times are the starts of queries since the window's origin and their latencies,
// in nanoseconds.
type Times struct{ Starts, Latencies []int64 }

// NewTimes has room for that many queries.
func NewTimes(room int) Times {
	return Times{make([]int64, 0, room), make([]int64, 0, room)}
}

// Time runs until the window is over, and appends the time of each query. The
// outputs named in allocated are left to ONNX Runtime, which allocates them at
// each run. The clock is read directly before and after the run.
func (b *Binding) Time(w *Window, allocated []int, to *Times) error {
	names := newPointers(b.s.outputs, allocated)
	defer C.free(unsafe.Pointer(names))
	for {
		if len(to.Starts) == cap(to.Starts) {
			to.grow()
		}
		used, room := len(to.Starts), cap(to.Starts)
		to.Starts, to.Latencies = to.Starts[:room], to.Latencies[:room]
		var n C.size_t
		var over C.int
		err := failed(C.ort_bind_time(b.s.p, b.p, names, C.size_t(len(allocated)), w.p,
			(*C.int64_t)(&to.Starts[used]), (*C.int64_t)(&to.Latencies[used]), C.size_t(room-used), &n, &over))
		to.Starts, to.Latencies = to.Starts[:used+int(n)], to.Latencies[:used+int(n)]
		if err != nil || over != 0 {
			return err
		}
	}
}

// grow doubles the room for queries.
func (t *Times) grow() {
	room := max(16, 2*cap(t.Starts))
	larger := NewTimes(room)
	*t = Times{append(larger.Starts, t.Starts...), append(larger.Latencies, t.Latencies...)}
}

// newPointers makes a C array of some of the names; nil without any.
func newPointers(n names, which []int) **C.char {
	if len(which) == 0 {
		return nil
	}
	at := (**C.char)(C.malloc(C.size_t(len(which)) * C.size_t(unsafe.Sizeof(uintptr(0)))))
	list := unsafe.Slice(at, len(which))
	for i, w := range which {
		list[i] = n.list[w]
	}
	return at
}

// LoopTimes times calls that do nothing but clear a flag, as Time times runs: what
// the loop itself adds to each, in nanoseconds.
func LoopTimes(n int) ([]int64, error) {
	o, err := NewRunOptions()
	if err != nil {
		return nil, err
	}
	defer o.Free()
	latencies := make([]int64, n)
	return latencies, failed(C.ort_loop_time(o.p, (*C.int64_t)(&latencies[0]), C.size_t(n)))
}
