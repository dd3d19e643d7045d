package decoder

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/tensorio"
)

// info describes a tensor: an int is a size, a string the name of an open dimension.
func info(name string, dtype engine.DType, dims ...any) engine.TensorInfo {
	t := engine.TensorInfo{Name: name, DType: dtype, Dims: []engine.Dim{}}
	for _, d := range dims {
		if size, ok := d.(int); ok {
			t.Dims = append(t.Dims, engine.Dim{Size: int64(size)})
		} else {
			t.Dims = append(t.Dims, engine.Dim{Size: -1, Name: d.(string)})
		}
	}
	return t
}

// signature is a decoder of two layers as Hugging Face's exporter writes it: four
// heads of eight.
func signature() (inputs, outputs []engine.TensorInfo) {
	inputs = []engine.TensorInfo{
		info("input_ids", engine.Int64, "batch_size", "sequence_length"),
		info("attention_mask", engine.Int64, "batch_size", "past_sequence_length + sequence_length"),
		info("position_ids", engine.Int64, "batch_size", "sequence_length"),
	}
	outputs = []engine.TensorInfo{info("logits", engine.Float32, "batch_size", "sequence_length", 96)}
	for layer := range 2 {
		for _, what := range []string{"key", "value"} {
			inputs = append(inputs, info(fmt.Sprintf("past_key_values.%d.%s", layer, what), engine.Float32, "batch_size", 4, "past_sequence_length", 8))
			outputs = append(outputs, info(fmt.Sprintf("present.%d.%s", layer, what), engine.Float32, "batch_size", 4, "past_sequence_length + sequence_length", 8))
		}
	}
	return inputs, outputs
}

func TestTheCommonLayoutIsRecognized(t *testing.T) {
	type change func(in, out *[]engine.TensorInfo)
	each := func(f func(t *engine.TensorInfo)) change {
		return func(in, out *[]engine.TensorInfo) {
			for i := range *in {
				if strings.HasPrefix((*in)[i].Name, "past") {
					f(&(*in)[i])
				}
			}
			for i := range *out {
				if strings.HasPrefix((*out)[i].Name, "present") {
					f(&(*out)[i])
				}
			}
		}
	}
	for name, c := range map[string]struct {
		change     change
		want       Layout // without Cache
		tokenBytes int64
	}{
		"as exported": {nil, Layout{Layers: 2, Heads: 4, HeadSize: 8, Tokens: 0, Mask: 1, Positions: 2, Branch: -1}, 2 * 2 * 4 * 8 * 4},
		"a cache in float16": {
			each(func(t *engine.TensorInfo) { t.DType = engine.Float16 }),
			Layout{Layers: 2, Heads: 4, HeadSize: 8, Tokens: 0, Mask: 1, Positions: 2, Branch: -1}, 2 * 2 * 4 * 8 * 2,
		},
		"tokens in the last dimension": {
			each(func(t *engine.TensorInfo) { t.Dims[2], t.Dims[3] = t.Dims[3], t.Dims[2] }),
			Layout{Layers: 2, Heads: 4, HeadSize: 8, Tokens: 0, Mask: 1, Positions: 2, Branch: -1}, 2 * 2 * 4 * 8 * 4,
		},
		"names with underscores": {
			each(func(t *engine.TensorInfo) { t.Name = strings.ReplaceAll(t.Name, ".", "_") }),
			Layout{Layers: 2, Heads: 4, HeadSize: 8, Tokens: 0, Mask: 1, Positions: 2, Branch: -1}, 2 * 2 * 4 * 8 * 4,
		},
		"a fixed batch": {
			each(func(t *engine.TensorInfo) { t.Dims[0] = engine.Dim{Size: 1} }),
			Layout{Layers: 2, Heads: 4, HeadSize: 8, Tokens: 0, Mask: 1, Positions: 2, Branch: -1}, 2 * 2 * 4 * 8 * 4,
		},
		"without mask and positions": {
			func(in, _ *[]engine.TensorInfo) { *in = append((*in)[:1:1], (*in)[3:]...) },
			Layout{Layers: 2, Heads: 4, HeadSize: 8, Tokens: 0, Mask: -1, Positions: -1, Branch: -1}, 2 * 2 * 4 * 8 * 4,
		},
		"embeddings for tokens, one position for the batch, and a branch": {
			func(in, _ *[]engine.TensorInfo) {
				(*in)[0] = info("inputs_embeds", engine.Float32, "batch_size", "sequence_length", 32)
				(*in)[2] = info("cache_position", engine.Int64, "sequence_length")
				*in = append(*in, info("use_cache_branch", engine.Bool, 1))
			},
			Layout{Layers: 2, Heads: 4, HeadSize: 8, Tokens: 0, Mask: 1, Positions: 2, Branch: 7}, 2 * 2 * 4 * 8 * 4,
		},
		"outputs in another order": {
			func(_, out *[]engine.TensorInfo) { (*out)[1], (*out)[4] = (*out)[4], (*out)[1] },
			Layout{Layers: 2, Heads: 4, HeadSize: 8, Tokens: 0, Mask: 1, Positions: 2, Branch: -1}, 2 * 2 * 4 * 8 * 4,
		},
	} {
		t.Run(name, func(t *testing.T) {
			in, out := signature()
			if c.change != nil {
				c.change(&in, &out)
			}
			l, err := Recognize(in, out)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range l.Cache {
				if strings.TrimPrefix(in[p.Input].Name, "past_key_values") != strings.TrimPrefix(out[p.Output].Name, "present") {
					t.Errorf("%s comes back as %s", in[p.Input].Name, out[p.Output].Name)
				}
			}
			if len(l.Cache) != 4 || l.CacheBytes(3, 10) != 30*c.tokenBytes {
				t.Errorf("%d tensors, %d bytes for 3 sequences of 10 tokens, want 4 and %d", len(l.Cache), l.CacheBytes(3, 10), 30*c.tokenBytes)
			}
			if l.Cache = nil; !reflect.DeepEqual(l, c.want) {
				t.Errorf("%+v, want %+v", l, c.want)
			}
		})
	}
}

func TestWhatLooksSimilarIsNotRecognized(t *testing.T) {
	for name, c := range map[string]struct {
		change func(in, out *[]engine.TensorInfo)
		why    string
	}{
		"no cache":                        {func(in, out *[]engine.TensorInfo) { *in, *out = (*in)[:3], (*out)[:1] }, "no input is named like past_key_values.0.key"},
		"a cache that does not come back": {func(_, out *[]engine.TensorInfo) { *out = (*out)[:4] }, "no past_key_values.1.value that comes back as present.1.value"},
		"a layer left out": {func(in, _ *[]engine.TensorInfo) {
			(*in)[5].Name, (*in)[6].Name = "past_key_values.2.key", "past_key_values.2.value"
		}, "no past_key_values.1.key"},
		"more comes back than is taken": {
			func(_, out *[]engine.TensorInfo) {
				*out = append(*out, info("present.2.key", engine.Float32, "b", 4, "n", 8))
			}, "4 inputs and 5 outputs",
		},
		"an encoder's cache beside the decoder's": {
			func(in, out *[]engine.TensorInfo) {
				for i := range *in {
					(*in)[i].Name = strings.Replace((*in)[i].Name, ".key", ".encoder.key", 1)
				}
			}, "no past_key_values.0.key",
		},
		"keys and values in one tensor": {
			func(in, out *[]engine.TensorInfo) {
				*in = append((*in)[:3], info("past_0", engine.Float32, 2, "batch", 4, "past", 8))
				*out = append((*out)[:1], info("present_0", engine.Float32, 2, "batch", 4, "total", 8))
			}, "no input is named",
		},
		"a cache of a fixed length": {func(in, _ *[]engine.TensorInfo) { (*in)[3].Dims[2] = engine.Dim{Size: 64} }, "has a fixed length"},
		"fixed both ways": {func(in, out *[]engine.TensorInfo) {
			(*in)[3].Dims[2], (*out)[1].Dims[2] = engine.Dim{Size: 64}, engine.Dim{Size: 64}
		}, "has a fixed length"},
		"heads that are open":              {func(in, _ *[]engine.TensorInfo) { (*in)[3].Dims[1] = engine.Dim{Size: -1, Name: "heads"} }, "the others alike"},
		"three dimensions":                 {func(in, _ *[]engine.TensorInfo) { (*in)[3].Dims = (*in)[3].Dims[1:] }, "four dimensions"},
		"a cache of integers":              {func(in, _ *[]engine.TensorInfo) { (*in)[3].DType = engine.Int8 }, "no tensor of floats"},
		"a cache that changes its type":    {func(_, out *[]engine.TensorInfo) { (*out)[1].DType = engine.Float16 }, "comes back as"},
		"a mask of four dimensions":        {func(in, _ *[]engine.TensorInfo) { (*in)[1] = info("attention_mask", engine.Float32, "b", 1, "s", "t") }, "another shape"},
		"no tokens":                        {func(in, _ *[]engine.TensorInfo) { (*in)[0].Name = "tokens" }, "no input_ids"},
		"two kinds of tokens":              {func(in, _ *[]engine.TensorInfo) { (*in)[2] = info("inputs_embeds", engine.Float32, "b", "s", 32) }, "both there"},
		"a number of a layer without end":  {func(in, _ *[]engine.TensorInfo) { (*in)[3].Name = "past_key_values.99999999999999999999.key" }, "no usable number"},
		"one layer under two ways to name": {func(in, _ *[]engine.TensorInfo) { (*in)[5].Name = "past_key_values_0_key" }, "two tensors are the key of layer 0"},
	} {
		t.Run(name, func(t *testing.T) {
			in, out := signature()
			c.change(&in, &out)
			if _, err := Recognize(in, out); err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v, want %q", err, c.why)
			}
		})
	}
}

func TestAChainReadsTokenAfterToken(t *testing.T) {
	in, out := signature()
	l, err := Recognize(in, out)
	if err != nil {
		t.Fatal(err)
	}
	shapes := tensorio.Shapes{Batch: 2, Dims: map[string]int64{"sequence_length": 99}} // the lengths win
	c, err := l.Chain(in, shapes, Lengths{Sequence: 1, Past: 3}, 2, 7)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(in, out); err != nil {
		t.Error(err)
	}
	for i, step := range c.Steps {
		mask, positions := step[l.Mask], step[l.Positions]
		if !reflect.DeepEqual(step[l.Tokens].Shape, []int64{2, 1}) || !reflect.DeepEqual(mask.Shape, []int64{2, int64(4 + i)}) || !reflect.DeepEqual(positions.Shape, []int64{2, 1}) {
			t.Errorf("step %d: shapes %v, %v, %v", i, step[l.Tokens].Shape, mask.Shape, positions.Shape)
		}
		for k := range mask.Len() {
			if mask.At(k) != 1 {
				t.Errorf("step %d: mask %d is %v", i, k, mask.At(k))
			}
		}
		for k := range positions.Len() {
			if positions.At(k) != float64(3+i) {
				t.Errorf("step %d: position %v, want %d", i, positions.At(k), 3+i)
			}
		}
	}
	for _, link := range c.Links {
		if !reflect.DeepEqual(link.Shapes, [][]int64{{2, 4, 3, 8}, {2, 4, 4, 8}, {2, 4, 5, 8}}) {
			t.Errorf("a cache of %v", link.Shapes)
		}
	}
	again, err := l.Chain(in, shapes, Lengths{Sequence: 1, Past: 3}, 2, 7)
	if err != nil || !reflect.DeepEqual(c, again) {
		t.Errorf("the same seed makes another chain, %v", err)
	}
}

func TestAPrefillReadsItsPromptIntoAnEmptyCache(t *testing.T) {
	in, out := signature()
	l, err := Recognize(in, out)
	if err != nil {
		t.Fatal(err)
	}
	in[l.Positions].Limit = 8
	c, err := l.Chain(in, tensorio.Shapes{Batch: 2}, Lengths{Sequence: 4}, 1, 7)
	if err != nil {
		t.Fatal(err)
	}
	positions := c.Steps[0][l.Positions]
	for k := range positions.Len() {
		if positions.At(k) != float64(k%4) {
			t.Errorf("position %d is %v", k, positions.At(k))
		}
	}
	if start := c.Links[0].Start; start.Len() != 0 || !reflect.DeepEqual(start.Shape, []int64{2, 4, 0, 8}) {
		t.Errorf("the cache starts as %v", start.Shape)
	}
	if _, err := l.Chain(in, tensorio.Shapes{Batch: 1}, Lengths{Sequence: 4, Past: 5}, 1, 7); err == nil || !strings.Contains(err.Error(), "a context of 9 tokens is longer than the model's 8 positions") {
		t.Errorf("beyond the positions: %v", err)
	}
}

func TestLengthsAreFoundUnderEveryName(t *testing.T) {
	in, out := signature()
	l, err := Recognize(in, out)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		sizes map[string]int64
		want  Lengths
		rest  map[string]int64
	}{
		"nothing given":               {nil, Lengths{1, 7}, map[string]int64{}},
		"the names for every model":   {map[string]int64{"sequence": 2, "past_sequence": 30}, Lengths{2, 30}, map[string]int64{}},
		"the model's own names":       {map[string]int64{"sequence_length": 2, "past_sequence_length": 30}, Lengths{2, 30}, map[string]int64{}},
		"places":                      {map[string]int64{"position_ids/1": 2, "past_key_values.1.value/2": 30}, Lengths{2, 30}, map[string]int64{}},
		"the mask follows the others": {map[string]int64{"past_sequence": 30, "attention_mask/1": 99, "past_sequence_length + sequence_length": 98}, Lengths{1, 30}, map[string]int64{}},
		"a size of something else":    {map[string]int64{"past_sequence": 0, "images": 3}, Lengths{1, 0}, map[string]int64{"images": 3}},
	} {
		if got, rest := l.Lengths(in, c.sizes, Lengths{Sequence: 1, Past: 7}); got != c.want || !reflect.DeepEqual(rest, c.rest) {
			t.Errorf("%s: %+v and %v, want %+v and %v", name, got, rest, c.want, c.rest)
		}
	}
}

func TestALengthThatIsFixedIsTheOnlyOne(t *testing.T) {
	for name, c := range map[string]struct {
		fix  func(in []engine.TensorInfo)
		n    Lengths
		want string
	}{
		"a model of one token a step":                {func(in []engine.TensorInfo) { in[0].Dims[1].Size = 1 }, Lengths{Sequence: 4}, "dimension 1 is fixed to 1 in the model and given as 4"},
		"an engine built for one context":            {func(in []engine.TensorInfo) { in[4].Dims[2].Size = 512 }, Lengths{Sequence: 1, Past: 2000}, "dimension 2 is fixed to 512 in the model and given as 2000"},
		"a mask as long as the engine was built for": {func(in []engine.TensorInfo) { in[1].Dims[1].Size = 513 }, Lengths{Sequence: 1, Past: 2000}, "dimension 1 is fixed to 513 in the model and given as 2001"},
	} {
		in, out := signature()
		l, err := Recognize(in, out)
		if err != nil {
			t.Fatal(err)
		}
		c.fix(in)
		if _, err := l.Chain(in, tensorio.Shapes{Batch: 1}, c.n, 1, 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
