package bench

import (
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
)

// A plan that a team built itself says which shapes it takes; the configuration does not
// know them.
func TestAPlanIsMeasuredInTheShapesThatItWasBuiltFor(t *testing.T) {
	script := fake.Script{
		Latency: ms(1)[0],
		Inputs:  []engine.TensorInfo{{Name: "x", DType: engine.Float32, Dims: []engine.Dim{{Size: -1}, {Size: -1}, {Size: 4}}}},
		Ranges:  map[string]engine.Profile{"x": {Min: []int64{2, 8, 4}, Opt: []int64{4, 16, 4}, Max: []int64{8, 32, 4}}},
	}
	for _, c := range []struct {
		name    string
		batches []int
		dims    map[string]int64
		want    []int
		size    int64 // of the second dimension
		left    string
	}{
		{"batches within its range", []int{4, 8}, nil, []int{4, 8}, 16, ""},
		{"a batch beyond it is left out", []int{2, 32}, nil, []int{2}, 16, "batch 32 is left out: the plan was not built for it"},
		{"no batch within it: the one that it is tuned for", []int{1}, nil, []int{4}, 16, "batch 1 is left out"},
		{"the configuration's dimensions come first", []int{4}, map[string]int64{"x/1": 32}, []int{4}, 32, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := job(t, script)
			j.Precision, j.Options.Batches, j.Dims = engine.AsBuilt, c.batches, c.dims
			r := &run{backend: fake.New(), job: j, progress: func(engine.Progress) {}}
			for _, step := range []error{r.build(t.Context()), r.load(t.Context())} {
				if step != nil {
					t.Fatal(step)
				}
			}
			defer r.engine.Close()
			shapes, err := r.shapes(r.batches[0]).Resolve(r.inputs)
			if err != nil || !slices.Equal(r.batches, c.want) || !slices.Equal(shapes[0], []int64{int64(c.want[0]), c.size, 4}) {
				t.Errorf("batches %v, want %v; shape %v (%v)", r.batches, c.want, shapes, err)
			}
			if text := strings.Join(r.m.Warnings, "\n"); c.left != "" && !strings.Contains(text, c.left) || c.left == "" && strings.Contains(text, "left out") {
				t.Errorf("warnings %q; want %q", r.m.Warnings, c.left)
			}
		})
	}
}
