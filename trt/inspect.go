package trt

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// Layer is a layer of an engine, after fusion.
type Layer struct {
	Name string
	Type string // the kind of kernel, such as "gemm" or "CaskConvolution"
	// Operation is what the layer computes where the inspector says it, such as
	// "Convolution"; else empty.
	Operation string
	// Precision is what the layer computes in: the type of its weights; where the
	// inspector names none, that of the first input of a convolution or matrix
	// product, else that of the first output.
	Precision string // "fp32", "fp16", "int8", ...; empty when the inspector does not say
	Inputs    []LayerTensor
	Outputs   []LayerTensor
	Tactic    string   // the kernel chosen; may be empty
	Origin    []string // the ONNX nodes the layer does the work of
}

// LayerTensor is an input or output of a layer.
type LayerTensor struct {
	Name      string
	Shape     Shape
	Precision string
	Format    string // as the inspector writes it
}

// Fused reports whether the layer does the work of several ONNX nodes.
func (l Layer) Fused() bool { return len(l.Origin) > 1 }

// Quantizable reports whether INT8 kernels exist for what the layer does:
// convolutions and matrix products.
func (l Layer) Quantizable() bool {
	return quantizable.MatchString(l.Operation+" "+l.Type) || productTactic.MatchString(l.Tactic)
}

var (
	quantizable = regexp.MustCompile(`(?i)conv|gemm|matrix_?multiply|matmul|fully_?connected|mha`)
	// A product fused with what follows has the type "fusion"; its kernel shows it.
	productTactic = regexp.MustCompile(`_gemm_|_fprop_`)
)

// Quantized reports whether the layer computes in 8 bits or fewer.
func (l Layer) Quantized() bool {
	return eightBits(l.Precision) || l.Precision == "int4" || l.Precision == "fp4"
}

func eightBits(precision string) bool { return precision == "int8" || precision == "fp8" }

// ParseLayers reads the engine inspector's JSON (LayerInformationFormat::kJSON).
// Plans built by this package carry the detail it needs; of others only names may
// be known.
func ParseLayers(inspector []byte) ([]Layer, error) {
	var doc struct{ Layers []json.RawMessage }
	if err := json.Unmarshal(inspector, &doc); err != nil {
		return nil, fmt.Errorf("tensorrt: read inspector output: %w", err)
	}
	layers := make([]Layer, 0, len(doc.Layers))
	for i, raw := range doc.Layers {
		l, err := parseLayer(raw)
		if err != nil {
			return nil, fmt.Errorf("tensorrt: read inspector output: layer %d: %w", i, err)
		}
		layers = append(layers, l)
	}
	return layers, nil
}

type jsonTensor struct {
	Name       string
	Dimensions []int64
	Format     string `json:"Format/Datatype"`
	Datatype   string
}

func parseLayer(raw json.RawMessage) (Layer, error) {
	var name string
	if json.Unmarshal(raw, &name) == nil { // names only
		return Layer{Name: name, Origin: originOf("", name)}, nil
	}
	var j struct {
		Name          string
		LayerType     string
		ParameterType string
		Inputs        []jsonTensor
		Outputs       []jsonTensor
		Weights       struct{ Type string }
		TacticName    string
		TacticValue   json.RawMessage
		Metadata      string
	}
	if err := json.Unmarshal(raw, &j); err != nil {
		return Layer{}, err
	}
	l := Layer{
		Name: j.Name, Type: j.LayerType, Operation: j.ParameterType,
		Inputs: layerTensors(j.Inputs), Outputs: layerTensors(j.Outputs),
		Tactic: j.TacticName, Origin: originOf(j.Metadata, j.Name),
	}
	if l.Tactic == "" {
		l.Tactic = strings.Trim(string(j.TacticValue), `"`)
	}
	if l.Type != "Constant" { // its values are listed as they were, not as the engine keeps them
		l.Precision = precisionOf(j.Weights.Type)
	}
	if l.Precision == "" && l.Quantizable() && len(l.Inputs) > 0 {
		l.Precision = l.Inputs[0].Precision
	}
	if l.Precision == "" && len(l.Outputs) > 0 {
		l.Precision = l.Outputs[0].Precision
	}
	return l, nil
}

func layerTensors(ts []jsonTensor) []LayerTensor {
	out := make([]LayerTensor, len(ts))
	for i, t := range ts {
		format := t.Format
		if t.Datatype != "" {
			format = strings.TrimSpace(t.Datatype + " " + format)
		}
		out[i] = LayerTensor{Name: t.Name, Shape: t.Dimensions, Format: format, Precision: precisionOf(format)}
	}
	return out
}

var precisions = []struct {
	match *regexp.Regexp
	name  string
}{
	{regexp.MustCompile(`(?i)\b(bf16|bfloat16)\b`), "bf16"},
	{regexp.MustCompile(`(?i)\b(fp16|half|float16)\b`), "fp16"},
	{regexp.MustCompile(`(?i)\bfp8\b`), "fp8"},
	{regexp.MustCompile(`(?i)\bfp4\b`), "fp4"},
	{regexp.MustCompile(`(?i)\b(fp32|float|float32)\b`), "fp32"},
	{regexp.MustCompile(`(?i)\bint8\b`), "int8"},
	{regexp.MustCompile(`(?i)\bint4\b`), "int4"},
	{regexp.MustCompile(`(?i)\bint32\b`), "int32"},
	{regexp.MustCompile(`(?i)\bint64\b`), "int64"},
	{regexp.MustCompile(`(?i)\buint8\b`), "uint8"},
	{regexp.MustCompile(`(?i)\bbool\b`), "bool"},
}

func precisionOf(text string) string {
	for _, p := range precisions {
		if p.match.MatchString(text) {
			return p.name
		}
	}
	return ""
}

// originOf finds the ONNX nodes: in the metadata the parser gave each layer, or in
// a name that joins them with " + ".
func originOf(metadata, name string) []string {
	var nodes []string
	found := map[string]bool{}
	add := func(n string) {
		if n = strings.TrimSpace(n); n != "" && !found[n] {
			found[n] = true
			nodes = append(nodes, n)
		}
	}
	// Entries read "[ONNX Layer: name]", with or without a control character between
	// them; names may hold brackets.
	const mark = "[ONNX Layer: "
	for i, part := range strings.Split(metadata, mark) {
		if i > 0 {
			add(strings.TrimSuffix(strings.TrimRight(part, "\x1e\x1f \n"), "]"))
		}
	}
	if nodes == nil && !strings.HasPrefix(name, "Reformatting CopyNode") && strings.Contains(name, " + ") {
		for _, n := range strings.Split(name, " + ") {
			add(n)
		}
	}
	return nodes
}
