package candidate

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A version may hold a TensorRT plan that a team built itself.
func TestAPlanIsACandidate(t *testing.T) {
	r := newRepo(t)
	r.write("net/1/model.plan", "a plan")
	r.write("net/2/model.plan", "a plan")
	r.write("net/2/calibration.npz", "what nothing is built from")
	r.write("net/2/inputs.npz", "inputs")
	r.write("net/3/model.plan", "a plan")
	r.write("net/3/model.onnx", "a model")
	s := r.scan(9)
	if len(s.Refused)+len(s.Pending) > 0 || !slices.Equal(identified(s), []string{"net/1", "net/2", "net/3"}) {
		t.Fatalf("%+v", s)
	}
	for i, want := range []struct{ file, digest string }{{PlanFile, sum("a plan")}, {PlanFile, sum("a plan")}, {ModelFile, sum("a model")}} {
		if c := s.Models["net"][i]; c.File() != want.file || c.Digest != want.digest {
			t.Errorf("version %s is %s with the digest %.12s, want %s with %.12s", c.Version, c.File(), c.Digest, want.file, want.digest)
		}
	}
	if s.Models["net"][1].DataDigest == "" {
		t.Error("the inputs beside a plan are not read")
	}
	if len(s.Notes) != 1 || s.Notes[0].Path != "net/3/model.plan" || !strings.Contains(s.Notes[0].Text, "the version has model.onnx") {
		t.Errorf("notes %+v", s.Notes)
	}
	dir := t.TempDir()
	if err := r.Stage(t.Context(), s.Models["net"][1], dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, PlanFile)); err != nil || string(text) != "a plan" {
		t.Errorf("staged: %q, %v", text, err)
	}
}

func TestAMisplacedPlanIsRefusedByName(t *testing.T) {
	r := newRepo(t, "a/model.plan", "b/1/net.plan", "c/1/sub/model.plan", "c/2/model.onnx", "d/v1/model.plan")
	want := map[string]string{
		"a/model.plan":       "move it to a/1/model.plan",
		"b/1":                "it holds net.plan: name the candidate's file model.plan",
		"c/1/sub/model.plan": "it is nested too deep: a candidate is <model>/<version>/model.plan",
		"d/v1":               `"v1" cannot be a version`,
	}
	for _, x := range r.scan(0).Refused {
		if want[x.Path] == "" || !strings.Contains(x.Reason, want[x.Path]) {
			t.Errorf("refused %s: %s", x.Path, x.Reason)
		}
		delete(want, x.Path)
	}
	if len(want) > 0 {
		t.Errorf("not refused: %v", want)
	}
}
