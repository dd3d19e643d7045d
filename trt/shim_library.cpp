//go:build tensorrt && cgo

// Opening the libraries, versions, the log and devices.

#include "shim_state.h"

#include <dlfcn.h>
#include <link.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

using namespace shim;

namespace {

template <typename T>
bool resolve(void* library, const char* name, T* out) {
  *out = reinterpret_cast<T>(dlsym(library, name));
  return *out != nullptr;
}

}  // namespace

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

}  // extern "C"
