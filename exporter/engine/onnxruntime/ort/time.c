#include "api.h"
#include "clock.h"
#include "table.h"

#include <stdlib.h>

// The loop is native code because Go's scheduler looks every 20 us for threads that
// are in a call for longer than that, as long as it finds one: it took 7 % of the
// speed of a model of 0.5 ms. One call that lasts for the whole window is found once.

struct ort_window {
	int64_t queries, duration, longest, origin;
	int64_t count;
	int stop;
};

ort_window *ort_window_new(int64_t queries, int64_t duration, int64_t longest) {
	ort_window *w = calloc(1, sizeof *w);
	if (w) w->queries = queries, w->duration = duration, w->longest = longest;
	return w;
}

void ort_window_begin(ort_window *w) { w->origin = now(); }
void ort_window_stop(ort_window *w) { __atomic_store_n(&w->stop, 1, __ATOMIC_RELAXED); }
int64_t ort_window_count(ort_window *w) { return __atomic_load_n(&w->count, __ATOMIC_RELAXED); }

char *ort_bind_time(ort_session *s, ort_binding *b, const char *const *allocated, size_t n_allocated, ort_window *w, int64_t *starts, int64_t *latencies,
                    size_t room, size_t *n, int *over) {
	for (*n = 0, *over = 0; *n < room && !*over; ++*n) {
		for (size_t i = 0; i < n_allocated; i++) {
			char *e = ort_bind_allocated(b, allocated[i]);
			if (e) return e;
		}
		int64_t start = now();
		char *e = message(CALL(RunWithBinding, ort_session *, const ort_run_options *, const ort_binding *)(s, NULL, b));
		int64_t end = now();
		if (e) return e;
		starts[*n] = start - w->origin;
		latencies[*n] = end - start;
		int64_t count = __atomic_add_fetch(&w->count, 1, __ATOMIC_RELAXED), elapsed = end - w->origin;
		*over = (count >= w->queries && elapsed >= w->duration) || (w->longest > 0 && elapsed >= w->longest) || __atomic_load_n(&w->stop, __ATOMIC_RELAXED);
	}
	return NULL;
}

char *ort_loop_time(ort_run_options *o, int64_t *latencies, size_t n) {
	for (size_t i = 0; i < n; i++) {
		int64_t start = now();
		char *e = ort_run_options_unset(o);
		latencies[i] = now() - start;
		if (e) return e;
	}
	return NULL;
}
