/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What top shows: the difference of two reports, per second, sorted. No I/O. */
#ifndef CACHEFS_CTL_RATES_H
#define CACHEFS_CTL_RATES_H

#include "ctl/report.h"
#include "ctl/table.h"

/* X(id, title, type): the columns after PATH and MODE; top sorts by them. */
#define RATE_COLUMNS(X)                                                                            \
	X(READS, "READS/s", RATE)                                                                  \
	X(WRITES, "WRITES/s", RATE)                                                                \
	X(READ_BYTES, "READ/s", SIZE)                                                              \
	X(WRITE_BYTES, "WRITTEN/s", SIZE)                                                          \
	X(FLUSHES, "FLUSHES/s", RATE)                                                              \
	X(DROPPED, "DROPPED/s", RATE)                                                              \
	X(DIRTY, "DIRTY", SIZE)

#define RATE_ENUM_(id, title, type) RATE_COLUMN_##id,
enum rate_column { RATE_COLUMNS(RATE_ENUM_) RATE_COLUMNS_COUNT };

struct rate_row {
	const struct file_status *file;
	double values[RATE_COLUMNS_COUNT]; /* per second; DIRTY: bytes now; NAN: not known */
};

/*
 * A row for each file of NOW, to be freed; its number in *COUNT. Of files that were not in BEFORE
 * (or BEFORE is NULL), or whose counters began again, the rates are not known. Rows point into NOW.
 */
struct rate_row *rates(const struct report *before, const struct report *now, size_t *count);

/* Largest first, or smallest with REVERSE; unknown last; equal ones by path. */
void rates_sort(struct rate_row *rows, size_t count, enum rate_column by, bool reverse);

/* A table of ROWS; SORTED's title is marked. table_free() it. */
struct table *rates_table(const struct rate_row *rows, size_t count, enum rate_column sorted);

#endif
