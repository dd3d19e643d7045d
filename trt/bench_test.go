package trt

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func engineInfo() EngineInfo {
	in := image(-1)
	in.Profiles = []Range{{Min: Shape{1, 3, 32, 32}, Opt: Shape{8, 3, 32, 32}, Max: Shape{8, 3, 32, 32}}}
	return EngineInfo{Profiles: 1, Tensors: []TensorInfo{in, {Name: "logits", Shape: Shape{-1, 10}}}}
}

func TestBenchOptions(t *testing.T) {
	job, err := BenchOptions{}.resolve(engineInfo())
	if err != nil {
		t.Fatal(err)
	}
	if job.Streams != 1 || job.Depth != 2 || len(job.steps) != 1 || len(job.steps[0]) != 1 || !reflect.DeepEqual(job.steps[0][0].Shape, Shape{8, 3, 32, 32}) {
		t.Errorf("defaults: %d streams, depth %d, inputs %v", job.Streams, job.Depth, job.steps[0][0].Shape)
	}
	job, err = BenchOptions{Shapes: map[string]Shape{"image": {2, 3, 32, 32}}}.resolve(engineInfo())
	if err != nil || job.steps[0][0].Shape[0] != 2 {
		t.Errorf("given shape: %v", err)
	}
	for name, o := range map[string]BenchOptions{
		`shape 9x3x32x32 is outside the profile's 1x3x32x32 to 8x3x32x32`: {Shapes: map[string]Shape{"image": {9, 3, 32, 32}}},
		`the engine has no input "x"`:                                     {Shapes: map[string]Shape{"x": {1}}},
		`the engine has no input "y"`:                                     {Inputs: map[string]Tensor{"y": NewTensor(Float32, Shape{1})}},
		`input "image" is fp32, given fp16`:                               {Inputs: map[string]Tensor{"image": NewTensor(Float16, Shape{1, 3, 32, 32})}},
		`depth 3, want 1 or 2`:                                            {Depth: 3},
		`-1 streams, want 1 to 128`:                                       {Streams: -1},
		`profile 1 of 1`:                                                  {Profile: 1},
	} {
		if _, err := o.resolve(engineInfo()); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

// blockingBencher stands for a native call in progress: it says when it has begun
// and ends on request.
type blockingBencher struct {
	nativeBencher
	begun, end chan struct{}
	running    atomic.Int32
	freed      atomic.Int32
	t          *testing.T
}

func (b *blockingBencher) run(context.Context, Window) (*Samples, error) {
	if n := b.running.Add(1); n != 1 || b.freed.Load() != 0 {
		b.t.Errorf("%d calls at once, freed %d times", n, b.freed.Load())
	}
	b.begun <- struct{}{}
	<-b.end
	b.running.Add(-1)
	return &Samples{}, nil
}

func (b *blockingBencher) close() {
	if n := b.running.Load(); n != 0 {
		b.t.Errorf("free with %d calls running", n)
	}
	b.freed.Add(1)
}

func TestCloseWaitsAndCallsAreSerialised(t *testing.T) {
	n := &blockingBencher{begun: make(chan struct{}), end: make(chan struct{}), t: t}
	b := &Bencher{n: n}
	w := Window{MinQueries: 1}
	var calls, closers sync.WaitGroup
	for range 3 {
		calls.Go(func() {
			if _, err := b.Run(t.Context(), w); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 3 {
		<-n.begun
		if i == 2 { // the last call is in progress: Close has to wait for it
			for range 2 {
				closers.Go(b.Close)
			}
		}
		n.end <- struct{}{}
	}
	calls.Wait()
	closers.Wait()
	if got := n.freed.Load(); got != 1 {
		t.Errorf("freed %d times", got)
	}
	if _, err := b.Run(t.Context(), w); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestRunRefusesEmptyWindowAndEndedContext(t *testing.T) {
	b := &Bencher{n: &blockingBencher{t: t}}
	if _, err := b.Run(t.Context(), Window{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("empty window: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Run(ctx, Window{MinQueries: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
}
