/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/pages.h"

#include <sys/syscall.h>

#include "fs/internal.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* Linux 6.5 */
#endif

/* As in <linux/mman.h> since Linux 6.5; named apart, so that newer headers do not collide. */
struct page_range {
	uint64_t off, len; /* LEN 0: to the end of the file */
};

struct page_counts {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

void fs_pages(const struct fs *fs, int fd, struct pages *out)
{
	struct page_range range = {0, 0};
	struct page_counts n;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	*out = (struct pages){CACHEFS_UNKNOWN, CACHEFS_UNKNOWN, CACHEFS_UNKNOWN};
	if (!fs->config.caps.cachestat || syscall(SYS_cachestat, fd, &range, &n, 0) < 0)
		return;
	*out = (struct pages){n.cached * page, n.dirty * page, n.writeback * page};
}
