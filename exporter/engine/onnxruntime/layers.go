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
	spreadTypes(graph)
	var origins func(onnx.Node) []string
	if s.source != "" {
		// The candidate was readable when it was built; without it there are
		// layers all the same.
		if candidate, err := onnx.ReadGraphFile(s.source); err == nil {
			origins = newLineage(candidate, graph).origins
		}
	}
	layers := make([]engine.Layer, 0, len(graph.List))
	for _, n := range graph.List {
		l := engine.Layer{Name: n.Name, Type: n.Operator.String(), Precision: nodePrecision(n, graph.Types), Quantizable: quantizable(n.Operator.String())}
		if origins != nil {
			l.Origins = origins(n)
		}
		layers = append(layers, l)
	}
	return layers, nil
}

// weighty are parts of the names of operators that quantization is for: where the
// multiplications are.
var weighty = []string{"conv", "gemm", "matmul", "lstm", "gru", "attention"}

func quantizable(op string) bool {
	return slices.ContainsFunc(weighty, func(part string) bool { return strings.Contains(strings.ToLower(op), part) })
}

// integer reports whether an operator computes on quantized integers whatever
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

// boolean are operators whose outputs are not of their inputs' type.
var boolean = map[string]bool{
	"Greater": true, "GreaterOrEqual": true, "Less": true, "LessOrEqual": true, "Equal": true, "Not": true, "And": true, "Or": true,
	"Xor": true, "IsNaN": true, "IsInf": true, "ArgMax": true, "ArgMin": true, "Shape": true, "Size": true, "NonZero": true,
}

// spreadTypes gives tensors that the plan does not describe the type of what
// they are computed from. Nodes come in an order in which they can run.
func spreadTypes(g *onnx.Graph) {
	input := func(n onnx.Node, i int) engine.DType {
		if i < len(n.Inputs) {
			return g.Types[n.Inputs[i]]
		}
		return ""
	}
	for _, n := range g.List {
		var t engine.DType
		switch {
		case n.Type == "Cast" || boolean[n.Type]: // a Cast says its own; see package onnx
		case n.Type == "QuantizeLinear":
			if t = input(n, 2); t == "" {
				t = engine.Uint8 // without a zero point
			}
		case n.Type == "DequantizeLinear":
			t = input(n, 1)
		case integer(n.Operator): // its output may be quantized or not
		case n.Type == "Where":
			t = input(n, 1)
		default:
			t = input(n, 0)
		}
		for _, out := range n.Outputs {
			if g.Types[out] == "" && t != "" {
				g.Types[out] = t
			}
		}
	}
}
