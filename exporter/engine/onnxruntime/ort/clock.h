// The clock of what is timed here.
#ifndef PLANCAST_ORT_CLOCK_H
#define PLANCAST_ORT_CLOCK_H

#include <stdint.h>
#include <time.h>

// now is in nanoseconds since any moment.
static inline int64_t now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#endif
