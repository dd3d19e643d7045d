package standing_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/plancast/plancast/"

func list(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// Everything flows one way: standing presents nothing, and what presents the
// state is used by the programs only.
func TestPresentersAreNoPartOfTheDerivation(t *testing.T) {
	deps := list(t, "-deps", ".")
	for _, presenter := range []string{"report", "metrics", "notify", "daemon"} {
		if slices.Contains(deps, module+"exporter/"+presenter) {
			t.Errorf("standing depends on %s", presenter)
		}
	}
	for _, foreign := range []string{"net/http", "html/template"} {
		if slices.Contains(deps, foreign) {
			t.Errorf("standing depends on %s", foreign)
		}
	}
	users := []string{module + "exporter", module + "exporter/daemon", module + "exporter/fleet", module + "exporter/web"}
	for _, line := range list(t, "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...") {
		words := strings.Fields(line)
		if slices.Contains(words[1:], module+"exporter/report") && !slices.Contains(users, words[0]) && !strings.HasSuffix(words[0], "test") {
			t.Errorf("%s imports report: only what shows the state does", words[0])
		}
	}
}
