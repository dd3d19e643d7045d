//go:build tensorrt && cgo && gpu

package trt_test

import (
	"errors"
	"math"
	"testing"

	"github.com/plancast/plancast/trt"
)

// memoryModel appends x float32[1,1,width] to past float32[1,n,width], which comes back
// as present, and gives the mean over all tokens.
func memoryModel(width int64) []byte {
	g := &graph{}
	g.input("x", 1, 1, width)
	g.input("past", 1, -1, width)
	g.node("append", "Concat", "", []string{"past", "x"}, []string{"present"}, integer("axis", 1))
	g.node("mean", "ReduceMean", "", []string{"present"}, []string{"y"}, ints("axes", 1), integer("keepdims", 0))
	g.output("y", 1, width)
	g.output("present", 1, -1, width)
	return g.model()
}

// constant is a tensor whose values are all v.
func constant(t *testing.T, v float32, shape ...int64) trt.Tensor {
	t.Helper()
	values := make([]float32, trt.Shape(shape).Elements())
	for i := range values {
		values[i] = v
	}
	out, err := trt.FromFloat32(trt.Float32, shape, values)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func memoryEngine(t *testing.T, width int64) *trt.Engine {
	t.Helper()
	r := build(t, memoryModel(width), trt.BuildOptions{Profiles: []map[string]trt.Range{{"past": {Min: trt.Shape{1, 0, width}, Opt: trt.Shape{1, 4, width}, Max: trt.Shape{1, 16, width}}}}})
	return load(t, r.Plan)
}

// memoryChain starts with tokens of 1 and adds one of 10, then of 20 and so on.
func memoryChain(t *testing.T, width, start int64, steps int) *trt.Chain {
	t.Helper()
	c := &trt.Chain{Links: []trt.Link{{Input: "past", Output: "present", Start: constant(t, 1, 1, start, width), Shapes: []trt.Shape{{1, start, width}}}}}
	for i := range steps {
		c.Steps = append(c.Steps, map[string]trt.Tensor{"x": constant(t, float32(10*(i+1)), 1, 1, width)})
		c.Links[0].Shapes = append(c.Links[0].Shapes, trt.Shape{1, start + int64(i) + 1, width})
	}
	return c
}

// What a step computes shows every token before it, so that a mean is right only when
// each step took what the one before it left.
func TestStepsTakeWhatTheOneBeforeLeft(t *testing.T) {
	e := memoryEngine(t, 8)
	for name, o := range map[string]trt.BenchOptions{
		"with CUDA graphs":            {CUDAGraph: true, SpinWait: true},
		"with one context":            {},
		"with transfers":              {Transfers: true},
		"with graphs and transfers":   {CUDAGraph: true, Transfers: true},
		"on two streams, with graphs": {CUDAGraph: true, Streams: 2},
	} {
		for _, start := range []int64{0, 3} {
			t.Run(name, func(t *testing.T) {
				const steps = 5
				o.Depth, o.Chain = 1, memoryChain(t, 8, start, steps)
				b, err := e.NewBencher(o)
				if err != nil {
					t.Fatal(err)
				}
				defer b.Close()
				check := func(when string) {
					t.Helper()
					sum := float64(start)
					for i := range steps {
						sum += float64(10 * (i + 1))
						out, err := b.Outputs(i)
						if err != nil {
							t.Fatal(err)
						}
						if _, linked := out["present"]; linked || len(out) != 1 {
							t.Errorf("%s, step %d: outputs %v", when, i, out)
						}
						values, err := out["y"].Float32s()
						if err != nil || len(values) != 8 {
							t.Fatalf("%s, step %d: %d values, %v", when, i, len(values), err)
						}
						want := sum / float64(start+int64(i)+1)
						if d := math.Abs(float64(values[7]) - want); d > 1e-3*want {
							t.Errorf("%s, step %d: a mean of %v, want %v", when, i, values[7], want)
						}
					}
				}
				check("after the first pass")
				if o.Streams < 2 {
					for range 3*steps + 2 { // which begins again, and ends within the chain
						if err := b.Query(); err != nil {
							t.Fatal(err)
						}
					}
					check("after single queries")
				}
				s, err := b.Run(t.Context(), trt.Window{MinQueries: 4*steps + 1})
				if err != nil || s.Queries() < 4*steps+1 {
					t.Fatalf("%v, %v", s, err)
				}
				check("after a window")
			})
		}
	}
}

func TestChainsThatDoNotFitAreRefused(t *testing.T) {
	e := memoryEngine(t, 8)
	jump := memoryChain(t, 8, 3, 2)
	jump.Links[0].Shapes[1] = trt.Shape{1, 5, 8}
	small := memoryChain(t, 8, 3, 2)
	small.Links[0].Shapes[2] = trt.Shape{1, 2, 8} // the last step leaves more than that
	small.Links[0].Shapes[1] = trt.Shape{1, 2, 8}
	for name, c := range map[string]*trt.Chain{"a step that leaves less than the next one takes": jump, "memory too small for what is left": small} {
		_, err := e.NewBencher(trt.BenchOptions{Depth: 1, Chain: c})
		if !errors.Is(err, trt.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
		t.Log(err)
	}
	b, err := e.NewBencher(trt.BenchOptions{Depth: 1, Streams: 2, Chain: memoryChain(t, 8, 3, 2)})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Query(); !errors.Is(err, trt.ErrInvalid) {
		t.Errorf("a single query on two streams: %v", err)
	}
}

// A chain gives back what it took.
func TestChainsLeaveNoMemory(t *testing.T) {
	e := memoryEngine(t, 1<<16)
	use := func() {
		b, err := e.NewBencher(trt.BenchOptions{Depth: 1, CUDAGraph: true, Transfers: true, Chain: memoryChain(t, 1<<16, 8, 4)})
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
	}
	use()
	before, err := library(t).DeviceMemory(0)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		use()
	}
	if after, _ := library(t).DeviceMemory(0); before.FreeBytes-after.FreeBytes > 16<<20 {
		t.Errorf("%d bytes lost", before.FreeBytes-after.FreeBytes)
	}
}

// With transfers a query copies what its step takes and leaves, but not the memory: 64 MiB
// take milliseconds to copy, and the tokens next to nothing.
func TestLinkedTensorsAreNotCopied(t *testing.T) {
	const width = 1 << 20
	e := memoryEngine(t, width)
	chain := memoryChain(t, width, 15, 1)
	phases := func(o trt.BenchOptions) (in, out float64) {
		o.Depth, o.Transfers, o.SpinWait = 1, true, true
		b, err := e.NewBencher(o)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		s, err := b.Run(t.Context(), trt.Window{MinQueries: 20})
		if err != nil {
			t.Fatal(err)
		}
		return mean(s.H2D), mean(s.D2H)
	}
	plainIn, plainOut := phases(trt.BenchOptions{Inputs: map[string]trt.Tensor{"x": chain.Steps[0]["x"], "past": chain.Links[0].Start}})
	in, out := phases(trt.BenchOptions{Chain: chain})
	t.Logf("in %.3g s, with the memory %.3g s; out %.3g s and %.3g s", in, plainIn, out, plainOut)
	if in > plainIn/4 || out > plainOut/4 {
		t.Errorf("copying takes %.3g s in and %.3g s out, with the memory %.3g s and %.3g s", in, out, plainIn, plainOut)
	}
}
