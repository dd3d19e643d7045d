package trt

import (
	"fmt"
	"strings"
)

// Versions are what was found at run time. An empty field is unknown.
type Versions struct {
	TensorRT string // libnvinfer, "10.6.0.26"
	Headers  string // the TensorRT headers compiled against
	CUDA     string // the newest CUDA the driver serves, "13.0"
	Driver   string // the kernel driver, "580.159.04"
	// Libraries are the files opened, by library file name.
	Libraries map[string]string
}

// Require demands versions. Each is a prefix by components: "10.6" is met by
// 10.6.0.26, not by 10.60. An empty field demands nothing.
type Require struct {
	TensorRT string
	CUDA     string
	Driver   string
}

// VersionMismatch is one demand that is not met.
type VersionMismatch struct {
	What  string // "TensorRT", "CUDA" or "driver"
	Want  string
	Found string // empty when unknown
}

// VersionError lists every demand that is not met.
type VersionError struct{ Mismatches []VersionMismatch }

func (e *VersionError) Error() string {
	parts := make([]string, len(e.Mismatches))
	for i, m := range e.Mismatches {
		found := m.Found
		if found == "" {
			found = "none"
		}
		parts[i] = fmt.Sprintf("%s %s is required, found %s", m.What, m.Want, found)
	}
	return "version lock: " + strings.Join(parts, "; ")
}

// Check compares the demands with what was found; the error is a *VersionError.
func (r Require) Check(v Versions) error {
	var bad []VersionMismatch
	for _, c := range []VersionMismatch{
		{"TensorRT", r.TensorRT, v.TensorRT}, {"CUDA", r.CUDA, v.CUDA}, {"driver", r.Driver, v.Driver},
	} {
		if !versionMatches(c.Want, c.Found) {
			bad = append(bad, c)
		}
	}
	if bad == nil {
		return nil
	}
	return &VersionError{Mismatches: bad}
}

func versionMatches(want, found string) bool {
	if want == "" {
		return true
	}
	w, f := strings.Split(want, "."), strings.Split(found, ".")
	if found == "" || len(w) > len(f) {
		return false
	}
	for i := range w {
		if w[i] != f[i] {
			return false
		}
	}
	return true
}
