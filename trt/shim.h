// The C face of the TensorRT binding. Every function that can fail returns 0 or an
// error kind and fills *err; no C++ exception leaves it. Handles are opaque and
// freed by the matching _free, in any order: children keep their parents alive.
// Strings handed out live as long as the handle they came from.
#ifndef TRT_SHIM_H
#define TRT_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
  TRT_OK = 0,
  TRT_E_ARGUMENT = 1,
  TRT_E_CUDA = 2,
  TRT_E_TENSORRT = 3, // TensorRT returned a failure; its log says why
  TRT_E_UNSUPPORTED = 4,
  TRT_E_CANCELED = 5,
  TRT_E_MEMORY = 6,
  TRT_E_DEVICE = 7, // no driver or no such device
  TRT_E_INTERNAL = 8,
};

enum { TRT_MAX_DIMS = 8 };

typedef struct trt_error {
  int32_t kind;
  int32_t cuda; // CUresult, if kind is TRT_E_CUDA
  char text[1024];
} trt_error;

// Loading. The caller opens the libraries and hands over the handles.
void* trt_dlopen(const char* path, char* message, size_t size);
const char* trt_soname_major(void); // major version of the headers, as text
typedef struct trt_versions {
  int32_t header[4];
  int32_t tensorrt[4];
  int32_t cuda; // 0 without driver
  char driver[64];
} trt_versions;
int32_t trt_attach(void* nvinfer, void* parser, void* plugin, void* cuda, void* nvml, trt_error* err);
// The builder's kernels are in a library that libnvinfer opens by bare name. Makes
// sure that works, given the folder libnvinfer came from (may be empty).
int32_t trt_builder_resource(const char* folder, trt_error* err);
void trt_get_versions(trt_versions* out);

// Log lines of the process. Reads the first line after *mark, moves the mark; 0 when
// there is none.
uint64_t trt_log_mark(void);
int32_t trt_log_next(uint64_t* mark, int32_t* severity, char* text, size_t size);

typedef struct trt_device_info {
  char name[256];
  char uuid[80];
  char pci[32];
  int32_t major, minor, multiprocessors;
  uint64_t memory;
} trt_device_info;
int32_t trt_device_count(int32_t* count, trt_error* err);
int32_t trt_device(int32_t index, trt_device_info* out, trt_error* err);
int32_t trt_memory(int32_t device, uint64_t* free_bytes, uint64_t* total_bytes, trt_error* err);
void trt_live(int64_t counts[6]);

typedef struct trt_builder trt_builder;
typedef struct trt_network trt_network;
typedef struct trt_build trt_build;
typedef struct trt_runtime trt_runtime;
typedef struct trt_engine trt_engine;
typedef struct trt_exec trt_exec;
typedef struct trt_bench trt_bench;

int32_t trt_builder_new(int32_t device, trt_builder** out, trt_error* err);
void trt_builder_free(trt_builder*);

typedef struct trt_parser_error {
  int32_t code, node, line;
  const char *text, *node_name, *node_operator, *file, *function, *functions;
} trt_parser_error;
// *out is set on a refused model as well, for its errors.
int32_t trt_parse(trt_builder*, const void* model, size_t size, const char* path, trt_network** out, trt_error* err);
void trt_network_free(trt_network*);
int32_t trt_parser_error_count(const trt_network*);
void trt_get_parser_error(const trt_network*, int32_t i, trt_parser_error* out);

typedef struct trt_tensor_info {
  const char *name, *format;
  int32_t dtype, input, host, rank;
  int64_t dims[TRT_MAX_DIMS];
} trt_tensor_info;
void trt_network_counts(const trt_network*, int32_t* inputs, int32_t* outputs, int32_t* layers, int32_t* quantize);
int32_t trt_network_tensor(const trt_network*, int32_t input, int32_t i, trt_tensor_info* out);

typedef struct trt_build_options {
  int32_t fp16, int8, tf32, level, timing_iterations, ampere_plus;
  uint64_t workspace;
  uintptr_t callbacks; // passed back to the goTrt functions
  int32_t progress;    // call goTrtProgress
  int32_t calibrate;
} trt_build_options;
int32_t trt_build_new(trt_network*, const trt_build_options*, trt_build** out, trt_error* err);
int32_t trt_build_profile(trt_build*, int32_t profile, const char* name, int32_t rank, const int64_t* min,
                          const int64_t* opt, const int64_t* max, trt_error* err);
void trt_build_calibration_input(trt_build*, const char* name, int32_t rank, const int64_t* dims);
void trt_build_calibration_cache(trt_build*, const void* data, size_t size);
void trt_build_timing_cache(trt_build*, const void* data, size_t size);
int32_t trt_build_run(trt_build*, trt_error* err);
void trt_build_cancel(trt_build*); // from any thread
enum { TRT_BUILD_PLAN = 0, TRT_BUILD_TIMING_CACHE = 1, TRT_BUILD_CALIBRATION_CACHE = 2 };
const void* trt_build_output(const trt_build*, int32_t which, size_t* size);
int32_t trt_build_cache_valid(const trt_build*);
const char* trt_build_cache_reason(const trt_build*);
void trt_build_calibration(const trt_build*, int32_t* batches, int64_t* samples, int32_t* from_cache);
void trt_build_free(trt_build*);

int32_t trt_runtime_new(int32_t device, trt_runtime** out, trt_error* err);
void trt_runtime_free(trt_runtime*);
int32_t trt_engine_load(trt_runtime*, const void* plan, size_t size, trt_engine** out, trt_error* err);
void trt_engine_free(trt_engine*);
typedef struct trt_engine_info {
  const char* name;
  int32_t tensors, profiles, layers;
  int64_t context_bytes, device_bytes;
} trt_engine_info;
void trt_get_engine_info(const trt_engine*, trt_engine_info* out);
int32_t trt_engine_tensor(const trt_engine*, int32_t i, trt_tensor_info* out);
// which: 0 min, 1 opt, 2 max. Returns the rank, or -1.
int32_t trt_engine_profile(const trt_engine*, const char* name, int32_t profile, int32_t which, int64_t* dims);
int32_t trt_engine_inspect(trt_engine*, char** json, trt_error* err); // free with trt_string_free
void trt_string_free(char*);

int32_t trt_exec_new(trt_engine*, int32_t profile, trt_exec** out, trt_error* err);
int32_t trt_exec_input(trt_exec*, const char* name, int32_t rank, const int64_t* dims, const void* data, size_t size,
                       trt_error* err);
int32_t trt_exec_run(trt_exec*, trt_error* err);
int32_t trt_exec_output(trt_exec*, const char* name, trt_tensor_info* out, size_t* size, trt_error* err);
int32_t trt_exec_read(trt_exec*, const char* name, void* data, size_t size, trt_error* err);
void trt_exec_free(trt_exec*);

typedef struct trt_bench_options {
  int32_t profile, streams, depth, steps, cuda_graph, spin_wait, transfers;
} trt_bench_options;
typedef struct trt_window {
  double warmup, min_duration, max_duration; // seconds; no bound when max_duration is 0
  int64_t min_queries;                       // per stream
} trt_window;
typedef struct trt_samples {
  int64_t queries, warmup;
  double wall, span, host_wall; // seconds
  uint64_t context_bytes, peak_bytes;
  const double *enqueue, *h2d, *compute, *d2h, *end_to_end, *start;
  const int32_t* stream;
} trt_samples;
int32_t trt_bench_new(trt_engine*, const trt_bench_options*, trt_bench** out, trt_error* err);
// Has an output of each step be an input of the next, in device memory: start is what
// the first step takes, most the largest size in bytes of what any leaves.
int32_t trt_bench_link(trt_bench*, const char* input, const char* output, const void* start, size_t size, size_t most,
                       trt_error* err);
// After the links; of a linked input only the shape counts.
int32_t trt_bench_input(trt_bench*, int32_t step, const char* name, int32_t rank, const int64_t* dims, const void* data,
                        size_t size, trt_error* err);
int32_t trt_bench_prepare(trt_bench*, trt_error* err); // after the inputs; runs every step once
int32_t trt_bench_query(trt_bench*, trt_error* err);   // runs the next step and waits for it
// What a step of the first stream left when it last ran.
int32_t trt_bench_output(trt_bench*, int32_t step, const char* name, trt_tensor_info* out, size_t* size, trt_error* err);
int32_t trt_bench_read(trt_bench*, int32_t step, const char* name, void* data, size_t size, trt_error* err);
// The samples live until the next run or free. *abort may be set from any thread.
int32_t trt_bench_run(trt_bench*, const trt_window*, const int32_t* abort, trt_samples* out, trt_error* err);
void trt_bench_free(trt_bench*);

// Implemented in Go.
extern void goTrtProgress(uintptr_t callbacks, int32_t event, char* phase, char* parent, int32_t number);
// Writes the next batch of each input to buffers; 1 a batch, 0 the end, -1 a failure.
extern int32_t goTrtBatch(uintptr_t callbacks, int32_t count, char** names, float** buffers, int64_t* elements);

#ifdef __cplusplus
}
#endif
#endif
