/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/unsafe.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#include "base/log.h"
#include "durability/marker.h"
#include "engine/engine.h"
#include "fs/internal.h"
#include "fs/unsafe_internal.h"

/* How long nobody must have written before the marker goes: opening again soon costs no write then.
 */
#define QUIET_SECONDS 5
/* The same with on-close=none: by then the kernel has written back by itself. */
#define QUIET_SECONDS_NONE 60
/* Descriptors that wait here for a flush. */
#define CLOSED_MAX 4096

static time_t now(void)
{
	return (time_t)(clock_nsec() / 1000000000u);
}

/* ---- the marker, before anything is written ---- */

/* With the lock held, and no other: the marker does not end while somebody relies on it. */
static void wait_for_end(struct unsafe *u)
{
	while (u->ending)
		pthread_cond_wait(&u->changed, &u->lock);
}

/* With the lock held: H is one more that may leave data unflushed. */
static void count(struct unsafe *u, struct file *f, struct handle *h)
{
	if (h->unsafe)
		return;
	h->unsafe = true;
	f->unsafe_writers++;
	u->writers++;
	u->opens++;
}

/* With the lock held. */
static void one_less(struct unsafe *u)
{
	if (--u->writers == 0) {
		u->quiet_since = now();
		if (u->idle) /* else it looks again by itself: a wake-up a close is too many */
			pthread_cond_broadcast(&u->changed);
	}
}

void unsafe_hold(struct unsafe *u)
{
	pthread_mutex_lock(&u->lock);
	wait_for_end(u);
	u->writers++;
	pthread_mutex_unlock(&u->lock);
}

void unsafe_release(struct unsafe *u)
{
	pthread_mutex_lock(&u->lock);
	one_less(u);
	pthread_mutex_unlock(&u->lock);
}

/* With the lock held. True: it was the last of F. */
static bool uncount(struct unsafe *u, struct file *f, struct handle *h)
{
	if (!h->unsafe)
		return false;
	h->unsafe = false;
	f->unsafe_writers--;
	one_less(u);
	return f->unsafe_writers == 0;
}

/* With the lock held: the marker covers H, if it is counted, also for a successor. */
static void record(struct handle *h)
{
	h->rec->unsafe = h->unsafe;
}

static void record_all(struct unsafe *u, struct file *f)
{
	struct handle *h;

	pthread_mutex_lock(&f->lock);
	pthread_mutex_lock(&u->lock);
	DL_FOREACH(f->handles, h)
	record(h);
	pthread_mutex_unlock(&u->lock);
	pthread_mutex_unlock(&f->lock);
}

int unsafe_opened(struct fs *fs, struct file *f, struct handle *h)
{
	struct unsafe *u = fs->unsafe;
	bool first;
	int err;

	pthread_mutex_lock(&u->lock);
	wait_for_end(u);
	count(u, f, h);
	first = f->unsafe_writers == 1;
	pthread_mutex_unlock(&u->lock);
	err = unsafe_say(u, f, f->mode.origin);
	if (!err && first)
		checkpointer_opened(fs->checkpointer, f, h->fd);
	if (err)
		return err;
	pthread_mutex_lock(&u->lock);
	record(h);
	pthread_mutex_unlock(&u->lock);
	return 0;
}

void unsafe_resumed(struct fs *fs, struct file *f, struct handle *h)
{
	struct unsafe *u = fs->unsafe;
	bool covered = h->rec->unsafe;

	/* where its descriptor was given away it was closed */
	if (!covered && !(h->can_write && h->fd >= 0 && f->mode.switches.no_flush))
		return;
	pthread_mutex_lock(&u->lock);
	count(u, f, h);
	pthread_mutex_unlock(&u->lock);
	/* It was opened in the midst of a switch that was not over, and drops flushes from now on:
	 * so rare that clients may wait for the marker. */
	if (covered || unsafe_say(u, f, f->mode.origin))
		return;
	pthread_mutex_lock(&u->lock);
	record(h);
	pthread_mutex_unlock(&u->lock);
}

void unsafe_resumed_open(struct fs *fs, struct file *f)
{
	/* a racy look: whoever is the first or the last now looks for itself */
	if (!__atomic_load_n(&f->unsafe_writers, __ATOMIC_RELAXED))
		return;
	if (!unsafe_say(fs->unsafe, f, f->mode.origin)) /* else the log says what became of it */
		record_all(fs->unsafe, f);
	checkpointer_resumed(fs->checkpointer, f);
}

int unsafe_begin(struct fs *fs, struct file *f, struct switches to, enum cachefs_origin origin)
{
	struct unsafe *u = fs->unsafe;
	struct handle *h;
	bool any = false, first;
	int err;

	if (!to.no_flush)
		return 0;
	unsafe_hold(u);
	pthread_mutex_lock(&f->lock);
	pthread_mutex_lock(&u->lock);
	first = !f->unsafe_writers;
	DL_FOREACH(f->handles, h)
	{
		if (!h->can_write)
			continue;
		count(u, f, h);
		any = true;
	}
	one_less(u);
	pthread_mutex_unlock(&u->lock);
	pthread_mutex_unlock(&f->lock);
	err = any ? unsafe_say(u, f, origin) : 0;
	if (!err && any && first)
		checkpointer_opened(fs->checkpointer, f, f->path.fd);
	if (!err && any)
		record_all(u, f);
	return err;
}

void unsafe_switched(struct fs *fs, struct file *f, bool flushed)
{
	struct unsafe *u = fs->unsafe;
	struct handle *h;

	if (f->mode.switches.no_flush || !flushed)
		return;
	pthread_mutex_lock(&f->lock);
	pthread_mutex_lock(&u->lock);
	DL_FOREACH(f->handles, h)
	{
		uncount(u, f, h);
		record(h);
	}
	pthread_mutex_unlock(&u->lock);
	pthread_mutex_unlock(&f->lock);
}

/* ---- the flush at the last close ---- */

void unsafe_closed(struct fs *fs, struct file *f, struct handle *h, int *fd)
{
	struct unsafe *u = fs->unsafe;
	struct closed *c =
	    h->unsafe && atomic_load(&fs->flush_on_close) ? malloc(sizeof(*c)) : NULL;
	bool last;

	if (c)
		*c = (struct closed){.fs = fs, .fd = *fd, .file = file_find(fs, f->node)};
	pthread_mutex_lock(&u->lock);
	last = uncount(u, f, h);
	if (last && c && c->file && !u->stop && u->waiting < CLOSED_MAX) {
		f->node->rec->flush_owed = true;
		record(h); /* or a successor would owe a flush of a descriptor that it has not */
		handle_give_fd(h);
		DL_APPEND(u->closed, c);
		u->waiting++;
		atomic_fetch_add(&f->flushing, 1);
		*fd = -1;
		c = NULL;
		if (!u->pausing)
			pthread_cond_broadcast(&u->changed);
	}
	u->left = u->left || (last && *fd >= 0);
	record(h); /* a successor that does not know of it any more knows of the flush */
	pthread_mutex_unlock(&u->lock);
	if (c && c->file)
		file_put(fs, c->file);
	free(c);
}

/* ---- the end of the marker ---- */

/* With the lock held; gives it up meanwhile. Nobody may be in the middle of an open. */
static void end_marker(struct unsafe *u)
{
	u->ending = true;
	u->left = false;
	pthread_mutex_unlock(&u->lock);
	if (marker_end(u->marker))
		log_warn("the crash marker could not be removed from %s in the backing directory: "
			 "the next mount flushes, and removes it",
			 PRIVATE_DIR);
	pthread_mutex_lock(&u->lock);
	u->ending = false;
	pthread_cond_broadcast(&u->changed);
}

/* With the lock held; gives it up meanwhile. */
static void settle(struct unsafe *u)
{
	uint64_t opens = u->opens;
	int err;

	pthread_mutex_unlock(&u->lock);
	err = u->fs->config.engine->null ? 0 : fs_sync_backing(u->fs);
	if (err) {
		log_error("what was written without flushes could not be flushed: %s: the crash "
			  "marker stays",
			  strerror(-err));
		unsafe_failed(u, NULL);
	}
	pthread_mutex_lock(&u->lock);
	if (!err && u->opens == opens && !u->writers)
		end_marker(u);
}

static bool has_failed(const struct unsafe *u)
{
	return u->failed || u->failed_files;
}

/* With the lock held: until there is something to do. */
static void wait_for_work(struct unsafe *u)
{
	bool quiet = !u->writers && !u->flushing && !has_failed(u) && marker_active(u->marker);
	int seconds = atomic_load(&u->fs->flush_on_close) ? QUIET_SECONDS : QUIET_SECONDS_NONE;
	struct timespec until = {.tv_sec = u->quiet_since + seconds + 1};

	if (!quiet) {
		u->idle = true;
		pthread_cond_wait(&u->changed, &u->lock);
		u->idle = false;
		return;
	}
	if (now() < until.tv_sec) {
		pthread_cond_clockwait(&u->changed, &u->lock, CLOCK_MONOTONIC, &until);
		return;
	}
	settle(u);
}

static void *unsafe_thread(void *arg)
{
	struct unsafe *u = arg;

	pthread_mutex_lock(&u->lock);
	for (;;) {
		if (u->closed)
			unsafe_flush_closed(u);
		else if (u->stop)
			break;
		else
			wait_for_work(u);
	}
	while (u->flushing)
		pthread_cond_wait(&u->changed, &u->lock);
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

/* ---- life ---- */

int unsafe_create(struct fs *fs, struct unsafe **out)
{
	struct unsafe *u = calloc(1, sizeof(*u));
	enum marker_found found;
	int err;

	if (!u)
		return -ENOMEM;
	u->fs = fs;
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->changed, NULL);
	*out = u;
	/* another mount that will be in the way is told of now, not at the first open */
	if (fs_switches(fs).no_flush && !fs->config.read_only) {
		err = private_dir_own(fs->own);
		if (err == -EBUSY)
			return err;
	}
	err = marker_create(fs->own, NULL, &u->marker, &found);
	if (err)
		return err;
	if (fs->config.resumed)
		return unsafe_meet_again(u, found);
	err = unsafe_meet(u, found);
	return err ? err : unsafe_start(u);
}

int unsafe_start(struct unsafe *u)
{
	sigset_t all, old;
	int err;

	u->quiet_since = now();
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	err = -pthread_create(&u->thread, NULL, unsafe_thread, u);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	u->running = !err;
	return err;
}

void unsafe_stop(struct unsafe *u)
{
	if (!u || !u->running)
		return;
	pthread_mutex_lock(&u->lock);
	u->stop = true;
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
	pthread_join(u->thread, NULL);
	u->running = false;
}

void unsafe_finish(struct unsafe *u, bool flushed, bool still_used)
{
	/* the kernel has told its error to us, and tells the next mount nothing */
	if ((!flushed && marker_active(u->marker)) || u->untold)
		unsafe_failed(u, NULL);
	if (flushed && !has_failed(u) && !(still_used && u->writers) && marker_active(u->marker))
		marker_end(u->marker);
}

void unsafe_destroy(struct unsafe *u)
{
	if (!u)
		return;
	unsafe_stop(u);
	marker_destroy(u->marker);
	pthread_cond_destroy(&u->changed);
	pthread_mutex_destroy(&u->lock);
	free(u);
}
