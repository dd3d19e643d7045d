package tensorrt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/trt"
)

// What stayed unquantized is counted from these layers, products fused with what
// follows included: each of the plans has three convolutions and products.
func TestConvolutionsAndProductsAreQuantizable(t *testing.T) {
	files, err := filepath.Glob("../../../trt/testdata/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d plans, %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		native, err := trt.ParseLayers(raw)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, l := range native {
			if layer(l).Quantizable {
				n++
			}
		}
		if n != 3 {
			t.Errorf("%s: %d quantizable layers, want 3", filepath.Base(file), n)
		}
	}
}

// The inspector's answers of two real plans of one network, in FP16 and INT8.
func TestDiffOfRealPlans(t *testing.T) {
	layers := func(name string) []engine.Layer {
		raw, err := os.ReadFile(filepath.Join("..", "..", "..", "trt", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		native, err := trt.ParseLayers(raw)
		if err != nil {
			t.Fatal(err)
		}
		var out []engine.Layer
		for _, l := range native {
			out = append(out, layer(l))
		}
		return out
	}
	lines := func(cs []engine.Change) string {
		var out []string
		for _, c := range cs {
			out = append(out, c.String())
		}
		return strings.Join(out, "\n")
	}
	fp16, int8 := layers("inspect-fp16.json"), layers("inspect-int8.json")
	want := strings.Join([]string{
		"added [Reformatting CopyNode for Input Tensor 0 to image/q]",
		"[conv1 + relu1]: fp16 -> int8",
		"fusion [conv2 + add + relu2] -> [conv2] [add + relu2]",
		"[pool]: tactic sm50_xmma_pooling_fw -> sm50_xmma_pooling_fw_4d",
		"removed [Reformatting CopyNode for Input Tensor 0 to conv1 + relu1]",
	}, "\n")
	forth, back := engine.Diff(fp16, int8), engine.Diff(int8, fp16)
	if got := lines(forth); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, c := range []struct{ got, want string }{
		{lines(engine.Diff(fp16, fp16)), ""}, {lines(engine.Diff(nil, fp16[3:4])), "added [pool]"}, {lines(engine.Diff(fp16[3:4], nil)), "removed [pool]"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	// Whatever was regrouped, every layer that is not the same on both sides is in
	// one change, and the other way round names the same layers.
	count := func(cs []engine.Change) (before, after int) {
		for _, c := range cs {
			before, after = before+len(c.Before), after+len(c.After)
		}
		return before, after
	}
	fb, fa := count(forth)
	bb, ba := count(back)
	if len(forth) != len(back) || fb != ba || fa != bb || len(fp16)-fb != 1 || len(int8)-fa != 1 {
		t.Errorf("%d changes of %d and %d layers one way, %d of %d and %d the other", len(forth), fb, fa, len(back), bb, ba)
	}
}
