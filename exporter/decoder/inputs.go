package decoder

import (
	"fmt"
	"slices"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/tensorio"
)

// Lengths are what a step has to do: how many new tokens it reads, with how many in
// the cache before them.
type Lengths struct{ Sequence, Past int64 }

// After are the lengths of the step that follows that many of these.
func (n Lengths) After(steps int) Lengths {
	return Lengths{n.Sequence, n.Past + int64(steps)*n.Sequence}
}

// The names of the lengths where a configuration gives sizes, for every model.
const (
	Sequence     = "sequence"
	PastSequence = "past_sequence"
)

// axis is a dimension that follows a length.
type axis struct {
	input, position int
	of              string // Sequence, PastSequence, or "" for both together
}

// axes are the dimensions that follow the lengths. Some may have a fixed size: of a model
// for one token at a time, or of an engine that was built for one length.
func (l Layout) axes(inputs []engine.TensorInfo) []axis {
	all := []axis{{l.Tokens, 1, Sequence}, {l.Mask, 1, ""}}
	if l.Positions >= 0 {
		all = append(all, axis{l.Positions, len(inputs[l.Positions].Dims) - 1, Sequence})
	}
	for _, p := range l.Cache {
		all = append(all, axis{p.Input, p.axis, PastSequence})
	}
	return slices.DeleteFunc(all, func(a axis) bool { return a.input < 0 })
}

func (a axis) place(inputs []engine.TensorInfo) string {
	return fmt.Sprintf("%s/%d", inputs[a.input].Name, a.position)
}

// Dims are the sizes of the dimensions that follow the lengths, by "input/position"
// as tensorio.Shapes takes them.
func (l Layout) Dims(inputs []engine.TensorInfo, n Lengths) map[string]int64 {
	dims := map[string]int64{}
	for _, a := range l.axes(inputs) {
		size := n.Past + n.Sequence
		switch a.of {
		case Sequence:
			size = n.Sequence
		case PastSequence:
			size = n.Past
		}
		dims[a.place(inputs)] = size
	}
	return dims
}

// Lengths finds the lengths among sizes by name: Sequence and PastSequence, or what the
// model calls a dimension that follows one of them, or its "input/position". What is
// not given stays as it is in n. rest are the sizes that follow no length.
func (l Layout) Lengths(inputs []engine.TensorInfo, sizes map[string]int64, n Lengths) (of Lengths, rest map[string]int64) {
	names := map[string]string{Sequence: Sequence, PastSequence: PastSequence}
	for _, a := range l.axes(inputs) {
		names[a.place(inputs)] = a.of
		if d := inputs[a.input].Dims[a.position]; d.Name != "" && !d.Anonymous() {
			names[d.Name] = a.of
		}
	}
	rest = map[string]int64{}
	for name, size := range sizes {
		switch of, follows := names[name]; {
		case !follows:
			rest[name] = size
		case of == Sequence:
			n.Sequence = size
		case of == PastSequence:
			n.Past = size
		}
	}
	return n, rest
}

// Chain makes a chain of steps, each of which reads the tokens behind those of the
// one before it. The first finds random values in the cache. shapes gives the batch
// and the sizes of dimensions that follow no length. The same seed makes the same
// chain.
func (l Layout) Chain(inputs []engine.TensorInfo, shapes tensorio.Shapes, n Lengths, steps int, seed uint64) (engine.Chain, error) {
	var c engine.Chain
	for i := range steps {
		resolved, err := l.Resolve(inputs, shapes, n.After(i))
		if err != nil {
			return c, err
		}
		if i == 0 {
			if c.Links, err = l.links(inputs, resolved, seed); err != nil {
				return c, err
			}
		}
		step, err := l.step(inputs, resolved, n.After(i), seed+uint64(i))
		if err != nil {
			return c, err
		}
		c.Steps = append(c.Steps, step)
	}
	for k, p := range l.Cache {
		for i := range steps + 1 {
			shape := slices.Clone(c.Links[k].Start.Shape)
			shape[p.axis] = n.After(i).Past
			c.Links[k].Shapes = append(c.Links[k].Shapes, shape)
		}
	}
	return c, nil
}

// Resolve gives every input its shape in a step; shapes gives the batch and the sizes of
// dimensions that follow no length.
func (l Layout) Resolve(inputs []engine.TensorInfo, shapes tensorio.Shapes, n Lengths) ([][]int64, error) {
	sized, err := shapes.With(inputs, l.Dims(inputs, n))
	if err != nil {
		return nil, err
	}
	return sized.Resolve(inputs)
}

// links make the cache of the first step.
func (l Layout) links(inputs []engine.TensorInfo, shapes [][]int64, seed uint64) ([]engine.Link, error) {
	var infos []engine.TensorInfo
	var sizes [][]int64
	for _, p := range l.Cache {
		infos, sizes = append(infos, inputs[p.Input]), append(sizes, shapes[p.Input])
	}
	start, err := tensorio.Generate(infos, sizes, seed)
	if err != nil {
		return nil, err
	}
	links := make([]engine.Link, len(l.Cache))
	for k, p := range l.Cache {
		links[k] = engine.Link{Input: p.Input, Output: p.Output, Start: start[k]}
	}
	return links, nil
}

// step makes what a step takes beside the cache.
func (l Layout) step(inputs []engine.TensorInfo, shapes [][]int64, n Lengths, seed uint64) ([]engine.Tensor, error) {
	cached := map[int]bool{}
	for _, p := range l.Cache {
		cached[p.Input] = true
	}
	step := make([]engine.Tensor, len(inputs))
	for i, in := range inputs {
		if cached[i] {
			continue
		}
		made, err := tensorio.Generate([]engine.TensorInfo{in}, [][]int64{shapes[i]}, seed)
		if err != nil {
			return nil, err
		}
		step[i] = made[0]
	}
	return step, l.fill(inputs, step, n)
}

// fill writes what is not random: every token is attended to, and has its place.
func (l Layout) fill(inputs []engine.TensorInfo, step []engine.Tensor, n Lengths) error {
	write := func(input int, value func(i int) float64) {
		if input >= 0 {
			clear(step[input].Data)
			tensorio.Fill(step[input], value)
		}
	}
	write(l.Mask, func(int) float64 { return 1 })
	write(l.Positions, func(i int) float64 { return float64(n.Past + int64(i)%n.Sequence) })
	write(l.Branch, func(int) float64 { return float64(min(n.Past, 1)) })
	if l.Positions >= 0 {
		if limit := inputs[l.Positions].Limit; limit > 0 && n.Past+n.Sequence > limit {
			e := engine.Errorf(engine.KindInvalidInput, "generate input", inputs[l.Positions].String(), "a context of %d tokens is longer than the model's %d positions", n.Past+n.Sequence, limit)
			e.Hint = "make " + Sequence + " or " + PastSequence + " smaller"
			return e
		}
	}
	return nil
}
