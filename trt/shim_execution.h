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

using Context = std::shared_ptr<nvinfer1::IExecutionContext>;

// Makes an execution context. It has memory for what its layers hand to each other as
// its profile needs it, whatever other profiles need; with scratch it has none of its
// own, since contexts that never run at the same time can share that.
inline Context make_context(const EngineState& engine, int32_t profile, DeviceBuffer* scratch = nullptr) {
  using Allocation = nvinfer1::ExecutionContextAllocationStrategy;
  auto& e = *engine.engine;
  auto allocation = e.getNbOptimizationProfiles() > 1 ? Allocation::kON_PROFILE_CHANGE : Allocation::kSTATIC;
  if (scratch) allocation = Allocation::kUSER_MANAGED;
  auto context = own(e.createExecutionContext(allocation), engine.device(), "createExecutionContext failed");
  // As trtexec does: the layers' names for profilers, and no more, whatever detail
  // the plan carries for the inspector.
  context->setNvtxVerbosity(nvinfer1::ProfilingVerbosity::kLAYER_NAMES_ONLY);
  if (e.getNbOptimizationProfiles() > 0) {
    Stream setup;
    if (!context->setOptimizationProfileAsync(profile, setup.s)) fail(TRT_E_TENSORRT, "setting optimization profile %d failed", profile);
    setup.sync();
  }
  if (scratch) {
    scratch->reserve(static_cast<size_t>(e.getDeviceMemorySizeForProfileV2(profile)));
    context->setDeviceMemoryV2(reinterpret_cast<void*>(scratch->p), static_cast<int64_t>(scratch->size));
  }
  return context;
}

// The inputs and outputs of a run with their buffers, and the execution context that
// runs it.
class Execution {
 public:
  struct Tensor {
    std::string name;
    bool input = false, host = false;
    nvinfer1::DataType type{};
    nvinfer1::Dims dims{};
    size_t bytes = 0;  // of the values
    DeviceBuffer device;
    DeviceBuffer* linked = nullptr;  // memory of a link instead
    std::vector<char> values;        // host tensors
    HostBuffer staging;              // transfers
    std::unique_ptr<OutputMemory> allocator;
    bool moves() const { return !host && !linked; }  // between host and device with each query
    void* address() {
      if (host) return values.data();
      return reinterpret_cast<void*>(linked ? linked->p : device.p);
    }
  };

  Execution(std::shared_ptr<EngineState> engine, Context context) : engine_(std::move(engine)), context_(std::move(context)) {
    auto& e = *engine_->engine;
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

  // Gives an input its shape and values; those of a linked one are there already.
  void set_input(const char* name, int32_t rank, const int64_t* dims, const void* data, size_t size) {
    Tensor& t = tensor(name, true);
    t.dims = make_dims(rank, dims);
    t.bytes = bytes_of(t.dims, t.type);
    if (t.linked) {
      if (t.bytes > t.linked->size) fail(TRT_E_ARGUMENT, "input %s: the memory of its link has %zu bytes, not %zu", name, t.linked->size, t.bytes);
      return;
    }
    if (t.bytes != size) fail(TRT_E_ARGUMENT, "input %s: %zu bytes do not fit its shape", name, size);
    if (t.host) {
      t.values.assign(static_cast<const char*>(data), static_cast<const char*>(data) + size);
      t.values.reserve(8);
    } else {
      t.device.reserve(size);
      if (size) check(cu.to_device(t.device.p, data, size), "cuMemcpyHtoD of an input");
    }
  }

  // Has an input or output lie in memory that other runs read or write.
  void link(const char* name, bool input, DeviceBuffer* memory) {
    Tensor& t = tensor(name, input);
    if (t.host) fail(TRT_E_ARGUMENT, "%s decides shapes and cannot be linked", name);
    t.linked = memory;
  }

  void prepare() {
    apply(true);
    const char* missing = nullptr;
    if (context_->inferShapes(1, &missing) != 0) fail(TRT_E_ARGUMENT, "the shape of %s is not known", missing ? missing : "a tensor");
    for (auto& t : tensors)
      if (!t->input) prepare_output(*t);
    apply(false);
  }

  // Hands shapes and addresses to the context; runs that share one do so each time.
  void apply() {
    apply(true);
    apply(false);
  }

  nvinfer1::Dims output_shape(const Tensor& t) const { return t.allocator ? t.allocator->dims : t.dims; }

  void describe_output(const char* name, trt_tensor_info* out, size_t* size) {
    Tensor& t = tensor(name, false);
    *out = trt_tensor_info{};
    out->name = t.name.c_str();
    out->format = "";
    out->dtype = static_cast<int32_t>(t.type);
    out->host = t.host;
    put_dims(output_shape(t), out);
    *size = t.bytes;
  }

  void read_output(const char* name, void* data, size_t size) {
    Tensor& t = tensor(name, false);
    if (size != t.bytes) fail(TRT_E_ARGUMENT, "output %s has %zu bytes, not %zu", name, t.bytes, size);
    if (t.host) {
      memcpy(data, t.values.data(), size);
    } else if (size) {
      check(cu.to_host(data, reinterpret_cast<CUdeviceptr>(t.address()), size), "cuMemcpyDtoH of an output");
    }
  }

  // Waits until the run on a stream has ended, and learns the shapes that only the run
  // decided.
  void finish(Stream& s) {
    s.sync();
    for (auto& t : tensors)
      if (t->allocator) t->bytes = bytes_of(t->allocator->dims, t->type);
  }

  bool enqueue(const Stream& s) { return context_->enqueueV3(reinterpret_cast<cudaStream_t>(s.s)); }

  std::shared_ptr<EngineState> engine_;
  std::vector<std::unique_ptr<Tensor>> tensors;
  Context context_;  // dies before the buffers

 private:
  void apply(bool inputs) {
    for (auto& t : tensors) {
      if (t->input != inputs) continue;
      const char* name = t->name.c_str();
      if (inputs && !context_->setInputShape(name, t->dims)) fail(TRT_E_TENSORRT, "input %s: its shape is refused", name);
      if (t->allocator && !context_->setOutputAllocator(name, t->allocator.get())) fail(TRT_E_TENSORRT, "output %s: its allocator is refused", name);
      if (!context_->setTensorAddress(name, t->address())) fail(TRT_E_TENSORRT, "%s: its address is refused", name);
    }
  }

  // Finds an output's size and gives it memory.
  void prepare_output(Tensor& t) {
    const char* name = t.name.c_str();
    t.dims = context_->getTensorShape(name);
    bool open = false;
    for (int32_t i = 0; i < t.dims.nbDims; ++i) open = open || t.dims.d[i] < 0;
    if (t.host) {
      t.bytes = bytes_of(t.dims, t.type);
      t.values.resize(std::max<size_t>(t.bytes, 8));
      return;
    }
    int64_t most = context_->getMaxOutputSize(name);
    if (most < 0) fail(TRT_E_TENSORRT, "output %s: its size is not known", name);
    t.bytes = open ? 0 : bytes_of(t.dims, t.type);
    t.allocator.reset();
    if (t.linked) {
      if (open || t.bytes > t.linked->size) fail(TRT_E_ARGUMENT, "output %s: %zu bytes do not fit the memory of its link", name, t.bytes);
      return;
    }
    t.device.reserve(static_cast<size_t>(most));
    if (open) t.allocator = std::make_unique<OutputMemory>(&t.device);
  }
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
