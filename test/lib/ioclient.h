/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared between ioclient's two halves: ioclient.c (options, threads, blocks in flight) and
 * ioclient-methods.c (how each method moves one block). Sizes and offsets are in bytes.
 */
#ifndef TEST_IOCLIENT_H
#define TEST_IOCLIENT_H

#include <liburing.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <sys/types.h>

#define BUF_ALIGN 4096u
#define MAX_DEPTH 256u
#define MAX_BLOCK (64u << 20)

enum flush_kind { FLUSH_NONE, FLUSH_FSYNC, FLUSH_FDATASYNC, FLUSH_MSYNC };

struct client;

/* One method: how to open, and how to move one block. */
struct method {
	const char *name;
	int flags; /* open(2) flags beyond O_RDWR | O_CREAT */
	int async; /* keeps several blocks in flight: no write/read here, run_async() instead */
	int (*write)(struct client *c, const char *buf, size_t len, off_t off);
	int (*read)(struct client *c, char *buf, size_t len, off_t off);
};

struct options {
	const struct method *method;
	const char *path;
	uint64_t size, block, count, offset, seed;
	enum flush_kind flush;
	unsigned int every;   /* flush after so many writes of a thread; 0: once at the end */
	unsigned int threads; /* 1..64 */
	unsigned int depth;   /* in flight, for libaio and io_uring, 1..MAX_DEPTH */
	int verify;
	int extra_flags;
};

/* Set once by main(), read-only when threads run. */
extern struct options opt;

/* One thread's state. */
struct client {
	unsigned int id;
	int fd;
	int pipe[2];
	int mem;   /* memfd: the other end of sendfile */
	char *map; /* method mmap: maps [0, map_len) */
	size_t map_len;
	char *bufs; /* depth blocks, BUF_ALIGN aligned */
	struct io_uring ring;
	aio_context_t aio;
	int (*flush_one)(struct client *c, uint64_t off, uint64_t len);
};

/* All methods; ends with a NULL name. Their calls return 0, or -1 and errno. */
extern const struct method methods[];

/* Says on stderr what failed, with errno; makes the exit status 1 and stops all threads. */
int fail(const char *what, uint64_t off);
/* The bytes that belong at [off, off + len). */
void pattern(char *buf, size_t len, uint64_t off);
/* Whether all len bytes were moved: 0, or -1; errno EIO for a short transfer. */
int whole(ssize_t n, size_t len);
/* The flush that opt.flush asks for, by system call, for the bytes [off, off + len). */
int flush_sync(struct client *c, uint64_t off, uint64_t len);

#endif
