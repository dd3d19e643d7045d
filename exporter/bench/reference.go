package bench

import (
	"cmp"
	"context"
	"os"
	"path/filepath"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/tensorio"
)

// reference are the outputs that the candidate's are compared with, and whose they
// are. Where the job declares another's and they are not available, the error is of
// KindInvalidInput.
func (r *run) reference(ctx context.Context) ([]engine.Tensor, string, error) {
	switch {
	case r.job.Options.Reference == ReferenceLabels:
		return r.outputs, "labels", nil
	case r.job.ReferenceModel != nil:
		return r.madeReference(ctx)
	case r.job.ReferencePath != "":
		outputs, err := tensorio.ReadNPZ(r.job.ReferencePath, nil)
		return outputs, cmp.Or(r.job.ReferenceName, "reference.npz"), err
	case r.job.ReferenceName != "":
		e := engine.Errorf(engine.KindInvalidInput, "compare outputs", "", "the repository does not hold %s, the reference", r.job.ReferenceName)
		e.Hint = "push that version again, or set models[].reference to another"
		return nil, "", e
	}
	return r.outputs, "itself", nil
}

// madeReference runs the reference's FP32 engine on the evaluation inputs and writes
// its outputs to the job's ReferencePath.
func (r *run) madeReference(ctx context.Context) ([]engine.Tensor, string, error) {
	name := r.job.ReferenceName
	r.progress(engine.Progress{Stage: "accuracy", Message: "outputs of the reference, " + name})
	outputs, err := r.referenceOutputs(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, "", ctx.Err()
	case err != nil:
		return nil, "", engine.Errorf(engine.KindInvalidInput, "run the reference", name, "%v", err)
	}
	if err := tensorio.WriteNPZ(r.job.ReferencePath, outputs); err != nil {
		return nil, "", engine.Errorf(engine.KindInternal, "keep outputs of the reference", name, "%v", err)
	}
	return outputs, name, nil
}

func (r *run) referenceOutputs(ctx context.Context) ([]engine.Tensor, error) {
	model := r.job.ReferenceModel
	e, err := r.buildBeside(ctx, model.ModelPath, "reference", func(req *engine.BuildRequest) {
		req.Precision, req.CalibrationPath, req.Digest = engine.FP32, "", model.Digest
	})
	if err != nil {
		return nil, err
	}
	outputs, _, err := r.evaluate(ctx, e)
	return outputs, cmp.Or(err, e.Close())
}

// buildBeside builds another model than the candidate's in a folder of its own, as
// edit says, and loads the engine.
func (r *run) buildBeside(ctx context.Context, model, folder string, edit func(*engine.BuildRequest)) (engine.Engine, error) {
	dir := filepath.Join(r.job.WorkDir, folder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	req, err := r.buildRequest(model)
	if err != nil {
		return nil, err
	}
	req.WorkDir = dir
	edit(&req)
	plan, err := r.backend.Build(ctx, req)
	if err != nil {
		return nil, err
	}
	return r.backend.Load(ctx, plan, r.loadOptions())
}

// loadOptions are how engines of this job are loaded.
func (r *run) loadOptions() engine.LoadOptions {
	return engine.LoadOptions{Settings: r.job.Settings, Concurrency: r.lanes()}
}
