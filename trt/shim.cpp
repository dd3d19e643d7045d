//go:build tensorrt && cgo

#include "shim.h"

#include <NvInfer.h>
#include <NvOnnxParser.h>
#include <cuda.h>
#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

// ---- failures ---------------------------------------------------------------

struct Failure {
  int32_t kind;
  int32_t cuda;
  std::string text;
};

[[noreturn]] __attribute__((format(printf, 2, 3))) void fail(int32_t kind, const char* format, ...) {
  char text[1024];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  throw Failure{kind, 0, text};
}

int32_t report(trt_error* err, int32_t kind, int32_t cuda, const char* text) {
  err->kind = kind;
  err->cuda = cuda;
  snprintf(err->text, sizeof err->text, "%s", text);
  return kind;
}

// Runs a function behind the C face: whatever it throws becomes an error.
template <typename F>
int32_t guarded(trt_error* err, F&& f) noexcept {
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
} cu;

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
} rt;

void check(CUresult r, const char* what) {
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

// ---- log ----------------------------------------------------------------------

// One logger for the process and for ever: TensorRT keeps the first it sees.
class Logger final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* text) noexcept override {
    if (severity > Severity::kINFO) return;
    try {
      std::lock_guard<std::mutex> lock(mutex_);
      lines_.push_back({static_cast<int32_t>(severity), text ? text : ""});
      if (lines_.size() > kKept) {
        lines_.pop_front();
        ++first_;
      }
    } catch (...) {
    }
  }
  uint64_t mark() {
    std::lock_guard<std::mutex> lock(mutex_);
    return first_ + lines_.size();
  }
  bool next(uint64_t* mark, int32_t* severity, char* text, size_t size) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (*mark < first_) *mark = first_;
    if (*mark >= first_ + lines_.size()) return false;
    const Line& l = lines_[*mark - first_];
    *severity = l.severity;
    snprintf(text, size, "%s", l.text.c_str());
    ++*mark;
    return true;
  }

 private:
  static constexpr size_t kKept = 1024;
  struct Line {
    int32_t severity;
    std::string text;
  };
  std::mutex mutex_;
  std::deque<Line> lines_;
  uint64_t first_ = 0;
};

Logger& logger() {
  static Logger* l = new Logger;  // never destroyed: native threads may log at exit
  return *l;
}

// ---- devices ------------------------------------------------------------------

void need_driver() {
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
CUcontext primary(int32_t device) {
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

size_t free_memory() {
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

double elapsed(const Event& from, const Event& to) {
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

// ---- bookkeeping --------------------------------------------------------------

enum Object { kBuilders, kNetworks, kRuntimes, kEngines, kContexts, kBenchers, kObjects };
std::atomic<int64_t> live[kObjects];

template <Object K>
struct Counted {
  Counted() { ++live[K]; }
  ~Counted() { --live[K]; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
};

nvinfer1::Dims make_dims(int32_t rank, const int64_t* dims) {
  if (rank < 0 || rank > TRT_MAX_DIMS) fail(TRT_E_ARGUMENT, "%d dimensions, TensorRT allows %d", rank, TRT_MAX_DIMS);
  nvinfer1::Dims d;
  d.nbDims = rank;
  for (int32_t i = 0; i < rank; ++i) d.d[i] = dims[i];
  return d;
}

void put_dims(const nvinfer1::Dims& d, trt_tensor_info* out) {
  out->rank = std::max(d.nbDims, 0);
  for (int32_t i = 0; i < out->rank && i < TRT_MAX_DIMS; ++i) out->dims[i] = d.d[i];
}

size_t element_bits(nvinfer1::DataType t) {
  switch (static_cast<int32_t>(t)) {
    case 0: case 3: return 32;          // float, int32
    case 1: case 7: return 16;          // half, bfloat16
    case 8: return 64;                  // int64
    case 9: case 10: return 4;          // int4, fp4
    default: return 8;
  }
}

size_t bytes_of(const nvinfer1::Dims& d, nvinfer1::DataType t) {
  size_t n = 1;
  for (int32_t i = 0; i < d.nbDims; ++i) n *= static_cast<size_t>(std::max<int64_t>(d.d[i], 0));
  return (n * element_bits(t) + 7) / 8;
}

// Destroys a TensorRT object with its device current.
template <typename T>
struct OnDevice {
  int32_t device;
  void operator()(T* p) const {
    try {
      Current current(device);
      delete p;
    } catch (...) {
      delete p;
    }
  }
};
template <typename T>
std::shared_ptr<T> own(T* p, int32_t device, const char* what) {
  if (!p) fail(TRT_E_TENSORRT, "%s", what);
  return std::shared_ptr<T>(p, OnDevice<T>{device});
}

struct BuilderState : Counted<kBuilders> {
  int32_t device;
  std::shared_ptr<nvinfer1::IBuilder> builder;
};

struct NetworkState : Counted<kNetworks> {
  std::shared_ptr<BuilderState> parent;
  std::shared_ptr<nvinfer1::INetworkDefinition> network;
  std::shared_ptr<nvonnxparser::IParser> parser;  // owns weights of the network
  std::vector<std::string> functions;             // per error, joined
};

struct RuntimeState : Counted<kRuntimes> {
  int32_t device;
  std::shared_ptr<nvinfer1::IRuntime> runtime;
};

struct EngineState : Counted<kEngines> {
  std::shared_ptr<RuntimeState> parent;
  std::shared_ptr<nvinfer1::ICudaEngine> engine;
  size_t free_before = 0;
  int64_t device_bytes = 0;
  int32_t device() const { return parent->device; }
};

// ---- building -----------------------------------------------------------------

class Monitor final : public nvinfer1::IProgressMonitor {
 public:
  Monitor(uintptr_t callbacks, bool report) : callbacks_(callbacks), report_(report) {}
  void phaseStart(const char* phase, const char* parent, int32_t steps) noexcept override { tell(0, phase, parent, steps); }
  bool stepComplete(const char* phase, int32_t step) noexcept override {
    tell(1, phase, nullptr, step);
    return !cancelled;
  }
  void phaseFinish(const char* phase) noexcept override { tell(2, phase, nullptr, 0); }
  std::atomic<bool> cancelled{false};

 private:
  void tell(int32_t event, const char* phase, const char* parent, int32_t number) {
    if (report_) goTrtProgress(callbacks_, event, const_cast<char*>(phase), const_cast<char*>(parent), number);
  }
  uintptr_t callbacks_;
  bool report_;
};

struct CalibrationInput {
  std::string name;
  nvinfer1::Dims dims;
};

#if NV_TENSORRT_MAJOR < 11
class Calibrator final : public nvinfer1::IInt8EntropyCalibrator2 {
 public:
  struct Input {
    std::string name;
    nvinfer1::DataType type;
    int64_t elements;
    std::vector<float> values;
    DeviceBuffer device;
  };

  int32_t getBatchSize() const noexcept override { return batch; }

  bool getBatch(void* bindings[], const char* names[], int32_t count) noexcept override {
    try {
      if (failed || !source || monitor->cancelled) return false;
      std::vector<char*> wanted;
      std::vector<float*> buffers;
      std::vector<int64_t> elements;
      std::vector<Input*> used;
      for (int32_t i = 0; i < count; ++i) {
        Input* in = find(names[i]);
        if (!in) return stop();
        in->values.resize(in->elements);
        wanted.push_back(const_cast<char*>(names[i]));
        buffers.push_back(in->values.data());
        elements.push_back(in->elements);
        used.push_back(in);
      }
      int32_t got = goTrtBatch(callbacks, count, wanted.data(), buffers.data(), elements.data());
      if (got < 0) return stop();
      if (got == 0) return false;
      for (int32_t i = 0; i < count; ++i) {
        upload(*used[i]);
        bindings[i] = reinterpret_cast<void*>(used[i]->device.p);
      }
      ++batches;
      return true;
    } catch (...) {
      return stop();
    }
  }

  const void* readCalibrationCache(size_t& length) noexcept override {
    length = cache_in.size();
    from_cache = length > 0;
    return length ? cache_in.data() : nullptr;
  }

  void writeCalibrationCache(const void* data, size_t length) noexcept override {
    try {
      cache_out.assign(static_cast<const char*>(data), length);
    } catch (...) {
    }
  }

  uintptr_t callbacks = 0;
  bool source = false;
  Monitor* monitor = nullptr;
  int32_t batch = 1;
  int32_t batches = 0;
  bool from_cache = false;
  bool failed = false;
  std::string cache_in, cache_out;
  std::deque<Input> inputs;

 private:
  Input* find(const char* name) {
    for (auto& i : inputs)
      if (i.name == name) return &i;
    return nullptr;
  }
  bool stop() {
    failed = true;
    monitor->cancelled = true;
    return false;
  }
  template <typename T>
  void upload_as(Input& in) {
    std::vector<T> v(in.values.begin(), in.values.end());
    in.device.reserve(v.size() * sizeof(T));
    check(cu.to_device(in.device.p, v.data(), v.size() * sizeof(T)), "cuMemcpyHtoD of a calibration batch");
  }
  void upload(Input& in) {
    switch (in.type) {
      case nvinfer1::DataType::kFLOAT: upload_as<float>(in); break;
      case nvinfer1::DataType::kINT32: upload_as<int32_t>(in); break;
      case nvinfer1::DataType::kINT64: upload_as<int64_t>(in); break;
      default: fail(TRT_E_UNSUPPORTED, "calibration of input %s: its type", in.name.c_str());
    }
  }
};
#endif

// ---- running ------------------------------------------------------------------

// Gives a tensor whose shape only the run decides its memory.
class OutputMemory final : public nvinfer1::IOutputAllocator {
 public:
  explicit OutputMemory(DeviceBuffer* b) : buffer_(b) {}
  void* reallocateOutputAsync(const char*, void*, uint64_t size, uint64_t, cudaStream_t stream) noexcept override {
    try {
      if (size > buffer_->size) check(cu.stream_sync(reinterpret_cast<CUstream>(stream)), "cuStreamSynchronize");
      buffer_->reserve(size);
      return reinterpret_cast<void*>(buffer_->p);
    } catch (...) {
      return nullptr;
    }
  }
  void notifyShape(const char*, const nvinfer1::Dims& d) noexcept override { dims = d; }
  nvinfer1::Dims dims{};

 private:
  DeviceBuffer* buffer_;
};

// An execution context with the buffers of its inputs and outputs.
class Execution {
 public:
  struct Tensor {
    std::string name;
    bool input = false, host = false;
    nvinfer1::DataType type{};
    size_t bytes = 0;  // of the values
    DeviceBuffer device;
    std::vector<char> values;  // host tensors
    HostBuffer staging;        // transfers
    std::unique_ptr<OutputMemory> allocator;
  };

  Execution(std::shared_ptr<EngineState> engine, int32_t profile) : engine_(std::move(engine)) {
    auto& e = *engine_->engine;
    context_ = own(e.createExecutionContext(), engine_->device(), "createExecutionContext failed");
    // As trtexec does: the layers' names for profilers, and no more, whatever detail
    // the plan carries for the inspector.
    context_->setNvtxVerbosity(nvinfer1::ProfilingVerbosity::kLAYER_NAMES_ONLY);
    if (e.getNbOptimizationProfiles() > 0) {
      Stream setup;
      if (!context_->setOptimizationProfileAsync(profile, setup.s)) fail(TRT_E_TENSORRT, "setting optimization profile %d failed", profile);
      setup.sync();
    }
    for (int32_t i = 0; i < e.getNbIOTensors(); ++i) {
      auto t = std::make_unique<Tensor>();
      t->name = e.getIOTensorName(i);
      t->input = e.getTensorIOMode(t->name.c_str()) == nvinfer1::TensorIOMode::kINPUT;
      t->host = e.getTensorLocation(t->name.c_str()) == nvinfer1::TensorLocation::kHOST;
      t->type = e.getTensorDataType(t->name.c_str());
      tensors.push_back(std::move(t));
    }
  }

  Tensor& tensor(const char* name, bool input) {
    for (auto& t : tensors)
      if (t->name == name && t->input == input) return *t;
    fail(TRT_E_ARGUMENT, "the engine has no %s %s", input ? "input" : "output", name);
  }

  void set_input(const char* name, int32_t rank, const int64_t* dims, const void* data, size_t size) {
    Tensor& t = tensor(name, true);
    nvinfer1::Dims d = make_dims(rank, dims);
    if (bytes_of(d, t.type) != size) fail(TRT_E_ARGUMENT, "input %s: %zu bytes do not fit its shape", name, size);
    if (!context_->setInputShape(name, d)) fail(TRT_E_TENSORRT, "input %s: its shape is refused", name);
    t.bytes = size;
    void* address;
    if (t.host) {
      t.values.assign(static_cast<const char*>(data), static_cast<const char*>(data) + size);
      t.values.reserve(8);
      address = t.values.data();
    } else {
      t.device.reserve(size);
      if (size) check(cu.to_device(t.device.p, data, size), "cuMemcpyHtoD of an input");
      address = reinterpret_cast<void*>(t.device.p);
    }
    if (!context_->setTensorAddress(name, address)) fail(TRT_E_TENSORRT, "input %s: its address is refused", name);
  }

  void prepare_outputs() {
    const char* missing = nullptr;
    if (context_->inferShapes(1, &missing) != 0) fail(TRT_E_ARGUMENT, "the shape of %s is not known", missing ? missing : "a tensor");
    for (auto& p : tensors) {
      Tensor& t = *p;
      if (t.input) continue;
      const char* name = t.name.c_str();
      nvinfer1::Dims d = context_->getTensorShape(name);
      bool open = false;
      for (int32_t i = 0; i < d.nbDims; ++i) open = open || d.d[i] < 0;
      if (t.host) {
        t.bytes = bytes_of(d, t.type);
        t.values.resize(std::max<size_t>(t.bytes, 8));
        if (!context_->setTensorAddress(name, t.values.data())) fail(TRT_E_TENSORRT, "output %s: its address is refused", name);
        continue;
      }
      int64_t most = context_->getMaxOutputSize(name);
      if (most < 0) fail(TRT_E_TENSORRT, "output %s: its size is not known", name);
      t.device.reserve(static_cast<size_t>(most));
      t.bytes = open ? 0 : bytes_of(d, t.type);
      t.allocator.reset();
      if (open) {
        t.allocator = std::make_unique<OutputMemory>(&t.device);
        if (!context_->setOutputAllocator(name, t.allocator.get())) fail(TRT_E_TENSORRT, "output %s: its allocator is refused", name);
      }
      if (!context_->setTensorAddress(name, reinterpret_cast<void*>(t.device.p))) fail(TRT_E_TENSORRT, "output %s: its address is refused", name);
    }
  }

  nvinfer1::Dims output_shape(const Tensor& t) const {
    return t.allocator ? t.allocator->dims : context_->getTensorShape(t.name.c_str());
  }

  bool enqueue(const Stream& s) { return context_->enqueueV3(reinterpret_cast<cudaStream_t>(s.s)); }

  std::shared_ptr<EngineState> engine_;
  std::vector<std::unique_ptr<Tensor>> tensors;
  std::shared_ptr<nvinfer1::IExecutionContext> context_;  // dies before the buffers
};

struct ExecState : Counted<kContexts> {
  int32_t device;
  std::unique_ptr<Execution> x;
  std::unique_ptr<Stream> stream;
  ~ExecState() {
    try {
      Current current(device);
      x.reset();
      stream.reset();
    } catch (...) {
    }
  }
};

// ---- measuring ----------------------------------------------------------------

// A lane is one stream of queries: a context, with streams of its own for copying
// in, computing and copying out, so that the copies of one query run beside the
// computing of another.
struct Lane {
  enum { kInStart, kInEnd, kStart, kEnd, kOutStart, kOutEnd, kEvents };
  struct Query {
    std::unique_ptr<Event> at[kEvents];
    bool running = false;
    Clock::time_point submitted, enqueue_start, enqueue_end;
  };

  Lane(std::shared_ptr<EngineState> e, const trt_bench_options& o) : x(std::move(e), o.profile), queries(o.depth) {}
  ~Lane() {
    if (graph) cu.graph_exec_destroy(graph);
  }

  // Streams are made after every lane's context, in the order in, compute, out: the
  // driver deals streams out to few hardware queues in turn, and lanes whose compute
  // streams share a queue hold each other up.
  void open(bool spin, bool capture_graph) {
    in = std::make_unique<Stream>();
    compute = std::make_unique<Stream>();
    out = std::make_unique<Stream>();
    for (auto& q : queries)
      for (auto& ev : q.at) ev = std::make_unique<Event>(spin);
    // The first query does what may not be captured, such as allocating.
    if (!x.enqueue(*compute)) fail(TRT_E_TENSORRT, "the first query failed");
    compute->sync();
    if (capture_graph) capture();
  }

  void capture() {
    check(cu.capture_begin(compute->s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL), "cuStreamBeginCapture");
    bool ok = x.enqueue(*compute);
    CUgraph g = nullptr;
    CUresult r = cu.capture_end(compute->s, &g);
    if (!ok || r != CUDA_SUCCESS) {
      if (g) cu.graph_destroy(g);
      fail(TRT_E_UNSUPPORTED, "the engine cannot be captured in a CUDA graph");
    }
    r = cu.graph_instantiate(&graph, g, 0);
    cu.graph_destroy(g);
    check(r, "cuGraphInstantiate");
  }

  void submit(bool transfers) {
    Query& q = queries[next];
    q.submitted = Clock::now();
    if (transfers) {
      q.at[kInStart]->record(*in);
      for (auto& t : x.tensors)
        if (t->input && !t->host) check(cu.to_device_async(t->device.p, t->staging.p, t->bytes, in->s), "cuMemcpyHtoDAsync");
      q.at[kInEnd]->record(*in);
      check(cu.stream_wait(compute->s, q.at[kInEnd]->e, 0), "cuStreamWaitEvent");
    }
    q.at[kStart]->record(*compute);
    q.enqueue_start = Clock::now();
    if (graph) {
      check(cu.graph_launch(graph, compute->s), "cuGraphLaunch");
    } else if (!x.enqueue(*compute)) {
      fail(TRT_E_TENSORRT, "enqueueing a query failed");
    }
    q.enqueue_end = Clock::now();
    q.at[kEnd]->record(*compute);
    if (transfers) {
      check(cu.stream_wait(out->s, q.at[kEnd]->e, 0), "cuStreamWaitEvent");
      q.at[kOutStart]->record(*out);
      for (auto& t : x.tensors)
        if (!t->input && !t->host) check(cu.to_host_async(t->staging.p, t->device.p, t->bytes, out->s), "cuMemcpyDtoHAsync");
      q.at[kOutEnd]->record(*out);
    }
    q.running = true;
    next = (next + 1) % queries.size();
  }

  // What the oldest query ends with.
  const Event& ended(bool transfers) const { return *queries[next].at[transfers ? kOutEnd : kEnd]; }

  Execution x;
  std::unique_ptr<Stream> in, compute, out;
  std::vector<Query> queries;
  size_t next = 0;  // the oldest query, and the place of the next
  CUgraphExec graph = nullptr;
};

struct Sample {
  double start, end, enqueue, h2d, compute, d2h, end_to_end;
  Clock::time_point submitted, seen;
  int32_t lane;
};

struct BenchState : Counted<kBenchers> {
  std::shared_ptr<EngineState> engine;
  trt_bench_options options;
  std::vector<std::unique_ptr<Lane>> lanes;
  std::unique_ptr<Stream> main;  // where a window begins
  size_t free_before = 0, free_least = 0;
  uint64_t context_bytes = 0;
  std::vector<double> enqueue, h2d, compute, d2h, end_to_end, start;
  std::vector<int32_t> stream;
  ~BenchState() {
    try {
      Current current(engine->device());
      lanes.clear();
      main.reset();
    } catch (...) {
    }
  }

  void prepare() {
    main = std::make_unique<Stream>();
    for (auto& l : lanes) {
      l->x.prepare_outputs();
      if (options.transfers) {
        for (auto& t : l->x.tensors) {
          if (t->host) continue;
          if (t->allocator) fail(TRT_E_UNSUPPORTED, "output %s has a shape only the run decides: measure without transfers", t->name.c_str());
          t->staging.reserve(t->bytes);
          if (t->input && t->bytes) check(cu.to_host(t->staging.p, t->device.p, t->bytes), "cuMemcpyDtoH");
        }
      }
      l->open(options.spin_wait != 0, options.cuda_graph != 0);
    }
    free_least = free_memory();
    context_bytes = free_before > free_least ? free_before - free_least : 0;
  }

  void run(const trt_window& w, const int32_t* abort, trt_samples* out) {
    const bool transfers = options.transfers != 0;
    auto begun = Clock::now();
    if (!main) fail(TRT_E_ARGUMENT, "not prepared");
    Event zero(false);
    zero.record(*main);
    for (auto& l : lanes)
      for (auto* s : {l->in.get(), l->compute.get(), l->out.get()}) check(cu.stream_wait(s->s, zero.e, 0), "cuStreamWaitEvent");
    std::vector<Sample> samples;
    samples.reserve(1 << 14);
    std::vector<int64_t> counted(lanes.size());
    int64_t warmup = 0;
    double reached = 0;  // the latest start of a query on the device
    auto collect = [&](size_t i) {
      Lane& l = *lanes[i];
      Lane::Query& q = l.queries[l.next];
      if (!q.running) return;
      l.ended(transfers).sync();
      auto seen = Clock::now();
      q.running = false;
      Sample s{};
      s.lane = static_cast<int32_t>(i);
      double compute_start = elapsed(zero, *q.at[Lane::kStart]);
      s.compute = elapsed(*q.at[Lane::kStart], *q.at[Lane::kEnd]);
      s.start = compute_start;
      if (transfers) {
        s.h2d = elapsed(*q.at[Lane::kInStart], *q.at[Lane::kInEnd]);
        s.d2h = elapsed(*q.at[Lane::kOutStart], *q.at[Lane::kOutEnd]);
        s.start = elapsed(zero, *q.at[Lane::kInStart]);
        s.end = elapsed(zero, *q.at[Lane::kOutEnd]);
      } else {
        s.end = elapsed(zero, *q.at[Lane::kEnd]);
      }
      reached = std::max(reached, compute_start);
      if (compute_start < w.warmup) {
        ++warmup;
        return;
      }
      s.enqueue = seconds(q.enqueue_end - q.enqueue_start);
      s.end_to_end = seconds(seen - q.submitted);
      s.submitted = q.submitted;
      s.seen = seen;
      samples.push_back(s);
      ++counted[i];
    };
    auto drain = [&] {
      for (size_t i = 0; i < lanes.size(); ++i)
        for (size_t d = 0; d < lanes[i]->queries.size(); ++d) {
          collect(i);
          lanes[i]->next = (lanes[i]->next + 1) % lanes[i]->queries.size();
        }
    };
    auto over = [&] {
      if (__atomic_load_n(abort, __ATOMIC_RELAXED)) fail(TRT_E_CANCELED, "stopped");
      if (samples.empty()) return false;
      if (w.max_duration > 0 && seconds(Clock::now() - begun) >= w.warmup + w.max_duration) return true;
      bool enough = reached >= w.warmup + w.min_duration;
      for (int64_t n : counted) enough = enough && n >= w.min_queries;
      return enough;
    };
    // Lanes that wait for their answer each: whichever is done goes on.
    auto independently = [&] {
      for (auto& l : lanes) l->submit(transfers);
      while (!over()) {
        bool idle = true;
        for (size_t i = 0; i < lanes.size(); ++i) {
          if (!lanes[i]->ended(transfers).done()) continue;
          idle = false;
          collect(i);
          lanes[i]->submit(transfers);
        }
        if (!idle || options.spin_wait) continue;
        size_t oldest = 0;
        for (size_t i = 1; i < lanes.size(); ++i)
          if (lanes[i]->queries[0].submitted < lanes[oldest]->queries[0].submitted) oldest = i;
        lanes[oldest]->ended(transfers).sync();
      }
    };
    try {
      if (options.depth == 1 && lanes.size() > 1) {
        independently();
      } else {
        while (!over()) {
          for (auto& l : lanes) l->submit(transfers);
          for (size_t i = 0; i < lanes.size(); ++i) collect(i);
        }
      }
      drain();
    } catch (...) {
      for (auto& l : lanes) {  // leave nothing in flight
        for (auto* s : {l->in.get(), l->compute.get(), l->out.get()}) cu.stream_sync(s->s);
        for (auto& q : l->queries) q.running = false;
      }
      throw;
    }
    free_least = std::min(free_least, free_memory());
    std::sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) { return a.start < b.start; });
    size_t n = samples.size();
    for (auto* v : {&enqueue, &h2d, &compute, &d2h, &end_to_end, &start}) v->assign(n, 0);
    stream.assign(n, 0);
    double last = 0;
    Clock::time_point first_submitted = Clock::time_point::max(), last_seen = Clock::time_point::min();
    for (size_t i = 0; i < n; ++i) {
      const Sample& s = samples[i];
      enqueue[i] = s.enqueue;
      h2d[i] = s.h2d;
      compute[i] = s.compute;
      d2h[i] = s.d2h;
      end_to_end[i] = s.end_to_end;
      start[i] = s.start - samples[0].start;
      stream[i] = s.lane;
      last = std::max(last, s.end);
      first_submitted = std::min(first_submitted, s.submitted);
      last_seen = std::max(last_seen, s.seen);
    }
    *out = trt_samples{};
    out->queries = static_cast<int64_t>(n);
    out->warmup = warmup;
    out->wall = n ? last - samples[0].start : 0;
    out->span = n ? seconds(last_seen - first_submitted) : 0;
    out->host_wall = seconds(Clock::now() - begun);
    out->context_bytes = context_bytes;
    out->peak_bytes = engine->free_before > free_least ? engine->free_before - free_least : 0;
    out->enqueue = enqueue.data();
    out->h2d = transfers ? h2d.data() : nullptr;
    out->compute = compute.data();
    out->d2h = transfers ? d2h.data() : nullptr;
    out->end_to_end = end_to_end.data();
    out->start = start.data();
    out->stream = stream.data();
  }
};

template <typename T>
bool resolve(void* library, const char* name, T* out) {
  *out = reinterpret_cast<T>(dlsym(library, name));
  return *out != nullptr;
}

}  // namespace

struct trt_builder {
  std::shared_ptr<BuilderState> state;
};
struct trt_network {
  std::shared_ptr<NetworkState> state;
};
struct trt_build {
  std::shared_ptr<NetworkState> network;
  trt_build_options options;
  std::unique_ptr<Monitor> monitor;
  std::map<int32_t, nvinfer1::IOptimizationProfile*> profiles;  // the builder owns them
  std::vector<CalibrationInput> calibration;
  std::string calibration_cache, timing_cache, plan, timing_cache_out, calibration_cache_out, cache_reason;
  bool cache_valid = false, calibrated_from_cache = false;
  int32_t batches = 0, batch = 1;
};
struct trt_runtime {
  std::shared_ptr<RuntimeState> state;
};
struct trt_engine {
  std::shared_ptr<EngineState> state;
};
struct trt_exec {
  ExecState state;
};
struct trt_bench {
  BenchState state;
};

extern "C" {

// ---- loading --------------------------------------------------------------------

void* trt_dlopen(const char* path, char* message, size_t size) {
  dlerror();
  // Never closed, so also never unloaded by someone else's dlclose.
  void* handle = dlopen(path, RTLD_LAZY | RTLD_GLOBAL | RTLD_NODELETE);
  if (!handle) {
    const char* why = dlerror();
    snprintf(message, size, "%s", why ? why : "dlopen failed");
  }
  return handle;
}


const char* trt_soname_major(void) {
  static const std::string major = std::to_string(NV_TENSORRT_MAJOR);
  return major.c_str();
}

int32_t trt_attach(void* nvinfer, void* parser, void* plugin, void* cuda, void* nvml, trt_error* err) {
  return guarded(err, [&] {
    auto need = [](bool found, const char* symbol) {
      if (!found) fail(TRT_E_UNSUPPORTED, "the library lacks the symbol %s", symbol);
    };
    need(resolve(nvinfer, "createInferBuilder_INTERNAL", &rt.create_builder), "createInferBuilder_INTERNAL");
    need(resolve(nvinfer, "createInferRuntime_INTERNAL", &rt.create_runtime), "createInferRuntime_INTERNAL");
    need(resolve(nvinfer, "getInferLibMajorVersion", &rt.major), "getInferLibMajorVersion");
    need(resolve(nvinfer, "getInferLibMinorVersion", &rt.minor), "getInferLibMinorVersion");
    need(resolve(nvinfer, "getInferLibPatchVersion", &rt.patch), "getInferLibPatchVersion");
    need(resolve(nvinfer, "getInferLibBuildVersion", &rt.build), "getInferLibBuildVersion");
    need(resolve(parser, "createNvOnnxParser_INTERNAL", &rt.create_parser), "createNvOnnxParser_INTERNAL");
    if (plugin) need(resolve(plugin, "initLibNvInferPlugins", &rt.init_plugins), "initLibNvInferPlugins");
    if (cuda) {
      bool all = true;
      std::string missing;
#define X(field, symbol, params)                      \
  if (!resolve(cuda, symbol, &cu.field)) {            \
    all = false;                                      \
    missing = symbol;                                 \
  }
      CUDA_FUNCTIONS(X)
#undef X
      if (!all) fail(TRT_E_UNSUPPORTED, "the NVIDIA driver is too old: libcuda.so.1 lacks %s", missing.c_str());
      cu.loaded = true;
    }
    if (nvml) {
      int (*init)() = nullptr;
      int (*stop)() = nullptr;
      int (*version)(char*, unsigned) = nullptr;
      if (resolve(nvml, "nvmlInit_v2", &init) && resolve(nvml, "nvmlShutdown", &stop) &&
          resolve(nvml, "nvmlSystemGetDriverVersion", &version) && init() == 0) {
        if (version(rt.driver, sizeof rt.driver) != 0) rt.driver[0] = 0;
        stop();
      }
    }
  });
}

int32_t trt_builder_resource(const char* folder, trt_error* err) {
  return guarded(err, [&] {
    char name[128];
    snprintf(name, sizeof name, "libnvinfer_builder_resource.so.%d.%d.%d", rt.major(), rt.minor(), rt.patch());
    if (dlopen(name, RTLD_LAZY | RTLD_NODELETE)) return;
    std::string path = std::string(folder) + "/" + name;
    if (folder[0] && access(path.c_str(), R_OK) != 0) return;  // an edition without the file: let the builder speak
    void* handle = folder[0] ? dlopen(path.c_str(), RTLD_LAZY | RTLD_NODELETE) : nullptr;
    if (!handle) {
      const char* why = dlerror();
      fail(TRT_E_UNSUPPORTED, "cannot open %s: %s", path.c_str(), why ? why : "");
    }
    // The library has another soname than its file name, so having it open does not
    // answer dlopen(name). The loader compares with the name it knows it by.
    auto* map = static_cast<struct link_map*>(handle);
    char* kept = map->l_name;
    map->l_name = strdup(name);
    if (!dlopen(name, RTLD_LAZY | RTLD_NODELETE)) {
      free(map->l_name);
      map->l_name = kept;
      fail(TRT_E_UNSUPPORTED, "%s is not on the loader's path: start the program with LD_LIBRARY_PATH=%s", name, folder);
    }
  });
}

void trt_get_versions(trt_versions* out) {
  *out = trt_versions{};
  out->header[0] = NV_TENSORRT_MAJOR;
  out->header[1] = NV_TENSORRT_MINOR;
  out->header[2] = NV_TENSORRT_PATCH;
  out->header[3] = NV_TENSORRT_BUILD;
  if (rt.major) {
    out->tensorrt[0] = rt.major();
    out->tensorrt[1] = rt.minor();
    out->tensorrt[2] = rt.patch();
    out->tensorrt[3] = rt.build();
  }
  int version = 0;
  if (cu.loaded && cu.driver_version(&version) == CUDA_SUCCESS) out->cuda = version;
  snprintf(out->driver, sizeof out->driver, "%s", rt.driver);
}

uint64_t trt_log_mark(void) { return logger().mark(); }
int32_t trt_log_next(uint64_t* mark, int32_t* severity, char* text, size_t size) {
  return logger().next(mark, severity, text, size) ? 1 : 0;
}

// ---- devices --------------------------------------------------------------------

int32_t trt_device_count(int32_t* count, trt_error* err) {
  return guarded(err, [&] {
    need_driver();
    int n = 0;
    check(cu.device_count(&n), "cuDeviceGetCount");
    *count = n;
  });
}

int32_t trt_device(int32_t index, trt_device_info* out, trt_error* err) {
  return guarded(err, [&] {
    need_driver();
    *out = trt_device_info{};
    CUdevice d;
    check(cu.device_get(&d, index), "cuDeviceGet");
    check(cu.device_name(out->name, sizeof out->name, d), "cuDeviceGetName");
    size_t memory = 0;
    check(cu.device_memory(&memory, d), "cuDeviceTotalMem");
    out->memory = memory;
    check(cu.device_attribute(&out->major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, d), "cuDeviceGetAttribute");
    check(cu.device_attribute(&out->minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, d), "cuDeviceGetAttribute");
    check(cu.device_attribute(&out->multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, d), "cuDeviceGetAttribute");
    cu.device_pci(out->pci, sizeof out->pci, d);
    CUuuid u;
    if (cu.device_uuid(&u, d) == CUDA_SUCCESS) {
      const auto* b = reinterpret_cast<const unsigned char*>(u.bytes);
      char* p = out->uuid + snprintf(out->uuid, sizeof out->uuid, "%s", strstr(out->name, " MIG ") ? "MIG-" : "GPU-");
      for (int i = 0; i < 16; ++i) p += sprintf(p, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
    }
  });
}

int32_t trt_memory(int32_t device, uint64_t* free_bytes, uint64_t* total_bytes, trt_error* err) {
  return guarded(err, [&] {
    Current current(device);
    size_t f = 0, t = 0;
    check(cu.mem_info(&f, &t), "cuMemGetInfo");
    *free_bytes = f;
    *total_bytes = t;
  });
}

void trt_live(int64_t counts[6]) {
  for (int i = 0; i < kObjects; ++i) counts[i] = live[i];
}

// ---- building -------------------------------------------------------------------

static void plugins_once() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (rt.init_plugins) rt.init_plugins(&logger(), "");
  });
}

int32_t trt_builder_new(int32_t device, trt_builder** out, trt_error* err) {
  return guarded(err, [&] {
    Current current(device);
    plugins_once();
    auto state = std::make_shared<BuilderState>();
    state->device = device;
    state->builder = own(static_cast<nvinfer1::IBuilder*>(rt.create_builder(&logger(), NV_TENSORRT_VERSION)), device,
                         "createInferBuilder failed");
    *out = new trt_builder{std::move(state)};
  });
}
void trt_builder_free(trt_builder* b) { delete b; }

int32_t trt_parse(trt_builder* b, const void* model, size_t size, const char* path, trt_network** out, trt_error* err) {
  *out = nullptr;
  return guarded(err, [&] {
    Current current(b->state->device);
    auto state = std::make_shared<NetworkState>();
    state->parent = b->state;
    state->network = own(b->state->builder->createNetworkV2(0), b->state->device, "createNetworkV2 failed");
    state->parser = own(static_cast<nvonnxparser::IParser*>(rt.create_parser(state->network.get(), &logger(), NV_ONNX_PARSER_VERSION)),
                        b->state->device, "createParser failed");
    bool ok = state->parser->parse(model, size, path[0] ? path : nullptr);
    for (int32_t i = 0; i < state->parser->getNbErrors(); ++i) {
      const auto* e = state->parser->getError(i);
      std::string joined;
      for (int32_t f = 0; f < e->localFunctionStackSize(); ++f) joined += std::string(f ? "\n" : "") + e->localFunctionStack()[f];
      state->functions.push_back(std::move(joined));
    }
    *out = new trt_network{std::move(state)};
    if (!ok) fail(TRT_E_TENSORRT, "the ONNX parser refused the model");
  });
}
void trt_network_free(trt_network* n) { delete n; }

int32_t trt_parser_error_count(const trt_network* n) { return static_cast<int32_t>(n->state->functions.size()); }

void trt_get_parser_error(const trt_network* n, int32_t i, trt_parser_error* out) {
  const auto* e = n->state->parser->getError(i);
  auto text = [](const char* s) { return s ? s : ""; };
  *out = trt_parser_error{};
  out->code = static_cast<int32_t>(e->code());
  out->node = e->node();
  out->line = e->line();
  out->text = text(e->desc());
  out->node_name = text(e->nodeName());
  out->node_operator = text(e->nodeOperator());
  out->file = text(e->file());
  out->function = text(e->func());
  out->functions = n->state->functions[i].c_str();
}

void trt_network_counts(const trt_network* n, int32_t* inputs, int32_t* outputs, int32_t* layers, int32_t* quantize) {
  auto& net = *n->state->network;
  *inputs = net.getNbInputs();
  *outputs = net.getNbOutputs();
  *layers = net.getNbLayers();
  *quantize = 0;
  for (int32_t i = 0; i < *layers; ++i) {
    auto type = net.getLayer(i)->getType();
    if (type == nvinfer1::LayerType::kQUANTIZE || type == nvinfer1::LayerType::kDEQUANTIZE) ++*quantize;
  }
}

int32_t trt_network_tensor(const trt_network* n, int32_t input, int32_t i, trt_tensor_info* out) {
  auto& net = *n->state->network;
  auto* t = input ? net.getInput(i) : net.getOutput(i);
  *out = trt_tensor_info{};
  if (!t) return TRT_E_ARGUMENT;
  out->name = t->getName();
  out->dtype = static_cast<int32_t>(t->getType());
  out->input = input;
  out->host = input && t->isShapeTensor();
  out->format = "";
  put_dims(t->getDimensions(), out);
  return TRT_OK;
}

int32_t trt_build_new(trt_network* n, const trt_build_options* o, trt_build** out, trt_error* err) {
  return guarded(err, [&] {
    auto b = std::make_unique<trt_build>();
    b->network = n->state;
    b->options = *o;
    b->monitor = std::make_unique<Monitor>(o->callbacks, o->progress != 0);
    *out = b.release();
  });
}

int32_t trt_build_profile(trt_build* b, int32_t profile, const char* name, int32_t rank, const int64_t* min,
                          const int64_t* opt, const int64_t* max, trt_error* err) {
  return guarded(err, [&] {
    auto*& p = b->profiles[profile];
    if (!p) p = b->network->parent->builder->createOptimizationProfile();
    if (!p) fail(TRT_E_TENSORRT, "createOptimizationProfile failed");
    using S = nvinfer1::OptProfileSelector;
    if (!p->setDimensions(name, S::kMIN, make_dims(rank, min)) || !p->setDimensions(name, S::kOPT, make_dims(rank, opt)) ||
        !p->setDimensions(name, S::kMAX, make_dims(rank, max)))
      fail(TRT_E_ARGUMENT, "optimization profile %d: the range of input %s is refused", profile, name);
  });
}

void trt_build_calibration_input(trt_build* b, const char* name, int32_t rank, const int64_t* dims) {
  CalibrationInput in{name, {}};
  in.dims.nbDims = std::min<int32_t>(rank, TRT_MAX_DIMS);
  for (int32_t i = 0; i < in.dims.nbDims; ++i) in.dims.d[i] = dims[i];
  b->calibration.push_back(in);
}
void trt_build_calibration_cache(trt_build* b, const void* data, size_t size) {
  b->calibration_cache.assign(static_cast<const char*>(data), size);
}
void trt_build_timing_cache(trt_build* b, const void* data, size_t size) {
  b->timing_cache.assign(static_cast<const char*>(data), size);
}
void trt_build_cancel(trt_build* b) { b->monitor->cancelled = true; }

int32_t trt_build_run(trt_build* b, trt_error* err) {
  return guarded(err, [&] {
    const auto& o = b->options;
    auto& builder = *b->network->parent->builder;
    auto& network = *b->network->network;
    const int32_t device = b->network->parent->device;
    Current current(device);
#if NV_TENSORRT_MAJOR < 11
    Calibrator calibrator;  // outlives the configuration
#endif
    Stream timing;  // kernels are timed on it, apart from other work of the process
    auto config = own(builder.createBuilderConfig(), device, "createBuilderConfig failed");
    config->setProfileStream(reinterpret_cast<cudaStream_t>(timing.s));
    auto flag = [&](nvinfer1::BuilderFlag f, bool on) { on ? config->setFlag(f) : config->clearFlag(f); };
    config->setMemoryPoolLimit(nvinfer1::MemoryPoolType::kWORKSPACE, o.workspace);
    flag(nvinfer1::BuilderFlag::kTF32, o.tf32 != 0);
#if NV_TENSORRT_MAJOR < 11
    flag(nvinfer1::BuilderFlag::kFP16, o.fp16 != 0);
    flag(nvinfer1::BuilderFlag::kINT8, o.int8 != 0);
#else
    if (o.fp16) fail(TRT_E_UNSUPPORTED, "TensorRT %d takes FP16 from the types in the ONNX model, it has no FP16 setting", NV_TENSORRT_MAJOR);
    if (o.calibrate) fail(TRT_E_UNSUPPORTED, "TensorRT %d has no INT8 calibration: the ONNX model must carry Q/DQ nodes", NV_TENSORRT_MAJOR);
#endif
    if (o.level >= 0) config->setBuilderOptimizationLevel(o.level);
    config->setAvgTimingIterations(o.timing_iterations);
    config->setProfilingVerbosity(nvinfer1::ProfilingVerbosity::kDETAILED);
    config->setProgressMonitor(b->monitor.get());
    if (o.ampere_plus) config->setHardwareCompatibilityLevel(nvinfer1::HardwareCompatibilityLevel::kAMPERE_PLUS);
    for (auto& p : b->profiles)
      if (config->addOptimizationProfile(p.second) < 0) fail(TRT_E_ARGUMENT, "optimization profile %d is refused", p.first);

    // An unusable cache costs time, not the build.
    std::shared_ptr<nvinfer1::ITimingCache> cache;
    if (!b->timing_cache.empty()) {
      cache.reset(config->createTimingCache(b->timing_cache.data(), b->timing_cache.size()), OnDevice<nvinfer1::ITimingCache>{device});
      b->cache_valid = cache && config->setTimingCache(*cache, false);
      // Serializing logs the number of entries, which is otherwise not to be had.
      if (b->cache_valid) std::unique_ptr<nvinfer1::IHostMemory, OnDevice<nvinfer1::IHostMemory>> counted(cache->serialize(), {device});
      if (!b->cache_valid) b->cache_reason = cache ? "it is of another GPU or TensorRT version" : "its content is damaged";
    }
    if (!b->cache_valid) {
      cache = own(config->createTimingCache(nullptr, 0), device, "createTimingCache failed");
      if (!config->setTimingCache(*cache, false)) fail(TRT_E_TENSORRT, "setTimingCache failed");
    }

#if NV_TENSORRT_MAJOR < 11
    if (o.calibrate) {
      calibrator.callbacks = o.callbacks;
      calibrator.source = o.calibrate > 1;
      calibrator.monitor = b->monitor.get();
      calibrator.cache_in = b->calibration_cache;
      nvinfer1::IOptimizationProfile* profile = nullptr;
      for (auto& c : b->calibration) {
        int64_t n = 1;
        for (int32_t i = 0; i < c.dims.nbDims; ++i) n *= c.dims.d[i];
        nvinfer1::DataType type = nvinfer1::DataType::kFLOAT;
        bool open = false;
        for (int32_t i = 0; i < network.getNbInputs(); ++i)
          if (c.name == network.getInput(i)->getName()) {
            type = network.getInput(i)->getType();
            auto d = network.getInput(i)->getDimensions();
            for (int32_t k = 0; k < d.nbDims; ++k) open = open || d.d[k] < 0;
          }
        calibrator.inputs.emplace_back();
        auto& in = calibrator.inputs.back();
        in.name = c.name;
        in.type = type;
        in.elements = n;
        if (c.dims.nbDims > 0) calibrator.batch = static_cast<int32_t>(c.dims.d[0]);
        if (!open) continue;
        if (!profile) profile = builder.createOptimizationProfile();
        using S = nvinfer1::OptProfileSelector;
        if (!profile || !profile->setDimensions(c.name.c_str(), S::kMIN, c.dims) || !profile->setDimensions(c.name.c_str(), S::kOPT, c.dims) ||
            !profile->setDimensions(c.name.c_str(), S::kMAX, c.dims))
          fail(TRT_E_ARGUMENT, "calibration: the shape of input %s is refused", c.name.c_str());
      }
      if (profile && !config->setCalibrationProfile(profile)) fail(TRT_E_ARGUMENT, "calibration: its shapes are refused");
      config->setInt8Calibrator(&calibrator);
    }
#endif

    std::unique_ptr<nvinfer1::IHostMemory, OnDevice<nvinfer1::IHostMemory>> plan(builder.buildSerializedNetwork(network, *config), {device});
#if NV_TENSORRT_MAJOR < 11
    b->batches = calibrator.batches;
    b->batch = calibrator.batch;
    b->calibrated_from_cache = calibrator.from_cache && calibrator.batches == 0;
    b->calibration_cache_out = !calibrator.cache_out.empty() ? calibrator.cache_out : calibrator.from_cache ? calibrator.cache_in : "";
    if (calibrator.failed) fail(TRT_E_CANCELED, "reading a calibration batch failed");
#endif
    if (b->monitor->cancelled) fail(TRT_E_CANCELED, "cancelled");
    if (!plan) fail(TRT_E_TENSORRT, "%s", "");
    b->plan.assign(static_cast<const char*>(plan->data()), plan->size());
    std::unique_ptr<nvinfer1::IHostMemory, OnDevice<nvinfer1::IHostMemory>> saved(cache->serialize(), {device});
    if (saved) b->timing_cache_out.assign(static_cast<const char*>(saved->data()), saved->size());
  });
}

const void* trt_build_output(const trt_build* b, int32_t which, size_t* size) {
  const std::string& s = which == TRT_BUILD_PLAN ? b->plan : which == TRT_BUILD_TIMING_CACHE ? b->timing_cache_out : b->calibration_cache_out;
  *size = s.size();
  return s.data();
}
int32_t trt_build_cache_valid(const trt_build* b) { return b->cache_valid; }
const char* trt_build_cache_reason(const trt_build* b) { return b->cache_reason.c_str(); }
void trt_build_calibration(const trt_build* b, int32_t* batches, int64_t* samples, int32_t* from_cache) {
  *batches = b->batches;
  *samples = static_cast<int64_t>(b->batches) * b->batch;
  *from_cache = b->calibrated_from_cache;
}
void trt_build_free(trt_build* b) { delete b; }

// ---- engines --------------------------------------------------------------------

int32_t trt_runtime_new(int32_t device, trt_runtime** out, trt_error* err) {
  return guarded(err, [&] {
    Current current(device);
    plugins_once();
    auto state = std::make_shared<RuntimeState>();
    state->device = device;
    state->runtime = own(static_cast<nvinfer1::IRuntime*>(rt.create_runtime(&logger(), NV_TENSORRT_VERSION)), device,
                         "createInferRuntime failed");
    *out = new trt_runtime{std::move(state)};
  });
}
void trt_runtime_free(trt_runtime* r) { delete r; }

int32_t trt_engine_load(trt_runtime* r, const void* plan, size_t size, trt_engine** out, trt_error* err) {
  return guarded(err, [&] {
    Current current(r->state->device);
    auto state = std::make_shared<EngineState>();
    state->parent = r->state;
    state->free_before = free_memory();
    state->engine = own(r->state->runtime->deserializeCudaEngine(plan, size), r->state->device, "");
    state->device_bytes = static_cast<int64_t>(state->free_before) - static_cast<int64_t>(free_memory());
    *out = new trt_engine{std::move(state)};
  });
}
void trt_engine_free(trt_engine* e) { delete e; }

void trt_get_engine_info(const trt_engine* e, trt_engine_info* out) {
  auto& x = *e->state->engine;
  *out = trt_engine_info{};
  out->name = x.getName() ? x.getName() : "";
  out->tensors = x.getNbIOTensors();
  out->profiles = x.getNbOptimizationProfiles();
  out->layers = x.getNbLayers();
  out->context_bytes = x.getDeviceMemorySizeV2();
  out->device_bytes = e->state->device_bytes;
}

int32_t trt_engine_tensor(const trt_engine* e, int32_t i, trt_tensor_info* out) {
  auto& x = *e->state->engine;
  *out = trt_tensor_info{};
  const char* name = x.getIOTensorName(i);
  if (!name) return TRT_E_ARGUMENT;
  out->name = name;
  out->dtype = static_cast<int32_t>(x.getTensorDataType(name));
  out->input = x.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
  out->host = x.getTensorLocation(name) == nvinfer1::TensorLocation::kHOST;
  const char* format = x.getTensorFormatDesc(name);
  out->format = format ? format : "";
  put_dims(x.getTensorShape(name), out);
  return TRT_OK;
}

int32_t trt_engine_profile(const trt_engine* e, const char* name, int32_t profile, int32_t which, int64_t* dims) {
  auto d = e->state->engine->getProfileShape(name, profile, static_cast<nvinfer1::OptProfileSelector>(which));
  for (int32_t i = 0; i < d.nbDims && i < TRT_MAX_DIMS; ++i) dims[i] = d.d[i];
  return d.nbDims;
}

int32_t trt_engine_inspect(trt_engine* e, char** json, trt_error* err) {
  return guarded(err, [&] {
    Current current(e->state->device());
    auto inspector = own(e->state->engine->createEngineInspector(), e->state->device(), "createEngineInspector failed");
    const char* text = inspector->getEngineInformation(nvinfer1::LayerInformationFormat::kJSON);
    if (!text) fail(TRT_E_TENSORRT, "getEngineInformation failed");
    *json = strdup(text);
    if (!*json) throw std::bad_alloc();
  });
}
void trt_string_free(char* s) { free(s); }

// ---- running --------------------------------------------------------------------

int32_t trt_exec_new(trt_engine* e, int32_t profile, trt_exec** out, trt_error* err) {
  return guarded(err, [&] {
    Current current(e->state->device());
    auto x = std::make_unique<trt_exec>();
    x->state.device = e->state->device();
    x->state.x = std::make_unique<Execution>(e->state, profile);
    x->state.stream = std::make_unique<Stream>();
    *out = x.release();
  });
}
void trt_exec_free(trt_exec* x) { delete x; }

int32_t trt_exec_input(trt_exec* x, const char* name, int32_t rank, const int64_t* dims, const void* data, size_t size,
                       trt_error* err) {
  return guarded(err, [&] {
    Current current(x->state.device);
    x->state.x->set_input(name, rank, dims, data, size);
  });
}

int32_t trt_exec_run(trt_exec* x, trt_error* err) {
  return guarded(err, [&] {
    Current current(x->state.device);
    auto& ex = *x->state.x;
    ex.prepare_outputs();
    if (!ex.enqueue(*x->state.stream)) fail(TRT_E_TENSORRT, "enqueueV3 failed");
    x->state.stream->sync();
    for (auto& t : ex.tensors)
      if (t->allocator) t->bytes = bytes_of(t->allocator->dims, t->type);
  });
}

int32_t trt_exec_output(trt_exec* x, const char* name, trt_tensor_info* out, size_t* size, trt_error* err) {
  return guarded(err, [&] {
    auto& t = x->state.x->tensor(name, false);
    *out = trt_tensor_info{};
    out->name = t.name.c_str();
    out->format = "";
    out->dtype = static_cast<int32_t>(t.type);
    out->host = t.host;
    put_dims(x->state.x->output_shape(t), out);
    *size = t.bytes;
  });
}

int32_t trt_exec_read(trt_exec* x, const char* name, void* data, size_t size, trt_error* err) {
  return guarded(err, [&] {
    Current current(x->state.device);
    auto& t = x->state.x->tensor(name, false);
    if (size != t.bytes) fail(TRT_E_ARGUMENT, "output %s has %zu bytes, not %zu", name, t.bytes, size);
    if (t.host) {
      memcpy(data, t.values.data(), size);
    } else if (size) {
      check(cu.to_host(data, t.device.p, size), "cuMemcpyDtoH of an output");
    }
  });
}

int32_t trt_bench_new(trt_engine* e, const trt_bench_options* o, trt_bench** out, trt_error* err) {
  return guarded(err, [&] {
    Current current(e->state->device());
    auto b = std::make_unique<trt_bench>();
    b->state.engine = e->state;
    b->state.options = *o;
    b->state.free_before = free_memory();
    for (int32_t i = 0; i < o->streams; ++i) b->state.lanes.push_back(std::make_unique<Lane>(e->state, *o));
    *out = b.release();
  });
}
void trt_bench_free(trt_bench* b) { delete b; }

int32_t trt_bench_input(trt_bench* b, const char* name, int32_t rank, const int64_t* dims, const void* data, size_t size,
                        trt_error* err) {
  return guarded(err, [&] {
    Current current(b->state.engine->device());
    for (auto& l : b->state.lanes) l->x.set_input(name, rank, dims, data, size);
  });
}

int32_t trt_bench_prepare(trt_bench* b, trt_error* err) {
  return guarded(err, [&] {
    Current current(b->state.engine->device());
    b->state.prepare();
  });
}

int32_t trt_bench_run(trt_bench* b, const trt_window* w, const int32_t* abort, trt_samples* out, trt_error* err) {
  return guarded(err, [&] {
    Current current(b->state.engine->device());
    b->state.run(*w, abort, out);
  });
}

}  // extern "C"
