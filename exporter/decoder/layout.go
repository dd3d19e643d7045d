// Package decoder recognizes models that generate text over a key-value cache, and
// makes the inputs of their two phases: prefill, which reads a prompt into an empty
// cache, and decode, which adds one token after the other to a cache of some length.
//
// It goes by the names and shapes of inputs and outputs alone: the layout of Hugging
// Face's exports, in which input past_key_values.N.key comes back as output
// present.N.key with the new tokens appended. It is pure.
package decoder

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/plancast/plancast/exporter/engine"
)

// Layout is where a model takes and returns its cache, and what else it takes.
// Positions are those among its inputs or outputs; -1 is none.
type Layout struct {
	Cache  []Pair // by layer, the key before the value
	Layers int
	// Heads and HeadSize are those of the first layer's keys. Heads counts what the
	// cache holds: with grouped queries, fewer than the model's attention has.
	Heads, HeadSize int64

	Tokens    int // input_ids, or inputs_embeds
	Mask      int // attention_mask, over the cache and the new tokens
	Positions int // position_ids, or cache_position
	Branch    int // use_cache_branch: whether the cache holds anything
}

// Pair is a tensor of the cache: the input that takes it and the output that returns it.
type Pair struct {
	Input, Output int
	axis          int   // of the tokens in it
	token         int64 // bytes a token of one sequence
}

// The names of a cache, with a layer's number and what it holds.
var (
	past    = regexp.MustCompile(`^past_key_values[._](\d+)[._](key|value)$`)
	present = regexp.MustCompile(`^present(?:_key_values)?[._](\d+)[._](key|value)$`)
)

// Cached reports whether an input bears the name of a cache.
func Cached(input string) bool { return past.MatchString(input) }

// slot is a part of the cache.
type slot struct {
	layer int
	what  string
}

// slots finds the tensors whose names match, by what they hold.
func slots(pattern *regexp.Regexp, infos []engine.TensorInfo) (map[slot]int, error) {
	found := map[slot]int{}
	for i, t := range infos {
		m := pattern.FindStringSubmatch(t.Name)
		if m == nil {
			continue
		}
		layer, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, fmt.Errorf("%q has no usable number of a layer", t.Name)
		}
		if _, twice := found[slot{layer, m[2]}]; twice {
			return nil, fmt.Errorf("two tensors are the %s of layer %d", m[2], layer)
		}
		found[slot{layer, m[2]}] = i
	}
	return found, nil
}

// Recognize reads the layout off a model's inputs and outputs. An error says why it is
// not the common one.
func Recognize(inputs, outputs []engine.TensorInfo) (Layout, error) {
	l := Layout{Tokens: -1, Mask: -1, Positions: -1, Branch: -1}
	taken, err := slots(past, inputs)
	if err != nil {
		return Layout{}, err
	}
	returned, err := slots(present, outputs)
	if err != nil {
		return Layout{}, err
	}
	if len(taken) == 0 {
		return Layout{}, fmt.Errorf("no input is named like past_key_values.0.key")
	}
	l.Layers = len(taken) / 2
	for layer := range l.Layers {
		for _, what := range []string{"key", "value"} {
			in, isTaken := taken[slot{layer, what}]
			out, isReturned := returned[slot{layer, what}]
			if !isTaken || !isReturned {
				return Layout{}, fmt.Errorf("there is no past_key_values.%d.%s that comes back as present.%d.%s", layer, what, layer, what)
			}
			p, err := pair(inputs[in], outputs[out])
			if err != nil {
				return Layout{}, err
			}
			p.Input, p.Output = in, out
			l.Cache = append(l.Cache, p)
		}
	}
	if len(taken) != len(l.Cache) || len(returned) != len(l.Cache) {
		return Layout{}, fmt.Errorf("%d inputs and %d outputs are named like a cache of %d layers", len(taken), len(returned), l.Layers)
	}
	l.Heads, l.HeadSize = head(inputs[l.Cache[0].Input], l.Cache[0].axis)
	return l, l.roles(inputs)
}

// pair holds a tensor of the cache against what it comes back as: of four dimensions
// the first is the batch, one is open and counts the tokens, and the two others are
// the heads and their size.
func pair(in, out engine.TensorInfo) (Pair, error) {
	switch {
	case !in.Plain() || !in.DType.Float() || len(in.Dims) != 4:
		return Pair{}, fmt.Errorf("%s is no tensor of floats with four dimensions", in)
	case out.DType != in.DType || len(out.Dims) != 4:
		return Pair{}, fmt.Errorf("%s comes back as %s", in, out)
	}
	p := Pair{token: int64(in.DType.Size())}
	for i, d := range in.Dims[1:] {
		switch {
		case d.Size > 0 && (out.Dims[i+1].Size == d.Size || out.Dims[i+1].Size < 0):
			p.token *= d.Size
		case d.Size < 0 && out.Dims[i+1].Size < 0 && p.axis == 0:
			p.axis = i + 1
		default:
			return Pair{}, fmt.Errorf("%s comes back as %s: one dimension behind the first must be open in both, and the others alike", in, out)
		}
	}
	if p.axis == 0 {
		return Pair{}, fmt.Errorf("%s has a fixed length", in)
	}
	return p, nil
}

// head is the number of heads and their size: the two fixed dimensions in their order.
func head(in engine.TensorInfo, axis int) (heads, size int64) {
	fixed := slices.Delete(slices.Clone(in.Dims), axis, axis+1)[1:]
	return fixed[0].Size, fixed[1].Size
}

// roles finds the other inputs that follow the lengths of prompt and cache.
func (l *Layout) roles(inputs []engine.TensorInfo) error {
	for i, t := range inputs {
		role, ranks := (*int)(nil), []int{2}
		switch t.Name {
		case "input_ids":
			role = &l.Tokens
		case "inputs_embeds":
			role, ranks = &l.Tokens, []int{3}
		case "attention_mask":
			role = &l.Mask
		case "position_ids":
			role = &l.Positions
		case "cache_position":
			role, ranks = &l.Positions, []int{1}
		case "use_cache_branch":
			role, ranks = &l.Branch, []int{0, 1}
		default:
			continue
		}
		if !t.Plain() || !slices.Contains(ranks, len(t.Dims)) {
			return fmt.Errorf("%s has another shape than in the common layout", t)
		}
		if *role >= 0 {
			return fmt.Errorf("%s and %s are both there", inputs[*role], t)
		}
		*role = i
	}
	if l.Tokens < 0 {
		return fmt.Errorf("there is no input_ids and no inputs_embeds")
	}
	return nil
}

// CacheBytes is the memory that the cache of batch sequences takes at a context of
// tokens, in bytes.
func (l Layout) CacheBytes(batch, tokens int64) int64 {
	var n int64
	for _, p := range l.Cache {
		n += p.token
	}
	return n * batch * tokens
}
