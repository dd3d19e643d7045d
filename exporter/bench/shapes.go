package bench

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/tensorio"
)

func (r *run) shapes(batch int) tensorio.Shapes {
	return tensorio.Shapes{Batch: int64(batch), Dims: r.dims, InputDims: r.job.InputDims}
}

// plan decides which batches can be measured, and that all shapes are known.
func (r *run) plan(inputs []engine.TensorInfo) error {
	if len(inputs) == 0 {
		return engine.Errorf(engine.KindInvalidModel, "plan the measurement of", r.job.Model, "the model has no inputs, so there is nothing to measure")
	}
	r.inputs = inputs
	if r.npz != nil {
		var err error
		if r.groups, err = tensorio.Groups(inputsFile, inputs, r.npz); err != nil {
			return err
		}
		r.arrays = r.groups[0]
	}
	r.dims = tensorio.DimsOf(inputs, r.arrays)
	for name, size := range r.job.Dims {
		r.dims[name] = size
	}
	r.follow(inputs)
	ranges := r.builtFor()
	r.tuned(ranges)
	o := r.job.Options
	shapes, err := r.shapes(o.Batches[0]).Resolve(inputs)
	if err != nil {
		return err
	}
	if unnamed := r.shapes(1).Unnamed(inputs); len(unnamed) > 0 && r.arrays == nil {
		r.warn("the first dimension of %s has no name and is assumed to be the batch: if it is not, write dims: {%q: SIZE} for this model", unnamed[0], unnamed[0].Name+"/0")
	}
	r.batches = nil
	if !r.shapes(1).Batched(inputs) {
		r.fixed(shapes)
		return nil
	}
	for _, b := range o.Batches {
		if r.job.MaxBatch > 0 && b > r.job.MaxBatch {
			r.warn("batch %d is skipped: config.pbtxt allows at most %d", b, r.job.MaxBatch)
			continue
		}
		if !admits(ranges, b) {
			r.warn("batch %d is left out: the plan was not built for it", b)
			continue
		}
		if !slices.Contains(r.batches, b) {
			r.batches = append(r.batches, b)
		}
	}
	if len(r.batches) == 0 && len(ranges) > 0 {
		r.batches = []int{tunedFor(ranges)}
	}
	if len(r.batches) == 0 {
		e := engine.Errorf(engine.KindInvalidInput, "choose a batch size", "", "all of %v are above max_batch_size %d", o.Batches, r.job.MaxBatch)
		e.Hint = "correct batches in the configuration, or max_batch_size in config.pbtxt"
		return e
	}
	return nil
}

// fixed takes the batch of a model whose shapes are fixed: a first dimension that all
// inputs share, and that the options name or all outputs share as well. Otherwise a
// query is one inference.
func (r *run) fixed(shapes [][]int64) {
	batch := r.firstOfAll(shapes)
	named := slices.Contains(r.job.Options.Batches, batch)
	if !named && batch > 1 && !r.outputsLeadWith(batch) {
		batch = 1
	}
	var others []int
	for _, b := range r.job.Options.Batches {
		if b != batch {
			others = append(others, b)
		}
	}
	r.batches = []int{batch}
	switch {
	case batch > 1 && !named:
		r.warn("the batch is fixed to %d in the model (%s): a query counts as %d inferences, and batch %s is skipped", batch, r.inputs[0], batch, numbers(others))
	case len(others) > 0:
		r.warn("batch %s is skipped: the model's shapes are fixed (%s)", numbers(others), r.inputs[0])
	}
}

// firstOfAll is the first dimension of all inputs, scalars aside; 1 without one.
func (r *run) firstOfAll(shapes [][]int64) int {
	first := int64(0)
	for i, in := range r.inputs {
		switch {
		case len(in.In) > 0:
			return 1
		case len(shapes[i]) == 0:
		case first == 0:
			first = shapes[i][0]
		case shapes[i][0] != first:
			return 1
		}
	}
	return int(max(1, first))
}

// outputsLeadWith reports whether the first dimension of every output is the batch.
func (r *run) outputsLeadWith(batch int) bool {
	if r.engine == nil {
		return false // not known before the engine is there
	}
	return !slices.ContainsFunc(r.engine.Outputs(), func(t engine.TensorInfo) bool {
		return len(t.In) > 0 || len(t.Dims) == 0 || t.Dims[0].Size >= 0 && t.Dims[0].Size != int64(batch)
	})
}

func numbers(list []int) string {
	words := make([]string, len(list))
	for i, n := range list {
		words[i] = strconv.Itoa(n)
	}
	return strings.Join(words, ", ")
}

// ranges are those of the shapes of dynamic inputs: what the job says of an
// input, otherwise the batches that are measured, widened to what the settings
// ask for as far as the model allows it.
func (r *run) ranges() (map[string]engine.Profile, error) {
	measured := engine.BatchRange{Min: int64(slices.Min(append([]int{1}, r.batches...))), Opt: int64(r.batches[0]), Max: int64(slices.Max(r.batches))}
	built := measured
	if p := r.job.Settings.ProfileBatch; p != nil {
		limit := int64(math.MaxInt64)
		if r.job.MaxBatch > 0 {
			limit = int64(r.job.MaxBatch)
		}
		built = engine.BatchRange{Min: min(measured.Min, p.Min), Opt: min(p.Opt, limit), Max: max(measured.Max, min(p.Max, limit))}
	}
	narrow, err := r.profile(measured)
	if err != nil {
		return nil, err
	}
	profiles, err := r.profile(built)
	if err != nil {
		return nil, err
	}
	for _, in := range r.inputs {
		if given, ok := r.job.Profiles[in.Name]; ok && in.Dynamic() {
			if err := fits(in, given, narrow[in.Name]); err != nil {
				return nil, err
			}
			profiles[in.Name] = given
		}
	}
	return profiles, nil
}

// profile gives each dynamic input its shapes over a range of batches.
func (r *run) profile(batch engine.BatchRange) (map[string]engine.Profile, error) {
	var shapes [3][][]int64
	for i, n := range []int64{batch.Min, batch.Opt, batch.Max} {
		var err error
		if shapes[i], err = r.shapes(int(n)).Resolve(r.inputs); err != nil {
			return nil, err
		}
	}
	profiles := map[string]engine.Profile{}
	for i, in := range r.inputs {
		if in.Dynamic() {
			profiles[in.Name] = engine.Profile{Min: shapes[0][i], Opt: shapes[1][i], Max: shapes[2][i]}
		}
	}
	return profiles, nil
}

// fits holds a given profile against the input and the shapes that are measured.
func fits(in engine.TensorInfo, given, measured engine.Profile) error {
	bad := func(format string, args ...any) error {
		e := engine.Errorf(engine.KindInvalidInput, "use the profile of input", in.String(), format, args...)
		e.Hint = "correct profiles of this model in the configuration"
		return e
	}
	for _, s := range [][]int64{given.Min, given.Opt, given.Max} {
		if len(s) != len(in.Dims) {
			return bad("%v has %d dimensions and the input has %d", s, len(s), len(in.Dims))
		}
	}
	for i, d := range in.Dims {
		low, usual, high := given.Min[i], given.Opt[i], given.Max[i]
		switch {
		case low > usual || usual > high:
			return bad("dimension %d must satisfy min <= opt <= max and is %d, %d, %d", i, low, usual, high)
		case d.Size >= 0 && (low != d.Size || high != d.Size):
			return bad("dimension %d is fixed to %d in the model", i, d.Size)
		case measured.Min[i] < low || measured.Max[i] > high:
			return bad("dimension %d covers %d to %d and is measured from %d to %d", i, low, high, measured.Min[i], measured.Max[i])
		}
	}
	return nil
}

// timed is the input that queries of a batch are timed on: the first of the
// evaluation inputs where they make a whole batch, generated otherwise.
func (r *run) timed(batch int) ([]engine.Tensor, error) {
	shapes, err := r.shapes(batch).Resolve(r.inputs)
	if err != nil {
		return nil, err
	}
	if r.arrays != nil {
		call, err := r.recorded(shapes)
		if err != nil && batch == r.batches[0] {
			return nil, err
		}
		if call != nil {
			return call, nil
		}
		r.warn("batch %d is timed on generated inputs: inputs.npz does not fill a batch", batch)
	}
	return tensorio.Generate(r.inputs, shapes, r.job.Options.Seed)
}

// recorded is the first of the evaluation inputs that have these shapes; nil where none
// has, with an error where inputs.npz cannot be cut into such.
func (r *run) recorded(shapes [][]int64) (call []engine.Tensor, err error) {
	for g, arrays := range r.groups {
		calls, misfit := tensorio.Calls(groupName(g), r.inputs, shapes, arrays)
		if misfit == nil && slices.EqualFunc(calls[0], shapes, func(t engine.Tensor, s []int64) bool { return slices.Equal(t.Shape, s) }) {
			return calls[0], nil
		}
		if g == 0 {
			err = misfit
		}
	}
	return nil, err
}

// groupName is what the samples of one shape are called in errors.
func groupName(group int) string {
	if group == 0 {
		return inputsFile
	}
	return fmt.Sprintf("%s, group %d", inputsFile, group)
}
