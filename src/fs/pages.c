/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/pages.h"

#include "base/cachestat.h"
#include "fs/internal.h"

void fs_pages(const struct fs *fs, int fd, struct pages *out)
{
	struct page_counts n;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	*out = (struct pages){CACHEFS_UNKNOWN, CACHEFS_UNKNOWN, CACHEFS_UNKNOWN};
	if (!fs->config.caps.cachestat || !page_counts_of(fd, &n))
		return;
	*out = (struct pages){n.cached * page, n.dirty * page, n.writeback * page};
}
