package onnxruntime

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/ort"
)

// LibraryVariable is the environment variable that names the shared library.
const LibraryVariable = "PLANCAST_ONNXRUNTIME_LIBRARY"

const installHint = "run \"make setup\", or install ONNX Runtime and name its shared library in the configuration or in " + LibraryVariable

// systemFolders are searched after the cache, for installed packages.
var systemFolders = []string{
	"/usr/local/lib", "/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
	"/opt/onnxruntime/lib", "/opt/homebrew/lib",
}

// FindLibrary says which shared library would be loaded: the one configured,
// else the one in the environment variable, else the newest in plancast's
// cache, else one of the system's. The error, of KindUnavailable, lists the
// places looked at.
func FindLibrary(configured string) (string, error) {
	for _, given := range []struct{ path, from string }{
		{configured, "the configuration"}, {os.Getenv(LibraryVariable), LibraryVariable},
	} {
		if given.path == "" {
			continue
		}
		if info, err := os.Stat(given.path); err != nil || info.IsDir() {
			e := engine.Errorf(engine.KindUnavailable, "find ONNX Runtime", given.path, "%s names it, but it is not a file", given.from)
			e.Hint = installHint
			return "", e
		}
		return given.path, nil
	}
	var looked []string
	if cache := cacheFolder(); cache != "" {
		pattern := filepath.Join(cache, "onnxruntime", "*", "libonnxruntime.so*")
		looked = append(looked, pattern)
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return slices.MaxFunc(found, func(a, b string) int {
				return compareVersions(filepath.Base(filepath.Dir(a)), filepath.Base(filepath.Dir(b)))
			}), nil
		}
	}
	for _, dir := range systemFolders {
		looked = append(looked, dir)
		for _, pattern := range []string{"libonnxruntime.so", "libonnxruntime.so.*", "libonnxruntime.dylib"} {
			if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
				return found[len(found)-1], nil
			}
		}
	}
	return "", &engine.Error{
		Kind: engine.KindUnavailable, Op: "find ONNX Runtime", Message: "no libonnxruntime in " + strings.Join(looked, ", "), Hint: installHint,
	}
}

// cacheFolder is where set-up puts what plancast downloads.
func cacheFolder() string {
	if dir := os.Getenv("PLANCAST_CACHE"); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "plancast")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".cache", "plancast")
	}
	return ""
}

// compareVersions orders "1.9.0" before "1.32.0".
func compareVersions(a, b string) int {
	pad := func(v string) string {
		var out strings.Builder
		for part := range strings.SplitSeq(v, ".") {
			out.WriteString(strings.Repeat("0", max(0, 12-len(part))) + part)
		}
		return out.String()
	}
	return strings.Compare(pad(a), pad(b))
}

// ONNX Runtime has one environment a process, and unloading it under threads
// that it started is a crash: it is loaded once, on first use, and stays.
var (
	loadMu sync.Mutex
	loaded string // the library in use, "" before
)

// load loads the library. A second backend of the same process shares it; one
// that wants another file is refused.
func load(configured string) error {
	loadMu.Lock()
	defer loadMu.Unlock()
	path, err := FindLibrary(configured)
	if err != nil {
		return err
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	switch loaded {
	case path:
		return nil
	case "":
	default:
		return &engine.Error{
			Kind: engine.KindUnavailable, Op: "load ONNX Runtime", Subject: path,
			Message: "this process already uses " + loaded, Hint: "use one library per process",
		}
	}
	// ONNX Runtime reads the variable when it starts: without it some builds write a
	// device ID below the home folder and look up a collector before anybody can ask
	// them not to.
	if err := os.Setenv("ORT_DISABLE_TELEMETRY", "1"); err != nil {
		return engine.Errorf(engine.KindUnavailable, "load ONNX Runtime", path, "%v", err)
	}
	if err := ort.Open(path); err != nil {
		e := engine.Errorf(engine.KindUnavailable, "load ONNX Runtime", path, "%v", err)
		e.Hint = installHint
		return e
	}
	loaded = path
	return nil
}

var errClosed = errors.New("the engine is closed")
