package onnxruntime

import (
	"context"
	"maps"
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
			origins = originsIn(candidate, graph)
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

// absorbed are operators that a convolution in ONNX Runtime's blocked layout
// takes in behind itself.
var absorbed = map[string]bool{"Relu": true, "LeakyRelu": true, "Sigmoid": true, "Tanh": true, "HardSigmoid": true, "Clip": true}

const blocked = "com.microsoft.nchwc"

// originsIn finds the candidate's nodes behind a layer: from the node that
// made the layer's output back to what other layers made. That node is known
// by the output's name, or, where tensors were renamed, by the layer's own.
func originsIn(candidate, plan *onnx.Graph) func(onnx.Node) []string {
	producer, named, consumers := map[string]int{}, map[string]int{}, map[string][]int{}
	for i, n := range candidate.List {
		for _, out := range n.Outputs {
			producer[out] = i
		}
		for _, in := range n.Inputs {
			consumers[in] = append(consumers[in], i)
		}
		named[n.Name] = i
	}
	delete(producer, "")
	delete(named, "")
	// Only what depends on an input runs; the rest is folded into weights.
	depends := map[string]bool{}
	for _, in := range candidate.Inputs {
		depends[in.Name] = true
	}
	runs := make([]bool, len(candidate.List))
	for i, n := range candidate.List {
		runs[i] = slices.ContainsFunc(n.Inputs, func(in string) bool { return depends[in] })
		for _, out := range n.Outputs {
			depends[out] = depends[out] || runs[i]
		}
	}
	survives := map[string]bool{}
	for _, n := range plan.List {
		survives[n.Name] = n.Name != ""
		if n.Domain != blocked {
			for _, out := range n.Outputs {
				survives[out] = true
			}
		}
	}
	anchors := func(layer onnx.Node) []int {
		var found []int
		switch {
		case layer.Domain == blocked && strings.HasPrefix(layer.Type, "Reorder"):
			return nil // put in by the runtime
		case layer.Domain == blocked:
			if i, ok := producer[strings.TrimSuffix(layer.Name, "_nchwc")]; ok {
				found = append(found, i)
			}
		default:
			for _, out := range layer.Outputs {
				if i, ok := producer[out]; ok && !slices.Contains(found, i) {
					found = append(found, i)
				}
			}
		}
		if i, ok := named[layer.Name]; ok && len(found) == 0 {
			found = append(found, i)
		}
		if len(found) != 1 {
			return found
		}
		sum := layer.Domain == blocked && len(layer.Inputs) == 4
		for {
			n := candidate.List[found[0]]
			if len(n.Outputs) != 1 || len(consumers[n.Outputs[0]]) != 1 {
				return found
			}
			next := consumers[n.Outputs[0]][0]
			c := candidate.List[next]
			switch {
			case survives[c.Name] && layer.Domain != blocked:
				return found
			case integer(layer.Operator) && c.Type == "QuantizeLinear" && n.Type != "QuantizeLinear":
			case sum && (c.Type == "Add" || c.Type == "Sum"):
				sum = false
			case layer.Domain == blocked && layer.Type == "Conv" && absorbed[c.Type] && !survives[c.Name]:
			default:
				return found
			}
			found[0] = next
		}
	}
	border := map[string]bool{}
	for _, n := range plan.List {
		for _, i := range anchors(n) {
			for _, out := range candidate.List[i].Outputs {
				border[out] = true
			}
		}
	}
	return func(layer onnx.Node) []string {
		found := map[int]bool{}
		todo := anchors(layer)
		for len(todo) > 0 {
			i := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			if found[i] {
				continue
			}
			found[i] = true
			for _, in := range candidate.List[i].Inputs {
				if from, ok := producer[in]; ok && runs[from] && !border[in] {
					todo = append(todo, from)
				}
			}
		}
		var names []string
		for _, i := range slices.Sorted(maps.Keys(found)) {
			n := candidate.List[i]
			if n.Name == "" {
				n.Name = n.Operator.String() + " " + strings.Join(n.Outputs, ",")
			}
			names = append(names, n.Name)
		}
		return names
	}
}
