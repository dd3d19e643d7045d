package onnxtest

// Classifier is y = Softmax(Relu(x W1 + b) W2) with x float32[N,in], y
// float32[N,classes]: a perceptron with a symbolic batch.
func Classifier(in, hidden, classes int) Model {
	return Model{Graph: Graph{
		Nodes: []Node{
			{Op: "MatMul", Name: "hidden", Inputs: []string{"x", "W1"}, Outputs: []string{"h"}},
			{Op: "Add", Name: "bias", Inputs: []string{"h", "b1"}, Outputs: []string{"hb"}},
			{Op: "Relu", Name: "relu", Inputs: []string{"hb"}, Outputs: []string{"r"}},
			{Op: "MatMul", Name: "logits", Inputs: []string{"r", "W2"}, Outputs: []string{"l"}},
			{Op: "Softmax", Name: "softmax", Inputs: []string{"l"}, Outputs: []string{"y"}, Attributes: [][]byte{Int("axis", -1)}},
		},
		Inputs:  []Value{{Name: "x", Type: Float, Dims: []Dim{"N", in}}},
		Outputs: []Value{{Name: "y", Type: Float, Dims: []Dim{"N", classes}}},
		Initializers: []Tensor{
			{Name: "W1", Type: Float, Dims: []int64{int64(in), int64(hidden)}, Data: Noise(in*hidden, 0.3)},
			{Name: "b1", Type: Float, Dims: []int64{int64(hidden)}, Data: Noise(hidden, 0.1)},
			{Name: "W2", Type: Float, Dims: []int64{int64(hidden), int64(classes)}, Data: Noise(hidden*classes, 0.3)},
		},
	}}
}

// Convolution is y = Relu(Conv(x)) with x float32[1,3,size,size]: a pair that
// runtimes fuse.
func Convolution(size int) Model {
	return Model{Graph: Graph{
		Nodes: []Node{
			{Op: "Conv", Name: "conv", Inputs: []string{"x", "W"}, Outputs: []string{"c"},
				Attributes: [][]byte{Ints("kernel_shape", 3, 3), Ints("pads", 1, 1, 1, 1)}},
			{Op: "Relu", Name: "relu", Inputs: []string{"c"}, Outputs: []string{"y"}},
		},
		Inputs:       []Value{{Name: "x", Type: Float, Dims: []Dim{1, 3, size, size}}},
		Outputs:      []Value{{Name: "y", Type: Float, Dims: []Dim{1, 16, size, size}}},
		Initializers: []Tensor{{Name: "W", Type: Float, Dims: []int64{16, 3, 3, 3}, Data: Noise(16*27, 0.2)}},
	}}
}

// Elementwise is y = op(x), both of one type and shape: Identity, Relu, Neg.
func Elementwise(op string, typ int, dims ...Dim) Model {
	return Model{Graph: Graph{
		Nodes:   []Node{{Op: op, Name: "node", Inputs: []string{"x"}, Outputs: []string{"y"}}},
		Inputs:  []Value{{Name: "x", Type: typ, Dims: dims}},
		Outputs: []Value{{Name: "y", Type: typ, Dims: dims}},
	}}
}

// Quantized is a matrix product between QuantizeLinear and DequantizeLinear:
// what a calibrated INT8 export looks like.
func Quantized(in, out int) Model {
	w := make([]byte, in*out)
	for i := range w {
		w[i] = byte(i*37%251 - 125)
	}
	scale := func(name string, v float32) Tensor { return Tensor{Name: name, Type: Float, Data: Floats(v)} }
	zero := func(name string) Tensor { return Tensor{Name: name, Type: Int8, Data: []byte{0}} }
	return Model{Graph: Graph{
		Nodes: []Node{
			{Op: "QuantizeLinear", Name: "q", Inputs: []string{"x", "sx", "zx"}, Outputs: []string{"xq"}},
			{Op: "DequantizeLinear", Name: "dqx", Inputs: []string{"xq", "sx", "zx"}, Outputs: []string{"xd"}},
			{Op: "DequantizeLinear", Name: "dqw", Inputs: []string{"Wq", "sw", "zw"}, Outputs: []string{"wd"}},
			{Op: "MatMul", Name: "product", Inputs: []string{"xd", "wd"}, Outputs: []string{"m"}},
			{Op: "QuantizeLinear", Name: "qy", Inputs: []string{"m", "sy", "zy"}, Outputs: []string{"yq"}},
			{Op: "DequantizeLinear", Name: "dqy", Inputs: []string{"yq", "sy", "zy"}, Outputs: []string{"y"}},
		},
		Inputs:  []Value{{Name: "x", Type: Float, Dims: []Dim{"N", in}}},
		Outputs: []Value{{Name: "y", Type: Float, Dims: []Dim{"N", out}}},
		Initializers: []Tensor{
			{Name: "Wq", Type: Int8, Dims: []int64{int64(in), int64(out)}, Data: w},
			scale("sx", 0.05), zero("zx"), scale("sw", 0.01), zero("zw"), scale("sy", 0.1), zero("zy"),
		},
	}}
}

// QuantizedBias is a convolution as ONNX Runtime's quantizer writes it: its bias is
// INT32 behind a DequantizeLinear, one scale for each channel.
func QuantizedBias() Model {
	scale := func(name string, v ...float32) Tensor {
		t := Tensor{Name: name, Type: Float, Data: Floats(v...)}
		if len(v) > 1 {
			t.Dims = []int64{int64(len(v))}
		}
		return t
	}
	zero := func(name string) Tensor { return Tensor{Name: name, Type: Int8, Data: []byte{0}} }
	return Model{Graph: Graph{
		Nodes: []Node{
			{Op: "QuantizeLinear", Name: "q", Inputs: []string{"x", "sx", "zx"}, Outputs: []string{"xq"}},
			{Op: "DequantizeLinear", Name: "dqx", Inputs: []string{"xq", "sx", "zx"}, Outputs: []string{"xd"}},
			{Op: "DequantizeLinear", Name: "dqw", Inputs: []string{"Wq", "sw", "zw"}, Outputs: []string{"wd"}, Attributes: [][]byte{Int("axis", 0)}},
			{Op: "DequantizeLinear", Name: "dqb", Inputs: []string{"bq", "sb", "zb"}, Outputs: []string{"bd"}, Attributes: [][]byte{Int("axis", 0)}},
			{Op: "Conv", Name: "conv", Inputs: []string{"xd", "wd", "bd"}, Outputs: []string{"c"}, Attributes: [][]byte{Ints("kernel_shape", 1, 1)}},
			{Op: "QuantizeLinear", Name: "qy", Inputs: []string{"c", "sy", "zy"}, Outputs: []string{"yq"}},
			{Op: "DequantizeLinear", Name: "dqy", Inputs: []string{"yq", "sy", "zy"}, Outputs: []string{"y"}},
		},
		Inputs:  []Value{{Name: "x", Type: Float, Dims: []Dim{"N", 2, 4, 4}}},
		Outputs: []Value{{Name: "y", Type: Float, Dims: []Dim{"N", 2, 4, 4}}},
		Initializers: []Tensor{
			{Name: "Wq", Type: Int8, Dims: []int64{2, 2, 1, 1}, Data: []byte{100, 0xb0, 50, 127}}, {Name: "zw", Type: Int8, Dims: []int64{2}, Data: []byte{0, 0}},
			{Name: "bq", Type: Int32, Dims: []int64{2}, Data: []byte{0xe8, 3, 0, 0, 0x18, 0xfc, 0xff, 0xff}}, // 1000, -1000
			{Name: "zb", Type: Int32, Dims: []int64{2}, Data: make([]byte, 8)},
			scale("sx", 0.05), zero("zx"), scale("sw", 0.01, 0.02), scale("sb", 0.0005, 0.001), scale("sy", 0.05), zero("zy"),
		},
	}}
}

// Custom uses an operator that no runtime has.
func Custom() Model {
	m := Elementwise("Frobnicate", Float, 4)
	m.Graph.Nodes[0].Domain = "com.example"
	m.Opsets = map[string]int64{"": 17, "com.example": 1}
	return m
}

// Unknown uses an operator that ai.onnx does not define.
func Unknown() Model { return Elementwise("Frobnicate", Float, 4) }

// LogOf is y = Log(x): NaN on negative inputs.
func LogOf(n int) Model { return Elementwise("Log", Float, "N", n) }

// Branches is If(c) then Relu(x) else Neg(x), with c bool[] and x float32[4]:
// subgraphs and a scalar input.
func Branches() Model {
	branch := func(op string) Graph {
		return Graph{
			Name:    op,
			Nodes:   []Node{{Op: op, Name: op, Inputs: []string{"x"}, Outputs: []string{"z" + op}}},
			Outputs: []Value{{Name: "z" + op, Type: Float, Dims: []Dim{4}}},
		}
	}
	return Model{Graph: Graph{
		Nodes: []Node{{Op: "If", Name: "if", Inputs: []string{"c"}, Outputs: []string{"y"},
			Attributes: [][]byte{Body("then_branch", branch("Relu")), Body("else_branch", branch("Neg"))}}},
		Inputs:  []Value{{Name: "c", Type: Bool, Dims: nil}, {Name: "x", Type: Float, Dims: []Dim{4}}},
		Outputs: []Value{{Name: "y", Type: Float, Dims: []Dim{4}}},
	}}
}

// NonZero has an output whose shape depends on the data: int64[1,K] of
// float32[n].
func NonZero(n int) Model {
	return Model{Graph: Graph{
		Nodes:   []Node{{Op: "NonZero", Name: "nonzero", Inputs: []string{"x"}, Outputs: []string{"y"}}},
		Inputs:  []Value{{Name: "x", Type: Float, Dims: []Dim{n}}},
		Outputs: []Value{{Name: "y", Type: Int64, Dims: []Dim{1, "K"}}},
	}}
}
