package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// The Dockerfile cannot be built where there is no Docker. So it is read by
// buildkit's own parser, and what it refers to is looked for.
func TestDockerfile(t *testing.T) {
	f, err := os.Open(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ast, err := parser.Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(ast.Warnings) > 0 {
		t.Errorf("warnings: %+v", ast.Warnings)
	}
	stages, arguments, err := instructions.Parse(ast.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	base := map[string]string{}
	for _, a := range arguments {
		for _, kv := range a.Args {
			if kv.Value == nil || !strings.Contains(*kv.Value, ":") {
				t.Errorf("%s is no image with a tag", kv.Key)
				continue
			}
			base["${"+kv.Key+"}"] = *kv.Value
		}
	}
	ignored, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	sent := func(path string) bool {
		path = filepath.Clean(path)
		for {
			if strings.Contains(string(ignored), "\n!"+path+"\n") {
				return true
			}
			if path = filepath.Dir(path); path == "." {
				return false
			}
		}
	}
	var names []string
	for _, s := range stages {
		if _, ok := base[s.BaseName]; !ok && !slices.Contains(names, s.BaseName) {
			t.Errorf("stage %s is from %s, which is neither a stage nor a pinned image", s.Name, s.BaseName)
		}
		user, entry, described := "", false, map[string]bool{}
		var health []string
		for _, c := range s.Commands {
			switch c := c.(type) {
			case *instructions.CopyCommand:
				if c.From != "" {
					if !slices.Contains(names, c.From) {
						t.Errorf("stage %s copies from %s, which is no stage before it", s.Name, c.From)
					}
					continue
				}
				for _, path := range c.SourcePaths {
					if _, err := os.Stat(filepath.Join(root, path)); err != nil {
						t.Errorf("stage %s copies what does not exist: %v", s.Name, err)
					} else if path != "." && !sent(path) {
						t.Errorf("stage %s copies %s, which .dockerignore holds back", s.Name, path)
					}
				}
			case *instructions.UserCommand:
				user = c.User
			case *instructions.EntrypointCommand:
				entry = true
			case *instructions.LabelCommand:
				for _, l := range c.Labels {
					described[strings.Trim(l.Key, `"`)] = l.Value != ""
				}
			case *instructions.HealthCheckCommand:
				health = c.Health.Test
			}
		}
		if entry {
			for _, label := range []string{"title", "source", "licenses", "version", "revision"} {
				if !described["org.opencontainers.image."+label] {
					t.Errorf("stage %s does not say its %s", s.Name, label)
				}
			}
			if len(health) != 4 || !strings.Contains(health[3], "/-/healthy") || exec.CommandContext(t.Context(), "bash", "-n", "-c", health[3]).Run() != nil {
				t.Errorf("stage %s has no health check that bash can read: %q", s.Name, health)
			}
		}
		if entry && (user == "" || strings.HasPrefix(user, "root") || strings.HasPrefix(user, "0")) {
			t.Errorf("stage %s runs plancast as root", s.Name)
		}
		names = append(names, s.Name)
	}
	if names[len(names)-1] != "cpu" || !slices.Contains(names, "tensorrt") {
		t.Errorf("stages %v; want tensorrt, and cpu as the last, which is the default", names)
	}
	// The compiler is the one that go.mod asks for.
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(mod)
	if image := base["${GO_IMAGE}"]; version == nil || !strings.HasPrefix(image, "golang:"+string(version[1])+"-") {
		t.Errorf("%s does not have the Go of go.mod, %s", image, version[1])
	}
}
