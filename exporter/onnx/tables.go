package onnx

import (
	"slices"

	"github.com/plancast/plancast/exporter/engine"
)

// tables finds the inputs that are looked up in tables, such as the token types of
// a language model: their values must lie below the table's size, which is how
// generated inputs stay valid.
type tables struct {
	input   map[string]string // the graph input that a tensor holds the values of, for tensors that are none
	lookups []lookup
}

// lookup is one use of a tensor as positions in a table.
type lookup struct {
	positions, table string
	axis             int64
}

// carriers pass the values of their first input on.
var carriers = []string{"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand", "Tile", "Slice", "Concat", "Clip"}

// follow takes a node in and returns what it keeps, in bytes. Nodes come in an
// order in which they can run.
func (t *tables) follow(n Node, axis int64) int64 {
	use := func(positions, table int, axis int64) int64 {
		if positions >= len(n.Inputs) || table >= len(n.Inputs) || n.Inputs[positions] == "" {
			return 0
		}
		l := lookup{t.source(n.Inputs[positions]), n.Inputs[table], axis}
		t.lookups = append(t.lookups, l)
		return int64(64 + len(l.positions) + len(l.table))
	}
	switch {
	case n.Domain == "" && n.Type == "Gather":
		return use(1, 0, axis)
	case n.Domain == "com.microsoft" && (n.Type == "EmbedLayerNormalization" || n.Type == "SkipEmbedLayerNormalization"):
		return use(0, 2, 0) + use(1, 4, 0) + use(8, 3, 0) // input_ids, segment_ids, position_ids
	case n.Domain == "com.microsoft" && n.Type == "GatherBlockQuantized":
		return use(1, 0, axis)
	case n.Domain == "" && slices.Contains(carriers, n.Type) && len(n.Inputs) > 0 && len(n.Outputs) > 0:
		from := t.source(n.Inputs[0])
		t.input[n.Outputs[0]] = from
		return int64(64 + len(from) + len(n.Outputs[0]))
	}
	return 0
}

func (t *tables) source(tensor string) string {
	if from, ok := t.input[tensor]; ok {
		return from
	}
	return tensor
}

// limit gives the integer inputs the size of the smallest table they are looked up in.
func (t *tables) limit(inputs []engine.TensorInfo, initializers map[string][]int64) {
	for _, l := range t.lookups {
		i := slices.IndexFunc(inputs, func(in engine.TensorInfo) bool { return in.Name == l.positions })
		dims := initializers[l.table]
		axis := l.axis
		if axis < 0 {
			axis += int64(len(dims))
		}
		if i < 0 || axis < 0 || axis >= int64(len(dims)) || dims[axis] < 1 || inputs[i].DType.Float() {
			continue
		}
		if inputs[i].Limit == 0 || dims[axis] < inputs[i].Limit {
			inputs[i].Limit = dims[axis]
		}
	}
}
