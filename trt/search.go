package trt

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// LibraryPathVariable names the environment variable with folders to look for
// the TensorRT libraries in, separated by colons.
const LibraryPathVariable = "TRT_LIBRARY_PATH"

// usualFolders hold TensorRT after an ordinary installation: Debian and RPM
// packages, NVIDIA's archives and containers, the Python wheels.
var usualFolders = []string{
	"/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64",
	"/usr/local/tensorrt/lib", "/opt/tensorrt/lib", "/usr/local/TensorRT/lib",
	"/usr/local/lib/python3*/dist-packages/tensorrt_libs", "/usr/lib/python3*/dist-packages/tensorrt_libs",
	"/usr/local/cuda/lib64",
}

// searchPath is the order of places in which a library is tried.
type searchPath struct {
	first []string // before the dynamic loader's own places
	last  []string // after them
}

func newSearchPath(o Options, getenv func(string) string, glob func(string) ([]string, error)) searchPath {
	var s searchPath
	listed := map[string]bool{}
	add := func(list *[]string, dir string) {
		if dir == "" {
			return
		}
		dir = filepath.Clean(dir)
		if !listed[dir] {
			listed[dir] = true
			*list = append(*list, dir)
		}
	}
	for _, d := range o.LibraryPath {
		add(&s.first, d)
	}
	for _, d := range filepath.SplitList(getenv(LibraryPathVariable)) {
		add(&s.first, d)
	}
	for _, pattern := range usualFolders {
		if !strings.Contains(pattern, "*") {
			add(&s.last, pattern)
			continue
		}
		matches, _ := glob(pattern)
		for _, d := range matches {
			add(&s.last, d)
		}
	}
	return s
}

// open tries name in every place. dlopen returns what the loader said when it
// fails; a file that is there but cannot be opened ends the search, since its
// error is the one to show.
func (s searchPath) open(name string, exists func(string) bool, dlopen func(string) error) (where string, err error) {
	var looked []string
	reason := ""
	inFolder := func(dirs []string) (string, bool) {
		for _, d := range dirs {
			looked = append(looked, d)
			p := filepath.Join(d, name)
			if !exists(p) {
				continue
			}
			if e := dlopen(p); e != nil {
				reason = e.Error()
				return "", true
			}
			return p, true
		}
		return "", false
	}
	if p, done := inFolder(s.first); done {
		return p, s.failure(name, p, looked, reason)
	}
	looked = append(looked, "the dynamic loader's path")
	if e := dlopen(name); e == nil {
		return name, nil
	} else {
		reason = e.Error()
	}
	p, _ := inFolder(s.last)
	return p, s.failure(name, p, looked, reason)
}

func (s searchPath) failure(name, opened string, looked []string, reason string) error {
	if opened != "" {
		return nil
	}
	return &UnavailableError{Library: name, Searched: looked, Found: s.others(name), Reason: reason}
}

// others lists files of other versions of the library, so that the message can
// say what is installed.
func (s searchPath) others(name string) []string {
	stem, _, _ := strings.Cut(name, ".so")
	var found []string
	for _, d := range append(append([]string{}, s.first...), s.last...) {
		entries, err := os.ReadDir(d)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if n := e.Name(); n != name && (n == stem+".so" || strings.HasPrefix(n, stem+".so.")) {
				found = append(found, filepath.Join(d, n))
			}
		}
	}
	sort.Strings(found)
	return found
}

func fileExists(p string) bool {
	info, err := os.Stat(p)
	return err == nil && !info.IsDir()
}
