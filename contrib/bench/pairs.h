/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The loads of pairs, and what they work on. */
#ifndef CACHEFS_BENCH_PAIRS_H
#define CACHEFS_BENCH_PAIRS_H

#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define BLOCK 4096
#define THREADS 4
#define DEPTH 128 /* at most */

/* A directory with its file, PAIRS_FILE. */
#define PAIRS_FILE "pairs.img"
struct target {
	const char *dir;
	int dir_fd, fds[THREADS]; /* one for each thread */
	uint64_t blocks;
	clockid_t clock; /* of the process that serves it */
};

struct worker {
	pthread_t thread;
	unsigned index;
	const struct load *load;
	uint64_t random, name; /* of the next offset, and name */
	char *buf;	       /* DEPTH blocks */
	aio_context_t aio;     /* where there is a depth */
	struct iocb cbs[DEPTH];
	uint64_t all; /* operations of this slice */
	double rate;  /* operations a second in the part of it that counts */
};

/* Its functions end the program where anything fails. */
struct load {
	const char *name;
	unsigned threads;
	int flags;	/* of the open */
	bool sync;	/* fdatasync(2) after each write */
	unsigned depth; /* of asynchronous I/O; 0: none */
	/* One or more operations; returns how many. */
	unsigned (*step)(struct worker *w, struct target *t);
	/* Around a slice; NULL: nothing to do. end() counts in `all` what it waited for. */
	void (*begin)(struct worker *w, struct target *t);
	void (*end)(struct worker *w, struct target *t);
};

extern const struct load pairs_loads[]; /* ends with a name of NULL */

/* Prints the message with errno's text, and ends the program. */
__attribute__((noreturn, format(printf, 1, 2))) void pairs_fail(const char *format, ...);

#endif
