//go:build tensorrt && cgo && gpu

package trt_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/plancast/plancast/trt"
)

// These tests need a GPU. TRT_TEST_OUT names a folder for what the inspector says,
// from which testdata is made.

func keep(t *testing.T, name string, content []byte) {
	t.Helper()
	if dir := os.Getenv("TRT_TEST_OUT"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Error(err)
		}
	}
}

func parse(t *testing.T, model []byte) *trt.Network {
	t.Helper()
	b, err := library(t).NewBuilder(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	n, err := b.Parse(model)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

func build(t *testing.T, model []byte, o trt.BuildOptions) *trt.BuildResult {
	t.Helper()
	if o.OptimizationLevel == 0 {
		o.OptimizationLevel = 1 // quick
	}
	r, err := parse(t, model).Build(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func load(t *testing.T, plan []byte) *trt.Engine {
	t.Helper()
	r, err := library(t).NewRuntime(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() // the engine stays usable
	e, err := r.Load(plan)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

var fp32Plan = sync.OnceValues(func() (*trt.BuildResult, error) {
	l, err := trt.Open(trt.Options{})
	if err != nil {
		return nil, err
	}
	b, err := l.NewBuilder(0)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	n, err := b.Parse(newConvNet(16, 1).model())
	if err != nil {
		return nil, err
	}
	defer n.Close()
	return n.Build(context.Background(), trt.BuildOptions{OptimizationLevel: 1})
})

func smallPlan(t *testing.T) []byte {
	t.Helper()
	r, err := fp32Plan()
	if err != nil {
		t.Fatal(err)
	}
	return r.Plan
}

func images(batch int64, seed uint64) trt.Tensor {
	x, err := trt.RandomTensor(trt.Float32, trt.Shape{batch, 3, 32, 32}, seed)
	if err != nil {
		panic(err)
	}
	return x
}

func mean(v []float64) float64 {
	s := 0.0
	for _, x := range v {
		s += x
	}
	return s / float64(len(v))
}
