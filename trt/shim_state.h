//go:build tensorrt && cgo

// TensorRT's objects with what they depend on, and its log: for all of the shim.
#ifndef PLANCAST_SHIM_STATE_H
#define PLANCAST_SHIM_STATE_H

#include "shim_cuda.h"

#include <NvOnnxParser.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace shim {

// ---- log ----------------------------------------------------------------------

// One logger for the life of the process: TensorRT keeps the first one it sees.
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

inline Logger& logger() {
  static Logger* l = new Logger;  // never destroyed: native threads may log at exit
  return *l;
}

// ---- bookkeeping --------------------------------------------------------------

enum Object { kBuilders, kNetworks, kRuntimes, kEngines, kContexts, kBenchers, kObjects };
inline std::atomic<int64_t> live[kObjects];

template <Object K>
struct Counted {
  Counted() { ++live[K]; }
  ~Counted() { --live[K]; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
};

inline nvinfer1::Dims make_dims(int32_t rank, const int64_t* dims) {
  if (rank < 0 || rank > TRT_MAX_DIMS) fail(TRT_E_ARGUMENT, "%d dimensions, TensorRT allows %d", rank, TRT_MAX_DIMS);
  nvinfer1::Dims d;
  d.nbDims = rank;
  for (int32_t i = 0; i < rank; ++i) d.d[i] = dims[i];
  return d;
}

inline void put_dims(const nvinfer1::Dims& d, trt_tensor_info* out) {
  out->rank = std::max(d.nbDims, 0);
  for (int32_t i = 0; i < out->rank && i < TRT_MAX_DIMS; ++i) out->dims[i] = d.d[i];
}

inline size_t element_bits(nvinfer1::DataType t) {
  switch (static_cast<int32_t>(t)) {
    case 0: case 3: return 32;          // float, int32
    case 1: case 7: return 16;          // half, bfloat16
    case 8: return 64;                  // int64
    case 9: case 10: return 4;          // int4, fp4
    default: return 8;
  }
}

inline size_t bytes_of(const nvinfer1::Dims& d, nvinfer1::DataType t) {
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

inline void plugins_once() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (rt.init_plugins) rt.init_plugins(&logger(), "");
  });
}

}  // namespace shim

struct trt_runtime {
  std::shared_ptr<shim::RuntimeState> state;
};
struct trt_engine {
  std::shared_ptr<shim::EngineState> state;
};

#endif
