package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/plancast/plancast/exporter/decoder"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/tensorio"
	"github.com/plancast/plancast/exporter/workload"
)

// Generation is what a workload with a phase shows beside its latency.
type Generation struct {
	// Tokens are those that a prefill reads or a decode makes in a second, of all
	// sequences of a batch together.
	Tokens float64 `json:"tokens_per_s,omitempty"`
	// Cache is how much memory the keys and values of a context take, for each shape.
	Cache []CacheSize `json:"cache"`
}

// CacheSize is the size of a key-value cache.
type CacheSize struct {
	Tokens int64 `json:"tokens"` // of each sequence
	Batch  int64 `json:"batch"`
	Bytes  int64 `json:"bytes"` // of all sequences of the batch
}

// decodeSteps is how many tokens a decode makes before it begins again with the cache
// that it started with: so few that the context hardly grows.
const decodeSteps = 16

// phase is how a shape of a workload with a phase is run.
type phase struct {
	layout  decoder.Layout
	lengths decoder.Lengths
	shapes  tensorio.Shapes // the batch, and what follows no length
	steps   int
}

// unrecognized says why a model is none that a phase is known of.
type unrecognized struct{ error }

// phaseOf finds the phase of a shape. Its error is an unrecognized where the model's
// inputs and outputs are not those of the common layout.
func (r *run) phaseOf(w workload.Workload, s workload.Shape) (phase, error) {
	layout, err := r.layout(r.inputs)
	if err != nil {
		return phase{}, unrecognized{err}
	}
	unknown := func(name, hint string) error {
		e := engine.Errorf(engine.KindInvalidInput, "measure the phase "+string(w.Phase), w.Name, "%s is not known", name)
		e.Hint = "write dims: {" + hint + "} for a shape of the workload"
		return e
	}
	p := phase{layout: layout, lengths: decoder.Lengths{Sequence: 1, Past: -1}, steps: decodeSteps}
	if w.Phase == workload.Prefill {
		p.lengths, p.steps = decoder.Lengths{Sequence: -1}, 1
	}
	lengths, rest := layout.Lengths(r.inputs, s.Sizes(), p.lengths)
	switch p.lengths = lengths; {
	case lengths.Sequence < 0:
		return p, unknown("the length of the prompt", decoder.Sequence+": TOKENS")
	case lengths.Past < 0:
		return p, unknown("how many tokens the cache holds", decoder.PastSequence+": TOKENS")
	case w.Phase == workload.Decode && lengths.Sequence != 1:
		e := engine.Errorf(engine.KindInvalidInput, "measure the phase decode", w.Name, "a step makes one token, and the workload has %d", lengths.Sequence)
		e.Hint = "leave out " + decoder.Sequence + "; several sequences at once are a batch"
		return p, e
	}
	p.shapes, err = r.sized(w, s, rest)
	return p, err
}

// ends are the shapes of the inputs in the first and in the last step.
func (p phase) ends(inputs []engine.TensorInfo) (ends [][][]int64, err error) {
	for _, step := range []int{0, p.steps - 1} {
		shapes, err := p.layout.Resolve(inputs, p.shapes, p.lengths.After(step))
		if err != nil {
			return nil, err
		}
		ends = append(ends, shapes)
	}
	return ends, nil
}

// follow gives sizes to the dimensions of a decoder that follow from the lengths in the
// job's dims: of the mask, which exporters name "past_sequence + sequence". What is given
// itself stays as it is.
func (r *run) follow(inputs []engine.TensorInfo) {
	layout, err := r.layout(inputs)
	if err != nil {
		return
	}
	n, _ := layout.Lengths(inputs, r.job.Dims, decoder.Lengths{Sequence: -1, Past: -1})
	complete(inputs, layout, n, r.dims)
}

// lengthened are the sizes of a plain call of a decoder, with what follows from the lengths
// among them; a length that is not there is that of the job's dims. Those of any other
// model stay as they are.
func (r *run) lengthened(sizes map[string]int64) map[string]int64 {
	layout, err := r.layout(r.inputs)
	if err != nil {
		return sizes
	}
	own, _ := layout.Lengths(r.inputs, r.job.Dims, decoder.Lengths{Sequence: -1, Past: -1})
	n, rest := layout.Lengths(r.inputs, sizes, own)
	if len(rest) == len(sizes) || !complete(r.inputs, layout, n, rest) {
		return sizes
	}
	return rest
}

// complete adds to sizes those of the dimensions that follow the lengths and are not
// given themselves; false where a length is not known.
func complete(inputs []engine.TensorInfo, layout decoder.Layout, n decoder.Lengths, sizes map[string]int64) bool {
	if n.Sequence < 0 || n.Past < 0 {
		return false
	}
	follows := layout.Dims(inputs, n)
	for _, in := range inputs {
		for i, d := range in.Dims {
			place := fmt.Sprintf("%s/%d", in.Name, i)
			_, sized := sizes[place]
			_, named := sizes[d.Name]
			if size, ok := follows[place]; ok && d.Size < 0 && !sized && !named {
				sizes[place] = size
			}
		}
	}
	return true
}

// layout finds the cache among the engine's inputs, and among the model's before there
// is an engine. What the model declares of those tensors goes before what the engine
// reports: TensorRT may give an output the size that its first optimization profile
// leads to, where the model has an open dimension.
func (r *run) layout(inputs []engine.TensorInfo) (decoder.Layout, error) {
	outputs := r.declared.outputs
	if r.engine != nil {
		outputs = r.engine.Outputs()
	}
	layout, err := decoder.Recognize(asDeclared(inputs, r.declared.inputs), asDeclared(outputs, r.declared.outputs))
	if err == nil {
		return layout, nil
	}
	if layout, reported := decoder.Recognize(inputs, outputs); reported == nil {
		return layout, nil
	}
	return layout, err
}

// asDeclared are the tensors of infos with the dimensions that declared gives those of
// the same name.
func asDeclared(infos, declared []engine.TensorInfo) []engine.TensorInfo {
	out := slices.Clone(infos)
	for i, t := range out {
		if k := slices.IndexFunc(declared, func(d engine.TensorInfo) bool { return d.Name == t.Name }); k >= 0 {
			out[i].Dims = declared[k].Dims
		}
	}
	return out
}

// chainOf makes what requests of a shape run: the steps of a phase, or one call.
func (t *traffic) chainOf(ctx context.Context, s workload.Shape) (engine.Chain, error) {
	if t.w.Phase == "" {
		inputs, err := t.inputsOf(s)
		return engine.Call(inputs), err
	}
	p, err := t.phaseOf(t.w, s)
	if errors.As(err, new(unrecognized)) {
		t.warn("the model's key-value cache is not recognized (%v): each call copies it in and out", err)
		inputs, err := t.inputsOf(s)
		return engine.Call(inputs), err
	}
	if err != nil {
		return engine.Chain{}, err
	}
	c, err := p.layout.Chain(t.run.inputs, p.shapes, p.lengths, p.steps, t.job.Options.Seed)
	if err != nil {
		return c, err
	}
	batch := c.Steps[0][p.layout.Tokens].Shape[0]
	context := max(p.lengths.Past, p.lengths.Sequence)
	if t.result.Generation == nil {
		t.result.Generation = &Generation{}
	}
	g := t.result.Generation
	g.Cache = append(g.Cache, CacheSize{Tokens: context, Batch: batch, Bytes: p.layout.CacheBytes(batch, context)})
	t.tokens = append(t.tokens, batch*p.lengths.Sequence)
	return c, t.verify(ctx, c)
}

// farthest is how far the outputs of steps that leave their cache in place may be from
// those of plain calls: the relative L2 distance. Plain calls may use kernels of another
// optimization profile, which round otherwise; a wrong cache gives distances near 1.
func (r *run) farthest() float64 {
	if r.job.Precision == engine.FP32 && !r.job.Settings.TF32 {
		return 0.01
	}
	return 0.05
}

// verify holds the first steps of a chain against plain calls.
func (t *traffic) verify(ctx context.Context, c engine.Chain) error {
	first := c.First(2)
	kept, err := t.engine.Walk(ctx, first)
	if err != nil {
		return err
	}
	plain, err := engine.WalkPlainly(ctx, t.engine, first)
	if err != nil {
		return err
	}
	for i, step := range kept {
		for k, got := range step {
			if d := distance(got, plain[i][k]); d > t.farthest() {
				e := engine.Errorf(engine.KindAccuracy, "leave the cache in place", t.w.Name, "step %d gives another %s than a plain call: their distance is %.3g (relative L2)", i, got.Name, d)
				e.Hint = "report it with the model's inputs and outputs: they are not what their names say"
				return e
			}
		}
	}
	return nil
}

// distance is the relative L2 distance of the numbers of two tensors; infinite where
// their shapes differ.
func distance(a, b engine.Tensor) float64 {
	if a.Len() != b.Len() {
		return math.Inf(1)
	}
	var apart, size float64
	for i := range a.Len() {
		x, y := a.At(i), b.At(i)
		if math.IsNaN(x) && math.IsNaN(y) {
			continue
		}
		apart, size = apart+(x-y)*(x-y), size+y*y
	}
	if apart == 0 {
		return 0
	}
	return math.Sqrt(apart / size)
}

// generated counts the tokens of the windows that the figures rest on.
func (t *traffic) generated(s stretch, list []int, elapsed float64) {
	if t.result.Generation == nil {
		return
	}
	var tokens int64
	for _, i := range list {
		for k := range s.served[i].Services {
			tokens += t.tokens[s.requests[i][k].Input]
		}
	}
	t.result.Generation.Tokens = float64(tokens) / elapsed
}
