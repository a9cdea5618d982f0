/* SPDX-License-Identifier: GPL-2.0-or-later */
/* cachestat(2), Linux 6.5, which older C libraries and headers lack. */
#ifndef CACHEFS_BASE_CACHESTAT_H
#define CACHEFS_BASE_CACHESTAT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* the same on every architecture */
#endif

/* As in <linux/mman.h>; named apart, so that newer headers do not collide. */
struct page_range {
	uint64_t off, len; /* LEN 0: to the end of the file */
};

/* Pages. */
struct page_counts {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

/*
 * Of the whole file FD (not O_PATH). False: the kernel cannot tell, errno says why. Takes longer
 * the more is cached, but does not wait for I/O.
 */
static inline bool page_counts_of(int fd, struct page_counts *n)
{
	struct page_range range = {0, 0};

	return syscall(SYS_cachestat, fd, &range, n, 0) == 0;
}

#endif
