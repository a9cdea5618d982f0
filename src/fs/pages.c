/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/pages.h"

#include "base/cachestat.h"
#include "fs/internal.h"

void fs_pages(struct fs *fs, int path_fd, struct pages *out)
{
	struct page_counts n;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	_cleanup_fd_ int fd = -1;

	*out = (struct pages){CACHEFS_UNKNOWN, CACHEFS_UNKNOWN, CACHEFS_UNKNOWN};
	if (!fs->config.caps.cachestat)
		return;
	/* cachestat(2) refuses O_PATH; O_NONBLOCK: nobody's lease on the file is waited for */
	fd = fs_reopen(fs, path_fd, O_RDONLY | O_NONBLOCK);
	if (fd < 0 || !page_counts_of(fd, &n))
		return;
	*out = (struct pages){n.cached * page, n.dirty * page, n.writeback * page};
}
