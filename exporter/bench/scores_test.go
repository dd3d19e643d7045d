package bench

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/engine/onnxruntime"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/runtimetest"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/tensorio"
)

func constant() onnxtest.Model {
	return onnxtest.Model{Graph: onnxtest.Graph{
		Nodes:        []onnxtest.Node{{Op: "Relu", Inputs: []string{"c"}, Outputs: []string{"y"}}},
		Outputs:      []onnxtest.Value{{Name: "y", Type: onnxtest.Float, Dims: []onnxtest.Dim{2}}},
		Initializers: []onnxtest.Tensor{{Name: "c", Type: onnxtest.Float, Dims: []int64{2}, Data: onnxtest.Floats(1, -1)}},
	}}
}

func TestWhichOutputIsTheScore(t *testing.T) {
	// Three samples; the classes are those of "wide" and not of "features".
	table := func(name string, columns int, rows ...[]float32) engine.Tensor {
		return floats(name, []int64{int64(len(rows)), int64(columns)}, slices.Concat(rows...)...)
	}
	features := table("features", 4, []float32{9, 0, 0, 0}, []float32{9, 0, 0, 0}, []float32{9, 0, 0, 0})
	hidden := table("hidden", 2, []float32{3, 1}, []float32{2, 1}, []float32{0, 1})
	wide := table("wide", 3, []float32{1, 0, 0}, []float32{0, 1, 0}, []float32{0, 0, 1})
	logits := table("logits", 4, []float32{1, 0, 0, 0}, []float32{0, 1, 0, 0}, []float32{0, 0, 1, 0})
	shares := table("z", 4, []float32{1, 0, 0, 0}, []float32{0, 1, 0, 0}, []float32{0, 0.25, 0.75, 0})
	probability := table("probability", 1, []float32{0.9}, []float32{0.2}, []float32{0.1})
	labels := []int64{0, 1, 2}
	for name, c := range map[string]struct {
		outputs []engine.Tensor
		labels  []int64
		output  string
		want    string // the output taken; "" for none
		says    string // a warning, or the refusal where there are labels and none is taken
	}{
		"the only candidate":                             {[]engine.Tensor{wide}, labels, "", "wide", ""},
		"as many columns as classes":                     {[]engine.Tensor{features, wide}, labels, "", "wide", `output "wide", because its 3 columns are as many as the labels' classes; "features" float32[3 4], "wide" float32[3 3] qualify: name the right one in models[].output`},
		"a name that says so":                            {[]engine.Tensor{features, logits}, labels, "", "logits", "because its name says so"},
		"a name that says so, without labels":            {[]engine.Tensor{features, logits}, nil, "", "logits", "because its name says so"},
		"rows that sum to one":                           {[]engine.Tensor{features, shares}, labels, "", "z", "because its rows sum to one"},
		"nothing speaks for one":                         {[]engine.Tensor{features, table("other", 4, []float32{1, 2, 3, 4}, []float32{1, 2, 3, 4}, []float32{1, 2, 3, 4})}, labels, "", "", `it is unclear which output holds the class scores: "features" float32[3 4], "other" float32[3 4]: name it in models[].output`},
		"nothing speaks for one, without labels":         {[]engine.Tensor{features, hidden}, nil, "", "", "the top-1 agreement was not computed: it is unclear which output holds the class scores"},
		"the configuration's":                            {[]engine.Tensor{features, wide}, labels, "features", "features", ""},
		"the configuration's, which is none":             {[]engine.Tensor{features, wide}, labels, "logit", "", `find the output of models[].output logit: no output of that name can be compared, only "features" float32[3 4], "wide" float32[3 3]`},
		"the configuration's, which is no row of scores": {[]engine.Tensor{wide, probability}, labels, "probability", "", `it is "probability" float32[3 1], not a row of class scores`},
		"a hidden state beside a probability":            {[]engine.Tensor{features, probability}, []int64{1, 0, 0}, "", "", "it is unclear which output holds the class scores"},
		"the same without labels":                        {[]engine.Tensor{features, probability}, nil, "", "", "the top-1 agreement was not computed"},
		"one score a sample":                             {[]engine.Tensor{probability}, []int64{1, 0, 0}, "", "", `output "probability" float32[3 1] has one score per sample, which cannot be judged against classes: export a column of scores for each class`},
		"one score a sample, three classes":              {[]engine.Tensor{wide, probability}, labels, "", "wide", ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := DefaultOptions()
			o.Output = c.output
			got, err := compare(c.outputs, c.outputs, c.labels, 3, o)
			var said []string
			if err != nil {
				if e := engine.AsError(err); e.Kind != engine.KindInvalidInput {
					t.Fatal(err)
				}
				said = append(said, err.Error())
			}
			for _, w := range got.warnings {
				if !strings.Contains(w, "moves in steps") {
					said = append(said, w)
				}
			}
			if got.Output != c.want || (c.want == "" && c.labels != nil) != (err != nil) {
				t.Errorf("taken is %q, %v; want %q", got.Output, err, c.want)
			}
			if text := strings.Join(said, "\n"); !strings.Contains(text, c.says) || (c.says == "") != (text == "") {
				t.Errorf("said %q, want %q", text, c.says)
			}
			if c.labels != nil && c.want != "" && got.Top1 == nil {
				t.Error("no top-1")
			}
		})
	}
}

func write(t *testing.T, name string, tensors ...engine.Tensor) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if filepath.Ext(name) == ".npz" {
		if err := tensorio.WriteNPZ(path, tensors); err != nil {
			t.Fatal(err)
		}
		return path
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := tensorio.WriteNPY(f, tensors[0]); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnusableLabelsAndReferencesCostTheAccuracyAlone(t *testing.T) {
	x := floats("x", []int64{3, 4}, 1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3, -4)
	ints := func(values ...byte) engine.Tensor {
		return engine.Tensor{DType: engine.Uint8, Shape: []int64{int64(len(values))}, Data: values}
	}
	pointer := filepath.Join(t.TempDir(), "labels.npy")
	if err := os.WriteFile(pointer, []byte("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		labels, reference string
		says              string
	}{
		"too few labels":            {labels: write(t, "labels.npy", ints(0)), says: "accuracy was not measured: compare with labels labels.npy: it has 1 labels for 3 samples"},
		"labels counted from one":   {labels: write(t, "labels.npy", ints(4, 4, 1)), says: "labels.npy: label 4 of sample 0 is outside the 4 classes"},
		"labels that are fractions": {labels: write(t, "labels.npy", floats("", []int64{3}, 0, 1, 2)), says: "labels.npy: labels must be class numbers counted from 0, and these are float32: save them with dtype int64"},
		"labels that are names":     {labels: write(t, "labels.npy", engine.Tensor{DType: engine.String, Shape: []int64{3}, Strings: []string{"a", "b", "c"}}), says: "labels.npy: labels must be class numbers counted from 0, and these are text"},
		"labels of Git LFS":         {labels: pointer, says: "labels.npy is a Git LFS pointer: run git lfs pull"},
		"another model's reference": {reference: write(t, "reference.npz", floats("a", []int64{3}, 1, 2, 3), floats("b", []int64{3}, 1, 2, 3)), says: "accuracy was not measured: compare outputs: the model's outputs are"},
		"a reference of less":       {reference: write(t, "reference.npz", floats("y", []int64{2, 4}, make([]float32, 8)...)), says: "its shape over all samples is [3 4] and the reference's is [2 4]"},
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t, fake.Script{})
			j.InputsPath, j.LabelsPath, j.ReferencePath = write(t, "inputs.npz", x), c.labels, c.reference
			m, err := Measure(t.Context(), fake.New(), j, nil)
			if err != nil {
				t.Fatal(err)
			}
			if m.Accuracy != nil || m.Latency.Queries == 0 || !strings.Contains(strings.Join(m.Warnings, "\n"), c.says) {
				t.Errorf("accuracy %+v, %d queries, warnings %q; want %q", m.Accuracy, m.Latency.Queries, m.Warnings, c.says)
			}
			if strings.Contains(strings.Join(m.Warnings, "\n"), filepath.Dir(c.labels+c.reference)) {
				t.Errorf("a path of this machine in %q", m.Warnings)
			}
		})
	}
}

// real is a job for ONNX Runtime with short windows.
func real(t *testing.T, m onnxtest.Model, arrays ...engine.Tensor) Job {
	t.Helper()
	runtimetest.Need(t)
	o := DefaultOptions()
	o.WarmUp, o.MinQueries, o.MinWindow, o.MaxWindows, o.SweepWindow, o.Concurrency = 1, 5, 1, 1, 1, []int{1}
	j := Job{Backend: onnxruntime.Name, Model: "m", Version: "1", ModelPath: onnxtest.Write(t, m), Precision: engine.FP32, Options: o, Settings: engine.Settings{Threads: 1}, WorkDir: t.TempDir()}
	if len(arrays) > 0 {
		j.InputsPath = write(t, "inputs.npz", arrays...)
	}
	return j
}

func TestRealModelsOfKindsThatPeopleHave(t *testing.T) {
	value := func(name string, typ int, dims []onnxtest.Dim, in ...string) onnxtest.Value {
		return onnxtest.Value{Name: name, Type: typ, Dims: dims, In: in}
	}
	single := func(op string, in, out onnxtest.Value, attributes ...[]byte) onnxtest.Model {
		return onnxtest.Model{Graph: onnxtest.Graph{
			Nodes:  []onnxtest.Node{{Op: op, Name: "node", Inputs: []string{in.Name}, Outputs: []string{out.Name}, Attributes: attributes}},
			Inputs: []onnxtest.Value{in}, Outputs: []onnxtest.Value{out},
		}}
	}
	float, dims := onnxtest.Float, func(d ...onnxtest.Dim) []onnxtest.Dim { return d }
	gelu := single("Gelu", value("x", float, dims("N", 4)), value("y", float, dims("N", 4)))
	gelu.Graph.Nodes[0].Domain = "com.microsoft"
	gather := onnxtest.Model{Graph: onnxtest.Graph{
		Nodes:        []onnxtest.Node{{Op: "Gather", Name: "types", Inputs: []string{"table", "ids"}, Outputs: []string{"y"}}},
		Inputs:       []onnxtest.Value{value("ids", onnxtest.Int64, dims("N", 32))},
		Outputs:      []onnxtest.Value{value("y", float, dims("N", 32, 3))},
		Initializers: []onnxtest.Tensor{{Name: "table", Type: float, Dims: []int64{2, 3}, Data: onnxtest.Noise(6, 1)}},
	}}
	computed := gather // the positions are computed, so that their limit is not seen
	computed.Graph.Nodes = []onnxtest.Node{{Op: "Add", Name: "twice", Inputs: []string{"ids", "ids"}, Outputs: []string{"two"}},
		{Op: "Gather", Name: "types", Inputs: []string{"table", "two"}, Outputs: []string{"y"}}}
	sized := onnxtest.Model{Graph: onnxtest.Graph{ // x is cut at positions that no generated value is
		Nodes: []onnxtest.Node{
			{Op: "Sub", Name: "below", Inputs: []string{"sizes", "hundred"}, Outputs: []string{"negative"}},
			{Op: "ConstantOfShape", Name: "make", Inputs: []string{"negative"}, Outputs: []string{"y"}},
		},
		Inputs:       []onnxtest.Value{value("sizes", onnxtest.Int64, dims(1))},
		Outputs:      []onnxtest.Value{value("y", float, dims(nil))},
		Initializers: []onnxtest.Tensor{{Name: "hundred", Type: onnxtest.Int64, Dims: []int64{1}, Data: []byte{100, 0, 0, 0, 0, 0, 0, 0}}},
	}}
	cache := onnxtest.Model{Graph: onnxtest.Graph{
		Nodes:   []onnxtest.Node{{Op: "Concat", Name: "concat", Inputs: []string{"past", "x"}, Outputs: []string{"present"}, Attributes: [][]byte{onnxtest.Int("axis", 1)}}},
		Inputs:  []onnxtest.Value{value("x", float, dims("N", 1, 8)), value("past", float, dims("N", "past_len", 8))},
		Outputs: []onnxtest.Value{value("present", float, dims("N", "total", 8))},
	}}
	text := engine.Tensor{Name: "x", DType: engine.String, Shape: []int64{2, 2}, Strings: []string{"a", "b", "b", "c"}}
	for name, c := range map[string]struct {
		model   onnxtest.Model
		arrays  []engine.Tensor
		dims    map[string]int64
		samples int    // of the accuracy; 0 without
		warns   string // "" is no warning but those of short windows
		kind    engine.Kind
		says    string
	}{
		"an operator of the runtime without import":         {model: gelu},
		"positions in a table":                              {model: gather},
		"positions that generated values do not fit":        {model: computed, kind: engine.KindRunFailed, says: "put inputs.npz with real inputs beside the model"},
		"values that generated ones do not fit":             {model: sized, kind: engine.KindRunFailed, says: "the inputs were generated and the model may not accept such values: put inputs.npz beside it"},
		"an empty cache, by the configuration":              {model: cache, dims: map[string]int64{"past_len": 0}},
		"an empty cache, by inputs.npz":                     {model: cache, arrays: []engine.Tensor{floats("x", []int64{2, 1, 8}, make([]float32, 16)...), floats("past", []int64{2, 0, 8})}, samples: 2},
		"text":                                              {model: single("Identity", value("x", onnxtest.String, dims("N", 2)), value("y", onnxtest.String, dims("N", 2))), arrays: []engine.Tensor{text}, samples: 2},
		"text without inputs.npz":                           {model: single("Identity", value("x", onnxtest.String, dims("N", 2)), value("y", onnxtest.String, dims("N", 2))), kind: engine.KindUnsupportedInput, says: `input "x" is text, for which no values can be generated: put inputs.npz beside the model, with an array "x" of text`},
		"a sequence that comes out":                         {model: single("SplitToSequence", value("x", float, dims("N", 4)), value("s", float, dims("N", 4), "sequence"), onnxtest.Int("axis", 0))},
		"a sequence that goes in":                           {model: single("ConcatFromSequence", value("s", float, dims("N", 4), "sequence"), value("y", float, dims("N", 4)), onnxtest.Int("axis", 0)), arrays: []engine.Tensor{floats("s/0", []int64{1, 4}, 1, 2, 3, 4), floats("s/1", []int64{1, 4}, 5, 6, 7, 8)}, samples: 1},
		"a sequence without inputs.npz":                     {model: single("ConcatFromSequence", value("s", float, dims("N", 4), "sequence"), value("y", float, dims("N", 4)), onnxtest.Int("axis", 0)), kind: engine.KindUnsupportedInput, says: `input "s" is a sequence of float32, for which no values can be generated: put inputs.npz beside the model, with an array for each item: "s/0"`},
		"names that say nothing":                            {model: single("Relu", value("x", float, dims("?", 3, "?", "?")), value("y", float, dims("?", 3, "?", "?"))), kind: engine.KindInvalidInput, says: `write dims: {"x/2": SIZE, "x/3": SIZE}`},
		"a first dimension without a name":                  {model: single("Relu", value("x", float, dims(nil, 3)), value("y", float, dims(nil, 3))), warns: `the first dimension of x float32[?,3] has no name and is assumed to be the batch: if it is not, write dims: {"x/0": SIZE}`},
		"names that say nothing, with samples":              {model: single("Relu", value("x", float, dims("?", 3, "?")), value("y", float, dims("?", 3, "?"))), arrays: []engine.Tensor{floats("x", []int64{2, 3, 1}, 1, 2, 3, 4, 5, 6)}, samples: 2},
		"an array that no input asks for":                   {model: single("Relu", value("x", float, dims("N", 2)), value("y", float, dims("N", 2))), arrays: []engine.Tensor{floats("x", []int64{1, 2}, 1, 2), {Name: "files", DType: engine.String, Shape: []int64{1}, Strings: []string{"a"}}}, samples: 1, warns: "inputs.npz has arrays that match no input of the model: files"},
		"a fixed batch counts by rows":                      {model: single("Relu", value("x", float, dims(2, 2)), value("y", float, dims(2, 2))), arrays: []engine.Tensor{floats("x", []int64{4, 2}, 1, 2, 3, 4, 5, 6, 7, 8)}, samples: 4, warns: "the batch is fixed to 2 in the model (x float32[2,2]): a query counts as 2 inferences"},
		"a first dimension that is no batch stays as it is": {model: single("ReduceMax", value("x", float, dims(2, 3)), value("y", float, dims(1, 1))), arrays: []engine.Tensor{floats("x", []int64{2, 3}, 1, 2, 3, 4, 5, 6)}, samples: 1},
	} {
		t.Run(name, func(t *testing.T) {
			j := real(t, c.model, c.arrays...)
			j.Dims = c.dims
			m, err := Measure(t.Context(), onnxruntime.New(onnxruntime.Options{}), j, nil)
			if c.kind != "" {
				if e := engine.AsError(err); err == nil || e.Kind != c.kind || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %s with %q", err, c.kind, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Accuracy; (got == nil) != (c.samples == 0) || got != nil && got.Samples != c.samples {
				t.Errorf("accuracy %+v, want %d samples", got, c.samples)
			}
			if text := strings.Join(m.Warnings, "\n"); !strings.Contains(text, c.warns) || c.warns == "" && strings.Contains(text, "output") {
				t.Errorf("warnings %q, want %q", m.Warnings, c.warns)
			}
		})
	}
}
