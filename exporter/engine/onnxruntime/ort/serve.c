#include "api.h"
#include "clock.h"
#include "table.h"

#include <stdlib.h>

// Requests are served in native code for the reason that queries are timed there:
// see time.c.

struct ort_queue {
	int64_t longest, origin, next;
	int stop;
};

ort_queue *ort_queue_new(int64_t longest) {
	ort_queue *q = calloc(1, sizeof *q);
	if (q) q->longest = longest;
	return q;
}

void ort_queue_begin(ort_queue *q) { q->origin = now(); }
void ort_queue_stop(ort_queue *q) { __atomic_store_n(&q->stop, 1, __ATOMIC_RELAXED); }

// The last part of a wait is spent looking at the clock, since a thread that sleeps
// wakes up late: package serve says by how much, and its margin.earlier is the same as
// this one. A longer wait looks up from time to time, since the queue may be stopped.
enum { least = 200000, most = 1000000, nap = 100000000 };

static int64_t earlier(int64_t early, int64_t late) {
	early -= early / 16;
	if (early < 2 * late) early = 2 * late;
	return early < least ? least : early > most ? most : early;
}

// await returns when a request is due; 0 if the queue was stopped before. A sleep ends
// early, which is how long before.
static int await(ort_queue *q, int64_t at, int64_t *early) {
	for (;;) {
		if (__atomic_load_n(&q->stop, __ATOMIC_RELAXED)) return 0;
		int64_t begun = now(), left = q->origin + at - begun;
		if (left <= 0) return 1;
		if (left <= *early) continue;
		int64_t sleep = left - *early < nap ? left - *early : nap;
		struct timespec t = {sleep / 1000000000, sleep % 1000000000};
		nanosleep(&t, NULL);
		*early = earlier(*early, now() - begun - sleep);
	}
}

char *ort_serve(ort_session *s, ort_chain *chains, ort_queue *q, const int64_t *at, const int64_t *which, size_t n, int64_t *taken, int64_t *starts,
                int64_t *ends) {
	int64_t early = least;
	for (;;) {
		int64_t i = __atomic_fetch_add(&q->next, 1, __ATOMIC_RELAXED);
		int64_t free_at = now() - q->origin;
		// A machine that stalls as the window begins does not end it: its first request is served.
		if (i >= (int64_t)n || (q->longest > 0 && ((i > 0 && free_at >= q->longest) || at[i] >= q->longest)) || !await(q, at[i], &early)) return NULL;
		ort_chain *c = &chains[which[i]];
		const ort_bound *b = &c->steps[c->next];
		c->next = (c->next + 1) % c->n;
		for (size_t k = 0; k < b->n_allocated; k++) {
			char *e = ort_bind_allocated(b->binding, b->allocated[k]);
			if (e) return e;
		}
		int64_t start = now();
		char *e = message(CALL(RunWithBinding, ort_session *, const ort_run_options *, const ort_binding *)(s, NULL, b->binding));
		int64_t end = now();
		if (e) return e;
		taken[i] = free_at, starts[i] = start - q->origin, ends[i] = end - q->origin;
	}
}
