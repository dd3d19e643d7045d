package trt_test

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/trt"
)

func fixture(t *testing.T, name string) []trt.Layer {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := trt.ParseLayers(raw)
	if err != nil {
		t.Fatal(err)
	}
	return layers
}

// summary counts the layers of an engine.
type summary struct {
	Layers      int
	Fused       int // layers that do the work of several ONNX nodes
	FusedNodes  int // ONNX nodes inside those
	ByPrecision map[string]int
	Quantizable int
	Unquantized []string // those that do not compute in 8 bits, by their ONNX nodes
}

func summarize(layers []trt.Layer) summary {
	s := summary{Layers: len(layers), ByPrecision: map[string]int{}}
	for _, l := range layers {
		s.ByPrecision[l.Precision]++
		if l.Fused() {
			s.Fused++
			s.FusedNodes += len(l.Origin)
		}
		if l.Quantizable() {
			s.Quantizable++
			if !l.Quantized() {
				s.Unquantized = append(s.Unquantized, strings.Join(l.Origin, " + "))
			}
		}
	}
	return s
}

func TestLayersOfRealPlans(t *testing.T) {
	for name, want := range map[string]summary{
		"resnet50-fp16.json": {
			Layers: 10, Fused: 2, FusedNodes: 5, ByPrecision: map[string]int{"fp16": 9, "": 1},
			Quantizable: 3, Unquantized: []string{"/conv1/Conv + /relu/Relu",
				"/layer4/layer4.2/conv3/Conv + /layer4/layer4.2/Add + /layer4/layer4.2/relu_2/Relu", "/fc/Gemm"},
		},
		"convnet-int8.json": {
			Layers: 6, Fused: 2, FusedNodes: 5, ByPrecision: map[string]int{"fp32": 1, "int8": 5},
			Quantizable: 3,
		},
		"inspect-fp16.json": {
			Layers: 5, Fused: 3, FusedNodes: 7, ByPrecision: map[string]int{"fp16": 5},
			Quantizable: 3, Unquantized: []string{"conv1 + relu1", "conv2 + add + relu2", "flatten + head"},
		},
		"convnet-qdq.json": {
			Layers: 9, Fused: 2, FusedNodes: 11, ByPrecision: map[string]int{"fp32": 4, "int8": 4, "": 1},
			Quantizable: 3, Unquantized: []string{"head"},
		},
	} {
		if got := summarize(fixture(t, name)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, want)
		}
	}
}

func TestParseLayers(t *testing.T) {
	l := fixture(t, "convnet-int8.json")[4]
	want := trt.Layer{
		Name: "head + (Unnamed Layer* 17) [ElementWise]", Type: "CaskConvolution", Operation: "Convolution", Precision: "int8",
		Inputs:  []trt.LayerTensor{{Name: "p", Shape: trt.Shape{-1, 32, 1, 1}, Precision: "int8", Format: "Int8"}},
		Outputs: []trt.LayerTensor{{Name: "head_conv_out", Shape: trt.Shape{-1, 10, 1, 1}, Precision: "fp32", Format: "Float"}},
		Tactic:  "sm80_xmma_fprop_implicit_gemm_interleaved_i8f32_i8i32_f32_nchw_vect_c_32kcrs_vect_c_32_nchw_tilesize128x32x64_stage4_warpsize4x1x1_g1_tensor16x8x32_t1r1s1_alignc4",
		Origin:  []string{"head"},
	}
	if !reflect.DeepEqual(l, want) {
		t.Errorf("got  %+v\nwant %+v", l, want)
	}
}

func TestParseLayersTolerates(t *testing.T) {
	for _, tc := range []struct {
		name, json string
		want       trt.Layer
	}{
		{"names only", `"conv1 + relu1"`, trt.Layer{Name: "conv1 + relu1", Origin: []string{"conv1", "relu1"}}},
		{"a tactic number", `{"Name":"x","LayerType":"PointWiseV2","TacticValue":"0x4"}`,
			trt.Layer{Name: "x", Type: "PointWiseV2", Tactic: "0x4", Inputs: []trt.LayerTensor{}, Outputs: []trt.LayerTensor{}}},
		{"metadata without separators, brackets in names", `{"Name":"x_myl0_3","LayerType":"kgen","Metadata":"[ONNX Layer: a[0]][ONNX Layer: /b/c]"}`,
			trt.Layer{Name: "x_myl0_3", Type: "kgen", Origin: []string{"a[0]", "/b/c"}, Inputs: []trt.LayerTensor{}, Outputs: []trt.LayerTensor{}}},
		{"a constant, kept in another type than it was given in", `{"Name":"c","LayerType":"Constant","weights":{"Type":"Float"},"Outputs":[{"Name":"o","Format/Datatype":"Half"}]}`,
			trt.Layer{Name: "c", Type: "Constant", Precision: "fp16", Inputs: []trt.LayerTensor{},
				Outputs: []trt.LayerTensor{{Name: "o", Precision: "fp16", Format: "Half"}}}},
		{"a matrix product with 8-bit inputs and no weights", `{"Name":"g","LayerType":"gemm","Inputs":[{"Name":"i","Format/Datatype":"Int8"}],"Outputs":[{"Name":"o","Format/Datatype":"Half"}]}`,
			trt.Layer{Name: "g", Type: "gemm", Precision: "int8",
				Inputs:  []trt.LayerTensor{{Name: "i", Precision: "int8", Format: "Int8"}},
				Outputs: []trt.LayerTensor{{Name: "o", Precision: "fp16", Format: "Half"}}}},
	} {
		got, err := trt.ParseLayers([]byte(`{"Layers":[` + tc.json + `]}`))
		if err != nil || !reflect.DeepEqual(got, []trt.Layer{tc.want}) {
			t.Errorf("%s:\ngot  %+v, %v\nwant %+v", tc.name, got, err, tc.want)
		}
	}
	for _, bad := range []string{"", "{", `{"Layers":[{"Name":3}]}`, `{"Layers":[7]}`} {
		if _, err := trt.ParseLayers([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func FuzzParseLayers(f *testing.F) {
	for _, name := range []string{"resnet50-fp16.json", "convnet-int8.json", "convnet-qdq.json"} {
		raw, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		layers, err := trt.ParseLayers(raw)
		if err != nil {
			return
		}
		for _, l := range layers {
			if slices.Contains(l.Origin, "") {
				t.Errorf("a layer does the work of a node without a name: %+v", l)
			}
		}
	})
}
