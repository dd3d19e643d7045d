package pass

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
)

// pushPlan adds a version that holds a plan.
func pushPlan(t *testing.T, r *Runner, model, version string) {
	t.Helper()
	file := filepath.Join(r.Config.Repository.URL, model, version, "model.plan")
	old := time.Now().Add(-time.Hour)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(model+version), 0o644), os.Chtimes(file, old, old)); err != nil {
		t.Fatal(err)
	}
}

func TestAPlanIsMeasuredOnceAsItWasBuilt(t *testing.T) {
	m := &machine{gpus: []engine.Environment{h100}}
	r := runner(t, m, nil, map[string][]string{"net": {"1"}})
	pushPlan(t, r, "net", "2")
	if err := r.Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var plans []bench.Job
	for _, j := range m.jobs {
		if j.Version == "2" {
			plans = append(plans, j)
		}
	}
	if len(m.jobs) != 4 || len(plans) != 1 {
		t.Fatalf("%d jobs, %d of the plan; want three of the model and one of the plan", len(m.jobs), len(plans))
	}
	if j := plans[0]; j.Precision != engine.AsBuilt || filepath.Base(j.ModelPath) != "model.plan" || j.OutputsPath != "" || !strings.HasSuffix(j.ReferenceName, "fp32") {
		t.Errorf("the plan's job is %s of %s, compared with %q", j.Precision, j.ModelPath, j.ReferenceName)
	}
	if plan, err := New(r.Options, records(t, r)).Plan(t.Context(), nil); err != nil || len(plan.Jobs) > 0 {
		t.Errorf("it is planned again: %v, %v", plan.Jobs, err)
	}
	// The next plan takes turns with this one.
	pushPlan(t, r, "net", "3")
	if err := New(r.Options, records(t, r)).Once(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if j := m.jobs[len(m.jobs)-1]; j.Version != "3" || j.Partner == nil || j.Partner.Version != "2" {
		t.Errorf("version %s takes turns with %+v", j.Version, j.Partner)
	}
}

func TestWithoutTensorRTAPlanIsRejectedAndTheOthersAreMeasured(t *testing.T) {
	m := &machine{}
	r := runner(t, m, nil, map[string][]string{"net": {"1"}})
	pushPlan(t, r, "net", "2")
	pushPlan(t, r, "only", "1")
	plan, err := r.Plan(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Jobs) != 3 || plan.Jobs[0].Candidate.Version != "1" || len(plan.Scan.Models["only"]) > 0 {
		t.Errorf("planned: %v, models %v", plan.Jobs, plan.Scan.Models)
	}
	if len(plan.Scan.Refused) != 2 {
		t.Fatalf("refused: %+v", plan.Scan.Refused)
	}
	for i, path := range []string{"net/2", "only/1"} {
		if x := plan.Scan.Refused[i]; x.Path != path || !strings.Contains(x.Reason, "needs a GPU of its kind with TensorRT") || !strings.Contains(x.Reason, "onnxruntime") {
			t.Errorf("refused %s: %s", x.Path, x.Reason)
		}
	}
}
