package ort

// #include "api.h"
// #include <stdlib.h>
import "C"

import (
	"errors"
	"time"
	"unsafe"
)

// Queue is what the instances share that serve the requests of a window.
type Queue struct {
	p         *C.ort_queue
	at, which []int64
	// Taken, Starts and Ends are when an instance was free for each request, when the
	// call began and when it ended, in nanoseconds since the queue began; an end of 0
	// is that of a request that was not served.
	Taken, Starts, Ends []int64
}

// NewQueue makes a queue that has not begun, of requests that are due at a time, in
// nanoseconds, and name a chain; longest 0 is no bound.
func NewQueue(at, which []int64, longest time.Duration) (*Queue, error) {
	p := C.ort_queue_new(C.int64_t(longest))
	if p == nil {
		return nil, errors.New("no memory for a queue")
	}
	n := len(at)
	return &Queue{p: p, at: at, which: which, Taken: make([]int64, n), Starts: make([]int64, n), Ends: make([]int64, n)}, nil
}

// Begin sets the origin of the queue's times.
func (q *Queue) Begin() { C.ort_queue_begin(q.p) }

// Stop ends the queue after the requests that run. Any thread may call it.
func (q *Queue) Stop() { C.ort_queue_stop(q.p) }

// Free releases the queue, which no instance uses any more.
func (q *Queue) Free() { C.free(unsafe.Pointer(q.p)) }

// Bound is a run with what is bound for it. The outputs named in Allocated are left to
// ONNX Runtime, which allocates them at each run.
type Bound struct {
	Binding   *Binding
	Allocated []int
}

// Serve takes the next request when it is free, waits until it is due and runs the
// next step of the chain that it names, until the queue is over.
func (s *Session) Serve(chains [][]Bound, q *Queue) error {
	if len(q.at) == 0 {
		return nil
	}
	list := unsafe.Slice((*C.ort_chain)(C.calloc(C.size_t(len(chains)), C.sizeof_ort_chain)), len(chains))
	defer C.free(unsafe.Pointer(&list[0]))
	for i, steps := range chains {
		bound := unsafe.Slice((*C.ort_bound)(C.calloc(C.size_t(len(steps)), C.sizeof_ort_bound)), len(steps))
		defer C.free(unsafe.Pointer(&bound[0]))
		for k, step := range steps {
			names := newPointers(s.outputs, step.Allocated)
			defer C.free(unsafe.Pointer(names))
			bound[k] = C.ort_bound{binding: step.Binding.p, allocated: names, n_allocated: C.size_t(len(step.Allocated))}
		}
		list[i] = C.ort_chain{steps: &bound[0], n: C.size_t(len(steps))}
	}
	numbers := func(list []int64) *C.int64_t { return (*C.int64_t)(&list[0]) }
	return failed(C.ort_serve(s.p, &list[0], q.p, numbers(q.at), numbers(q.which), C.size_t(len(q.at)), numbers(q.Taken), numbers(q.Starts), numbers(q.Ends)))
}
