/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ranges of one open file, owned by queueing.
 *
 * Nobody sleeps for a range: a claim that must wait is queued, and its resume() is called once it
 * owns the range, by the thread that released the obstacle (so resume() only hands the work to a
 * pool). Claims are granted in order of arrival where they conflict, so nothing starves.
 */
#ifndef CACHEFS_FS_LOCK_H
#define CACHEFS_FS_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * What conflicts with what, where ranges overlap:
 * READ with GATE; WRITE with RMW and GATE; RMW with WRITE, RMW and GATE; GATE with everything.
 */
enum claim_kind {
	CLAIM_READ,
	CLAIM_WRITE, /* replaces whole blocks, or goes through the page cache */
	CLAIM_RMW,   /* reads blocks and writes them back with some bytes replaced */
	CLAIM_GATE,  /* the meaning of the file's I/O changes */
	CLAIM_KINDS
};

struct claim {
	enum claim_kind kind;
	uint64_t start, end; /* bytes, END excluded */
	void (*resume)(struct claim *c);
	struct claim *prev, *next, *next_granted; /* the lock's own */
	struct waiter *waiter;			  /* iolock_acquire_wait()'s own */
};

struct iolock {
	pthread_mutex_t lock; /* never held across a system call or a callback */
	struct claim *owned, *queued;
	unsigned busy[CLAIM_KINDS]; /* claims owned or queued, by kind */
};

void iolock_init(struct iolock *l);
void iolock_destroy(struct iolock *l);

/* True: C owns its range now. False: C is queued, and C->resume will be called, perhaps already. */
bool iolock_acquire(struct iolock *l, struct claim *c);
void iolock_release(struct iolock *l, struct claim *c);

/* For threads that may sleep (administration, not I/O): returns when C owns its range. Sets resume.
 */
void iolock_acquire_wait(struct iolock *l, struct claim *c);

#endif
