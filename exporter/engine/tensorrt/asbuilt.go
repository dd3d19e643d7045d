package tensorrt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/trt"
)

// adopt takes a plan that a team built itself as it is. It is kept as built ones are, so
// that the next version can take turns with it.
func (b *Backend) adopt(ctx context.Context, req engine.BuildRequest, env engine.Environment) (engine.Plan, error) {
	const op = "take the plan"
	fail := func(kind engine.Kind, err error) (engine.Plan, error) {
		return engine.Plan{}, failure(ctx, kind, op, req.ModelPath, err)
	}
	name, err := planName(req, env)
	if err != nil {
		return fail(engine.KindInternal, err)
	}
	path, plan, kept, err := keptPlan(req, name)
	if err != nil {
		return fail(engine.KindInternal, err)
	}
	if kept {
		return plan, nil
	}
	content, err := os.ReadFile(req.ModelPath)
	if err != nil {
		return fail(engine.KindInvalidModel, err)
	}
	plan = engine.Plan{Path: path, Precision: engine.AsBuilt, SizeBytes: int64(len(content)), Reused: true}
	if err := write(path, content, metadata{Key: name, Plan: plan, Environment: env, Built: time.Now().UTC()}); err != nil {
		return fail(engine.KindInternal, fmt.Errorf("keep the plan: %w", err))
	}
	return plan, nil
}

// foreign is the failure of a plan that this TensorRT, or this GPU, does not take.
func foreign(ctx context.Context, env engine.Environment, err error) error {
	kind := engine.KindRunFailed
	if errors.Is(err, trt.ErrCorruptPlan) {
		kind = engine.KindInvalidModel
	}
	out := failure(ctx, kind, "load the plan that the candidate brings", "", err)
	var e *engine.Error
	if !errors.As(out, &e) {
		return out
	}
	switch {
	case errors.Is(err, trt.ErrIncompatiblePlan):
		e.Hint = fmt.Sprintf("build it with TensorRT %s for %s, or push the model as model.onnx: plancast builds that itself", env.BackendVersion, env.Device)
	case errors.Is(err, trt.ErrCorruptPlan):
		e.Hint = "push the whole file, as trtexec --saveEngine writes it"
	}
	return e
}

// described are the inputs and outputs as a plan names them: nothing else says their
// order, and open dimensions have no names.
func described(info trt.EngineInfo) (inputs, outputs []engine.TensorInfo) {
	for _, t := range info.Tensors {
		dtype, _ := fromDType(t.DType)
		one := engine.TensorInfo{Name: t.Name, DType: dtype, Dims: make([]engine.Dim, len(t.Shape))}
		for i, size := range t.Shape {
			one.Dims[i].Size = size
		}
		if t.Input {
			inputs = append(inputs, one)
		} else {
			outputs = append(outputs, one)
		}
	}
	return inputs, outputs
}

// Ranges implements engine.Ranged: queries use the plan's first profile.
func (e *loaded) Ranges() map[string]engine.Profile {
	if e.engine == nil || e.plan.Precision != engine.AsBuilt {
		return nil
	}
	out := map[string]engine.Profile{}
	for _, t := range e.engine.Info().Tensors {
		if t.Input && t.Shape.Dynamic() && len(t.Profiles) > 0 {
			p := t.Profiles[0]
			out[t.Name] = engine.Profile{Min: p.Min, Opt: p.Opt, Max: p.Max}
		}
	}
	return out
}
