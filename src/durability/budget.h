/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much unflushed data open files may have, and how old (struct budget_limits).
 *
 * A monitor looks at the page cache of each file that is watched (cachestat(2)) every 100 ms, or
 * 250 ms while none is dirty. More than dirty-limit, or older than dirty-age: write-back is started
 * (sync_file_range(2), which does not wait for it but may block on a full queue: on the pool), of
 * the oldest and the most dirty file first. Writers are not held up by it. dirty-max: write-back
 * starts at half of it, and a writer whose write could lead above it is queued until there is room;
 * no thread waits, so nothing can wait for it in turn. What was written since the last look counts
 * as dirty until the next one, which comes soon when a writer waits.
 *
 * Where cachestat is missing: what was written by those who ask counts as dirty until a write-back
 * that began later has ended; that others write is seen by the file's ctime, and not how much, so
 * write-back starts every second then.
 *
 * A file whose write-back has failed holds nobody up any more: the error is latched, and when its
 * pages become clean nobody knows.
 *
 * Threads: any, but that calls about one file's limits and its end must not overlap. The monitor's
 * thread starts with the first file, and sleeps without a time limit while no file is watched.
 */
#ifndef CACHEFS_DURABILITY_BUDGET_H
#define CACHEFS_DURABILITY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "config/limits.h"

struct budget;
struct budget_file;
struct flush_state;
struct pool;

/* CACHESTAT: the kernel has it. POOL must end (pool_destroy()) before the budget does. */
int budget_create(struct budget **out, struct pool *pool, bool cachestat);
/*
 * Nobody is held up from now on; before the pool's end, which waits for those who were. Files may
 * still come and go.
 */
void budget_stop(struct budget *b);
/* All files are gone. NULL does nothing. */
void budget_destroy(struct budget *b);

/*
 * An open file, not watched yet. FD, a descriptor of its own with which nothing else is done, is
 * owned from now on, on errors too. KEY is the file's for the pool. Write-back errors are latched
 * in FLUSH. 0, -ENOMEM, or -EAGAIN: no thread for the monitor. Does not block.
 */
int budget_file_create(struct budget *b, int fd, uint64_t key, struct flush_state *flush,
		       struct budget_file **out);
/* No write may be under way. Does not wait for write-back that was started. NULL does nothing. */
void budget_file_destroy(struct budget_file *f);
/*
 * What holds from now on; writers for whom there is room now go on. All 0: the file is not watched.
 * MEASURE: look at the page cache first, as when the file has been opened: what it holds counts.
 */
void budget_file_set(struct budget_file *f, const struct budget_limits *limits, bool measure);

/* A writer that may have to wait; owned by the budget from budget_admit() until resume(). */
struct budget_wait {
	void (*resume)(struct budget_wait *w); /* the write may begin; must not block */
	uint64_t len;
	struct budget_wait *next;
};

/*
 * LEN bytes are about to be written. True: now. False: when W->resume is called, perhaps already.
 * Either way budget_written() with the same LEN follows when they were, or have failed.
 */
bool budget_admit(struct budget_file *f, uint64_t len, struct budget_wait *w);
/* Does any writer wait? Any thread. */
bool budget_holds_up(struct budget *b);
void budget_written(struct budget_file *f, uint64_t len);
/* For threads that may sleep: returns when LEN bytes may be written. */
void budget_admit_wait(struct budget_file *f, uint64_t len);
/* The largest piece, up to LEN, in which something that can be cut should be written; not 0. */
uint64_t budget_piece(struct budget_file *f, uint64_t len);

/* ---- the rules, apart from threads and system calls ---- */

/* What is known of a file's unflushed data. Bytes, and CLOCK_MONOTONIC in nanoseconds. */
struct budget_view {
	uint64_t dirty; /* dirty and under write-back, at most: what may have been written counts */
	uint64_t growth; /* expected until the next look */
	uint64_t since;	 /* the oldest is not older than that; 0: nothing is dirty */
	uint64_t now;
};

/* Must write-back start? */
bool budget_due(const struct budget_limits *l, const struct budget_view *v);
/* Must a write of LEN bytes wait? One that is alone never does, however long. */
bool budget_full(const struct budget_limits *l, uint64_t dirty, uint64_t len);

#endif
