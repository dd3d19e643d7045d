package worker

import (
	"path/filepath"
	"slices"
	"strings"
)

// inherited are the variables that a child has from its parent: what the loader, the
// locale, ONNX Runtime, TensorRT, CUDA and the libraries that compute for them read.
// A name that ends in "*" stands for all that begin so. Whatever else the parent
// has, such as the credentials of a cloud or a proxy, is none of a model's business.
var inherited = []string{
	"PATH", "HOME", "XDG_CACHE_HOME", "LD_*", "GLIBC_TUNABLES", "MALLOC_*",
	"LANG", "LANGUAGE", "LC_*", "TZ", "TZDIR",
	"GODEBUG", "GOMAXPROCS", "GORACE",
	"OMP_*", "GOMP_*", "KMP_*", "MKL_*", "OPENBLAS_*",
	"PLANCAST_CACHE", "PLANCAST_ONNXRUNTIME_LIBRARY", "ORT_*",
	// NVIDIA_* as a whole would take NVIDIA_API_KEY along.
	"TRT_*", "CUDA_*", "CUDNN_*", "CUBLAS_*", "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_TF32_OVERRIDE",
}

// Environ is what a child gets of the environment env: what runtimes need, and the
// variables that more names.
func Environ(env, more []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return !slices.Contains(more, name) && !slices.ContainsFunc(inherited, func(known string) bool {
			stem, open := strings.CutSuffix(known, "*")
			return name == known || open && strings.HasPrefix(name, stem)
		})
	})
}

// in is an environment whose temporary files, and caches that are not placed
// elsewhere, are in dir.
func in(dir string, env []string) []string {
	out := append(slices.Clone(env), "TMPDIR="+dir,
		// A native crash says what it was in its first lines; every goroutine's stack
		// would push them out of the log.
		"GOTRACEBACK=single")
	if !slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, cudaCache+"=") }) {
		out = append(out, cudaCache+"="+filepath.Join(dir, "cuda"))
	}
	return out
}

// cudaCache names the folder of kernels that CUDA compiled.
const cudaCache = "CUDA_CACHE_PATH"
