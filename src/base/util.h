/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cleanup attributes and small arithmetic. Ownership leaves a variable by steal_fd() or
 * steal_ptr(). */
#ifndef CACHEFS_BASE_UTIL_H
#define CACHEFS_BASE_UTIL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* ALIGN is a power of two. */
static inline uint64_t align_down(uint64_t v, uint64_t align)
{
	return v & ~(align - 1);
}

static inline uint64_t align_up(uint64_t v, uint64_t align)
{
	return align_down(v + align - 1, align);
}

/* CLOCK_MONOTONIC, in nanoseconds. */
static inline uint64_t clock_nsec(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* errno survives; close(2) is never retried (on Linux the descriptor is gone either way). */
static inline void cleanup_fd(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline void cleanup_mem(void *p)
{
	int saved = errno;

	free(*(void **)p);
	errno = saved;
}

#define _cleanup_fd_ __attribute__((cleanup(cleanup_fd)))
#define _cleanup_free_ __attribute__((cleanup(cleanup_mem)))

static inline int steal_fd(int *fd)
{
	int v = *fd;

	*fd = -1;
	return v;
}

/* A system call's result as the house convention: >= 0, or a negative errno. */
#define sysret(expr)                                                                               \
	({                                                                                         \
		__typeof__(expr) sysret_ = (expr);                                                 \
		sysret_ < 0 ? -errno : sysret_;                                                    \
	})

#endif
