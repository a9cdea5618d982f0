/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The thread that looks at files with limits, and starts their write-back. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "base/util.h"
#include "durability/budget_internal.h"
#include "durability/flush.h"

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* Linux 6.5 */
#endif

#define MSEC UINT64_C(1000000) /* nanoseconds */
#define TICK (100 * MSEC)
#define TICK_CLEAN (250 * MSEC)
#define TICK_WAITERS (4 * MSEC)
#define LOOK_SHARE 10 /* looking takes a tenth of the time at most, however much is cached */
#define LOOK_QUIET (1000 * MSEC)
/* Timestamps are as coarse as the kernel's clock tick, 10 ms at most: a write right after the look
 * may leave ctime as it was. */
#define CTIME_GRAIN (20 * MSEC)

/* ---- a look at one file ---- */

/* As in <linux/mman.h> since Linux 6.5; named apart, so that newer headers do not collide. */
struct page_range {
	uint64_t off, len;
};

struct page_counts {
	uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

static bool dirty_pages(int fd, uint64_t *dirty, uint64_t *writeback)
{
	struct page_range all = {0, 0};
	struct page_counts n;

	if (syscall(SYS_cachestat, fd, &all, &n, 0) < 0)
		return false;
	*writeback = n.writeback * (uint64_t)sysconf(_SC_PAGESIZE);
	*dirty = n.dirty * (uint64_t)sysconf(_SC_PAGESIZE) + *writeback;
	return true;
}

static uint64_t ctime_of(int fd)
{
	struct statx st;

	/* what stands in memory is right here: the file is open */
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_CTIME, &st) < 0)
		return 0;
	return (uint64_t)st.stx_ctime.tv_sec * NANOSECONDS + st.stx_ctime.tv_nsec;
}

static uint64_t wall_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * NANOSECONDS + (uint64_t)t.tv_nsec;
}

/* With F->lock held: a file of which nothing was dirty, and that has not changed. */
static bool still_quiet(const struct budget_file *f, uint64_t ctime, uint64_t now)
{
	return f->quiet && ctime == f->ctime && f->admitted == f->done_before &&
	       now - f->looked < LOOK_QUIET;
}

/* With F->lock held: FOUND is dirty, and all that was not written before DONE may be. */
static void found(struct budget_file *f, uint64_t dirty, uint64_t done, uint64_t now)
{
	uint64_t looked = f->looked;

	f->before = f->dirty;
	f->dirty = dirty;
	f->done_before = done;
	f->looked = now;
	if (!budget_dirty(f))
		f->since = 0;
	else if (!f->since)
		f->since = looked ? looked : now; /* at the earliest */
}

/*
 * What others write cannot be seen without cachestat, but that they did; of how much, a byte. ctime
 * changes before the data is there, so the end of a write of theirs may be missed.
 */
static void found_by_ctime(struct budget_file *f, uint64_t ctime, uint64_t now)
{
	bool changed = f->looked && ctime != f->ctime;

	f->looked = now;
	if (changed && !budget_dirty(f))
		f->dirty = 1;
	if (budget_dirty(f) && !f->since)
		f->since = now;
}

void budget_look(struct budget_file *f)
{
	uint64_t done, dirty = 0, writeback = 0, wall = wall_clock(), now = clock_nsec();
	uint64_t ctime = ctime_of(f->fd);
	bool counted;

	pthread_mutex_lock(&f->lock);
	done = f->done;
	if (still_quiet(f, ctime, now)) {
		f->before = 0;
		pthread_mutex_unlock(&f->lock);
		return;
	}
	pthread_mutex_unlock(&f->lock);
	counted = f->budget->cachestat && dirty_pages(f->fd, &dirty, &writeback);
	pthread_mutex_lock(&f->lock);
	if (counted)
		found(f, dirty, done, now);
	else
		found_by_ctime(f, ctime, now);
	f->writeback = writeback;
	if (f->flush)
		flush_check(f->flush, f->fd);
	f->ctime = ctime;
	f->quiet = !budget_dirty(f) && ctime && ctime + CTIME_GRAIN < wall;
	pthread_mutex_unlock(&f->lock);
}

/* ---- write-back ---- */

/*
 * Up to the end that the file has now: a writer that appends would be followed for as long as it
 * writes, and nothing behind this pass would be started. Without cachestat the end of write-back is
 * all that can be known, so it is waited for.
 */
static int start_writeback(const struct budget *b, int fd)
{
	unsigned flags = SYNC_FILE_RANGE_WRITE;
	struct stat st;

	if (!b->cachestat)
		flags |= SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER;
	if (fstat(fd, &st) < 0)
		return -errno;
	return st.st_size ? sysret(sync_file_range(fd, 0, st.st_size, flags)) : 0;
}

static void writeback_job(struct pool_job *job)
{
	struct budget_file *f = container_of(job, struct budget_file, job);
	struct budget *b = f->budget;
	int err = start_writeback(b, f->fd);

	pthread_mutex_lock(&f->lock);
	f->running = false;
	f->since = f->started; /* what is older was started */
	if (err) {
		f->failed = true;
		if (f->flush)
			flush_latch_error(f->flush, err);
	} else if (!b->cachestat) {
		f->dirty = 0;
		f->done_before = f->done_at_start;
		if (!budget_dirty(f))
			f->since = 0;
	}
	pthread_mutex_unlock(&f->lock);
	if (err)
		log_warn("write-back of a file has failed: %s: its writers are not held up any "
			 "more",
			 strerror(-err));
	if (!b->cachestat)
		budget_kick(b); /* what is written now may be known from here alone */
	budget_file_unref(f);
}

/* A file that was looked at, with the reference that its job gets. */
struct candidate {
	struct budget_file *file;
	struct budget_view view;
	bool due, aged;
};

/* With F->lock held. */
static void judge(struct budget_file *f, struct candidate *c, uint64_t elapsed)
{
	struct budget_limits age = {.dirty_age = f->limits.dirty_age};

	c->view =
	    (struct budget_view){.dirty = budget_dirty(f), .since = f->since, .now = clock_nsec()};
	if (f->dirty > f->before && elapsed)
		c->view.growth = (uint64_t)((double)(f->dirty - f->before) * (double)TICK /
					    (double)MAX(elapsed, TICK / 10));
	c->aged = budget_due(&age, &c->view);
	/* what is under write-back already need not be started */
	c->due = !f->running && c->view.dirty > f->writeback &&
		 (budget_due(&f->limits, &c->view) || (!f->budget->cachestat && c->view.dirty &&
						       c->view.now - f->started > LOOK_QUIET));
	if (!c->due)
		return;
	f->running = true;
	f->started = c->view.now;
	f->done_at_start = f->done;
}

/* What has been due for longest first, then what is most. */
static int by_urgency(const void *x, const void *y)
{
	const struct candidate *a = x, *b = y;

	if (a->aged != b->aged)
		return a->aged ? -1 : 1;
	if (a->aged)
		return (a->view.since > b->view.since) - (a->view.since < b->view.since);
	return (a->view.dirty < b->view.dirty) - (a->view.dirty > b->view.dirty);
}

static void submit(struct budget *b, struct candidate *all, size_t count)
{
	qsort(all, count, sizeof(*all), by_urgency);
	for (size_t i = 0; i < count; i++) {
		struct budget_file *f = all[i].file;

		if (!all[i].due) {
			budget_file_unref(f);
			continue;
		}
		f->job =
		    (struct pool_job){.run = writeback_job, .key = f->key, .lane = LANE_WRITEBACK};
		pool_submit(b->pool, &f->job);
	}
}

/* ---- the thread ---- */

/* One look at each. How long to sleep then, in nanoseconds, and at *LEAST, even if kicked. */
static uint64_t look_round(struct budget *b, struct candidate *all, size_t count, uint64_t *least)
{
	uint64_t start = clock_nsec(), sleep = TICK_CLEAN, looked;

	for (size_t i = 0; i < count; i++) {
		struct budget_file *f = all[i].file;

		pthread_mutex_lock(&f->lock);
		looked = f->looked;
		pthread_mutex_unlock(&f->lock);
		budget_look(f);
		budget_release(f);
		pthread_mutex_lock(&f->lock);
		judge(f, &all[i], looked ? f->looked - looked : 0);
		if (f->first)
			sleep = MIN(sleep, TICK_WAITERS);
		else if (all[i].view.dirty || !f->quiet)
			sleep = MIN(sleep, TICK);
		pthread_mutex_unlock(&f->lock);
	}
	*least = LOOK_SHARE * (clock_nsec() - start);
	submit(b, all, count);
	return MAX(sleep, *least);
}

/* With B->lock held. */
static struct candidate *collect(struct budget *b, size_t *count)
{
	struct candidate *all = calloc(b->count, sizeof(*all));
	size_t n = 0;

	for (struct budget_file *f = b->files; all && f; f = f->next) {
		atomic_fetch_add(&f->users, 1);
		all[n++].file = f;
	}
	*count = n;
	return all;
}

/* With B->lock held, which is given up meanwhile. */
static void sleep_for(struct budget *b, uint64_t least, uint64_t nsec)
{
	uint64_t now = clock_nsec(), soonest = now + least, latest = now + nsec;

	while (!b->end && now < (b->kicked ? soonest : latest)) {
		uint64_t until = b->kicked ? soonest : latest;
		struct timespec t = {(time_t)(until / NANOSECONDS), (long)(until % NANOSECONDS)};

		pthread_cond_timedwait(&b->changed, &b->lock, &t);
		now = clock_nsec();
	}
	b->kicked = false;
}

static void release_all(struct budget *b)
{
	struct candidate *all;
	size_t count;

	do {
		all = collect(b, &count);
		pthread_mutex_unlock(&b->lock);
		for (size_t i = 0; i < count; i++) {
			budget_release(all[i].file);
			budget_file_unref(all[i].file);
		}
		free(all);
		pthread_mutex_lock(&b->lock);
	} while (!all && b->count);
}

void *budget_monitor(void *arg)
{
	struct budget *b = arg;

	if (!b->cachestat)
		log_info("limits of unflushed data: the kernel has no cachestat(2) (Linux 6.5): "
			 "files that are written are written back every second");
	pthread_mutex_lock(&b->lock);
	while (!b->end) {
		struct candidate *all;
		uint64_t sleep = TICK, least = 0;
		size_t count;

		if (!b->files) {
			pthread_cond_wait(&b->changed, &b->lock);
			continue;
		}
		all = collect(b, &count);
		pthread_mutex_unlock(&b->lock);
		if (all)
			sleep = look_round(b, all, count, &least);
		free(all);
		pthread_mutex_lock(&b->lock);
		sleep_for(b, least, sleep);
	}
	release_all(b);
	pthread_mutex_unlock(&b->lock);
	return NULL;
}
