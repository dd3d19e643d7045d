//go:build tensorrt && cgo

// Loading plans, describing them, and single runs.

#include "shim_execution.h"

using namespace shim;

struct trt_exec {
  ExecState state;
};

extern "C" {

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
  out->context_bytes = out->profiles > 1 ? x.getDeviceMemorySizeForProfileV2(0) : x.getDeviceMemorySizeV2();
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
    x->state.x = std::make_unique<Execution>(e->state, make_context(*e->state, profile));
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
    ex.prepare();
    if (!ex.enqueue(*x->state.stream)) fail(TRT_E_TENSORRT, "enqueueV3 failed");
    ex.finish(*x->state.stream);
  });
}

int32_t trt_exec_output(trt_exec* x, const char* name, trt_tensor_info* out, size_t* size, trt_error* err) {
  return guarded(err, [&] { x->state.x->describe_output(name, out, size); });
}

int32_t trt_exec_read(trt_exec* x, const char* name, void* data, size_t size, trt_error* err) {
  return guarded(err, [&] {
    Current current(x->state.device);
    x->state.x->read_output(name, data, size);
  });
}

}  // extern "C"
