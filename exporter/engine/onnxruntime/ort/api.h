// The part of ONNX Runtime's C API that plancast calls. The library is opened at
// run time and hands out a table of functions whose order never changes: a later
// version only appends to it. Functions are therefore called by their place in the
// table, and neither a header nor a library of ONNX Runtime is needed to build.
#ifndef PLANCAST_ORT_H
#define PLANCAST_ORT_H

#include <stddef.h>
#include <stdint.h>

typedef struct ort_env ort_env;
typedef struct ort_session ort_session;
typedef struct ort_value ort_value;
typedef struct ort_binding ort_binding;
typedef struct ort_run_options ort_run_options;

// Every function that can fail returns NULL or a message that the caller frees.

// ort_open opens the library at path and asks for the table of an API version. The
// library's own version is stored even when it is too old for that.
char *ort_open(const char *path, uint32_t api_version, char **version);

typedef struct {
	int level; // of graph optimization
	int intra_threads, inter_threads, log_severity;
	const char *optimized; // where the rewritten model goes, or NULL
} ort_options;

char *ort_session_open(const char *path, const ort_options *o, ort_session **out);
char *ort_session_open_bytes(const void *model, size_t n, const ort_options *o, ort_session **out);
void ort_session_close(ort_session *s);

char *ort_run_options_new(ort_run_options **out);
char *ort_run_options_terminate(ort_run_options *o);
char *ort_run_options_unset(ort_run_options *o);
void ort_run_options_free(ort_run_options *o);

// ort_run runs once; ONNX Runtime allocates the outputs that are NULL.
char *ort_run(ort_session *s, ort_run_options *o, const char *const *input_names, ort_value *const *inputs, size_t n_inputs,
              const char *const *output_names, size_t n_outputs, ort_value **outputs);

// ort_tensor wraps bytes that stay valid until the value is freed.
char *ort_tensor(int type, const int64_t *shape, size_t rank, void *data, size_t bytes, ort_value **out);
char *ort_strings(const int64_t *shape, size_t rank, const char *const *text, size_t n, ort_value **out);
// ort_combine makes a sequence of values, or a map of keys and values.
char *ort_combine(int kind, ort_value *const *values, size_t n, ort_value **out);
void ort_value_free(ort_value *v);

char *ort_value_kind(ort_value *v, int *kind, int *has_value);
// ort_value_head describes a tensor; shape has room for capacity sizes.
char *ort_value_head(ort_value *v, int *type, int64_t *shape, size_t capacity, size_t *rank);
char *ort_value_data(ort_value *v, void **data);
char *ort_value_count(ort_value *v, size_t *n);
char *ort_value_item(ort_value *v, int i, ort_value **out);
char *ort_value_text_size(ort_value *v, size_t *bytes);
char *ort_value_text(ort_value *v, void *to, size_t bytes, size_t *offsets, size_t n);

char *ort_bind(ort_session *s, ort_binding **out);
char *ort_bind_input(ort_binding *b, const char *name, ort_value *v);
char *ort_bind_output(ort_binding *b, const char *name, ort_value *v);
char *ort_bind_allocated(ort_binding *b, const char *name); // in the CPU's memory, at each run
char *ort_bind_run(ort_session *s, ort_binding *b);
// ort_bind_outputs gives what the last run left, in the order in which the n outputs
// were bound; the caller frees the values.
char *ort_bind_outputs(ort_binding *b, ort_value **outputs, size_t n);
void ort_bind_free(ort_binding *b);

// A window is what the lanes of a timed window share. It is over after queries of
// all lanes and duration, or after longest (0 is no bound), or once it is stopped.
typedef struct ort_window ort_window;
ort_window *ort_window_new(int64_t queries, int64_t duration, int64_t longest); // NULL without memory; times in nanoseconds
void ort_window_begin(ort_window *w);                                          // sets its origin
void ort_window_stop(ort_window *w);
int64_t ort_window_count(ort_window *w);

// ort_bind_time times runs until the window is over or room is used: their starts
// since the window's origin and their latencies, in nanoseconds. Outputs that ONNX
// Runtime allocates are dropped before each run, untimed.
char *ort_bind_time(ort_session *s, ort_binding *b, const char *const *allocated, size_t n_allocated, ort_window *w, int64_t *starts, int64_t *latencies,
                    size_t room, size_t *n, int *over);

// A queue is what the instances share that serve the requests of a window. No request
// begins after longest (0 is no bound), or once it is stopped.
typedef struct ort_queue ort_queue;
ort_queue *ort_queue_new(int64_t longest); // NULL without memory; in nanoseconds
void ort_queue_begin(ort_queue *q);        // sets its origin
void ort_queue_stop(ort_queue *q);

// ort_bound is a run with what is bound for it.
typedef struct {
	ort_binding *binding;
	const char *const *allocated; // outputs that ONNX Runtime allocates
	size_t n_allocated;
} ort_bound;

// ort_chain is what requests run of one kind, in turn, bound for one instance.
typedef struct {
	const ort_bound *steps;
	size_t n, next;
} ort_chain;

// ort_serve takes the next of n requests when it is free, waits until the request is
// due and runs the next step of the chain that it names, until the queue is over. All
// times are since the queue's origin, in nanoseconds.
char *ort_serve(ort_session *s, ort_chain *chains, ort_queue *q, const int64_t *at, const int64_t *which, size_t n, int64_t *taken, int64_t *starts,
                int64_t *ends);

// ort_loop_time times a call that does nothing but clear a flag, as ort_bind_time times a run.
char *ort_loop_time(ort_run_options *o, int64_t *latencies, size_t n);

#endif
