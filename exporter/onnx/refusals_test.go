package onnx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
)

func TestExternalData(t *testing.T) {
	external := func(location string) []byte {
		m := onnxtest.Classifier(8, 16, 4)
		m.Graph.Initializers[0].External = location
		return m.Bytes()
	}
	m, err := read1(external("weights/model.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(m.ExternalData, []string{"weights/model.bin"}) || m.TotalWeightBytes() != 4*(8*16+16+16*4) {
		t.Errorf("%v, %d bytes", m.ExternalData, m.TotalWeightBytes())
	}
	if m, err := read1(external("onnx::MatMul_12")); err != nil || len(m.ExternalData) != 1 {
		t.Errorf("a colon in a name: %v", err)
	}
	for location, want := range map[string]string{
		"/etc/passwd":      "absolute",
		"C:/weights":       "absolute",
		"../other/w.bin":   `".."`,
		"a/../../w.bin":    `".."`,
		"..\\w.bin":        "backslash",
		"w.bin\x00.safe":   "zero byte",
		"weights/..":       `".."`,
		"file://etc/hosts": "absolute",
	} {
		if _, err := read1(external(location)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"W1"`) {
			t.Errorf("%q: %v, want an error with %s that names the tensor", location, err, want)
		}
	}
}

// Every proper prefix of a model must be refused, wherever it is cut: that is
// how a file still being copied is distinguished from a whole one.
func TestEveryTruncationIsRefused(t *testing.T) {
	for name, m := range map[string]onnxtest.Model{
		"classifier": onnxtest.Classifier(4, 6, 3), "branches": onnxtest.Branches(), "quantized": onnxtest.Quantized(4, 3), "custom": onnxtest.Custom(),
	} {
		b := m.Bytes()
		for n := range b {
			_, err := read1(b[:n])
			var e *engine.Error
			if !errors.As(err, &e) || e.Kind != engine.KindInvalidModel {
				t.Fatalf("%s cut to %d of %d bytes: %v", name, n, len(b), err)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	whole := onnxtest.Elementwise("Relu", onnxtest.Float, 4).Bytes()
	deep := onnxtest.Graph{Outputs: []onnxtest.Value{{Name: "y", Type: 1}}}
	for range maxDepth + 1 {
		deep = onnxtest.Graph{Nodes: []onnxtest.Node{{Op: "If", Attributes: [][]byte{onnxtest.Body("then_branch", deep)}}}, Outputs: deep.Outputs}
	}
	lying := onnxtest.Classifier(8, 16, 4)
	lying.Graph.Initializers[0].Dims = []int64{1 << 40, 1 << 40}
	short := onnxtest.Classifier(8, 16, 4)
	short.Graph.Initializers[1].Data = short.Graph.Initializers[1].Data[:12]
	unnamed := onnxtest.Elementwise("", onnxtest.Float, 4)
	noOutput := onnxtest.Elementwise("Relu", onnxtest.Float, 4)
	noOutput.Graph.Outputs = nil
	foreign := onnxtest.Custom()
	foreign.Opsets = nil

	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":                             {nil, "the file is empty"},
		"zero bytes":                        {make([]byte, 100), "byte 0: model: not a field"},
		"text":                              {[]byte("<plain>not a model</plain>"), "byte 0: "},
		"a Git LFS pointer":                 {[]byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"), "the file is a Git LFS pointer, not an ONNX model: run git lfs pull"},
		"an error page":                     {[]byte("<!DOCTYPE html>\n<html><title>403</title></html>"), "the file is an HTML page"},
		"a second graph":                    {append(bytes.Clone(whole), whole...), "a second field"},
		"graphs nested too deep":            {onnxtest.Model{Graph: deep}.Bytes(), "nested more than 32 deep"},
		"an implausibly large tensor":       {lying.Bytes(), `tensor "W1" of dimensions`},
		"a tensor with too little data":     {short.Bytes(), `tensor "b1" of float32[16] has 12 bytes of data instead of 64`},
		"a node without operator":           {unnamed.Bytes(), "has no operator"},
		"no outputs":                        {noOutput.Bytes(), "no outputs"},
		"a domain that is not imported":     {foreign.Bytes(), `domain "com.example"`},
		"a length beyond the file":          {protowire.AppendVarint([]byte{0x08, 8, 0x3a}, 1<<40), "the file is truncated or damaged"},
		"a length beyond everything":        {protowire.AppendVarint([]byte{0x08, 8, 0x3a}, 1<<63), "the file is truncated or damaged"},
		"a number without end":              {append([]byte{0x08}, bytes.Repeat([]byte{0xff}, 20)...), "byte 1: model: not a number"},
		"groups, which ONNX does not have":  {[]byte{0x3b}, "wire type 3"},
		"zeros after the end: preallocated": {append(bytes.Clone(whole), make([]byte, 64)...), "not a field"},
	} {
		_, err := read1(c.data)
		var e *engine.Error
		if !errors.As(err, &e) || e.Kind != engine.KindInvalidModel || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an invalid model with %q", name, err, c.want)
		}
	}
}

// A reader that joins what appears twice, or cuts what is too long, would see
// external data where another one sees none.
func TestWhatReadersDisagreeOnIsRefused(t *testing.T) {
	field := func(num protowire.Number, body []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), body)
	}
	number := func(num protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
	}
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	located := field(13, join(field(1, []byte("location")), field(2, []byte("/etc/passwd"))))
	inside := join(number(1, 4), number(2, 1), field(8, []byte("w")), field(9, make([]byte, 16)))
	// a model with a node that has the attribute, and what else a model may have
	model := func(attribute []byte, more ...[]byte) []byte {
		node := join(field(2, []byte("y")), field(4, []byte("Constant")), field(5, attribute))
		graph := join(field(1, node), field(12, field(1, []byte("y"))))
		return join(number(1, 8), field(7, graph), field(8, number(2, 17)), join(more...))
	}
	value := func(tensor []byte) []byte { return join(field(1, []byte("value")), field(5, tensor)) }
	long := func(b []byte) []byte { return append([]byte{b[0] | 0x80, 0x80, 0}, b[1:]...) } // the tag in three bytes

	if _, err := read1(model(value(inside))); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"a tensor given twice":                         {model(join(value(join(inside, located)), field(5, number(14, 1)))), "external data"},
		"a tensor given twice, harmless in itself":     {model(join(value(inside), field(5, inside))), "a second tensor"},
		"external data that are said to be inside":     {model(value(join(inside, located))), `external data "/etc/passwd"`},
		"a place beyond 32 bits":                       {model(value(join(inside, number(14, 1<<32+1)))), "does not fit in 32 bits"},
		"an element type beyond 32 bits":               {model(value(join(number(2, 1<<32+1)))), "does not fit in 32 bits"},
		"an overlong tag":                              {model(value(join(inside, long(located)))), "a number in more bytes than it takes"},
		"a tag beyond 32 bits":                         {model(value(join(inside, protowire.AppendVarint(nil, 1<<35|13<<3|2), field(1, nil)))), "more than 29 bits"},
		"a default attribute of a function":            {model(value(inside), field(25, field(11, value(join(inside, located))))), "external data"},
		"a node of a function":                         {model(value(inside), field(25, field(7, join(field(4, []byte("Constant")), field(5, value(join(inside, located))))))), "external data"},
		"a graph that is for training":                 {model(value(inside), field(20, field(1, field(5, join(inside, located))))), "external data"},
		"the indices of a sparse tensor":               {model(join(field(1, []byte("value")), field(22, join(field(1, inside), field(2, join(inside, located)))))), "external data"},
		"a second location":                            {model(value(join(inside, field(13, join(field(1, []byte("location")), field(2, []byte("w.bin")))), located))), "a second location"},
		"a second value of one entry of external data": {model(value(join(inside, field(13, join(field(1, []byte("location")), field(2, []byte("w.bin")), field(2, []byte("/etc/passwd"))))))), "a second"},
	} {
		_, err := read1(c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) || engine.AsError(err).Kind != engine.KindInvalidModel {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestStructuresCountAsMuchAsNames(t *testing.T) {
	m := onnxtest.Classifier(2, 2, 2)
	for i := range 200_000 {
		m.Graph.Inputs = append(m.Graph.Inputs, onnxtest.Value{Name: fmt.Sprint(i), Type: onnxtest.Float, Dims: []onnxtest.Dim{1}})
	}
	if _, err := read1(m.Bytes()); err == nil || !strings.Contains(err.Error(), "take more than 16 MiB") {
		t.Errorf("200,000 inputs: %v", err)
	}
}

// sparse is a file with a hole: a model whose weights nobody could hold.
type sparse struct {
	head, tail []byte
	hole       int64
}

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		switch at := off + int64(i); {
		case at < int64(len(s.head)):
			p[i] = s.head[at]
		case at < int64(len(s.head))+s.hole:
			p[i] = 0
		default:
			p[i] = s.tail[at-int64(len(s.head))-s.hole]
		}
	}
	return len(p), nil
}

func TestWeightsAreSteppedOver(t *testing.T) {
	const hole = 8 << 30
	tensor := []byte{0x08}
	tensor = binary.AppendUvarint(tensor, hole) // dims
	tensor = append(tensor, 0x10, onnxtest.Uint8, 0x42, 1, 'W', 0x4a)
	tensor = binary.AppendUvarint(tensor, hole) // raw_data
	node := append([]byte{0x22, 4}, "Relu"...)
	output := []byte{0x0a, 1, 'y'}
	tail := append([]byte{0x0a, byte(len(node))}, node...)
	tail = append(append(tail, 0x62, byte(len(output))), output...)
	graph := binary.AppendUvarint([]byte{0x2a}, uint64(len(tensor))+hole)
	graph = append(graph, tensor...)
	head := binary.AppendUvarint([]byte{0x08, 8, 0x3a}, uint64(len(graph)+len(tail))+hole)
	head = append(head, graph...)
	tail = append(tail, 0x42, 2, 0x10, 17) // opset_import
	f := sparse{head, tail, hole}

	allocated := testing.AllocsPerRun(1, func() {
		m, err := Read(f, int64(len(head)+len(tail))+hole)
		if err != nil {
			t.Fatal(err)
		}
		if m.WeightBytes[engine.Uint8] != hole {
			t.Errorf("weights %v", m.WeightBytes)
		}
	})
	if allocated > 100 {
		t.Errorf("%v allocations for one tensor", allocated)
	}
}
