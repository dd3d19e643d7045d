package pass

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/plancast/plancast/exporter/bench"
)

// surroundings is where what a backend depends on lies: "/" outside of tests.
type surroundings string

// print identifies all that the description of a backend depends on besides the
// configuration: the libraries that were loaded for it, the folders in which
// others would be found first, the devices and the drivers. It only looks at
// them, which is cheap enough for every pass.
func (root surroundings) print(libraries []string, c bench.BackendConfig) string {
	h := sha256.New()
	folders := slices.Clone(c.TensorRTLibraries)
	if c.ONNXRuntimeLibrary != "" {
		folders = append(folders, c.ONNXRuntimeLibrary)
	}
	folders = append(folders, filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))...)
	for _, name := range slices.Concat(libraries, folders, []string{root.at("etc/ld.so.cache")}) {
		stamp(h, name)
	}
	for _, pattern := range []string{"dev/nvidia*", "dev/nvidia-caps/*"} {
		found, _ := filepath.Glob(root.at(pattern)) // the pattern is well formed
		for _, name := range found {
			fmt.Fprintln(h, name)
		}
	}
	// What the kernel writes when it is read has no time of its own.
	for _, name := range []string{
		"proc/driver/nvidia/version", "sys/devices/system/cpu/online", "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
	} {
		root.read(h, name)
	}
	for line := range strings.SplitSeq(root.read(h, "proc/self/cgroup"), "\n") {
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 {
			continue
		}
		for dir := path.Clean("/" + parts[2]); ; dir = path.Dir(dir) { // how many cores it may use
			root.read(h, "sys/fs/cgroup"+dir+"/cpu.max")
			root.read(h, "sys/fs/cgroup/cpu"+dir+"/cpu.cfs_quota_us")
			if dir == "/" {
				break
			}
		}
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func (root surroundings) at(name string) string { return filepath.Join("/", string(root), name) }

// read writes, and returns, what a file of the kernel's says now.
func (root surroundings) read(w io.Writer, name string) string {
	text, err := os.ReadFile(root.at(name))
	fmt.Fprintf(w, "%s %q %t\n", name, text, err == nil)
	return string(text)
}

// stamp writes what changes when a file, or what is in a folder, is replaced.
func stamp(w io.Writer, name string) {
	info, err := os.Stat(name)
	if err != nil {
		fmt.Fprintln(w, name, "is not there")
		return
	}
	inode := uint64(0)
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = s.Ino
	}
	fmt.Fprintln(w, name, info.Size(), info.ModTime().UnixNano(), inode)
}
