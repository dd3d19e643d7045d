package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/advice"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx"
	"github.com/plancast/plancast/exporter/tensorio"
)

// inputsFile is what evaluation inputs are called in errors.
const inputsFile = "inputs.npz"

// generatedCalls is how many generated inputs stand in for evaluation inputs.
const generatedCalls = 16

// evaluationArrays reads inputs.npz, as far as the model's inputs ask for it; nil
// without one.
func (r *run) evaluationArrays() ([]engine.Tensor, error) {
	if r.job.InputsPath == "" {
		return nil, nil
	}
	var wanted func(string) bool
	if model, err := onnx.ReadFile(r.job.ModelPath); err == nil {
		wanted = tensorio.ForInputs(model.Inputs)
	}
	return tensorio.ReadNPZ(r.job.InputsPath, wanted)
}

// The longest texts of a failure that a record holds: a model may name its nodes as it
// likes, and runtimes quote them.
const (
	mostMessage = 4000
	mostHint    = 2000
)

// explain finishes a failure: it adds what is known of such rejections, and that the
// inputs were made up where they may be why, and where it does not say yet what to
// correct.
func (r *run) explain(e *engine.Error) *engine.Error {
	explained := e.Kind == engine.KindInvalidInput && e.Hint != ""
	advice.Apply(r.backend.Name(), e)
	if !explained {
		e = r.generated(e)
	}
	e.Message, e.Hint = clip(e.Message, mostMessage), clip(e.Hint, mostHint)
	e.Subject, e.Node, e.Operator = clip(e.Subject, mostMessage), clip(e.Node, mostName), clip(e.Operator, mostName)
	return e
}

func (r *run) generated(e *engine.Error) *engine.Error {
	if r.engine == nil || r.arrays != nil || len(r.inputs) == 0 || (e.Kind != engine.KindRunFailed && e.Kind != engine.KindInvalidInput && e.Kind != engine.KindAccuracy) {
		return e
	}
	if strings.Contains(e.Hint, inputsFile) {
		return e
	}
	e.Hint = strings.TrimPrefix(e.Hint+"; ", "; ") + "the inputs were generated and the model may not accept such values: put inputs.npz beside it"
	return e
}

// evaluation returns the inputs of each call of an engine, and how many samples
// they hold.
func (r *run) evaluation(wanted []engine.TensorInfo) (calls [][]engine.Tensor, samples int, err error) {
	batch := r.batches[0]
	shapes, err := r.shapes(batch).Resolve(wanted)
	if err != nil {
		return nil, 0, err
	}
	if r.arrays != nil {
		calls, err = tensorio.Calls(inputsFile, wanted, shapes, r.arrays)
		if err != nil {
			return nil, 0, err
		}
		if extra := tensorio.Unread(r.arrays); len(extra) > 0 {
			r.warn("inputs.npz has arrays that match no input of the model: %s", listed(extra, 5))
		}
	} else {
		for i := range generatedCalls {
			inputs, err := tensorio.Generate(wanted, shapes, r.job.Options.Seed+uint64(i))
			if err != nil {
				return nil, 0, err
			}
			calls = append(calls, inputs)
		}
	}
	// The last call may be smaller; an input whose first dimension follows the
	// batch says how much.
	follows := slices.IndexFunc(wanted, func(t engine.TensorInfo) bool { return len(t.In) == 0 && len(t.Dims) > 0 && t.Dims[0].Size < 0 })
	for _, c := range calls {
		n := batch
		if follows >= 0 && shapes[follows][0] == int64(batch) {
			n = int(c[follows].Shape[0])
		}
		samples += n
	}
	return calls, samples, nil
}

// evaluate runs an engine on all evaluation inputs and joins the outputs, of as many
// samples.
func (r *run) evaluate(ctx context.Context, e engine.Engine) (outputs []engine.Tensor, samples int, err error) {
	calls, samples, err := r.evaluation(e.Inputs())
	if err != nil {
		return nil, 0, err
	}
	var names []string
	parts := map[string][]engine.Tensor{}
	for i, inputs := range calls {
		if i%max(1, len(calls)/20) == 0 {
			r.progress(engine.Progress{Stage: "accuracy", Done: float64(i), Total: float64(len(calls)), Message: fmt.Sprintf("%d samples", samples)})
		}
		results, err := e.Infer(ctx, inputs)
		if err != nil {
			return nil, 0, err
		}
		for _, t := range engine.Flatten(results) {
			if parts[t.Name] == nil {
				names = append(names, t.Name)
			}
			parts[t.Name] = append(parts[t.Name], t)
		}
	}
	outputs = []engine.Tensor{}
	for _, name := range names {
		outputs = append(outputs, tensorio.Concat(parts[name]))
	}
	return outputs, samples, nil
}

// comparable reports whether there is anything to compare outputs with, or on.
func (r *run) comparable() bool {
	j := r.job
	return j.ReferencePath != "" || j.ReferenceName != "" || j.OutputsPath != "" || j.LabelsPath != "" || j.Options.Reference != "" || r.arrays != nil
}

// accuracy compares the outputs with the reference. What makes a comparison
// impossible, such as labels that do not fit, costs the accuracy and not the latency;
// outputs that are no numbers fail the job.
func (r *run) accuracy(ctx context.Context) error {
	if !r.comparable() {
		return nil
	}
	var err error
	if r.outputs, r.samples, err = r.evaluate(ctx, r.engine); err != nil {
		return err
	}
	if r.job.OutputsPath != "" {
		if err := tensorio.WriteNPZ(r.job.OutputsPath, r.outputs); err != nil {
			return engine.Errorf(engine.KindInternal, "keep outputs", r.job.OutputsPath, "%v", err)
		}
	}
	c, err := r.compared(ctx)
	var e *engine.Error
	if errors.As(err, &e) && e.Kind == engine.KindInvalidInput {
		unusable := *e
		unusable.Subject = filepath.Base(e.Subject)
		if e.Subject == "" {
			unusable.Subject = ""
		}
		r.warn("accuracy was not measured: %v", &unusable)
		return nil
	}
	if err != nil {
		return err
	}
	r.m.Warnings = append(r.m.Warnings, c.warnings...)
	if c.NaNs > 0 {
		total := 0
		for _, t := range r.outputs {
			total += t.Len()
		}
		if c.NaNs == total {
			return engine.Errorf(engine.KindAccuracy, "evaluate outputs", r.job.Model, "all %d output values are NaN", total)
		}
		r.warn("%d of %d output values are NaN, in the reference as well", c.NaNs, total)
	}
	if r.arrays == nil {
		r.warn("accuracy was measured on generated inputs: put inputs.npz beside the model for meaningful figures")
	}
	r.m.Accuracy = &c.Accuracy
	return nil
}

// compared reads labels and reference and holds the outputs against them.
func (r *run) compared(ctx context.Context) (comparison, error) {
	labels, err := r.labels()
	if err != nil {
		return comparison{}, err
	}
	reference, name, err := r.reference(ctx)
	if err != nil {
		return comparison{}, err
	}
	c, err := compare(r.outputs, reference, labels, r.samples, r.job.Options)
	c.Reference = name
	return c, err
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
	if t.DType.Float() || t.DType == engine.Bool || t.DType == engine.String {
		what := engine.TensorInfo{DType: t.DType}.What()
		e := engine.Errorf(engine.KindInvalidInput, "read labels", r.job.LabelsPath, "labels must be class numbers counted from 0, and these are %s", what)
		e.Hint = "save them with dtype int64"
		return nil, e
	}
	labels := make([]int64, t.Len())
	for i := range labels {
		labels[i] = int64(t.At(i))
	}
	return labels, nil
}
