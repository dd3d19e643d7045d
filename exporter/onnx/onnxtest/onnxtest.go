// Package onnxtest writes small ONNX files, so that tests need neither Python
// nor committed models.
package onnxtest

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// The element types of TensorProto.DataType that fixtures use.
const (
	Float   = 1
	Uint8   = 2
	Int8    = 3
	Int32   = 6
	Int64   = 7
	String  = 8
	Bool    = 9
	Float16 = 10
)

// Dim is a dimension: an int or int64 for a size, a string for a symbol, nil
// for one that is not said.
type Dim any

// Value is an input or output. In are the containers around the tensor, the
// outermost first: "sequence", "optional", "map" (of int64 keys).
type Value struct {
	Name string
	Type int
	Dims []Dim
	In   []string
}

// Tensor is an initializer. Data are its raw bytes; External names the file
// they lie in instead.
type Tensor struct {
	Name     string
	Type     int
	Dims     []int64
	Data     []byte
	External string
}

// Node is one node. Attributes are encoded with the functions of this package.
type Node struct {
	Op, Domain, Name string
	Inputs, Outputs  []string
	Attributes       [][]byte
}

// Graph is the graph of a model or of a node's body.
type Graph struct {
	Name            string
	Nodes           []Node
	Inputs, Outputs []Value
	Initializers    []Tensor
}

// Model is a file. Zero IRVersion and Opsets mean 8 and ai.onnx 17.
type Model struct {
	IRVersion int64
	Opsets    map[string]int64
	Graph     Graph
}

func message(b []byte, num protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), body)
}

func text(b []byte, num protowire.Number, s string) []byte { return message(b, num, []byte(s)) }

func number(b []byte, num protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(v))
}

// Bytes encodes the model.
func (m Model) Bytes() []byte {
	if m.IRVersion == 0 {
		m.IRVersion = 8
	}
	if m.Opsets == nil {
		m.Opsets = map[string]int64{"": 17}
	}
	b := number(nil, 1, m.IRVersion)
	b = text(b, 2, "onnxtest")
	b = text(b, 3, "1")
	b = message(b, 7, m.Graph.bytes())
	for _, domain := range sortedKeys(m.Opsets) {
		b = message(b, 8, number(text(nil, 1, domain), 2, m.Opsets[domain]))
	}
	return b
}

func sortedKeys(m map[string]int64) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	for i := range keys {
		for j := i + 1; j < len(keys); j++ {
			if keys[j] < keys[i] {
				keys[i], keys[j] = keys[j], keys[i]
			}
		}
	}
	return keys
}

func (g Graph) bytes() []byte {
	var b []byte
	for _, n := range g.Nodes {
		b = message(b, 1, n.bytes())
	}
	if g.Name == "" {
		g.Name = "graph"
	}
	b = text(b, 2, g.Name)
	for _, t := range g.Initializers {
		b = message(b, 5, t.bytes())
	}
	for _, v := range g.Inputs {
		b = message(b, 11, v.bytes())
	}
	for _, v := range g.Outputs {
		b = message(b, 12, v.bytes())
	}
	return b
}

func (n Node) bytes() []byte {
	var b []byte
	for _, s := range n.Inputs {
		b = text(b, 1, s)
	}
	for _, s := range n.Outputs {
		b = text(b, 2, s)
	}
	b = text(text(b, 3, n.Name), 4, n.Op)
	for _, a := range n.Attributes {
		b = message(b, 5, a)
	}
	return text(b, 7, n.Domain)
}

// Int is an integer attribute.
func Int(name string, v int64) []byte { return number(number(text(nil, 1, name), 3, v), 20, 2) }

// Ints is a list of integers.
func Ints(name string, vs ...int64) []byte {
	b := text(nil, 1, name)
	for _, v := range vs {
		b = number(b, 8, v)
	}
	return number(b, 20, 7)
}

// Body is a graph attribute: the branch of an If, the body of a Loop.
func Body(name string, g Graph) []byte {
	return number(message(text(nil, 1, name), 6, g.bytes()), 20, 5)
}

func (t Tensor) bytes() []byte {
	var b []byte
	for _, d := range t.Dims {
		b = number(b, 1, d)
	}
	b = text(number(b, 2, int64(t.Type)), 8, t.Name)
	if t.External != "" {
		b = message(b, 13, text(text(nil, 1, "location"), 2, t.External))
		return number(b, 14, 1)
	}
	return message(b, 9, t.Data)
}

func (v Value) bytes() []byte {
	var shape []byte
	for _, d := range v.Dims {
		var dim []byte
		switch d := d.(type) {
		case int:
			dim = number(nil, 1, int64(d))
		case int64:
			dim = number(nil, 1, d)
		case string:
			dim = text(nil, 2, d)
		}
		shape = message(shape, 1, dim)
	}
	typ := message(nil, 1, message(number(nil, 1, int64(v.Type)), 2, shape))
	for i := len(v.In) - 1; i >= 0; i-- {
		switch v.In[i] {
		case "sequence":
			typ = message(nil, 4, message(nil, 1, typ))
		case "map":
			typ = message(nil, 5, message(number(nil, 1, Int64), 2, typ))
		case "optional":
			typ = message(nil, 9, message(nil, 1, typ))
		}
	}
	return message(text(nil, 1, v.Name), 2, typ)
}

// Floats are little-endian float32 bytes.
func Floats(values ...float32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// Noise is n float32 values ~N(0, scale²) with a fixed seed.
func Noise(n int, scale float64) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(r.NormFloat64() * scale)
	}
	return Floats(values...)
}

// Write puts the model into a temporary folder of the test.
func Write(t testing.TB, m Model) string {
	t.Helper()
	return WriteBytes(t, m.Bytes())
}

// WriteBytes is Write for bytes that need not be a model.
func WriteBytes(t testing.TB, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Generated is the path of a model that scripts/test_models.py made at set-up. Where
// there has been none the test is skipped, unless PLANCAST_TEST_MODELS says where the
// models are or PLANCAST_REQUIRE_ONNXRUNTIME that they must be there.
func Generated(t testing.TB, name string) string {
	t.Helper()
	folder := os.Getenv("PLANCAST_TEST_MODELS")
	required := folder != "" || os.Getenv("PLANCAST_REQUIRE_ONNXRUNTIME") != ""
	if folder == "" {
		cache := os.Getenv("PLANCAST_CACHE")
		if home, err := os.UserCacheDir(); cache == "" && err == nil {
			cache = filepath.Join(home, "plancast")
		}
		folder = filepath.Join(cache, "testmodels")
	}
	path := filepath.Join(folder, name)
	if _, err := os.Stat(path); err != nil {
		if required {
			t.Fatalf("%v: run make setup", err)
		}
		t.Skipf("%v: run make setup", err)
	}
	return path
}
