/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Says in the log what a long flush waits for, as long as it takes. */
#ifndef CACHEFS_DURABILITY_PROGRESS_H
#define CACHEFS_DURABILITY_PROGRESS_H

struct progress;

/*
 * From now on, after the first 2 seconds and then every 2, a line for WHAT (borrowed until the
 * end): how long it has taken, and what the host has unflushed, of all its filesystems (Linux
 * counts no less). NULL: without memory or a thread there are no lines.
 */
struct progress *progress_begin(const char *what);
/* P may be NULL. */
void progress_end(struct progress *p);

#endif
