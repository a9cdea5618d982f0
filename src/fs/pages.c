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

void fs_pages(struct fs *fs, int path_fd, struct pages *out)
{
	struct page_range range = {0, 0};
	struct page_counts n;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	_cleanup_fd_ int fd = -1;

	*out = (struct pages){CACHEFS_UNKNOWN, CACHEFS_UNKNOWN, CACHEFS_UNKNOWN};
	if (!fs->config.caps.cachestat)
		return;
	/* cachestat(2) refuses O_PATH; O_NONBLOCK: nobody's lease on the file is waited for */
	fd = fs_reopen(fs, path_fd, O_RDONLY | O_NONBLOCK);
	if (fd < 0 || syscall(SYS_cachestat, fd, &range, &n, 0) < 0)
		return;
	*out = (struct pages){n.cached * page, n.dirty * page, n.writeback * page};
}
