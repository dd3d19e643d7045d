package onnx

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plancast/plancast/exporter/engine"
)

// decoder turns the wire into a Graph.
type decoder struct {
	*wire
	g            *Graph
	keepNodes    bool
	initializers map[string][]int64 // dimensions by name
	tables       tables
	external     map[string]bool
	domains      map[string]int64 // used by nodes, with the offset of the first
	floats       map[engine.DType]float64
}

// Field numbers of onnx.proto, named as there.
func (d *decoder) model() error {
	var fields once
	var producer, producerVersion string
	functions := map[string]bool{}
	err := d.fields(d.size, "model", func(f field) (err error) {
		if err := fields.check(f, "model", 1, 2, 3, 7); err != nil {
			return err
		}
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
			err = d.graph(f, 0)
		case 8: // opset_import
			err = d.opset(f)
		case 25: // functions
			err = d.function(f, functions)
		case 20: // training_info: none of it is run, and its weights are read
			err = d.message(f, "training_info", func(f field) error {
				if f.num != 1 && f.num != 2 { // initialization, algorithm
					return nil
				}
				return d.graph(f, 1)
			})
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case d.g.IRVersion <= 0:
		return errorf(d.size, "model: no ir_version: this is not an ONNX file")
	case !fields.has(7):
		return errorf(d.size, "model: the file ends without a graph: it is truncated, or not an ONNX file")
	case len(d.g.Opsets) == 0:
		return errorf(d.size, "model: the file ends without an opset_import: it is truncated")
	}
	for domain, at := range d.domains {
		if _, ok := d.g.Opsets[domain]; !ok && !functions[domain] && !builtIn(domain) {
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
	d.tables.limit(d.g.Inputs, d.initializers)
	return nil
}

// builtIn reports whether runtimes know a domain without its import.
func builtIn(domain string) bool {
	return domain == "com.microsoft" || strings.HasPrefix(domain, "com.microsoft.") || domain == "ai.onnx.ml"
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
	if err == nil && len(d.g.Opsets) >= maxOpsets {
		err = errorf(f.at, "more than %d opset_imports", maxOpsets)
	}
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
		case 11: // attribute_proto: defaults
			_, err := d.attribute(f, 1)
			return err
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
				d.initializers[t.name] = t.dims
				err = d.keep(f, int64(64+8*len(t.dims)))
			}
			return err
		case 15: // sparse_initializer
			t, err := d.sparse(f)
			if err == nil && depth == 0 {
				d.initializers[t.name] = nil
				err = d.keep(f, 64)
			}
			return err
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
			if err := d.keep(f, int64(128+48*len(info.Dims))); err != nil {
				return err
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
		if _, ok := d.initializers[in.Name]; !ok {
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
	var axis int64
	var fields once
	err := d.message(f, "node", func(f field) (err error) {
		if err := fields.check(f, "node", 3, 4, 7); err != nil {
			return err
		}
		var s string
		switch f.num {
		case 1, 2: // input, output
			if err := d.keep(f, 16); err != nil {
				return err
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
			switch a, err = d.attribute(f, depth); a.name {
			case "to":
				castTo = dtypeName(a.value)
			case "axis":
				axis = a.value
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if d.keepNodes && n.Type == "Cast" && len(n.Outputs) == 1 && castTo != "" {
		d.g.Types[n.Outputs[0]] = castTo
	}
	if n.Type == "" {
		return errorf(at, "node %q has no operator", n.Name)
	}
	d.g.Nodes++
	if d.g.Operators[n.Operator] == 0 {
		retained += int64(128 + len(n.Type) + len(n.Domain))
	}
	d.g.Operators[n.Operator]++
	if _, ok := d.domains[n.Domain]; !ok {
		d.domains[n.Domain] = at
	}
	if depth == 0 {
		retained += d.tables.follow(n, axis)
	}
	if d.keepNodes {
		d.g.List = append(d.g.List, n)
		return d.keep(f, 160)
	}
	d.retained = retained // the names were not kept
	return d.keep(f, 0)
}

type intAttribute struct {
	name  string
	value int64
}

// attribute descends into what an attribute holds; an integer is returned.
func (d *decoder) attribute(f field, depth int) (a intAttribute, err error) {
	var fields once
	err = d.message(f, "attribute", func(f field) (err error) {
		if err := fields.check(f, "attribute", 1, 3, 5, 6, 20, 22); err != nil {
			return err
		}
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
			_, err = d.sparse(f)
		}
		return err
	})
	return a, err
}
