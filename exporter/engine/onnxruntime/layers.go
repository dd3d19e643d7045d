package onnxruntime

import (
	"context"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx"
)

// movement are operators that move or describe data and compute nothing, and
// those that only change its precision: no arithmetic, so no precision.
var movement = map[string]bool{
	"Cast": true, "CastLike": true, "QuantizeLinear": true, "DequantizeLinear": true, "DynamicQuantizeLinear": true,
	"Reshape": true, "Transpose": true, "Flatten": true, "Squeeze": true, "Unsqueeze": true, "Identity": true, "Constant": true,
	"ConstantOfShape": true, "Shape": true, "Size": true, "Gather": true, "GatherND": true, "GatherElements": true, "Scatter": true,
	"ScatterND": true, "ScatterElements": true, "Concat": true, "Split": true, "Slice": true, "Pad": true, "Expand": true, "Tile": true,
	"Range": true, "NonZero": true, "Where": true, "ReorderInput": true, "ReorderOutput": true, "MemcpyFromHost": true, "MemcpyToHost": true,
	"If": true, "Loop": true, "Scan": true, "SequenceAt": true, "SequenceConstruct": true, "DepthToSpace": true, "SpaceToDepth": true,
}

// Layers describes the optimized graph. Origins are the candidate's nodes that
// lie between a layer's inputs and outputs, as far as tensors kept their names.
// The precision is that of the values an operator computes on: ONNX Runtime
// inserts visible casts where a CPU kernel for float16 is missing, so what the
// plan says is what runs.
func (s *session) Layers(ctx context.Context) ([]engine.Layer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !s.optimized {
		return nil, engine.ErrNoLayers // it is rewritten at every load, unseen
	}
	graph, err := onnx.ReadGraphFile(s.plan.Path)
	if err != nil {
		return nil, err
	}
	var origins func(onnx.Node) []string
	if s.source != "" {
		// The candidate was readable when it was built; without it there are
		// layers all the same.
		if candidate, err := onnx.ReadGraphFile(s.source); err == nil {
			origins = originsIn(candidate, graph)
		}
	}
	layers := make([]engine.Layer, 0, len(graph.List))
	for _, n := range graph.List {
		l := engine.Layer{Name: n.Name, Type: n.Operator.String(), Precision: nodePrecision(n, graph.Types)}
		if origins != nil {
			l.Origins = origins(n)
		}
		layers = append(layers, l)
	}
	return layers, nil
}

// integer tells whether an operator computes on quantized integers whatever
// the types of its outputs are.
func integer(op onnx.Operator) bool {
	return strings.HasPrefix(op.Type, "QLinear") || strings.HasSuffix(op.Type, "Integer") ||
		slices.Contains([]string{"QGemm", "QAttention", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QMoE", "QOrderedMatMul"}, op.Type)
}

func nodePrecision(n onnx.Node, types map[string]engine.DType) engine.Precision {
	switch {
	case integer(n.Operator):
		return engine.INT8
	case movement[n.Type]:
		return ""
	}
	for _, name := range slices.Concat(n.Outputs, n.Inputs) {
		switch types[name] {
		case engine.Float32, engine.Float64:
			return engine.FP32
		case engine.Float16:
			return engine.FP16
		case engine.Int8, engine.Uint8:
			return engine.INT8
		case "":
			continue // not said: an input may say it
		default:
			return "" // integers of shapes and indices
		}
	}
	return ""
}

// originsIn finds the candidate's nodes behind a layer: walking back from the
// layer's outputs until its inputs.
func originsIn(candidate, plan *onnx.Graph) func(onnx.Node) []string {
	producer := map[string]int{}
	for i, n := range candidate.List {
		for _, out := range n.Outputs {
			if out != "" {
				producer[out] = i
			}
		}
	}
	// Every tensor that still exists in the plan is a border.
	border := map[string]bool{}
	for _, n := range plan.List {
		for _, out := range n.Outputs {
			border[out] = true
		}
	}
	return func(layer onnx.Node) []string {
		seen := map[int]bool{}
		var walk func(name string)
		walk = func(name string) {
			i, ok := producer[name]
			if !ok || seen[i] || len(seen) > 1000 {
				return
			}
			seen[i] = true
			for _, in := range candidate.List[i].Inputs {
				if !border[in] {
					walk(in)
				}
			}
		}
		for _, out := range layer.Outputs {
			walk(out)
		}
		var names []string
		for _, i := range sortedKeys(seen) {
			if n := candidate.List[i]; n.Name != "" {
				names = append(names, n.Name)
			} else {
				names = append(names, n.Operator.String()+" "+strings.Join(n.Outputs, ","))
			}
		}
		return names
	}
}

func sortedKeys(m map[int]bool) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
