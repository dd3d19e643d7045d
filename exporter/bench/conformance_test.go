package bench

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime"
	"github.com/plancast/plancast/exporter/onnx"
	"github.com/plancast/plancast/exporter/tensorio"
)

// exceptions are ONNX's node tests that ONNX Runtime's Python API runs and plancast
// does not, each with the reason. A test that no longer fails must leave the list.
var exceptions = map[string]string{
	"test_constant": "a model without inputs computes the same whatever it is given: there is nothing to measure",
}

// TestConformance measures every node test of ONNX that ONNX Runtime's Python API
// runs, and holds the outputs against the Python API's. "make conformance" prepares
// the folder; without it there is nothing to test.
func TestConformance(t *testing.T) {
	dir := os.Getenv("PLANCAST_CONFORMANCE")
	if dir == "" {
		t.Skip("PLANCAST_CONFORMANCE is not set: run make conformance")
	}
	tests, err := filepath.Glob(filepath.Join(dir, "*", "model.onnx"))
	if err != nil || len(tests) < 1000 {
		t.Fatalf("%d tests in %s, %v", len(tests), dir, err)
	}
	measured, unlike := 0, 0
	for _, model := range tests {
		name := filepath.Base(filepath.Dir(model))
		err := conforms(t, filepath.Dir(model))
		reason, excepted := exceptions[name]
		switch {
		case err == nil && excepted:
			t.Errorf("%s: it conforms and is in the list of exceptions (%s)", name, reason)
		case err == nil:
			measured++
		case excepted:
			unlike++
		default:
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Logf("%d of %d node tests are measured with the outputs of the Python API; %d exceptions", measured, len(tests), unlike)
}

func conforms(t *testing.T, dir string) error {
	model, err := onnx.ReadFile(filepath.Join(dir, "model.onnx"))
	if err != nil {
		return err
	}
	o := DefaultOptions()
	o.WarmUp, o.MinQueries, o.MinWindow, o.MaxWindows, o.SweepWindow, o.Concurrency = 1, 2, 1, 1, 1, []int{1}
	work := t.TempDir()
	j := Job{
		Backend: onnxruntime.Name, Model: filepath.Base(dir), Version: "1", ModelPath: filepath.Join(dir, "model.onnx"), Precision: model.Precision,
		Options: o, Settings: engine.Settings{Threads: 1}, WorkDir: work, OutputsPath: filepath.Join(work, "outputs.npz"),
	}
	if _, err := os.Stat(filepath.Join(dir, "inputs.npz")); err == nil {
		j.InputsPath = filepath.Join(dir, "inputs.npz")
	}
	m, err := Measure(t.Context(), onnxruntime.New(onnxruntime.Options{}), j, nil)
	if err != nil && !allNaN(err) {
		return err
	}
	if err == nil && m.Latency.Queries < 2 {
		return fmt.Errorf("%d queries", m.Latency.Queries)
	}
	want, err := tensorio.ReadNPZ(filepath.Join(dir, "outputs.npz"), nil)
	if err != nil {
		return err
	}
	want = slices.DeleteFunc(want, func(w engine.Tensor) bool { return w.Name == "" }) // no output at all
	if len(want) == 0 {
		return nil
	}
	got, err := tensorio.ReadNPZ(j.OutputsPath, nil)
	if err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(dir, "random"))
	return equalOutputs(got, want, err == nil)
}

// allNaN reports whether a model was refused only because it computes no numbers, as a
// few node tests do on purpose.
func allNaN(err error) bool {
	e := engine.AsError(err)
	return e.Kind == engine.KindAccuracy && strings.Contains(e.Message, "output values are NaN")
}

func equalOutputs(got, want []engine.Tensor, random bool) error {
	for _, w := range want {
		i := slices.IndexFunc(got, func(g engine.Tensor) bool { return g.Name == w.Name })
		switch {
		case i < 0 && random:
			continue
		case i < 0:
			return fmt.Errorf("no output %q", w.Name)
		}
		g := got[i]
		if random {
			if len(g.Shape) != len(w.Shape) || g.DType != w.DType {
				return fmt.Errorf("output %q is %s%v and the Python API's is %s%v", w.Name, g.DType, g.Shape, w.DType, w.Shape)
			}
			continue
		}
		// What plancast keeps of several calls has one dimension at least.
		shape := w.Shape
		if len(shape) == 0 {
			shape = []int64{1}
		}
		if g.DType != w.DType || !slices.Equal(g.Shape, shape) {
			return fmt.Errorf("output %q is %s%v and the Python API's is %s%v", w.Name, g.DType, g.Shape, w.DType, w.Shape)
		}
		for k := range w.Len() {
			if w.DType == engine.String {
				if g.Strings[k] != w.Strings[k] {
					return fmt.Errorf("output %q, element %d: %q and the Python API's is %q", w.Name, k, g.Strings[k], w.Strings[k])
				}
				continue
			}
			a, b := g.At(k), w.At(k)
			if math.IsNaN(a) && math.IsNaN(b) || a == b || math.Abs(a-b) <= 1e-6+1e-5*math.Abs(b) {
				continue
			}
			return fmt.Errorf("output %q, element %d: %v and the Python API's is %v", w.Name, k, a, b)
		}
	}
	return nil
}
