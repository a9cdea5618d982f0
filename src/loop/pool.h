/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Threads for what blocks.
 *
 * A lane is a kind of work with threads of its own, so that waiting for one kind (a flush) never
 * keeps another (reads) from running. Within a lane a key (a file) gets at most three quarters of
 * the threads; more of its work waits in order until some of it is done.
 *
 * A job is owned by the pool from pool_submit() until its run() is called; run() may free it.
 */
#ifndef CACHEFS_LOOP_POOL_H
#define CACHEFS_LOOP_POOL_H

#include <stdbool.h>
#include <stdint.h>

enum lane {
	LANE_DATA,	/* reads and writes */
	LANE_FLUSH,	/* fsync and friends, and what waits for them */
	LANE_META,	/* names and attributes; may take on a caller's credentials */
	LANE_NOTIFY,	/* what waits for the kernel, which may be waiting for the other lanes */
	LANE_WRITEBACK, /* starts write-back, which writers and others in the flush lane wait for */
	LANES
};

struct pool_job {
	void (*run)(struct pool_job *job);
	uint64_t key; /* what the per-file cap counts: any number, equal for equal files */
	enum lane lane;
	struct pool_job *next;
};

struct pool;

/* THREAD_INIT runs in every new thread of a lane before its first job. */
int pool_create(struct pool **out, void (*thread_init)(enum lane lane));
/* Runs what is queued to its end, then joins the threads. Nothing may be submitted any more. */
void pool_destroy(struct pool *p);

/* Has every job that was submitted returned? Any thread; a moment ago. */
bool pool_idle(struct pool *p);

/* Any thread. Never fails: without memory for another thread the existing ones do the work. */
void pool_submit(struct pool *p, struct pool_job *job);

#endif
