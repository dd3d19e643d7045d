package onnxruntime

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// root is the file system that the machine is read from; tests give their own.
type root string

func (r root) read(name string) string {
	b, err := os.ReadFile(filepath.Join(string(r), name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

var spaces = regexp.MustCompile(`\s+`)

// cpuModel is the processor's name without marketing: "Intel Xeon Platinum
// 8370C" of "Intel(R) Xeon(R) Platinum 8370C CPU @ 2.80GHz". The clock is left
// out because virtual machines report it differently from boot to boot.
func (r root) cpuModel() string {
	fields := map[string]string{}
	s := bufio.NewScanner(bytes.NewReader([]byte(r.read("proc/cpuinfo"))))
	for s.Scan() {
		key, value, ok := strings.Cut(s.Text(), ":")
		if key = strings.TrimSpace(key); ok && fields[key] == "" {
			fields[key] = strings.TrimSpace(value)
		}
	}
	name := fields["model name"]
	switch {
	case name != "":
	case fields["CPU implementer"] != "": // arm64 names parts by number
		name = "ARM implementer " + fields["CPU implementer"] + " part " + fields["CPU part"]
	default:
		name = runtime.GOARCH
	}
	name, _, _ = strings.Cut(name, "@")
	name = strings.NewReplacer("(R)", "", "(TM)", "", "(r)", "", "(tm)", "", " CPU", " ", " Processor", " ").Replace(name)
	return strings.TrimSpace(spaces.ReplaceAllString(name, " "))
}

// governor is the frequency governor of the first core, "" when there is none
// to read (virtual machines).
func (r root) governor() string {
	return r.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
}

// cores is how many CPU cores this process may use: the smaller of its
// affinity mask and its control groups' quota.
func (r root) cores(affinity int) int {
	n := affinity
	for _, quota := range r.quotas() {
		if quota < float64(n) {
			n = max(1, int(quota+0.999))
		}
	}
	return n
}

// quotas are the CPU limits, in cores, of the process's control groups and
// their parents, as version 2 and version 1 spell them.
func (r root) quotas() []float64 {
	var out []float64
	add := func(quota, period string) {
		q, errQ := strconv.ParseFloat(quota, 64)
		p, errP := strconv.ParseFloat(period, 64)
		if errQ == nil && errP == nil && q > 0 && p > 0 {
			out = append(out, q/p)
		}
	}
	for line := range strings.SplitSeq(r.read("proc/self/cgroup"), "\n") {
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 {
			continue
		}
		for dir := filepath.Clean("/" + parts[2]); ; dir = filepath.Dir(dir) {
			if parts[1] == "" {
				if quota, period, ok := strings.Cut(r.read("sys/fs/cgroup"+dir+"/cpu.max"), " "); ok {
					add(quota, period)
				}
			} else if strings.Contains(","+parts[1]+",", ",cpu,") {
				base := "sys/fs/cgroup/cpu" + dir
				add(r.read(base+"/cpu.cfs_quota_us"), r.read(base+"/cpu.cfs_period_us"))
			}
			if dir == "/" {
				break
			}
		}
	}
	return out
}

// openPeak opens what starts a new high-water mark of resident memory; nil where the
// kernel has none. It is opened before the process is confined.
func openPeak() *os.File {
	f, err := os.OpenFile("/proc/self/clear_refs", os.O_WRONLY, 0)
	if err != nil {
		return nil
	}
	return f
}

// resetPeak starts a new high-water mark; without one the mark is the process's own.
func (b *Backend) resetPeak() {
	if b.peak != nil {
		_, _ = b.peak.WriteString("5")
	}
}

// peakResident is the high-water mark in bytes, and false where there is none.
func (r root) peakResident() (int64, bool) {
	for line := range strings.SplitSeq(r.read("proc/self/status"), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kib << 10, err == nil
		}
	}
	return 0, false
}
