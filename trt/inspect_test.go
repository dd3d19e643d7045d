package trt_test

import (
	"os"
	"path/filepath"
	"reflect"
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
		if d := trt.Diff(layers, layers); len(d) != 0 {
			t.Errorf("differs from itself: %v", d)
		}
	})
}

func TestDiff(t *testing.T) {
	fp16, int8 := fixture(t, "inspect-fp16.json"), fixture(t, "inspect-int8.json")
	lines := func(cs []trt.Change) string {
		var out []string
		for _, c := range cs {
			out = append(out, c.String())
		}
		return strings.Join(out, "\n")
	}
	want := strings.Join([]string{
		"added [Reformatting CopyNode for Input Tensor 0 to image/q]",
		"[conv1 + relu1]: fp16 -> int8",
		"fusion [conv2 + add + relu2] -> [conv2] [add + relu2]",
		"[pool]: tactic sm50_xmma_pooling_fw -> sm50_xmma_pooling_fw_4d",
		"removed [Reformatting CopyNode for Input Tensor 0 to conv1 + relu1]",
	}, "\n")
	if got := lines(trt.Diff(fp16, int8)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := trt.Diff(fp16, fp16); got != nil {
		t.Errorf("a plan against itself: %v", got)
	}
	if got := lines(trt.Diff(nil, fp16[3:4])); got != "added [pool]" {
		t.Errorf("from nothing: %s", got)
	}
	if got := lines(trt.Diff(fp16[3:4], nil)); got != "removed [pool]" {
		t.Errorf("to nothing: %s", got)
	}
}

// Whatever was regrouped, every layer that is not the same on both sides is in one
// change, and Diff the other way round names the same layers.
func TestDiffAccountsForEveryLayer(t *testing.T) {
	a, b := fixture(t, "inspect-fp16.json"), fixture(t, "inspect-int8.json")
	forth, back := trt.Diff(a, b), trt.Diff(b, a)
	if len(forth) != len(back) {
		t.Errorf("%d changes one way, %d the other", len(forth), len(back))
	}
	count := func(cs []trt.Change) (before, after int) {
		for _, c := range cs {
			before += len(c.Before)
			after += len(c.After)
		}
		return before, after
	}
	fb, fa := count(forth)
	bb, ba := count(back)
	if fb != ba || fa != bb {
		t.Errorf("%d and %d layers one way, %d and %d the other", fb, fa, ba, bb)
	}
	if unchanged := len(a) - fb; unchanged != len(b)-fa || unchanged != 1 {
		t.Errorf("%d layers unchanged, want the head alone", unchanged)
	}
}
