/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of each request that must happen exactly once, while it is executed: in shared
 * memory, so that the next worker can tell what became of those that a dead one had begun.
 *
 * An entry belongs to one request from journal_take() or journal_find() to journal_release(), which
 * comes after the reply, and is written by the one thread that executes it. It is published by its
 * `unique`, last, and withdrawn by it, first. Fields in front of `state` are those that count.
 *
 * The memory outlives a worker; which entries are free, and the index of those that a dead worker
 * left, are private to a worker: made by journal_resume() in it, before any request.
 *
 * A request needs an entry only once it runs, so there are never more in use than threads that run
 * requests, plus what a dead worker left. journal_take() waits where there is none free.
 */
#ifndef CACHEFS_SUPERVISOR_JOURNAL_H
#define CACHEFS_SUPERVISOR_JOURNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define JOURNAL_ENTRIES 16384
/* FUSE_UNIQUE_RESEND: the kernel's mark of a request that was read before. No part of `unique`. */
#define JOURNAL_RESENT (1ULL << 63)

enum journal_state {
	JOURNAL_TAKEN, /* nothing was done yet */
	JOURNAL_BEGUN, /* `before` stands; the system call may have been made */
	JOURNAL_DONE,  /* `result` stands */
};

/* What a name led to; ino 0: nothing. */
struct journal_file {
	uint64_t dev, ino;
};

struct journal_entry {
	_Atomic uint64_t unique;  /* without JOURNAL_RESENT; 0: free */
	_Atomic uint64_t counted; /* id of the node that a lookup was counted for, or 0 */
	atomic_uint state;	  /* enum journal_state */
	atomic_int result;	  /* of the system call, or of a later step that failed: <= 0 */
	uint32_t opcode;
	uint32_t unused;
	struct journal_file before[2]; /* what was at the name, and at the new name */
	/* The directory's ctime before: what it has that is younger was made by this request. */
	int64_t since_sec;
	uint32_t since_nsec;
	uint32_t unused2[13];
};

_Static_assert(sizeof(struct journal_entry) == 128,
	       "two cache lines, and the same in all versions");

struct journal;

/* Memory of its own, mapped shared; used only as entries are. 0 or a negative errno. */
int journal_create(struct journal **out);
/*
 * The journal in FD, a journal_memfd() of this or another program, which is owned afterwards. 0 or
 * a negative errno, and FD is still the caller's: -EINVAL, it is none.
 */
int journal_adopt(int fd, struct journal **out);
void journal_destroy(struct journal *j);
/* Owned by the journal. */
int journal_memfd(const struct journal *j);

/*
 * In a new worker: what a dead one left is found by journal_find() from now on. Without a dead one
 * nothing needs to be called. 0 or -ENOMEM.
 */
int journal_resume(struct journal *j);
/*
 * The entry that a dead worker left of UNIQUE, or NULL. Called as soon as a request that was resent
 * is received: from then on the entry belongs to it.
 */
struct journal_entry *journal_find(struct journal *j, uint64_t unique);
/*
 * An entry for UNIQUE; waits until one is free. Called when a request that has none begins to run,
 * on a thread that may block. RESENT ones stand at the head of the kernel's queue; so a while (10
 * s) after the first other one, what has not been found any more never will be (its answer was sent
 * just before the end), and becomes free.
 */
struct journal_entry *journal_take(struct journal *j, uint64_t unique, uint32_t opcode,
				   bool resent);
void journal_release(struct journal *j, struct journal_entry *e);

/* Entries of a dead worker that were not found yet. */
unsigned journal_left(struct journal *j);
/* For tests: another time than 10 s, in nanoseconds. */
void journal_set_patience(struct journal *j, uint64_t nsec);

#endif
