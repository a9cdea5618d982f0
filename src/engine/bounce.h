/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Direct I/O at any offset and of any size. All of it blocks. The caller owns the blocks concerned
 * (CLAIM_RMW), so that no write to a neighbour in them is lost.
 */
#ifndef CACHEFS_ENGINE_BOUNCE_H
#define CACHEFS_ENGINE_BOUNCE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

static inline bool bounce_needed(uint64_t off, size_t len, uint32_t align)
{
	return ((off | len) & (align - 1)) != 0;
}

/*
 * Read-modify-write through FD (O_DIRECT, readable) of whole blocks that lie inside the file.
 * LEN or a negative errno; -EAGAIN: the file ends in one of the blocks, nothing was written.
 * ALIGN: a power of two, bytes. RWF as pwritev2(2)'s.
 */
ssize_t bounce_write(int fd, uint32_t align, const uint8_t *buf, size_t len, uint64_t off, int rwf);

/* To the device (not a flush), then out of the page cache: all that the file has there. */
int bounce_drop_cache(int fd);

#endif
