package onnxruntime

import (
	"maps"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/onnx"
)

// absorbed are operators that a convolution in ONNX Runtime's blocked layout
// takes in behind itself.
var absorbed = map[string]bool{"Relu": true, "LeakyRelu": true, "Sigmoid": true, "Tanh": true, "HardSigmoid": true, "Clip": true}

const blocked = "com.microsoft.nchwc"

// lineage finds the candidate's nodes behind a layer of the plan: from the node that
// made the layer's output back to what other layers made. That node is known by the
// output's name, or, where tensors were renamed, by the layer's own.
type lineage struct {
	nodes     []onnx.Node      // of the candidate; what follows holds their indices
	producer  map[string]int   // by output
	named     map[string]int   // by name
	consumers map[string][]int // by input
	runs      []bool           // depends on an input; the rest is folded into weights
	survives  map[string]bool  // names of nodes and outputs that the plan still has
	border    map[string]bool  // outputs that some layer makes
}

func newLineage(candidate, plan *onnx.Graph) *lineage {
	l := &lineage{
		nodes: candidate.List, runs: dependent(candidate), survives: map[string]bool{}, border: map[string]bool{},
		producer: map[string]int{}, named: map[string]int{}, consumers: map[string][]int{},
	}
	for i, n := range l.nodes {
		for _, out := range n.Outputs {
			l.producer[out] = i
		}
		for _, in := range n.Inputs {
			l.consumers[in] = append(l.consumers[in], i)
		}
		l.named[n.Name] = i
	}
	delete(l.producer, "")
	delete(l.named, "")
	for _, n := range plan.List {
		l.survives[n.Name] = n.Name != ""
		if n.Domain != blocked {
			for _, out := range n.Outputs {
				l.survives[out] = true
			}
		}
	}
	for _, n := range plan.List {
		for _, i := range l.anchors(n) {
			for _, out := range l.nodes[i].Outputs {
				l.border[out] = true
			}
		}
	}
	return l
}

// dependent says of each node whether it depends on an input.
func dependent(g *onnx.Graph) []bool {
	depends := map[string]bool{}
	for _, in := range g.Inputs {
		depends[in.Name] = true
	}
	runs := make([]bool, len(g.List))
	for i, n := range g.List {
		runs[i] = slices.ContainsFunc(n.Inputs, func(in string) bool { return depends[in] })
		for _, out := range n.Outputs {
			depends[out] = depends[out] || runs[i]
		}
	}
	return runs
}

// anchors are the nodes whose outputs are those of a layer.
func (l *lineage) anchors(layer onnx.Node) []int {
	var found []int
	switch {
	case layer.Domain == blocked && strings.HasPrefix(layer.Type, "Reorder"):
		return nil // put in by the runtime
	case layer.Domain == blocked:
		if i, ok := l.producer[strings.TrimSuffix(layer.Name, "_nchwc")]; ok {
			found = append(found, i)
		}
	default:
		for _, out := range layer.Outputs {
			if i, ok := l.producer[out]; ok && !slices.Contains(found, i) {
				found = append(found, i)
			}
		}
	}
	if i, ok := l.named[layer.Name]; ok && len(found) == 0 {
		found = append(found, i)
	}
	if len(found) == 1 {
		found[0] = l.furthest(layer, found[0])
	}
	return found
}

// furthest follows a layer's node to the last one behind it that the layer took in.
func (l *lineage) furthest(layer onnx.Node, at int) int {
	sum := layer.Domain == blocked && len(layer.Inputs) == 4
	for {
		n := l.nodes[at]
		if len(n.Outputs) != 1 || len(l.consumers[n.Outputs[0]]) != 1 {
			return at
		}
		next := l.consumers[n.Outputs[0]][0]
		c := l.nodes[next]
		switch {
		case l.survives[c.Name] && layer.Domain != blocked:
			return at
		case integer(layer.Operator) && c.Type == "QuantizeLinear" && n.Type != "QuantizeLinear":
		case sum && (c.Type == "Add" || c.Type == "Sum"):
			sum = false
		case layer.Domain == blocked && layer.Type == "Conv" && absorbed[c.Type] && !l.survives[c.Name]:
		default:
			return at
		}
		at = next
	}
}

// origins are the names of the nodes that a layer does the work of, in their order; a
// node without a name is named by its operator and outputs.
func (l *lineage) origins(layer onnx.Node) []string {
	found := map[int]bool{}
	todo := l.anchors(layer)
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if found[i] {
			continue
		}
		found[i] = true
		for _, in := range l.nodes[i].Inputs {
			if from, ok := l.producer[in]; ok && l.runs[from] && !l.border[in] {
				todo = append(todo, from)
			}
		}
	}
	var names []string
	for _, i := range slices.Sorted(maps.Keys(found)) {
		n := l.nodes[i]
		if n.Name == "" {
			n.Name = n.Operator.String() + " " + strings.Join(n.Outputs, ",")
		}
		names = append(names, n.Name)
	}
	return names
}
