package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/tensorio"
)

// inputsFile is what evaluation inputs are called in errors.
const inputsFile = "inputs.npz"

// generatedCalls is how many generated inputs stand in for evaluation inputs.
const generatedCalls = 16

// evaluation returns the inputs of each call, and how many samples they hold.
func (r *run) evaluation() (calls [][]engine.Tensor, samples int, err error) {
	batch := r.batches[0]
	shapes, err := r.shapes(batch).Resolve(r.inputs)
	if err != nil {
		return nil, 0, err
	}
	if r.arrays != nil {
		calls, err = tensorio.Calls(inputsFile, r.inputs, shapes, r.arrays)
		if err != nil {
			return nil, 0, err
		}
	} else {
		for i := range generatedCalls {
			inputs, err := tensorio.Generate(r.inputs, shapes, r.job.Options.Seed+uint64(i))
			if err != nil {
				return nil, 0, err
			}
			calls = append(calls, inputs)
		}
	}
	// The last call may be smaller; an input whose first dimension follows the
	// batch tells how much.
	follows := slices.IndexFunc(r.inputs, func(t engine.TensorInfo) bool { return len(t.Dims) > 0 && t.Dims[0].Size < 0 })
	for _, c := range calls {
		n := batch
		if follows >= 0 && shapes[follows][0] == int64(batch) {
			n = int(c[follows].Shape[0])
		}
		samples += n
	}
	return calls, samples, nil
}

func (r *run) accuracy(ctx context.Context) error {
	if r.job.ReferencePath == "" && r.job.OutputsPath == "" && r.job.LabelsPath == "" && r.arrays == nil {
		return nil
	}
	calls, samples, err := r.evaluation()
	if err != nil {
		return err
	}
	parts := make([][]engine.Tensor, len(r.engine.Outputs()))
	for i, inputs := range calls {
		if i%max(1, len(calls)/20) == 0 {
			r.progress(engine.Progress{Stage: "accuracy", Done: float64(i), Total: float64(len(calls)), Message: fmt.Sprintf("%d samples", samples)})
		}
		outputs, err := r.engine.Infer(ctx, inputs)
		if err != nil {
			return err
		}
		for k, t := range outputs {
			parts[k] = append(parts[k], t)
		}
	}
	outputs := make([]engine.Tensor, len(parts))
	for k := range parts {
		outputs[k] = tensorio.Concat(parts[k])
	}
	r.outputs, r.samples = outputs, samples
	labels, err := r.labels()
	if err != nil {
		return err
	}
	reference, name := outputs, "itself"
	if r.job.ReferencePath != "" {
		if reference, err = tensorio.ReadNPZ(r.job.ReferencePath); err != nil {
			return err
		}
		name = r.job.ReferenceName
		if name == "" {
			name = "reference.npz"
		}
	}
	c, err := compare(outputs, reference, labels, samples, r.job.Options)
	if err != nil {
		return err
	}
	c.Reference = name
	r.m.Warnings = append(r.m.Warnings, c.warnings...)
	if c.NaNs > 0 {
		total := 0
		for _, t := range outputs {
			total += t.Len()
		}
		if c.NaNs == total {
			return engine.Errorf(engine.KindAccuracy, "evaluate outputs", r.job.Model, "all %d output values are NaN", total)
		}
		r.warn("%d of %d output values are NaN, in the reference as well", c.NaNs, total)
	}
	if r.arrays == nil {
		r.warn("accuracy was compared on generated inputs: put inputs.npz beside the model for figures that mean something")
	}
	r.m.Accuracy = &c.Accuracy
	if r.job.OutputsPath != "" {
		if err := tensorio.WriteNPZ(r.job.OutputsPath, outputs); err != nil {
			return engine.Errorf(engine.KindInternal, "keep outputs", r.job.OutputsPath, "%v", err)
		}
	}
	return nil
}

// labels reads labels.npy: one integer for each sample.
func (r *run) labels() ([]int64, error) {
	if r.job.LabelsPath == "" {
		return nil, nil
	}
	t, err := tensorio.ReadNPYFile(r.job.LabelsPath)
	if err != nil {
		return nil, err
	}
	if strings.Contains(string(t.DType), "float") || t.DType == engine.Bool {
		return nil, engine.Errorf(engine.KindInvalidInput, "read labels", r.job.LabelsPath, "labels are integers, not %s", t.DType)
	}
	labels := make([]int64, t.Len())
	for i := range labels {
		labels[i] = int64(t.At(i))
	}
	return labels, nil
}
