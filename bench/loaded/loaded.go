// Package loaded gives the benchmark programs engines of ONNX Runtime.
package loaded

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime"
	"github.com/plancast/plancast/exporter/onnx"
)

// Undo is what is to be undone, the newest first.
type Undo []func() error

// All undoes everything and returns every error.
func (u *Undo) All() error {
	var errs []error
	for _, f := range slices.Backward(*u) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// After undoes everything where there is an error, which it adds its own to.
func (u *Undo) After(err *error) {
	if *err != nil {
		*err = errors.Join(*err, u.All())
	}
}

// Engine builds and loads the ONNX model at path with that number of intra-op threads.
// release frees the engine and what was built for it.
func Engine(ctx context.Context, path string, threads int) (e engine.Engine, release func() error, err error) {
	var undo Undo
	release = undo.All
	defer undo.After(&err)
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
