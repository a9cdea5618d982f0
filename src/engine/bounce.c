/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/bounce.h"

#include <fcntl.h>
#include <string.h>

#include "base/util.h"
#include "engine/engine.h"

static int read_block(int fd, uint8_t *buf, uint32_t align, uint64_t off)
{
	ssize_t n = engine_pread_full(fd, buf, align, off, NULL);

	if (n < 0)
		return (int)n;
	/* the caller saw a file that contains this block; somebody behind the mount made it shorter
	 */
	return (size_t)n == align ? 0 : -EAGAIN;
}

ssize_t bounce_write(int fd, uint32_t align, const uint8_t *buf, size_t len, uint64_t off, int rwf)
{
	uint64_t start = align_down(off, align), end = align_up(off + len, align);
	uint64_t last = end - align;
	size_t size = end - start;
	_cleanup_free_ void *mem = NULL;
	uint8_t *block;
	ssize_t n;
	int err = 0;

	if (posix_memalign(&mem, MAX(align, 4096u), size))
		return -ENOMEM;
	block = mem;
	if (start != off)
		err = read_block(fd, block, align, start);
	if (!err && end != off + len && (last != start || start == off))
		err = read_block(fd, block + (last - start), align, last);
	if (err)
		return err;
	memcpy(block + (off - start), buf, len);
	n = engine_pwrite_full(fd, block, size, start, rwf);
	if (n < 0)
		return n;
	if ((uint64_t)n == size)
		return (ssize_t)len;
	/* short: what of the caller's bytes was written */
	return (uint64_t)n > off - start ? (ssize_t)MIN(n - (off - start), len) : -EIO;
}

int bounce_drop_cache(int fd)
{
	int err = sysret(sync_file_range(fd, 0, 0,
					 SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
					     SYNC_FILE_RANGE_WAIT_AFTER));

	/* the whole file: parts of large folios would stay (find_lock_entries() in mm/filemap.c) */
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return err;
}
