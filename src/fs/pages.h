/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host's page cache holds of a file. */
#ifndef CACHEFS_FS_PAGES_H
#define CACHEFS_FS_PAGES_H

#include <stdint.h>

struct fs;

/* Bytes, whole pages; all CACHEFS_UNKNOWN where cachestat(2) (Linux 6.5) cannot tell. */
struct pages {
	uint64_t cached, dirty, writeback;
};

/*
 * Of the regular file that FD is open on, not with O_PATH (fs_reopen() with O_RDONLY | O_NONBLOCK,
 * which waits for nobody's lease). Any thread; takes longer the more is cached, but does not wait
 * for I/O.
 */
void fs_pages(const struct fs *fs, int fd, struct pages *out);

#endif
