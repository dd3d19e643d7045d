package trt

import "context"

// The interfaces below are the whole of what differs between a binary with and
// one without the binding. openNative is in binding.go or in unavailable.go.

type nativeLibrary interface {
	versions() Versions
	devices() ([]Device, error)
	memory(device int) (Memory, error)
	live() Objects
	newBuilder(device int) (nativeBuilder, error)
	newRuntime(device int) (nativeRuntime, error)
}

type nativeBuilder interface {
	parse(model []byte, path string) (nativeNetwork, error)
	close()
}

type nativeNetwork interface {
	info() NetworkInfo
	build(context.Context, buildJob) (*BuildResult, error)
	close()
}

type nativeRuntime interface {
	load(plan []byte) (nativeEngine, error)
	close()
}

type nativeEngine interface {
	info() EngineInfo
	inspect() ([]byte, error)
	newContext(profile int) (nativeContext, error)
	newBencher(benchJob) (nativeBencher, error)
	close()
}

type nativeContext interface {
	infer(inputs []namedTensor) (map[string]Tensor, error)
	close()
}

type nativeBencher interface {
	run(context.Context, Window) (*Samples, error)
	query() error
	outputs(step int) (map[string]Tensor, error)
	close()
}

type namedTensor struct {
	name string
	Tensor
}
