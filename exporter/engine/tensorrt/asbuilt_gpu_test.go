//go:build tensorrt && cgo && gpu

package tensorrt

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
)

// teamPlan is a plan as a team would push it: the bytes alone, built for batches of 1 to 16.
func teamPlan(t *testing.T, dir string) (plan string, inputs bench.Job) {
	t.Helper()
	j := job(t, dir, engine.FP16, "")
	j.OutputsPath = filepath.Join(dir, "outputs.npz")
	built := measure(t, j)
	content, err := os.ReadFile(built.Plan.Path)
	if err != nil {
		t.Fatal(err)
	}
	plan = filepath.Join(t.TempDir(), "model.plan")
	if err := os.WriteFile(plan, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return plan, j
}

func TestAPlanOfATeamIsMeasuredAsItIs(t *testing.T) {
	dir := t.TempDir()
	plan, built := teamPlan(t, dir)
	j := job(t, dir, engine.AsBuilt, "")
	j.ModelPath, j.Digest, j.InputsPath = plan, strings.Repeat("cd", 32), built.InputsPath
	j.ReferencePath, j.ReferenceName = built.OutputsPath, "version 1 fp16"
	j.Options.Batches = []int{1, 8, 64}
	m := measure(t, j)
	p99, ok := m.Latency.At(0.99)
	switch {
	case !ok || p99.Value <= 0 || m.Throughput <= 0 || m.Memory.PeakBytes == nil:
		t.Errorf("%+v", m)
	case !m.Plan.Reused || m.Plan.Duration != 0 || m.Plan.Precision != engine.AsBuilt:
		t.Errorf("the plan: %+v", m.Plan)
	case m.Layers == nil || m.Layers.Total == 0:
		t.Errorf("the inspector says %+v", m.Layers)
	case m.Accuracy == nil || m.Accuracy.RelL2 > 0.001:
		t.Errorf("against the outputs of the same engine: %+v", m.Accuracy)
	case !strings.Contains(strings.Join(m.Warnings, "\n"), "batch 64 is left out: the plan was not built for it"):
		t.Errorf("warnings %q", m.Warnings)
	}
	t.Logf("P99 %.1f us, %.0f/s, layers %v, warnings %q", p99.Value*1e6, m.Throughput, m.Layers.ByPrecision, m.Warnings)
	// A plan that is built for one batch alone is measured with that one.
	j.Options.Batches = []int{32}
	if m := measure(t, j); len(m.Sweep) == 0 || m.Sweep[0].Batch != 8 {
		t.Errorf("a batch that it was not built for: %+v", m.Sweep)
	}
}

func TestAForeignPlanIsRejectedAndSaysWhich(t *testing.T) {
	dir := t.TempDir()
	plan, _ := teamPlan(t, dir)
	whole, err := os.ReadFile(plan)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int) []byte {
		other := bytes.Clone(whole)
		other[at]++
		return other
	}
	for name, c := range map[string]struct {
		content []byte
		kind    engine.Kind
		words   []string
	}{
		"another TensorRT": {changed(25), engine.KindRunFailed, []string{"built by TensorRT", "build it with TensorRT"}},
		"another platform": {changed(28), engine.KindRunFailed, []string{"incompatible", "build it with TensorRT"}},
		"half a file":      {whole[:len(whole)/2], engine.KindInvalidModel, []string{"push the whole file"}},
		"no plan":          {bytes.Repeat([]byte("no plan "), 1000), engine.KindInvalidModel, []string{"push the whole file"}},
	} {
		j := job(t, dir, engine.AsBuilt, "")
		j.Digest = "" // not kept
		j.ModelPath = filepath.Join(t.TempDir(), "model.plan")
		if err := os.WriteFile(j.ModelPath, c.content, 0o644); err != nil {
			t.Fatal(err)
		}
		b := New(Options{})
		_, err := bench.Measure(t.Context(), b, j, nil)
		if err == nil {
			t.Errorf("%s: it is measured", name)
		} else if e := engine.AsError(err); e.Kind != c.kind {
			t.Errorf("%s: %s, want %s: %v", name, e.Kind, c.kind, err)
		} else {
			for _, want := range c.words {
				if !strings.Contains(e.Error(), want) {
					t.Errorf("%s: %v; want %q", name, e, want)
				}
			}
		}
		t.Logf("%s: %v", name, err)
		_ = b.Close()
	}
}
