#include "api.h"
#include "table.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef struct options options;
typedef struct info info;
typedef struct memory memory;
typedef struct allocator allocator;

const void *const *table;
static ort_env *env;
static memory *cpu;
static allocator *standard;


char *message(status *s) {
	if (!s) return NULL;
	char *text = strdup(((const char *(*)(const status *))table[GetErrorMessage])(s));
	FREE(ReleaseStatus, s);
	return text;
}

char *ort_open(const char *path, uint32_t api_version, char **version) {
	typedef struct {
		const void *const *(*get)(uint32_t);
		const char *(*version)(void);
	} base;
	void *library = dlopen(path, RTLD_LAZY);
	if (!library) return strdup(dlerror());
	const base *(*get_base)(void) = (const base *(*)(void))dlsym(library, "OrtGetApiBase");
	if (!get_base) return strdup("it has no OrtGetApiBase: it is not ONNX Runtime");
	*version = strdup(get_base()->version());
	table = get_base()->get(api_version);
	if (!table) return strdup("it lacks the API version asked for");
	char *e = message(CALL(CreateEnv, int, const char *, ort_env **)(3, "plancast", &env));
	if (!e) e = message(CALL(DisableTelemetryEvents, const ort_env *)(env));
	if (!e) e = message(CALL(CreateCpuMemoryInfo, int, int, memory **)(1, 0, &cpu)); // the arena's, of the default kind
	if (!e) e = message(CALL(GetAllocatorWithDefaultOptions, allocator **)(&standard));
	return e;
}

static char *session_options(const ort_options *o, options **out) {
	char *e = message(CALL(CreateSessionOptions, options **)(out));
	if (e) return e;
	if (!e) e = message(CALL(SetSessionGraphOptimizationLevel, options *, int)(*out, o->level));
	if (!e) e = message(CALL(SetIntraOpNumThreads, options *, int)(*out, o->intra_threads));
	if (!e) e = message(CALL(SetInterOpNumThreads, options *, int)(*out, o->inter_threads));
	if (!e) e = message(CALL(SetSessionLogSeverityLevel, options *, int)(*out, o->log_severity));
	if (!e && o->optimized) e = message(CALL(SetOptimizedModelFilePath, options *, const char *)(*out, o->optimized));
	if (e) FREE(ReleaseSessionOptions, *out);
	return e;
}

char *ort_session_open(const char *path, const ort_options *o, ort_session **out) {
	options *opts = NULL;
	char *e = session_options(o, &opts);
	if (e) return e;
	e = message(CALL(CreateSession, const ort_env *, const char *, const options *, ort_session **)(env, path, opts, out));
	FREE(ReleaseSessionOptions, opts);
	return e;
}

char *ort_session_open_bytes(const void *model, size_t n, const ort_options *o, ort_session **out) {
	options *opts = NULL;
	char *e = session_options(o, &opts);
	if (e) return e;
	e = message(CALL(CreateSessionFromArray, const ort_env *, const void *, size_t, const options *, ort_session **)(env, model, n, opts, out));
	FREE(ReleaseSessionOptions, opts);
	return e;
}

void ort_session_close(ort_session *s) { FREE(ReleaseSession, s); }

char *ort_run_options_new(ort_run_options **out) { return message(CALL(CreateRunOptions, ort_run_options **)(out)); }
char *ort_run_options_terminate(ort_run_options *o) { return message(CALL(RunOptionsSetTerminate, ort_run_options *)(o)); }
char *ort_run_options_unset(ort_run_options *o) { return message(CALL(RunOptionsUnsetTerminate, ort_run_options *)(o)); }
void ort_run_options_free(ort_run_options *o) { FREE(ReleaseRunOptions, o); }

char *ort_run(ort_session *s, ort_run_options *o, const char *const *input_names, ort_value *const *inputs, size_t n_inputs,
              const char *const *output_names, size_t n_outputs, ort_value **outputs) {
	return message(CALL(Run, ort_session *, const ort_run_options *, const char *const *, const ort_value *const *, size_t, const char *const *, size_t,
	                    ort_value **)(s, o, input_names, (const ort_value *const *)inputs, n_inputs, output_names, n_outputs, outputs));
}

char *ort_tensor(int type, const int64_t *shape, size_t rank, void *data, size_t bytes, ort_value **out) {
	return message(CALL(CreateTensorWithDataAsOrtValue, const memory *, void *, size_t, const int64_t *, size_t, int, ort_value **)(
	    cpu, data, bytes, shape, rank, type, out));
}

enum { string_type = 8 };

char *ort_strings(const int64_t *shape, size_t rank, const char *const *text, size_t n, ort_value **out) {
	char *e = message(CALL(CreateTensorAsOrtValue, allocator *, const int64_t *, size_t, int, ort_value **)(standard, shape, rank, string_type, out));
	if (e || n == 0) return e;
	e = message(CALL(FillStringTensor, ort_value *, const char *const *, size_t)(*out, text, n));
	if (e) FREE(ReleaseValue, *out);
	return e;
}

char *ort_combine(int kind, ort_value *const *values, size_t n, ort_value **out) {
	return message(CALL(CreateValue, const ort_value *const *, size_t, int, ort_value **)((const ort_value *const *)values, n, kind, out));
}

void ort_value_free(ort_value *v) { FREE(ReleaseValue, v); }

char *ort_value_kind(ort_value *v, int *kind, int *has_value) {
	char *e = message(CALL(HasValue, const ort_value *, int *)(v, has_value));
	if (e || !*has_value) return e;
	return message(CALL(GetValueType, const ort_value *, int *)(v, kind));
}

char *ort_value_head(ort_value *v, int *type, int64_t *shape, size_t capacity, size_t *rank) {
	info *i = NULL;
	char *e = message(CALL(GetTensorTypeAndShape, const ort_value *, info **)(v, &i));
	if (e) return e;
	e = message(CALL(GetTensorElementType, const info *, int *)(i, type));
	if (!e) e = message(CALL(GetDimensionsCount, const info *, size_t *)(i, rank));
	if (!e && *rank > capacity) e = strdup("a tensor has too many dimensions");
	if (!e) e = message(CALL(GetDimensions, const info *, int64_t *, size_t)(i, shape, *rank));
	FREE(ReleaseTensorTypeAndShapeInfo, i);
	return e;
}

char *ort_value_data(ort_value *v, void **data) { return message(CALL(GetTensorMutableData, ort_value *, void **)(v, data)); }
char *ort_value_count(ort_value *v, size_t *n) { return message(CALL(GetValueCount, const ort_value *, size_t *)(v, n)); }

char *ort_value_item(ort_value *v, int i, ort_value **out) {
	return message(CALL(GetValue, const ort_value *, int, allocator *, ort_value **)(v, i, standard, out));
}

char *ort_value_text_size(ort_value *v, size_t *bytes) {
	return message(CALL(GetStringTensorDataLength, const ort_value *, size_t *)(v, bytes));
}

char *ort_value_text(ort_value *v, void *to, size_t bytes, size_t *offsets, size_t n) {
	return message(CALL(GetStringTensorContent, const ort_value *, void *, size_t, size_t *, size_t)(v, to, bytes, offsets, n));
}

char *ort_bind(ort_session *s, ort_binding **out) { return message(CALL(CreateIoBinding, ort_session *, ort_binding **)(s, out)); }

char *ort_bind_input(ort_binding *b, const char *name, ort_value *v) {
	return message(CALL(BindInput, ort_binding *, const char *, const ort_value *)(b, name, v));
}

char *ort_bind_output(ort_binding *b, const char *name, ort_value *v) {
	return message(CALL(BindOutput, ort_binding *, const char *, const ort_value *)(b, name, v));
}

char *ort_bind_allocated(ort_binding *b, const char *name) {
	return message(CALL(BindOutputToDevice, ort_binding *, const char *, const memory *)(b, name, cpu));
}

char *ort_bind_run(ort_session *s, ort_binding *b) {
	return message(CALL(RunWithBinding, ort_session *, const ort_run_options *, const ort_binding *)(s, NULL, b));
}

char *ort_bind_outputs(ort_binding *b, ort_value **outputs, size_t n) {
	ort_value **list = NULL;
	size_t bound = 0;
	char *e = message(CALL(GetBoundOutputValues, const ort_binding *, allocator *, ort_value ***, size_t *)(b, standard, &list, &bound));
	if (e) return e;
	if (bound != n) e = strdup("some outputs are not bound");
	for (size_t i = 0; i < bound; i++) {
		if (e) ort_value_free(list[i]);
		else outputs[i] = list[i];
	}
	if (list) free(message(CALL(AllocatorFree, allocator *, void *)(standard, list)));
	return e;
}

void ort_bind_free(ort_binding *b) { FREE(ReleaseIoBinding, b); }
