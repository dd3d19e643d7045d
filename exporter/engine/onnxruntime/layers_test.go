package onnxruntime

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
)

func TestLayers(t *testing.T) {
	type layer struct {
		typ       string
		precision engine.Precision
		origins   string
	}
	for name, c := range map[string]struct {
		model     onnxtest.Model
		precision engine.Precision
		want      []layer
	}{
		"a bias and an activation fuse into the product": {onnxtest.Classifier(8, 16, 4), engine.FP32, []layer{
			{"com.microsoft:FusedGemm", engine.FP32, "hidden bias relu"}, {"MatMul", engine.FP32, "logits"}, {"Softmax", engine.FP32, "softmax"}}},
		"a quantized product takes its scales in": {onnxtest.Quantized(8, 4), engine.INT8, []layer{
			{"QuantizeLinear", "", "q"}, {"QLinearMatMul", engine.INT8, "dqx product qy"}, {"DequantizeLinear", "", "dqy"}}},
	} {
		layers, err := open(t, c.model, c.precision).Layers(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		var got []layer
		for _, l := range layers {
			got = append(got, layer{l.Type, l.Precision, strings.Join(l.Origins, " ")})
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\ngot  %v\nwant %v", name, got, c.want)
		}
	}
	// In which layout a convolution runs depends on the CPU, but a convolution
	// and its activation are one layer on all of them.
	layers, err := open(t, onnxtest.Convolution(16), engine.FP32).Layers(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, l := range layers {
		found = found || reflect.DeepEqual(l.Origins, []string{"conv", "relu"}) && l.Precision == engine.FP32
	}
	if !found {
		t.Errorf("no fused convolution in %v", layers)
	}
}
