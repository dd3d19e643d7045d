package tensorrt

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/trt"
)

func TestAPlanOfATeamIsKeptAsItIs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "model.plan")
	if err := os.WriteFile(file, []byte("a plan"), 0o644); err != nil {
		t.Fatal(err)
	}
	req := engine.BuildRequest{ModelPath: file, Precision: engine.AsBuilt, Digest: strings.Repeat("ab", 32), WorkDir: t.TempDir(), Kept: engine.Kept{Plans: t.TempDir()}, Progress: func(engine.Progress) {}}
	env := engine.Environment{Backend: Name, BackendVersion: "10.6.0.26", Device: "NVIDIA L4"}
	b := New(Options{})
	first, err := b.adopt(t.Context(), req, env)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(first.Path)
	if err != nil || string(text) != "a plan" || !first.Reused || first.Precision != engine.AsBuilt || first.SizeBytes != 6 {
		t.Errorf("%+v holds %q, %v", first, text, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	again, err := b.adopt(t.Context(), req, env)
	if err != nil || again.Path != first.Path {
		t.Errorf("a second time: %+v, %v", again, err)
	}
	env.BackendVersion = "10.7.0.23" // another TensorRT judges it again
	if _, err := b.adopt(t.Context(), req, env); err == nil || engine.AsError(err).Kind != engine.KindInvalidModel {
		t.Errorf("a plan that is gone: %v", err)
	}
}

func TestAPlanThatCannotBeLoadedSaysWhichItIsFor(t *testing.T) {
	env := engine.Environment{Backend: Name, BackendVersion: "10.6.0.26", Device: "NVIDIA L4"}
	for name, c := range map[string]struct {
		err   error
		kind  engine.Kind
		words []string
	}{
		"another TensorRT": {
			fmt.Errorf("tensorrt: load plan: %w: it was built by TensorRT 10.3.0.26, this is 10.6.0.26; build it again", trt.ErrIncompatiblePlan),
			engine.KindRunFailed, []string{"built by TensorRT 10.3.0.26", "build it with TensorRT 10.6.0.26 for NVIDIA L4"},
		},
		"another GPU": {
			&trt.Error{Op: "load plan", Kind: trt.ErrIncompatiblePlan, Text: "it was built for a GPU of compute capability 9.0, this one has 8.9"},
			engine.KindRunFailed, []string{"compute capability 9.0, this one has 8.9", "for NVIDIA L4"},
		},
		"a torn file": {fmt.Errorf("tensorrt: load plan: %w", trt.ErrCorruptPlan), engine.KindInvalidModel, []string{"push the whole file"}},
		"no memory":   {fmt.Errorf("tensorrt: load plan: %w", trt.ErrOutOfMemory), engine.KindOutOfMemory, []string{"free memory of the GPU"}},
	} {
		err := foreign(t.Context(), env, c.err)
		e := engine.AsError(err)
		if e.Kind != c.kind {
			t.Errorf("%s: %s, want %s", name, e.Kind, c.kind)
		}
		for _, want := range c.words {
			if !strings.Contains(e.Error(), want) {
				t.Errorf("%s: %v; want %q", name, e, want)
			}
		}
	}
}
