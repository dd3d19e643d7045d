package trt_test

import (
	"os"
	"path/filepath"
	"reflect"
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

func TestSummarize(t *testing.T) {
	for name, want := range map[string]trt.LayerSummary{
		"inspect-fp16.json": {
			Layers: 5, Fused: 3, FusedNodes: 7, Reformats: 1, ByPrecision: map[string]int{"fp16": 5},
			Quantizable: 3, Unquantized: []string{"conv1 + relu1", "conv2 + add + relu2", "flatten + head"},
		},
		"inspect-int8.json": {
			Layers: 6, Fused: 3, FusedNodes: 6, Reformats: 1, ByPrecision: map[string]int{"fp16": 3, "int8": 3},
			Quantizable: 3, Unquantized: []string{"flatten + head"},
		},
	} {
		if got := trt.Summarize(fixture(t, name)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, got, want)
		}
	}
}

func TestParseLayers(t *testing.T) {
	l := fixture(t, "inspect-int8.json")[2]
	want := trt.Layer{
		Name: "conv2", Type: "CaskConvolution", Operation: "Convolution", Precision: "int8",
		Inputs:  []trt.LayerTensor{{Name: "r1", Shape: trt.Shape{8, 16, 32, 32}, Precision: "int8", Format: "Row major Int8 format"}},
		Outputs: []trt.LayerTensor{{Name: "c2", Shape: trt.Shape{8, 16, 32, 32}, Precision: "fp16", Format: "Row major linear FP16 format"}},
		Tactic:  "sm80_xmma_fprop_implicit_gemm_interleaved_i8f16", Origin: []string{"conv2"},
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
	for _, name := range []string{"inspect-fp16.json", "inspect-int8.json"} {
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
		if s := trt.Summarize(layers); s.Layers != len(layers) || s.Fused > s.Layers || len(s.Unquantized) > s.Quantizable {
			t.Errorf("%+v", s)
		}
	})
}
