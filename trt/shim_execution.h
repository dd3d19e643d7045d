//go:build tensorrt && cgo

// An execution context with its buffers: for single runs and for measuring.
#ifndef PLANCAST_SHIM_EXECUTION_H
#define PLANCAST_SHIM_EXECUTION_H

#include "shim_state.h"

#include <cstring>
#include <utility>

namespace shim {

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

}  // namespace shim

#endif
