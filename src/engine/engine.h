/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the bytes of a backing file are read, written and synced. Three engines:
 *
 * uring    reads through the loop's ring, everything else as system calls on threads that may
 *          block. Buffered writes and flushes are not given to io_uring: it passes them to its own
 *          workers, one after the other per file (ext4, Linux 6.18: 16 000 writes/s against
 *          55 000 as system calls), and O_DIRECT writes of eight threads are faster as system
 * calls, too (46 000/s against 39 500). threads  all of it as system calls, where io_uring is not
 * permitted. null     touches no file: what remains is the cost of everything above.
 */
#ifndef CACHEFS_ENGINE_ENGINE_H
#define CACHEFS_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "loop/loop.h"
#include "loop/pool.h"

/* One read; owned by the engine until done() is called. */
struct engine_io {
	int fd;
	uint8_t *buf;
	size_t len;
	uint64_t off;
	struct loop *loop; /* of the calling thread, or NULL: then read() may block */
	struct pool *pool;
	uint64_t key; /* for the pool's cap per file */
	/* Once, on the loop's thread or on one that may block. RESULT: bytes (short only at the end
	 * of the file), or a negative errno when not a byte was read. */
	void (*done)(struct engine_io *io, ssize_t result);

	/* the engine's own */
	struct ring_op op;
	struct pool_job job;
	size_t got;
	int error; /* after a short result: 0, or the negative errno that made it short */
};

struct engine {
	const char *name;
	bool needs_ring;
	bool null; /* no file is touched; tests and measurements only */
	void (*read)(struct engine_io *io);
	/* Blocks. All of LEN, or less after an error that came late, or a negative errno. RWF: RWF_
	 * flags. */
	ssize_t (*write)(int fd, const uint8_t *buf, size_t len, uint64_t off, int rwf);
	/* Blocks. 0 or a negative errno. */
	int (*sync)(int fd, bool datasync);
};

extern const struct engine engine_uring, engine_threads, engine_null;

/* Blocking pieces that the engines share. */
/* ERROR, where not NULL: as engine_io's. */
ssize_t engine_pread_full(int fd, uint8_t *buf, size_t len, uint64_t off, int *error);
ssize_t engine_pwrite_full(int fd, const uint8_t *buf, size_t len, uint64_t off, int rwf);
int engine_fsync(int fd, bool datasync);

#endif
