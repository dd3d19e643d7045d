package tensorrt

import (
	"context"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/serve"
	"github.com/plancast/plancast/trt"
)

// instance serves requests on execution contexts of its own, some for each chain, so
// that each shape has its buffers and its CUDA graph.
type instance struct {
	ctx      context.Context
	path     string // of the plan, for errors
	benchers []*trt.Bencher
}

// Run implements serve.Instance.
func (i instance) Run(chain int) error {
	if err := i.benchers[chain].Query(); err != nil {
		return failure(i.ctx, engine.KindRunFailed, opRun, i.path, err)
	}
	return nil
}

// Serve serves requests by instances with streams of their own.
func (e *loaded) Serve(ctx context.Context, chains []engine.Chain, requests []engine.Request, opts engine.ServeOptions) ([]engine.Answer, error) {
	if e.engine == nil {
		return nil, errClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	e.stopTiming() // its memory may be needed
	instances := make([]serve.Instance, max(1, opts.Concurrency))
	for i := range instances {
		one := instance{ctx: ctx, path: e.plan.Path}
		defer func() {
			for _, b := range one.benchers {
				b.Close()
			}
		}()
		for k, c := range chains {
			b, note, err := e.newBencher(c, 1, opts.Profile) // which runs every step
			if err != nil {
				return nil, failure(ctx, engine.KindRunFailed, "serve requests", e.plan.Path, err)
			}
			one.benchers = append(one.benchers, b)
			if note != "" && opts.Note != nil {
				opts.Note(k, note)
			}
		}
		instances[i] = one
	}
	return serve.Play(ctx, requests, instances, opts.MaxDuration)
}
