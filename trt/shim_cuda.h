//go:build tensorrt && cgo

// Failures, the libraries' functions and what lives on a device: for all of the shim.
#ifndef PLANCAST_SHIM_CUDA_H
#define PLANCAST_SHIM_CUDA_H

#include "shim.h"

#include <NvInfer.h>
#include <cuda.h>

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <map>
#include <mutex>
#include <new>
#include <string>

namespace shim {

using Clock = std::chrono::steady_clock;

inline double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

// ---- failures ---------------------------------------------------------------

struct Failure {
  int32_t kind;
  int32_t cuda;
  std::string text;
};

[[noreturn]] __attribute__((format(printf, 2, 3))) inline void fail(int32_t kind, const char* format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  throw Failure{kind, 0, text};
}

inline int32_t report(trt_error* err, int32_t kind, int32_t cuda, const char* text) {
  err->kind = kind;
  err->cuda = cuda;
  snprintf(err->text, sizeof err->text, "%s", text);
  return kind;
}

// Runs a function behind the C face: whatever it throws becomes an error.
template <typename F>
inline int32_t guarded(trt_error* err, F&& f) noexcept {
  try {
    f();
    return TRT_OK;
  } catch (const Failure& x) {
    return report(err, x.kind, x.cuda, x.text.c_str());
  } catch (const std::bad_alloc&) {
    return report(err, TRT_E_MEMORY, 0, "the host is out of memory");
  } catch (const std::exception& x) {
    return report(err, TRT_E_INTERNAL, 0, x.what());
  } catch (...) {
    return report(err, TRT_E_INTERNAL, 0, "unknown C++ exception");
  }
}

// ---- the libraries' functions ------------------------------------------------

// The names are those the driver exports; cuda.h maps some of them to others, by
// version, so nothing of cuda.h is called by its own name.
#define CUDA_FUNCTIONS(X)                                                                \
  X(init, "cuInit", (unsigned))                                                          \
  X(driver_version, "cuDriverGetVersion", (int*))                                        \
  X(error_name, "cuGetErrorName", (CUresult, const char**))                              \
  X(error_text, "cuGetErrorString", (CUresult, const char**))                            \
  X(device_count, "cuDeviceGetCount", (int*))                                            \
  X(device_get, "cuDeviceGet", (CUdevice*, int))                                         \
  X(device_name, "cuDeviceGetName", (char*, int, CUdevice))                              \
  X(device_memory, "cuDeviceTotalMem_v2", (size_t*, CUdevice))                           \
  X(device_attribute, "cuDeviceGetAttribute", (int*, CUdevice_attribute, CUdevice))      \
  X(device_uuid, "cuDeviceGetUuid_v2", (CUuuid*, CUdevice))                              \
  X(device_pci, "cuDeviceGetPCIBusId", (char*, int, CUdevice))                           \
  X(primary_retain, "cuDevicePrimaryCtxRetain", (CUcontext*, CUdevice))                  \
  X(ctx_push, "cuCtxPushCurrent_v2", (CUcontext))                                        \
  X(ctx_pop, "cuCtxPopCurrent_v2", (CUcontext*))                                         \
  X(mem_info, "cuMemGetInfo_v2", (size_t*, size_t*))                                     \
  X(mem_alloc, "cuMemAlloc_v2", (CUdeviceptr*, size_t))                                  \
  X(mem_free, "cuMemFree_v2", (CUdeviceptr))                                             \
  X(host_alloc, "cuMemHostAlloc", (void**, size_t, unsigned))                            \
  X(host_free, "cuMemFreeHost", (void*))                                                 \
  X(to_device, "cuMemcpyHtoD_v2", (CUdeviceptr, const void*, size_t))                    \
  X(to_host, "cuMemcpyDtoH_v2", (void*, CUdeviceptr, size_t))                            \
  X(to_device_async, "cuMemcpyHtoDAsync_v2", (CUdeviceptr, const void*, size_t, CUstream)) \
  X(to_host_async, "cuMemcpyDtoHAsync_v2", (void*, CUdeviceptr, size_t, CUstream))       \
  X(stream_create, "cuStreamCreate", (CUstream*, unsigned))                              \
  X(stream_destroy, "cuStreamDestroy_v2", (CUstream))                                    \
  X(stream_sync, "cuStreamSynchronize", (CUstream))                                      \
  X(stream_wait, "cuStreamWaitEvent", (CUstream, CUevent, unsigned))                     \
  X(event_create, "cuEventCreate", (CUevent*, unsigned))                                 \
  X(event_destroy, "cuEventDestroy_v2", (CUevent))                                       \
  X(event_record, "cuEventRecord", (CUevent, CUstream))                                  \
  X(event_sync, "cuEventSynchronize", (CUevent))                                         \
  X(event_query, "cuEventQuery", (CUevent))                                              \
  X(event_elapsed, "cuEventElapsedTime", (float*, CUevent, CUevent))                     \
  X(capture_begin, "cuStreamBeginCapture_v2", (CUstream, CUstreamCaptureMode))           \
  X(capture_end, "cuStreamEndCapture", (CUstream, CUgraph*))                             \
  X(graph_instantiate, "cuGraphInstantiateWithFlags", (CUgraphExec*, CUgraph, unsigned long long)) \
  X(graph_destroy, "cuGraphDestroy", (CUgraph))                                          \
  X(graph_launch, "cuGraphLaunch", (CUgraphExec, CUstream))                              \
  X(graph_exec_destroy, "cuGraphExecDestroy", (CUgraphExec))

struct Cuda {
#define X(field, symbol, params) CUresult(*field) params = nullptr;
  CUDA_FUNCTIONS(X)
#undef X
  bool loaded = false;
};
inline Cuda cu;

struct TensorRt {
  void* (*create_builder)(void* logger, int32_t version) = nullptr;
  void* (*create_runtime)(void* logger, int32_t version) = nullptr;
  void* (*create_parser)(void* network, void* logger, int version) = nullptr;
  int32_t (*major)() = nullptr;
  int32_t (*minor)() = nullptr;
  int32_t (*patch)() = nullptr;
  int32_t (*build)() = nullptr;
  bool (*init_plugins)(void* logger, const char* name_space) = nullptr;
  char driver[64] = "";
};
inline TensorRt rt;

inline void check(CUresult r, const char* what) {
  if (r == CUDA_SUCCESS) return;
  const char *name = nullptr, *text = nullptr;
  if (cu.error_name) cu.error_name(r, &name);
  if (cu.error_text) cu.error_text(r, &text);
  int32_t kind = TRT_E_CUDA;
  switch (r) {
    case CUDA_ERROR_OUT_OF_MEMORY: kind = TRT_E_MEMORY; break;
    case CUDA_ERROR_NO_DEVICE:
    case CUDA_ERROR_INVALID_DEVICE:
    case CUDA_ERROR_STUB_LIBRARY:
    case CUDA_ERROR_DEVICE_UNAVAILABLE:
    case CUDA_ERROR_SYSTEM_DRIVER_MISMATCH:
    case CUDA_ERROR_SYSTEM_NOT_READY: kind = TRT_E_DEVICE; break;
    default: break;
  }
  throw Failure{kind, static_cast<int32_t>(r),
                std::string(what) + ": " + (name ? name : "CUDA error " + std::to_string(r)) + (text ? std::string(": ") + text : "")};
}

// ---- devices ------------------------------------------------------------------

inline void need_driver() {
  if (!cu.loaded) fail(TRT_E_DEVICE, "the NVIDIA driver's libcuda.so.1 is missing");
  static std::mutex mutex;
  static bool ready = false;
  std::lock_guard<std::mutex> lock(mutex);
  if (ready) return;
  CUresult r = cu.init(0);
  if (r != CUDA_SUCCESS) {
    try {
      check(r, "cuInit");
    } catch (Failure& f) {
      f.kind = TRT_E_DEVICE;
      throw;
    }
  }
  ready = true;
}

// Retained for the life of the process: TensorRT's own CUDA runtime uses the same
// primary context and does not survive its end.
inline CUcontext primary(int32_t device) {
  need_driver();
  static std::mutex mutex;
  static std::map<int32_t, CUcontext> contexts;
  std::lock_guard<std::mutex> lock(mutex);
  auto it = contexts.find(device);
  if (it != contexts.end()) return it->second;
  int count = 0;
  check(cu.device_count(&count), "cuDeviceGetCount");
  if (device < 0 || device >= count) fail(TRT_E_DEVICE, "there is no device %d, CUDA sees %d", device, count);
  CUdevice d;
  check(cu.device_get(&d, device), "cuDeviceGet");
  CUcontext c;
  check(cu.primary_retain(&c, d), "cuDevicePrimaryCtxRetain");
  contexts[device] = c;
  return c;
}

// Makes a device current on this thread while it lives.
class Current {
 public:
  explicit Current(int32_t device) { check(cu.ctx_push(primary(device)), "cuCtxPushCurrent"); }
  ~Current() {
    CUcontext c;
    cu.ctx_pop(&c);
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;
};

inline size_t free_memory() {
  size_t free_bytes = 0, total = 0;
  check(cu.mem_info(&free_bytes, &total), "cuMemGetInfo");
  return free_bytes;
}

struct Stream {
  CUstream s = nullptr;
  Stream() { check(cu.stream_create(&s, CU_STREAM_DEFAULT), "cuStreamCreate"); }
  ~Stream() { cu.stream_destroy(s); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  void sync() { check(cu.stream_sync(s), "cuStreamSynchronize"); }
};

struct Event {
  CUevent e = nullptr;
  explicit Event(bool spin) {
    check(cu.event_create(&e, spin ? CU_EVENT_DEFAULT : CU_EVENT_BLOCKING_SYNC), "cuEventCreate");
  }
  ~Event() { cu.event_destroy(e); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(const Stream& s) { check(cu.event_record(e, s.s), "cuEventRecord"); }
  void sync() const { check(cu.event_sync(e), "cuEventSynchronize"); }
  bool done() const {
    CUresult r = cu.event_query(e);
    if (r == CUDA_ERROR_NOT_READY) return false;
    check(r, "cuEventQuery");
    return true;
  }
};

inline double elapsed(const Event& from, const Event& to) {
  float ms = 0;
  check(cu.event_elapsed(&ms, from.e, to.e), "cuEventElapsedTime");
  return ms * 1e-3;
}

struct DeviceBuffer {
  CUdeviceptr p = 0;
  size_t size = 0;
  DeviceBuffer() = default;
  ~DeviceBuffer() { release(); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  void release() {
    if (p) cu.mem_free(p);
    p = 0;
    size = 0;
  }
  void reserve(size_t n) {
    n = std::max<size_t>(n, 1);
    if (n <= size) return;
    release();
    check(cu.mem_alloc(&p, n), "cuMemAlloc");
    size = n;
  }
};

struct HostBuffer {  // page-locked
  void* p = nullptr;
  size_t size = 0;
  HostBuffer() = default;
  ~HostBuffer() {
    if (p) cu.host_free(p);
  }
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;
  void reserve(size_t n) {
    n = std::max<size_t>(n, 1);
    if (n <= size) return;
    if (p) cu.host_free(p);
    p = nullptr;
    check(cu.host_alloc(&p, n, 0), "cuMemHostAlloc");
    size = n;
  }
};

}  // namespace shim

#endif
