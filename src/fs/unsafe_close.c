/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The flush at the last close of files whose flushes are dropped. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#include "base/log.h"
#include "engine/engine.h"
#include "fs/internal.h"
#include "fs/unsafe_internal.h"
#include "fs/witness.h"

/* More closed files than this at once are flushed by one syncfs(2) instead of an fsync(2) each. */
#define FEW_FILES 16
/* So much time at least is between two rounds of flushes, for more files to come together. */
#define ROUND_NSEC UINT64_C(250000000)

static void count_failed(struct unsafe *u, const struct concerned *c)
{
	pthread_mutex_lock(&u->lock);
	u->failed_files += c != NULL;
	u->failed = u->failed || !c;
	u->untold = u->untold || !c;
	unsafe_note(u);
	pthread_mutex_unlock(&u->lock);
}

static void tell(struct unsafe *u, const struct concerned *c)
{
	static const struct concerned all = {.kind = MARKER_MOUNT};
	int err = marker_error(u->marker, c ? c : &all);

	if (err)
		log_error("the crash marker could not be told of it: %s", strerror(-err));
	pthread_mutex_lock(&u->lock);
	u->untold = err || (u->untold && c); /* all of the mount is whatever there was, too */
	unsafe_note(u);
	pthread_mutex_unlock(&u->lock);
}

void unsafe_failed(struct unsafe *u, const struct concerned *c)
{
	count_failed(u, c);
	tell(u, c);
}

/* Did who was killed come so far that the marker has it? */
static bool was_told(const struct closed *c)
{
	_cleanup_free_ char *paths = node_paths(c->fs, c->file->node);
	struct file_id id;
	struct statx st;

	node_file_id(c->file->node, &id);
	return !fs_statx_fd(c->fd, &st) && marker_concerns(c->fs->unsafe->marker, &id, paths, &st);
}

static void flush_failed(struct closed *c, int err)
{
	struct unsafe *u = c->fs->unsafe;
	struct concerned concerned;
	char path[512];

	if (fs_node_path(c->fs, c->file->node, path, sizeof(path)) < 0)
		snprintf(path, sizeof(path), "inode %llu",
			 (unsigned long long)c->file->node->key.ino);
	log_error("%s: the flush after its last close failed: %s: data was lost; every flush of it "
		  "fails until cachefsctl trust",
		  path, strerror(-err));
	unsafe_concern(c->file->node, path, &concerned);
	if (!node_set_error(c->fs, c->file->node, -err)) {
		unsafe_failed(u, &concerned);
	} else if (c->again && !was_told(c)) {
		/* (whether it was counted is not known: the marker has it all the same) */
		tell(u, &concerned);
	}
}

/* ERR: of its flush, or 0. C is consumed. */
static void closed_done(struct closed *c, int err)
{
	struct unsafe *u = c->fs->unsafe;

	if (err && err != -EINVAL && err != -EROFS)
		flush_failed(c, err);
	close(c->fd);
	pthread_mutex_lock(&u->lock);
	u->left = u->left || err;
	if (atomic_fetch_sub(&c->file->flushing, 1) == 1)
		c->file->node->rec->flush_owed = false;
	pthread_mutex_unlock(&u->lock);
	file_put(c->fs, c->file);
	free(c);
	pthread_mutex_lock(&u->lock);
	if (--u->flushing == 0)
		pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
}

static bool has_no_name(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

static void closed_flush(struct closed *c)
{
	int err = 0;

	witness_open(c->fs, c->file);
	if (!c->fs->config.engine->null && !has_no_name(c->fd))
		err = flush_sync(&c->file->flush, c->fs->config.engine, c->fd, false);
	if (!err)
		checkpointer_closed(c->fs->checkpointer, c->file, c->fd);
	closed_done(c, err);
}

static void closed_job(struct pool_job *job)
{
	closed_flush(container_of(job, struct closed, job));
}

/*
 * Write-back of all of them, one syncfs(2), and what it reported for each: as durable as an
 * fsync(2) each, and an install's thousands of small files are one journal commit.
 */
static void flush_many(struct unsafe *u, struct closed *list)
{
	struct closed *c, *tmp;
	int err;

	DL_FOREACH(list, c)
	{
		witness_open(c->fs, c->file);
		sync_file_range(c->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	}
	err = u->fs->config.engine->null ? 0 : fs_sync_backing(u->fs);
	DL_FOREACH_SAFE(list, c, tmp)
	{
		int own = (flush_check(&c->file->flush, c->fd), flush_error(&c->file->flush));

		if (!err && !own)
			checkpointer_closed(u->fs->checkpointer, c->file, c->fd);
		closed_done(c, own ? own : err);
	}
}

static void flush_few(struct unsafe *u, struct closed *list, bool here)
{
	struct closed *c, *tmp;

	DL_FOREACH_SAFE(list, c, tmp)
	{
		if (here) {
			closed_flush(c);
			continue;
		}
		c->job = (struct pool_job){
		    .run = closed_job, .key = c->file->node->index, .lane = LANE_FLUSH};
		pool_submit(u->fs->config.pool, &c->job);
	}
}

/* With the lock held; gives it up meanwhile. */
static void pause_rounds(struct unsafe *u, uint64_t nsec)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	nsec += (uint64_t)until.tv_nsec;
	until.tv_sec += (time_t)(nsec / 1000000000u);
	until.tv_nsec = (long)(nsec % 1000000000u);
	u->pausing = true;
	while (!u->stop &&
	       pthread_cond_clockwait(&u->changed, &u->lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
		;
	u->pausing = false;
}

void unsafe_flush_closed(struct unsafe *u)
{
	struct closed *list = u->closed;
	unsigned n = u->waiting;
	bool stop = u->stop;
	uint64_t start = clock_nsec();

	u->closed = NULL;
	u->waiting = 0;
	u->flushing += n;
	pthread_mutex_unlock(&u->lock);
	if (n > FEW_FILES)
		flush_many(u, list);
	else
		flush_few(u, list, stop);
	pthread_mutex_lock(&u->lock);
	/* a quarter of the device's time at most is ours while many are closed */
	pause_rounds(u,
		     n > FEW_FILES ? MAX(3 * (clock_nsec() - start), 4 * ROUND_NSEC) : ROUND_NSEC);
}

/* ---- changes without an open ---- */

int unsafe_changing(struct fs *fs, struct file *f, int fd, struct unsafe_change *c)
{
	bool no_flush;

	*c = (struct unsafe_change){.h = {.rec = &c->rec, .file = f, .fd = fd, .can_write = true}};
	pthread_mutex_lock(&f->lock);
	no_flush = f->mode.switches.no_flush;
	pthread_mutex_unlock(&f->lock);
	return no_flush ? unsafe_opened(fs, f, &c->h) : 0;
}

void unsafe_changed(struct fs *fs, struct file *f, struct unsafe_change *c, int *fd)
{
	unsafe_closed(fs, f, &c->h, fd);
}

/* ---- after a resume ---- */

void unsafe_resumed_closed(struct fs *fs, struct file *f)
{
	struct unsafe *u = fs->unsafe;
	struct closed *c = malloc(sizeof(*c));
	int fd = fs_reopen(fs, f->path.fd, O_RDONLY);

	if (!c || fd < 0) { /* as more than can wait: it is flushed before the marker goes */
		f->node->rec->flush_owed = false;
		free(c);
		cleanup_fd(&fd);
		file_put(fs, f);
		return;
	}
	*c = (struct closed){.fs = fs, .fd = fd, .file = f, .again = true};
	pthread_mutex_lock(&u->lock);
	DL_APPEND(u->closed, c);
	u->waiting++;
	atomic_fetch_add(&f->flushing, 1);
	pthread_mutex_unlock(&u->lock);
}

void unsafe_resumed_marker(struct fs *fs)
{
	struct unsafe *u = fs->unsafe;
	bool untold;

	marker_confirm(u->marker);
	pthread_mutex_lock(&u->lock);
	untold = u->untold;
	pthread_mutex_unlock(&u->lock);
	if (untold)
		unsafe_failed(u, NULL);
}
