package onnxruntime

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestMachine(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"proc/cpuinfo":                                         "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz\n\nprocessor\t: 1\nmodel name\t: other\n",
		"proc/self/cgroup":                                     "0::/worker/job\n",
		"sys/fs/cgroup/worker/cpu.max":                         "150000 100000\n",
		"sys/fs/cgroup/worker/job/cpu.max":                     "max 100000\n",
		"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	r := root(dir)
	if got := r.cpuModel(); got != "Intel Xeon Platinum 8370C" {
		t.Errorf("CPU %q", got)
	}
	if got := r.cores(8); got != 2 {
		t.Errorf("%d cores under a quota of 1.5", got)
	}
	if got := r.cores(1); got != 1 {
		t.Errorf("%d cores of 1", got)
	}
	if r.governor() != "performance" {
		t.Errorf("governor %q", r.governor())
	}
	if empty := root(t.TempDir()); empty.cores(4) != 4 || empty.governor() != "" || empty.cpuModel() == "" {
		t.Error("a machine that says nothing")
	}
}
