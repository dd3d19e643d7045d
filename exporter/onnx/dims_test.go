package onnx

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
)

func TestPruneInputs(t *testing.T) {
	m := onnxtest.Classifier(8, 16, 4)
	x := m.Graph.Inputs[0]
	m.Graph.Inputs = []onnxtest.Value{{Name: "stale", Type: onnxtest.Int64, Dims: []onnxtest.Dim{4}}, x, {Name: "dead", Type: onnxtest.Int64}, {Name: "W1", Type: onnxtest.Float}}
	name := onnxtest.Write(t, m)
	if err := PruneInputs(name, []engine.TensorInfo{{Name: "x"}}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	m.Graph.Inputs = []onnxtest.Value{x, {Name: "W1", Type: onnxtest.Float}}
	if !bytes.Equal(got, m.Bytes()) {
		t.Error("the file is not the same model without the inputs")
	}
	if err := PruneInputs(name, []engine.TensorInfo{{Name: "x"}}); err != nil {
		t.Error(err)
	}
}

func TestRenameDims(t *testing.T) {
	unknown := func(dims ...onnxtest.Dim) onnxtest.Model {
		m := onnxtest.Classifier(8, 16, 4)
		m.Graph.Inputs = append(m.Graph.Inputs, onnxtest.Value{Name: "image", Type: onnxtest.Float, Dims: dims})
		return m
	}
	m := unknown("N", 3, "?", "?", "height")
	m.Graph.Outputs[0].Dims = []onnxtest.Dim{"?", 4} // of an input only
	want := unknown("N", 3, "?", "width", "height")
	want.Graph.Outputs[0].Dims = m.Graph.Outputs[0].Dims
	var requests []string
	rename := func(input string, position int, name string) string {
		requests = append(requests, fmt.Sprint(input, position, name))
		if input == "image" && position == 3 {
			return "width"
		}
		return name
	}
	if got, err := RenameDims(m.Bytes(), rename); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("not the same model with another name: %v", err)
	}
	if want := []string{"x0N", "image0N", "image2?", "image3?", "image4height"}; !slices.Equal(requests, want) {
		t.Errorf("asked for %q, want %q", requests, want)
	}
	whole := m.Bytes()
	if _, err := RenameDims(whole[:len(whole)/2], rename); err == nil {
		t.Error("half a model")
	}
}
