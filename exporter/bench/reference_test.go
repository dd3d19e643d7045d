package bench

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
)

// referred is a job whose reference has to be run first.
func referred(t *testing.T, reference fake.Script) Job {
	t.Helper()
	j := job(t, fake.Script{Scale: new(1.1)})
	j.Precision = engine.INT8
	j.ReferenceModel = &ReferenceModel{ModelPath: job(t, reference).ModelPath, Digest: "d"}
	j.ReferenceName, j.ReferencePath = "version 7 fp32", filepath.Join(t.TempDir(), "reference.npz")
	return j
}

func TestTheOutputsOfAReferenceAreMadeAndKept(t *testing.T) {
	j := referred(t, fake.Script{})
	m, err := Measure(context.Background(), fake.New(), j, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := m.Accuracy; a == nil || a.Reference != "version 7 fp32" || math.Abs(a.Deviation-0.1) > 1e-6 {
		t.Errorf("%+v, warnings %q", a, m.Warnings)
	}
	// The next job finds them.
	j.ReferenceModel = nil
	again, err := Measure(context.Background(), fake.New(), j, nil)
	if err != nil || again.Accuracy == nil || *again.Accuracy.Top1Agreement != *m.Accuracy.Top1Agreement || again.Accuracy.Deviation != m.Accuracy.Deviation {
		t.Errorf("%+v, %v; want %+v", again.Accuracy, err, m.Accuracy)
	}
}

func TestAReferenceThatDoesNotRunCostsTheAccuracyAlone(t *testing.T) {
	for name, s := range map[string]fake.Script{
		"it does not build": {Fault: fake.BuildFailed}, "it does not load": {Fault: fake.OutOfMemory, At: "load"}, "it does not run": {Fault: fake.RunFailed, At: "infer"},
	} {
		j := referred(t, s)
		m, err := Measure(context.Background(), fake.New(), j, nil)
		if err != nil || m.Accuracy != nil || len(m.Warnings) != 1 || !strings.HasPrefix(m.Warnings[0], "accuracy was not measured: run the reference version 7 fp32: ") {
			t.Errorf("%s: %+v, %v, warnings %q", name, m.Accuracy, err, m.Warnings)
		}
		if _, err := os.Stat(j.ReferencePath); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: outputs are kept: %v", name, err)
		}
	}
}

// Against labels alone, the deviation is the share of wrong answers.
func TestLabelsMayBeTheReference(t *testing.T) {
	j := job(t, fake.Script{})
	j.InputsPath = write(t, "inputs.npz", floats("x", []int64{4, 4}, 9, 0, 0, 0, 0, 9, 0, 0, 0, 0, 9, 0, 0, 0, 0, 9))
	j.LabelsPath = write(t, "labels.npy", engine.Tensor{DType: engine.Uint8, Shape: []int64{4}, Data: []byte{0, 1, 2, 0}})
	j.Options.Reference = ReferenceLabels
	m, err := Measure(context.Background(), fake.New(), j, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := m.Accuracy
	if a == nil || a.Measure != deviationError || a.Deviation != 0.25 || *a.Top1 != 0.75 || a.Reference != "labels" || a.ReferenceTop1 != nil || a.Top1Agreement != nil {
		t.Errorf("%+v, warnings %q", a, m.Warnings)
	}
}
