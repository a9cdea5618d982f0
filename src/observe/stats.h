/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Counters of one file, and of all.
 *
 * Each thread counts in a stripe of its own, as long as there are no more threads than stripes; a
 * stripe has memory once something is counted in it. Sums are made by who reads them, and are not
 * of one moment: what is counted meanwhile may be in one number and not in another.
 *
 * Any thread; nothing here blocks or fails (what cannot be counted for want of memory is not).
 * Where a file_stats is expected, NULL counts for the mount alone, as flushes of directories do.
 */
#ifndef CACHEFS_OBSERVE_STATS_H
#define CACHEFS_OBSERVE_STATS_H

#include <stdatomic.h>
#include <stdint.h>

#include "cachefs.h"

#define STATS_STRIPES 16

#define STATS_ENUM_(field, help) STATS_##field,
enum stats_counter { CACHEFS_COUNTERS(STATS_ENUM_) STATS_COUNTERS };
#undef STATS_ENUM_

/*
 * What has a latency: count, sum, histogram. Reads and writes: from their arrival to just before
 * their reply, those that fail as well, since a client waited for them too (they have no bytes).
 * Flushes: the executed ones, failed or not; a write with O_DSYNC is a write and a flush.
 */
enum stats_latency { STATS_READ, STATS_WRITE, STATS_FLUSH, STATS_LATENCIES };

struct stats_stripe;

/* Zeroed is a valid start. */
struct file_stats {
	_Atomic(struct stats_stripe *) stripes[STATS_STRIPES];
};

/* A sum. */
struct stats {
	uint64_t counters[STATS_COUNTERS];
	struct cachefs_latency latencies[STATS_LATENCIES];
};

void stats_count(struct file_stats *f, enum stats_counter counter, uint64_t n);
void stats_time(struct file_stats *f, enum stats_latency latency, uint64_t nsec);

/* Adds SUM to OUT. */
void stats_add(const struct stats *sum, struct stats *out);
/* Adds F's sum to OUT. */
void stats_sum(const struct file_stats *f, struct stats *out);
/* F's sum goes to the totals of files that are closed, its memory back. Nobody counts in it any
 * more. */
void stats_retire(struct file_stats *f);
/* Adds what retired files had, and what was counted for the mount alone, to OUT. */
void stats_retired(struct stats *out);

/* One line in the log about SUM: flushes of the mount. */
void stats_log(const struct stats *sum);

#endif
