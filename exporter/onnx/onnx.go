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
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plancast/plancast/exporter/engine"
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
	// Quantized tells whether it carries its own quantization of activations.
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
	if size == 0 {
		return nil, errorf(0, "the file is empty")
	}
	d := &decoder{
		wire:         newWire(r, size),
		keepNodes:    nodes,
		initializers: map[string]bool{},
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

// decoder turns the wire into a Graph.
type decoder struct {
	*wire
	g            *Graph
	keepNodes    bool
	initializers map[string]bool
	external     map[string]bool
	domains      map[string]int64 // used by nodes, with the offset of the first
	floats       map[engine.DType]float64
}

// Field numbers of onnx.proto, named as there.
func (d *decoder) model() error {
	var graphs int
	var producer, producerVersion string
	functions := map[string]bool{}
	err := d.fields(d.size, "model", func(f field) (err error) {
		switch f.num {
		case 1: // ir_version
			if f.typ != protowire.VarintType {
				return errorf(f.at, "model: ir_version is not a number: this is not an ONNX file")
			}
			d.g.IRVersion = int64(f.value)
		case 2: // producer_name
			producer, err = d.text(f, "producer_name")
		case 3: // producer_version
			producerVersion, err = d.text(f, "producer_version")
		case 7: // graph
			if graphs++; graphs > 1 {
				return errorf(f.at, "model: a second graph")
			}
			err = d.graph(f, 0)
		case 8: // opset_import
			err = d.opset(f)
		case 25: // functions
			err = d.function(f, functions)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case d.g.IRVersion <= 0:
		return errorf(d.size, "model: no ir_version: this is not an ONNX file")
	case graphs == 0:
		return errorf(d.size, "model: the file ends without a graph: it is truncated, or not an ONNX file")
	case len(d.g.Opsets) == 0:
		return errorf(d.size, "model: the file ends without an opset_import: it is truncated")
	}
	for domain, at := range d.domains {
		if _, ok := d.g.Opsets[domain]; !ok && !functions[domain] {
			return errorf(at, "a node uses domain %q and the file ends without an opset_import for it: it is truncated, or the exporter forgot it", domain)
		}
	}
	d.g.Producer = strings.TrimSpace(producer + " " + producerVersion)
	for name := range d.external {
		d.g.ExternalData = append(d.g.ExternalData, name)
	}
	slices.Sort(d.g.ExternalData)
	d.g.Quantized = quantized(d.g.Operators)
	d.g.Precision = d.precision()
	return nil
}

func (d *decoder) opset(f field) error {
	var domain string
	var version int64
	err := d.message(f, "opset_import", func(f field) (err error) {
		switch f.num {
		case 1:
			domain, err = d.text(f, "opset_import domain")
		case 2:
			version = int64(f.value)
		}
		return err
	})
	d.g.Opsets[canonical(domain)] = version
	return err
}

// canonical folds the two spellings of the default domain.
func canonical(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

func (d *decoder) function(f field, functions map[string]bool) error {
	return d.message(f, "function", func(f field) error {
		switch f.num {
		case 7: // node
			return d.node(f, 1)
		case 10: // domain
			domain, err := d.text(f, "function domain")
			functions[canonical(domain)] = true
			return err
		case 9: // opset_import: the function's own
			var domain string
			err := d.message(f, "function opset_import", func(f field) (err error) {
				if f.num == 1 {
					domain, err = d.text(f, "function opset_import domain")
				}
				return err
			})
			functions[canonical(domain)] = true
			return err
		}
		return nil
	})
}

func (d *decoder) graph(f field, depth int) error {
	if depth > maxDepth {
		return errorf(f.at, "graphs are nested more than %d deep", maxDepth)
	}
	var inputs []engine.TensorInfo
	err := d.message(f, "graph", func(f field) error {
		switch f.num {
		case 1: // node
			return d.node(f, depth)
		case 2: // name
			name, err := d.text(f, "graph name")
			if depth == 0 {
				d.g.GraphName = name
			}
			return err
		case 5: // initializer
			t, err := d.tensor(f)
			if err == nil && depth == 0 {
				d.initializers[t.name] = true
			}
			return err
		case 15: // sparse_initializer
			return d.message(f, "sparse initializer", func(f field) error {
				if f.num != 1 && f.num != 2 { // values, indices
					return nil
				}
				t, err := d.tensor(f)
				if err == nil && depth == 0 && f.num == 1 {
					d.initializers[t.name] = true
				}
				return err
			})
		case 11, 12, 13: // input, output, value_info
			info, err := d.valueInfo(f)
			if err != nil {
				return err
			}
			if d.keepNodes && info.DType != "" {
				d.g.Types[info.Name] = info.DType
			}
			if depth > 0 || f.num == 13 {
				return nil
			}
			if len(inputs)+len(d.g.Outputs) > 1<<20 {
				return errorf(f.at, "graph: more than a million inputs")
			}
			if f.num == 11 {
				inputs = append(inputs, info)
			} else {
				d.g.Outputs = append(d.g.Outputs, info)
			}
		}
		return nil
	})
	if err != nil || depth > 0 {
		return err
	}
	for _, in := range inputs {
		// Before IR version 4 every initializer is listed as an input as well.
		if !d.initializers[in.Name] {
			d.g.Inputs = append(d.g.Inputs, in)
		}
	}
	if len(d.g.Outputs) == 0 {
		return errorf(f.at, "graph: no outputs: a model must compute something")
	}
	return nil
}

func (d *decoder) node(f field, depth int) error {
	var n Node
	var castTo engine.DType
	retained := d.retained
	at := f.at
	err := d.message(f, "node", func(f field) (err error) {
		var s string
		switch f.num {
		case 1, 2: // input, output
			if !d.keepNodes {
				return nil
			}
			if s, err = d.text(f, "node"); f.num == 1 {
				n.Inputs = append(n.Inputs, s)
			} else {
				n.Outputs = append(n.Outputs, s)
			}
		case 3:
			n.Name, err = d.text(f, "node name")
		case 4:
			n.Type, err = d.text(f, "node op_type")
		case 7:
			s, err = d.text(f, "node domain")
			n.Domain = canonical(s)
		case 5:
			var a intAttribute
			if a, err = d.attribute(f, depth); a.name == "to" {
				castTo = dtypeName(a.value)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if n.Type == "Cast" && len(n.Outputs) == 1 && castTo != "" {
		d.g.Types[n.Outputs[0]] = castTo
	}
	if n.Type == "" {
		return errorf(at, "node %q has no operator", n.Name)
	}
	d.g.Nodes++
	if d.g.Operators[n.Operator] == 0 {
		if len(d.g.Operators) > 1<<16 {
			return errorf(at, "more than %d different operators", 1<<16)
		}
		retained += int64(len(n.Type) + len(n.Domain))
	}
	d.g.Operators[n.Operator]++
	if _, ok := d.domains[n.Domain]; !ok {
		d.domains[n.Domain] = at
	}
	if d.keepNodes {
		d.g.List = append(d.g.List, n)
	} else if depth == 0 {
		d.retained = retained // the names were not kept
	}
	return nil
}

type intAttribute struct {
	name  string
	value int64
}

// attribute descends into what an attribute holds; an integer is returned.
func (d *decoder) attribute(f field, depth int) (a intAttribute, err error) {
	err = d.message(f, "attribute", func(f field) (err error) {
		switch f.num {
		case 1: // name
			a.name, err = d.text(f, "attribute name")
		case 3: // i
			a.value = int64(f.value)
		case 5, 10: // t, tensors
			_, err = d.tensor(f)
		case 6, 11: // g, graphs
			err = d.graph(f, depth+1)
		case 22, 23: // sparse_tensor, sparse_tensors
			err = d.message(f, "sparse tensor", func(f field) error {
				if f.num == 1 || f.num == 2 {
					_, err := d.tensor(f)
					return err
				}
				return nil
			})
		}
		return err
	})
	return a, err
}

type tensorHead struct {
	name  string
	dtype int64
	dims  []int64
}

func (d *decoder) tensor(f field) (tensorHead, error) {
	var t tensorHead
	var external bool
	raw := int64(-1)
	var location string
	at := f.at
	err := d.message(f, "tensor", func(f field) (err error) {
		switch f.num {
		case 1:
			t.dims, err = d.ints(f, "tensor dims", t.dims)
		case 2:
			t.dtype = int64(f.value)
		case 8:
			t.name, err = d.text(f, "tensor name")
		case 9:
			if f.typ != protowire.BytesType {
				return errorf(f.at, "tensor raw_data is not bytes")
			}
			raw = f.end - f.start
		case 13: // external_data
			var key, value string
			err = d.message(f, "external_data", func(f field) (err error) {
				switch f.num {
				case 1:
					key, err = d.text(f, "external_data key")
				case 2:
					value, err = d.text(f, "external_data value")
				}
				return err
			})
			if key == "location" {
				location = value
			}
		case 14: // data_location
			external = f.value == 1
		}
		return err
	})
	if err != nil {
		return t, err
	}
	bits := elementBits(t.dtype)
	elements := 1.0
	for _, n := range t.dims {
		if n < 0 {
			return t, errorf(at, "tensor %q has the dimension %d", t.name, n)
		}
		elements *= float64(n)
	}
	bytes := math.Ceil(elements * float64(bits) / 8)
	if bytes > 1<<46 {
		return t, errorf(at, "tensor %q of dimensions %v is too large to be true", t.name, t.dims)
	}
	switch {
	case external:
		if err := checkLocation(location); err != nil {
			return t, errorf(at, "tensor %q: external data %q: %v", t.name, location, err)
		}
		if !d.external[location] {
			if len(d.external) > 1<<16 {
				return t, errorf(at, "more than %d files of external data", 1<<16)
			}
			d.external[location] = true
		}
	case raw >= 0 && bits > 0 && raw != int64(bytes):
		return t, errorf(at, "tensor %q of %s%v has %d bytes of data instead of %d", t.name, dtypeName(t.dtype), t.dims, raw, int64(bytes))
	}
	if bits > 0 {
		name := dtypeName(t.dtype)
		d.g.WeightBytes[name] += int64(bytes)
		d.floats[name] += elements
	}
	if d.keepNodes && t.name != "" {
		d.g.Types[t.name] = dtypeName(t.dtype)
	}
	return t, nil
}

// checkLocation refuses external data outside of the model's folder.
func checkLocation(location string) error {
	switch {
	case location == "":
		return errors.New("it has no location")
	case path.IsAbs(location) || strings.Contains(location, ":"):
		return errors.New("an absolute path: external data must lie beside the model")
	case strings.ContainsAny(location, "\\\x00"):
		return errors.New("a file name must not contain a backslash or a zero byte")
	case slices.Contains(strings.Split(location, "/"), ".."):
		return errors.New("a path with \"..\": external data must lie beside the model")
	}
	return nil
}

func (d *decoder) valueInfo(f field) (engine.TensorInfo, error) {
	var info engine.TensorInfo
	at := f.at
	err := d.message(f, "value", func(f field) (err error) {
		switch f.num {
		case 1:
			info.Name, err = d.text(f, "value name")
		case 2: // type
			err = d.message(f, "type", func(f field) error {
				if f.num != 1 { // anything but tensor_type keeps DType ""
					return nil
				}
				return d.message(f, "tensor type", func(f field) error {
					switch f.num {
					case 1:
						info.DType = dtypeName(int64(f.value))
					case 2:
						return d.message(f, "shape", func(f field) error {
							if f.num != 1 {
								return nil
							}
							if len(info.Dims) >= maxRank {
								return errorf(f.at, "value %q: more than %d dimensions", info.Name, maxRank)
							}
							dim, err := d.dim(f)
							info.Dims = append(info.Dims, dim)
							return err
						})
					}
					return nil
				})
			})
		}
		return err
	})
	if err == nil && info.Name == "" {
		return info, errorf(at, "an input or output without a name")
	}
	return info, err
}

func (d *decoder) dim(f field) (engine.Dim, error) {
	dim := engine.Dim{Size: -1}
	err := d.message(f, "dimension", func(f field) (err error) {
		switch f.num {
		case 1: // dim_value; 0 and negative ones stand for "unknown" in old exporters
			if v := int64(f.value); v > 0 {
				dim.Size = v
			}
		case 2:
			dim.Name, err = d.text(f, "dimension name")
		}
		return err
	})
	if dim.Size >= 0 {
		dim.Name = ""
	}
	return dim, err
}

// quantized tells whether activations are quantized: operators on integers, or
// pairs of QuantizeLinear and DequantizeLinear. Weights alone behind a
// DequantizeLinear save memory and not arithmetic, so they do not count.
func quantized(operators map[Operator]int) bool {
	var q, dq bool
	for op := range operators {
		switch {
		case strings.HasPrefix(op.Type, "QLinear"),
			op.Type == "MatMulInteger", op.Type == "ConvInteger", op.Type == "DynamicQuantizeLinear",
			op.Domain == "com.microsoft" && (op.Type == "DynamicQuantizeMatMul" || op.Type == "MatMulIntegerToFloat" ||
				op.Type == "DynamicQuantizeLSTM" || op.Type == "QAttention" || op.Type == "QGemm"):
			return true
		case op.Type == "QuantizeLinear":
			q = true
		case op.Type == "DequantizeLinear":
			dq = true
		}
	}
	return q && dq
}

// precision is what the candidate was shipped as: int8 when its activations
// are quantized; fp16 when most of its floating-point weights (or, without
// any, its floating-point inputs and outputs) are float16; fp32 otherwise.
func (d *decoder) precision() engine.Precision {
	if d.g.Quantized {
		return engine.INT8
	}
	half, single := d.floats[engine.Float16], d.floats[engine.Float32]+d.floats[engine.Float64]+d.floats[engine.BFloat16]
	if half+single == 0 {
		for _, t := range slices.Concat(d.g.Inputs, d.g.Outputs) {
			switch t.DType {
			case engine.Float16:
				half++
			case engine.Float32, engine.Float64, engine.BFloat16:
				single++
			}
		}
	}
	if half > single {
		return engine.FP16
	}
	return engine.FP32
}

var dtypes = map[int64]engine.DType{
	1: engine.Float32, 2: engine.Uint8, 3: engine.Int8, 4: engine.Uint16, 5: engine.Int16, 6: engine.Int32, 7: engine.Int64,
	8: engine.String, 9: engine.Bool, 10: engine.Float16, 11: engine.Float64, 12: engine.Uint32, 13: engine.Uint64,
	14: "complex64", 15: "complex128", 16: engine.BFloat16,
	17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz",
	21: "uint4", 22: "int4", 23: "float4e2m1", 24: "float8e8m0", 25: "uint2", 26: "int2",
}

func dtypeName(code int64) engine.DType {
	if t, ok := dtypes[code]; ok {
		return t
	}
	return engine.DType(fmt.Sprintf("type%d", code))
}

// elementBits is the size of an element of a TensorProto.DataType, or 0 where
// it has none or is not known.
func elementBits(code int64) int {
	switch code {
	case 14:
		return 64
	case 15:
		return 128
	case 17, 18, 19, 20, 24:
		return 8
	case 21, 22, 23:
		return 4
	case 25, 26:
		return 2
	}
	return 8 * dtypes[code].Size()
}
