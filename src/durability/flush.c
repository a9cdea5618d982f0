/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "durability/flush.h"

#include <errno.h>
#include <fcntl.h>

#include "base/util.h"
#include "engine/bounce.h"
#include "engine/engine.h"
#include "observe/stats.h"

void flush_count_write(struct file_stats *stats, bool honoured, uint64_t nsec)
{
	stats_count(stats, STATS_flushes_received, 1);
	if (honoured) {
		stats_count(stats, STATS_flushes_honoured, 1);
		stats_time(stats, STATS_FLUSH, nsec);
	} else {
		stats_count(stats, STATS_flushes_dropped, 1);
	}
}

void flush_latch(struct flush_state *f, int error)
{
	int none = 0;

	/* first: whoever sees the error may tell a client of it, and be killed */
	if (f->record)
		__atomic_store_n(f->record, -error, __ATOMIC_RELEASE);
	atomic_compare_exchange_strong(&f->error, &none, -error);
}

void flush_forgive(struct flush_state *f)
{
	atomic_store(&f->error, 0);
	if (f->record)
		__atomic_store_n(f->record, 0, __ATOMIC_RELEASE);
}

int flush_error(struct flush_state *f)
{
	return -atomic_load(&f->error);
}

/*
 * Waiting for pages behind the largest offset waits for nothing, but sync_file_range(2) then
 * reports, and consumes, this descriptor's error (file_check_and_advance_wb_err() in fs/sync.c of
 * Linux 6.18). So a dropped flush can fail.
 */
static int writeback_error(int fd)
{
	return sync_file_range(fd, INT64_MAX - 4095, 1, SYNC_FILE_RANGE_WAIT_BEFORE) < 0 ? -errno
											 : 0;
}

/* A backing that cannot sync at all has lost nothing. */
void flush_latch_error(struct flush_state *f, int error)
{
	if (error && error != -EINVAL && error != -EROFS && error != -ESPIPE)
		flush_latch(f, error);
}

int flush_drop_cache(struct flush_state *f, int fd)
{
	int err = bounce_drop_cache(fd);

	if (err)
		flush_latch(f, err);
	return err;
}

void flush_check(struct flush_state *f, int fd)
{
	flush_latch_error(f, writeback_error(fd));
}

int flush_sync(struct flush_state *f, const struct engine *e, int fd, bool datasync)
{
	int err = e->sync(fd, datasync);

	flush_latch_error(f, err);
	return flush_error(f) ? flush_error(f) : err;
}

int flush_file(struct flush_state *f, struct file_stats *stats, const struct engine *e, int fd,
	       bool datasync, enum flush_action action)
{
	uint64_t start;
	int err;

	if (action == FLUSH_DROP) {
		flush_check(f, fd);
		flush_count_write(stats, false, 0);
		return flush_error(f);
	}
	start = clock_nsec();
	err = flush_sync(f, e, fd, datasync);
	flush_count_write(stats, true, clock_nsec() - start);
	return err;
}
