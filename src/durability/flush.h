/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flushes of one open file: counted, executed or dropped, and their errors never forgotten.
 *
 * The kernel reports a write-back error once per descriptor and marks the pages clean, so the first
 * error is latched here: every later flush fails with it until the file is closed by all.
 */
#ifndef CACHEFS_DURABILITY_FLUSH_H
#define CACHEFS_DURABILITY_FLUSH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "policy/plan.h"

struct engine;
struct file_stats;

struct flush_state {
	atomic_int error; /* errno, or 0 */
	int32_t *record;  /* the same, for who serves the file after us; or NULL. Borrowed */
};

/*
 * One flush of FD as ACTION says, counted in STATS. 0, or the negative errno of this or an earlier
 * flush. Blocks when it is executed.
 */
int flush_file(struct flush_state *f, struct file_stats *stats, const struct engine *e, int fd,
	       bool datasync, enum flush_action action);

/* The same, executed and not counted: what a mode owes without a client's asking. */
int flush_sync(struct flush_state *f, const struct engine *e, int fd, bool datasync);

/* A write that carries RWF_DSYNC or RWF_SYNC contains a flush; so does O_DSYNC that was dropped. */
void flush_count_write(struct file_stats *stats, bool honoured, uint64_t nsec);

/* The backing reported ERROR (negative errno) where data may have been lost. */
void flush_latch(struct flush_state *f, int error);
/* The same for one that may only mean that FD's backing cannot do what was asked; 0 does nothing.
 */
void flush_latch_error(struct flush_state *f, int error);
/* Drops FD's pages from the page cache; what that reports, as a flush does, is latched. 0 or a
 * negative errno. Blocks. */
int flush_drop_cache(struct flush_state *f, int fd);
/* Latches what write-back has reported since FD was opened, or last asked. Does not block. */
void flush_check(struct flush_state *f, int fd);
/* What was lost is no matter any more. */
void flush_forgive(struct flush_state *f);
/* 0 or the latched error as a negative errno. */
int flush_error(struct flush_state *f);

#endif
