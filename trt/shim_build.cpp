//go:build tensorrt && cgo

// Parsing models and building plans.

#include "shim_state.h"

#include <cstring>

using namespace shim;

namespace {

class Monitor final : public nvinfer1::IProgressMonitor {
 public:
  Monitor(uintptr_t callbacks, bool report) : callbacks_(callbacks), report_(report) {}
  void phaseStart(const char* phase, const char* parent, int32_t steps) noexcept override { report(0, phase, parent, steps); }
  bool stepComplete(const char* phase, int32_t step) noexcept override {
    report(1, phase, nullptr, step);
    return !cancelled;
  }
  void phaseFinish(const char* phase) noexcept override { report(2, phase, nullptr, 0); }
  std::atomic<bool> cancelled{false};

 private:
  void report(int32_t event, const char* phase, const char* parent, int32_t number) {
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

extern "C" {

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
      // Serializing logs the number of entries, which nothing else reveals.
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

}  // extern "C"
