package host

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A process that is started on chosen cores may use those alone, and this one
// may use all that it could before.
func TestOnCores(t *testing.T) {
	before, err := affinity()
	if err != nil {
		t.Fatal(err)
	}
	last := before[len(before)-1]
	var out strings.Builder
	cmd := exec.Command("grep", "Cpus_allowed_list", "/proc/self/status")
	cmd.Stdout = &out
	if err := OnCores([]int{last}, cmd.Start); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, list, _ := strings.Cut(strings.TrimSpace(out.String()), "\t"); list != strings.TrimSpace(list) || list == "" || strings.ContainsAny(list, ",-") {
		t.Errorf("the child may use %q", out.String())
	}
	after, err := affinity()
	if err != nil || !slices.Equal(before, after) {
		t.Errorf("before %v, after %v, %v", before, after, err)
	}
}

func TestCoresThatAreNotThereAreRefused(t *testing.T) {
	err := OnCores([]int{1023}, func() error { t.Error("it was started"); return nil })
	if err == nil || !strings.Contains(err.Error(), "benchmark.cores") {
		t.Errorf("%v", err)
	}
}
