// Package onnx reads what plancast must know of an ONNX file before a runtime
// sees it: whether it is whole, its inputs and outputs, its operators, what its
// weights are made of, and the precision it was shipped in.
//
// It streams: weights are stepped over, memory stays bounded whatever the file
// holds, and a damaged, truncated or hostile file is refused with the byte at
// which it stops making sense. It does not judge the graph; runtimes do.
package onnx

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/filekind"
)

// Model is the summary of an ONNX file.
type Model struct {
	IRVersion int64
	Opsets    map[string]int64 // version by domain; "" is ai.onnx
	Producer  string           // "pytorch 2.4.0"
	GraphName string

	Inputs  []engine.TensorInfo // without initializers
	Outputs []engine.TensorInfo

	// Nodes counts all nodes, those of subgraphs (If, Loop, Scan) included and
	// those of functions once each.
	Nodes     int
	Operators map[Operator]int

	// WeightBytes is the size of all initializers and constants by element
	// type, in NumPy's names ("int4" and the like for types without one).
	// External data count as well.
	WeightBytes map[engine.DType]int64

	// ExternalData names the files, relative to the model's folder, in which
	// weights lie; sorted, each once.
	ExternalData []string

	// Precision is what the candidate was shipped as; see precision.
	Precision engine.Precision
	// Quantized reports whether it carries its own quantization of activations.
	Quantized bool
}

// Operator is an operator's full name.
type Operator struct {
	Domain string // "" is ai.onnx
	Type   string
}

// String reads "Conv" or "com.microsoft:FusedConv".
func (o Operator) String() string {
	if o.Domain == "" {
		return o.Type
	}
	return o.Domain + ":" + o.Type
}

// TotalWeightBytes is the size of all weights.
func (m *Model) TotalWeightBytes() int64 {
	var n int64
	for _, b := range m.WeightBytes {
		n += b
	}
	return n
}

// Node is one node of a graph.
type Node struct {
	Name string
	Operator
	Inputs, Outputs []string
}

// Graph is a Model with its nodes: for describing layers.
type Graph struct {
	Model
	// List holds every node, subgraphs' included, in the file's order.
	List []Node
	// Types is the element type of each named tensor, as far as the file says.
	Types map[string]engine.DType
}

// ReadFile reads the summary of the model at name. Refusals are *engine.Error
// of KindInvalidModel.
func ReadFile(name string) (*Model, error) {
	g, err := readFile(name, false)
	if err != nil {
		return nil, err
	}
	return &g.Model, nil
}

// ReadGraphFile reads the model at name with its nodes.
func ReadGraphFile(name string) (*Graph, error) { return readFile(name, true) }

// theFile stands for a file of no name.
const theFile = "the file"

func readFile(name string, nodes bool) (*Graph, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, engine.Errorf(engine.KindInvalidModel, "read ONNX model", name, "it is not a file")
	}
	g, err := read(f, info.Size(), nodes)
	var e *engine.Error
	if errors.As(err, &e) {
		e.Subject = name
		e.Message = strings.Replace(e.Message, theFile, filepath.Base(name), 1)
	}
	return g, err
}

// Read reads the summary of a model of size bytes.
func Read(r io.ReaderAt, size int64) (*Model, error) {
	g, err := read(r, size, false)
	if err != nil {
		return nil, err
	}
	return &g.Model, nil
}

func read(r io.ReaderAt, size int64, nodes bool) (*Graph, error) {
	if what, hint := filekind.Of(r, size); what != "" {
		e := engine.Errorf(engine.KindInvalidModel, "read ONNX model", "", "%s is %s", theFile, what)
		if size > 0 {
			e.Message += ", not an ONNX model"
		}
		e.Hint = hint
		return nil, e
	}
	limit := int64(maxSummary)
	if nodes {
		limit = maxGraph
	}
	d := &decoder{
		wire:         newWire(r, size, limit),
		keepNodes:    nodes,
		initializers: map[string][]int64{},
		tables:       tables{input: map[string]string{}},
		external:     map[string]bool{},
		domains:      map[string]int64{},
		floats:       map[engine.DType]float64{},
		g: &Graph{
			Model: Model{
				Opsets:      map[string]int64{},
				Operators:   map[Operator]int{},
				WeightBytes: map[engine.DType]int64{},
			},
			Types: map[string]engine.DType{},
		},
	}
	if err := d.model(); err != nil {
		return nil, err
	}
	return d.g, nil
}
