// Package loaded gives the benchmark programs engines of ONNX Runtime.
package loaded

import (
	"context"
	"errors"
	"os"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime"
	"github.com/plancast/plancast/exporter/onnx"
)

// Engine builds and loads the ONNX model at path with that number of intra-op threads.
// release frees the engine and what was built for it.
func Engine(ctx context.Context, path string, threads int) (e engine.Engine, release func() error, err error) {
	var undo []func() error
	release = func() error {
		var errs []error
		for i := range undo {
			errs = append(errs, undo[len(undo)-1-i]())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, release())
		}
	}()
	model, err := onnx.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "loaded-")
	if err != nil {
		return nil, nil, err
	}
	undo = append(undo, func() error { return os.RemoveAll(dir) })
	backend := onnxruntime.New(onnxruntime.Options{})
	undo = append(undo, backend.Close)
	settings := engine.Settings{Threads: threads}
	plan, err := backend.Build(ctx, engine.BuildRequest{
		ModelPath: path, Precision: model.Precision, WorkDir: dir, Settings: settings, Progress: func(engine.Progress) {},
	})
	if err != nil {
		return nil, nil, err
	}
	if e, err = backend.Load(ctx, plan, engine.LoadOptions{Settings: settings, Concurrency: 1}); err != nil {
		return nil, nil, err
	}
	undo = append(undo, e.Close)
	return e, release, nil
}
