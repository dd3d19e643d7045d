//go:build tensorrt && cgo && gpu

package trt_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
)

// A writer for the small ONNX models the tests need: the wire format of the few
// protobuf messages involved, so that no model has to be committed or downloaded.

type message []byte

func (m *message) varint(v uint64) { *m = binary.AppendUvarint(*m, v) }
func (m *message) int(field int, v int64) {
	m.varint(uint64(field) << 3)
	m.varint(uint64(v))
}
func (m *message) bytes(field int, b []byte) {
	m.varint(uint64(field)<<3 | 2)
	m.varint(uint64(len(b)))
	*m = append(*m, b...)
}
func (m *message) string(field int, s string) { m.bytes(field, []byte(s)) }

type attribute struct {
	name string
	ints []int64 // one value with single set is INT, else INTS
	one  bool
}

func ints(name string, v ...int64) attribute { return attribute{name: name, ints: v} }
func integer(name string, v int64) attribute {
	return attribute{name: name, ints: []int64{v}, one: true}
}

type graph struct {
	nodes, initializers, inputs, outputs []message
	domains                              map[string]bool
}

func (g *graph) node(name, op, domain string, in, out []string, attrs ...attribute) {
	var n message
	for _, s := range in {
		n.string(1, s)
	}
	for _, s := range out {
		n.string(2, s)
	}
	n.string(3, name)
	n.string(4, op)
	for _, a := range attrs {
		var m message
		m.string(1, a.name)
		if a.one {
			m.int(3, a.ints[0])
			m.int(20, 2)
		} else {
			for _, v := range a.ints {
				m.int(8, v)
			}
			m.int(20, 7)
		}
		n.bytes(5, m)
	}
	if domain != "" {
		n.string(7, domain)
		if g.domains == nil {
			g.domains = map[string]bool{}
		}
		g.domains[domain] = true
	}
	g.nodes = append(g.nodes, n)
}

func (g *graph) weight(name string, v []float32, shape ...int64) {
	raw := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(x))
	}
	g.tensor(name, 1, raw, shape)
}

func (g *graph) tensor(name string, dtype int64, raw []byte, shape []int64) {
	var t message
	for _, d := range shape {
		t.int(1, d)
	}
	t.int(2, dtype)
	t.string(8, name)
	t.bytes(9, raw)
	g.initializers = append(g.initializers, t)
}

// value describes an input or output; -1 is a dimension named "batch".
func value(name string, shape []int64) message {
	var dims message
	for _, d := range shape {
		var dim message
		if d < 0 {
			dim.string(2, "batch")
		} else {
			dim.int(1, d)
		}
		dims.bytes(1, dim)
	}
	var tensor, typ, v message
	tensor.int(1, 1)
	tensor.bytes(2, dims)
	typ.bytes(1, tensor)
	v.string(1, name)
	v.bytes(2, typ)
	return v
}

func (g *graph) input(name string, shape ...int64) { g.inputs = append(g.inputs, value(name, shape)) }
func (g *graph) output(name string, shape ...int64) {
	g.outputs = append(g.outputs, value(name, shape))
}

func (g *graph) model() []byte {
	var gm, m message
	for _, n := range g.nodes {
		gm.bytes(1, n)
	}
	gm.string(2, "test")
	for _, t := range g.initializers {
		gm.bytes(5, t)
	}
	for _, v := range g.inputs {
		gm.bytes(11, v)
	}
	for _, v := range g.outputs {
		gm.bytes(12, v)
	}
	m.int(1, 8)
	m.string(2, "trt tests")
	m.bytes(7, gm)
	opset := func(domain string, version int64) {
		var o message
		o.string(1, domain)
		o.int(2, version)
		m.bytes(8, o)
	}
	opset("", 17)
	for d := range g.domains {
		opset(d, 1)
	}
	return m
}

// convNet is a small residual network over 3x32x32 pictures, with what the tests
// compare against: conv+relu, conv+relu, skip connection, global average, 10 logits.
type convNet struct {
	w1, b1, w2, b2, w3, b3 []float32
	channels               int64
}

func newConvNet(channels int64, seed uint64) *convNet {
	r := rand.New(rand.NewPCG(seed, 1))
	fill := func(n int64, scale float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64() * scale)
		}
		return v
	}
	c := channels
	return &convNet{
		channels: c,
		w1:       fill(c*3*9, math.Sqrt(2.0/27)), b1: fill(c, 0.1),
		w2: fill(c*c*9, math.Sqrt(2.0/float64(9*c))), b2: fill(c, 0.1),
		w3: fill(10*c, 1/math.Sqrt(float64(c))), b3: fill(10, 0.1),
	}
}

func (n *convNet) model() []byte { return n.graph(false).model() }

// quantized is the same network with Q/DQ nodes around the first two convolutions.
func (n *convNet) quantized() []byte { return n.graph(true).model() }

func (n *convNet) graph(qdq bool) *graph {
	g := &graph{}
	c := n.channels
	g.input("image", -1, 3, 32, 32)
	g.weight("w1", n.w1, c, 3, 3, 3)
	g.weight("b1", n.b1, c)
	g.weight("w2", n.w2, c, c, 3, 3)
	g.weight("b2", n.b2, c)
	g.weight("w3", n.w3, 10, c)
	g.weight("b3", n.b3, 10)
	fake := func(tensor string, scale float32) string { return tensor }
	if qdq {
		g.tensor("zero", 3, []byte{0}, nil)
		fake = func(tensor string, scale float32) string {
			g.weight(tensor+"_scale", []float32{scale})
			g.node(tensor+"/q", "QuantizeLinear", "", []string{tensor, tensor + "_scale", "zero"}, []string{tensor + "_q"})
			g.node(tensor+"/dq", "DequantizeLinear", "", []string{tensor + "_q", tensor + "_scale", "zero"}, []string{tensor + "_dq"})
			return tensor + "_dq"
		}
	}
	pads := ints("pads", 1, 1, 1, 1)
	kernel := ints("kernel_shape", 3, 3)
	g.node("conv1", "Conv", "", []string{fake("image", 1.0/127), fake("w1", 1.0/127), "b1"}, []string{"c1"}, kernel, pads)
	g.node("relu1", "Relu", "", []string{"c1"}, []string{"r1"})
	g.node("conv2", "Conv", "", []string{fake("r1", 4.0/127), fake("w2", 1.0/127), "b2"}, []string{"c2"}, kernel, pads)
	g.node("add", "Add", "", []string{"c2", "r1"}, []string{"a"})
	g.node("relu2", "Relu", "", []string{"a"}, []string{"r2"})
	g.node("pool", "GlobalAveragePool", "", []string{"r2"}, []string{"p"})
	g.node("flatten", "Flatten", "", []string{"p"}, []string{"f"})
	g.node("head", "Gemm", "", []string{"f", "w3", "b3"}, []string{"logits"}, integer("transB", 1))
	g.output("logits", -1, 10)
	return g
}

// logits computes one picture in float64.
func (n *convNet) logits(image []float32) []float64 {
	c := int(n.channels)
	conv := func(in []float64, cin int, w, b []float32) []float64 {
		out := make([]float64, c*32*32)
		for o := range c {
			for y := range 32 {
				for x := range 32 {
					s := float64(b[o])
					for i := range cin {
						for dy := -1; dy <= 1; dy++ {
							for dx := -1; dx <= 1; dx++ {
								if yy, xx := y+dy, x+dx; yy >= 0 && yy < 32 && xx >= 0 && xx < 32 {
									s += in[(i*32+yy)*32+xx] * float64(w[((o*cin+i)*3+dy+1)*3+dx+1])
								}
							}
						}
					}
					out[(o*32+y)*32+x] = s
				}
			}
		}
		return out
	}
	in := make([]float64, len(image))
	for i, v := range image {
		in[i] = float64(v)
	}
	r1 := conv(in, 3, n.w1, n.b1)
	for i := range r1 {
		r1[i] = max(r1[i], 0)
	}
	r2 := conv(r1, c, n.w2, n.b2)
	pooled := make([]float64, c)
	for o := range c {
		for i := range 32 * 32 {
			pooled[o] += max(r2[o*1024+i]+r1[o*1024+i], 0) / 1024
		}
	}
	out := make([]float64, 10)
	for k := range out {
		out[k] = float64(n.b3[k])
		for o := range c {
			out[k] += pooled[o] * float64(n.w3[k*c+o])
		}
	}
	return out
}
