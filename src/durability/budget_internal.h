/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the budget share. Locks, in order: a file's, the budget's; neither is held
 * across a system call that can block, or a callback. */
#ifndef CACHEFS_DURABILITY_BUDGET_INTERNAL_H
#define CACHEFS_DURABILITY_BUDGET_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "durability/budget.h"
#include "loop/pool.h"

struct budget_file {
	struct budget *budget;
	int fd;
	uint64_t key;
	atomic_uint users;		 /* the open file, the monitor while it looks, the job */
	struct budget_file *prev, *next; /* of those watched. budget->lock */
	bool watched;			 /* budget->lock */

	pthread_mutex_t lock; /* what follows */
	struct budget_limits limits;
	struct flush_state *flush; /* NULL: closed */
	struct budget_wait *first, **last;
	bool failed; /* write-back has */
	/*
	 * Bytes that were admitted, and written, since the start; DONE as it was before the page
	 * cache was looked at, when it held DIRTY.
	 */
	uint64_t admitted, done, done_before, dirty;
	uint64_t writeback; /* of DIRTY: under write-back already */
	uint64_t looked;    /* when; CLOCK_MONOTONIC, nanoseconds; 0: never */
	uint64_t since;	    /* as in struct budget_view */
	uint64_t before;    /* the same as DIRTY, at the look before it */
	uint64_t ctime;	    /* of the file at the last look, nanoseconds */
	bool quiet;	    /* nothing was dirty, and a later write shows in ctime */
	bool running;	    /* JOB */
	uint64_t started, done_at_start;
	struct pool_job job;
};

struct budget {
	struct pool *pool;
	bool cachestat;
	atomic_bool stopped; /* nobody is held up any more */
	atomic_uint held_up; /* writers that are */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct budget_file *files; /* watched */
	size_t count;
	bool have_thread, end, kicked;
	pthread_t thread;
};

/* With F->lock held: what may be dirty. */
static inline uint64_t budget_dirty(const struct budget_file *f)
{
	return f->dirty + f->admitted - f->done_before;
}

void budget_file_unref(struct budget_file *f);
/* Lets the writers go on for whom there is room. */
void budget_release(struct budget_file *f);
/* The monitor looks soon. */
void budget_kick(struct budget *b);

/* budget_monitor.c */
void *budget_monitor(void *budget);
void budget_look(struct budget_file *f);

#endif
