// Package trt builds, measures and inspects TensorRT engines from Go.
//
// # Building
//
// The binding to TensorRT is compiled only with the build tag tensorrt and cgo;
// it needs the headers of TensorRT 10 or 11 and of CUDA (CGO_CXXFLAGS), and no
// library: libnvinfer, libnvonnxparser, libnvinfer_plugin and libcuda.so.1 are
// opened at run time. A binary built so therefore starts on any machine. Without
// the tag every type and function of the package is there as well, and [Open]
// returns an error that wraps [ErrUnavailable] and says so.
//
// # Finding the libraries
//
// [Open] looks in Options.LibraryPath, in the folders that the environment
// variable TRT_LIBRARY_PATH lists, where the dynamic loader looks (LD_LIBRARY_PATH
// and the system's cache), then in the usual installation folders. What is
// missing, where it was looked for and which other version lies there is in the
// [UnavailableError]. The libraries must have the major version of the headers, and
// at least their minor version. Once opened they stay for the life of the process:
// unloading a library under a live engine is a crash.
//
// A missing NVIDIA driver does not fail Open: versions can be asked for on any
// machine. [Library.Devices], [Library.NewBuilder] and [Library.NewRuntime] fail
// with an error that wraps [ErrNoDevice].
//
// # Ownership
//
// Builder, Network, Runtime, Engine, Context and Bencher hold native memory and
// must be closed; there are no finalizers. Close may be called more than once and
// in any order: a parent stays alive natively until its last child is closed. A
// call on a closed object returns [ErrClosed]. [Live] counts what is open. Byte
// slices handed in are copied or used only during the call; byte slices handed
// out belong to the caller.
//
// # Threads
//
// Every object may be used from any goroutine. Calls on one Builder (with its
// Networks), one Context or one Bencher are serialised by the object: a second
// caller waits. A Library, a Runtime and an Engine serve concurrent callers. Close
// waits for the call in progress. The CUDA primary context of a device is made
// current for each call and restored after it, so goroutines may move between
// threads; it is retained for the life of the process.
//
// TensorRT logs through one logger for the process. An error and a build result
// carry the lines that arrived during the call; calls that overlap in time see
// each other's lines.
//
// # Units
//
// Times are in seconds (float64) or time.Duration, sizes in bytes, shapes in
// elements with -1 for a dimension fixed only at run time.
package trt
