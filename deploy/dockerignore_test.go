package deploy

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The image is built from what .dockerignore lets through: every folder that the
// program imports, and every script that its recipe runs.
func TestTheImageIsBuiltFromAllThatTheProgramNeeds(t *testing.T) {
	ignore, err := os.ReadFile("../.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	list := exec.Command("go", "list", "-deps", "./exporter")
	list.Dir = ".."
	packages, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var needed []string
	for _, m := range regexp.MustCompile(`(?m)^github\.com/plancast/plancast/([^/\n]+)`).FindAllStringSubmatch(string(packages), -1) {
		needed = append(needed, m[1])
	}
	if m := regexp.MustCompile(`(?m)^export CC := \$\(CURDIR\)/(\S+)`).FindStringSubmatch(string(makefile)); m != nil {
		needed = append(needed, m[1])
	}
	if len(needed) < 3 {
		t.Fatalf("only %q is needed: go list or this test is wrong", needed)
	}
	lines := strings.Split(string(ignore), "\n")
	for _, name := range needed {
		if !slices.Contains(lines, "!"+name) {
			t.Errorf(".dockerignore keeps %s out of the image's build", name)
		}
	}
}
