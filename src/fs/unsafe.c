/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/unsafe.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#include "base/log.h"
#include "config/rules.h"
#include "durability/marker.h"
#include "engine/engine.h"
#include "fs/internal.h"

/* How long nobody must have written before the marker goes: opening again soon costs no write then.
 */
#define QUIET_SECONDS 5
/* More closed files than this at once are flushed by one syncfs(2) instead of an fsync(2) each. */
#define FEW_FILES 16
/* Descriptors that wait here for a flush. */
#define CLOSED_MAX 4096

/* A file whose last writer has closed it. */
struct closed {
	struct closed *prev, *next;
	struct pool_job job;
	struct fs *fs;
	struct file *file; /* one open of ours */
	int fd;
};

struct unsafe {
	struct fs *fs;
	struct marker *marker;
	pthread_t thread;
	pthread_mutex_t lock; /* all below, h->unsafe, f->unsafe_writers; after f->lock */
	pthread_cond_t changed;
	struct closed *closed; /* to be flushed */
	unsigned waiting;      /* of them */
	unsigned flushing;     /* taken from there, not done */
	unsigned writers;      /* opens for writing that drop flushes */
	uint64_t opens;	       /* of them, ever */
	time_t quiet_since;    /* CLOCK_MONOTONIC: when the last of them went */
	bool ending;	       /* the marker is being removed */
	bool failed;	       /* something could not be flushed: the marker stays */
	bool running, stop;
};

static time_t now(void)
{
	return (time_t)(clock_nsec() / 1000000000u);
}

/* ---- the marker, before anything is written ---- */

static void concern(const struct node *n, const char *path, struct concerned *out)
{
	*out = (struct concerned){.kind = MARKER_FILE, .text = path};
	node_file_id(n, &out->id);
}

static int begin_file(struct unsafe *u, const struct file *f)
{
	_cleanup_free_ char *paths = node_paths(u->fs, f->node);
	struct concerned c;

	concern(f->node, paths ? paths : "", &c);
	return marker_begin(u->marker, &c);
}

/* The rules that drop its flushes, so that many files by one rule are one line of the marker. */
static int begin_rules(struct unsafe *u, const struct file *f)
{
	_cleanup_free_ char *paths = node_paths(u->fs, f->node);
	struct rules *rules = fs_rules(u->fs);
	bool any = false;
	int err = 0;

	for (const char *path = paths; path && *path && !err; path += strlen(path) + 1) {
		const struct rule *rule = rules_match(rules, path);
		struct concerned c = {.kind = MARKER_PATTERN};

		if (!rule || !rule->switches.no_flush)
			continue;
		c.text = rule->pattern;
		any = true;
		err = marker_begin(u->marker, &c);
	}
	rules_unref(rules);
	return err || any ? err : begin_file(u, f);
}

static int begin(struct unsafe *u, struct file *f, enum cachefs_origin origin)
{
	static const struct concerned mount = {.kind = MARKER_MOUNT};
	int err;

	if (origin == CACHEFS_ORIGIN_MOUNT)
		err = marker_begin(u->marker, &mount);
	else if (origin == CACHEFS_ORIGIN_RULE)
		err = begin_rules(u, f);
	else
		err = begin_file(u, f);
	if (err)
		log_error("the crash marker could not be written to %s in the backing directory: "
			  "%s; without it a file whose flushes are dropped is not opened for "
			  "writing: %s",
			  PRIVATE_DIR, strerror(-err),
			  err == -EBUSY
			      ? "another mount of the same SOURCE owns it: unmount that one"
			      : "mend that, or use a mode that honours flushes");
	return err;
}

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
		pthread_cond_broadcast(&u->changed);
	}
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
	err = begin(u, f, f->mode.origin);
	if (!err && first)
		checkpointer_opened(fs->checkpointer, f, h->fd);
	return err;
}

int unsafe_begin(struct fs *fs, struct file *f, struct switches to, enum cachefs_origin origin)
{
	struct unsafe *u = fs->unsafe;
	struct handle *h;
	bool any = false;

	if (!to.no_flush)
		return 0;
	pthread_mutex_lock(&u->lock);
	wait_for_end(u);
	u->writers++; /* so that it does not end now */
	pthread_mutex_unlock(&u->lock);
	pthread_mutex_lock(&f->lock);
	pthread_mutex_lock(&u->lock);
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
	return any ? begin(u, f, origin) : 0;
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
	uncount(u, f, h);
	pthread_mutex_unlock(&u->lock);
	pthread_mutex_unlock(&f->lock);
}

/* ---- the flush at the last close ---- */

void unsafe_closed(struct fs *fs, struct file *f, struct handle *h, int *fd)
{
	struct unsafe *u = fs->unsafe;
	struct closed *c = h->unsafe && fs->config.flush_on_close ? malloc(sizeof(*c)) : NULL;
	bool last;

	if (c)
		*c = (struct closed){.fs = fs, .fd = *fd, .file = file_find(fs, f->node)};
	pthread_mutex_lock(&u->lock);
	last = uncount(u, f, h);
	if (last && c && c->file && !u->stop && u->waiting < CLOSED_MAX) {
		DL_APPEND(u->closed, c);
		u->waiting++;
		*fd = -1;
		c = NULL;
		pthread_cond_broadcast(&u->changed);
	}
	pthread_mutex_unlock(&u->lock);
	if (c && c->file)
		file_put(fs, c->file);
	free(c);
}

/* Data of C (NULL: not known of which file) is lost: the marker says so, and stays. */
static void failed(struct unsafe *u, const struct concerned *c)
{
	static const struct concerned all = {.kind = MARKER_MOUNT};
	int err;

	pthread_mutex_lock(&u->lock);
	u->failed = true;
	pthread_mutex_unlock(&u->lock);
	err = marker_error(u->marker, c ? c : &all);
	if (err)
		log_error("the crash marker could not be told of it: %s", strerror(-err));
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
	node_set_error(c->fs, c->file->node, -err);
	concern(c->file->node, path, &concerned);
	failed(u, &concerned);
}

/* ERR: of its flush, or 0. C is consumed. */
static void closed_done(struct closed *c, int err)
{
	struct unsafe *u = c->fs->unsafe;

	if (err && err != -EINVAL && err != -EROFS)
		flush_failed(c, err);
	close(c->fd);
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
	sync_file_range(c->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
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
static void flush_closed(struct unsafe *u)
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
	if (n > FEW_FILES && !u->stop) { /* half of the device's time at most is ours */
		struct timespec until;
		uint64_t took = clock_nsec() - start;

		clock_gettime(CLOCK_MONOTONIC, &until);
		took += (uint64_t)until.tv_nsec;
		until.tv_sec += (time_t)(took / 1000000000u);
		until.tv_nsec = (long)(took % 1000000000u);
		while (!u->stop && pthread_cond_clockwait(&u->changed, &u->lock, CLOCK_MONOTONIC,
							  &until) != ETIMEDOUT)
			;
	}
}

/* ---- the end of the marker ---- */

/* With the lock held; gives it up meanwhile. Nobody may be in the middle of an open. */
static void end_marker(struct unsafe *u)
{
	u->ending = true;
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
		failed(u, NULL);
	}
	pthread_mutex_lock(&u->lock);
	if (!err && u->opens == opens && !u->writers)
		end_marker(u);
}

/* With the lock held: until there is something to do. */
static void wait_for_work(struct unsafe *u)
{
	bool quiet = !u->writers && !u->flushing && !u->failed && marker_active(u->marker);
	struct timespec until = {.tv_sec = u->quiet_since + QUIET_SECONDS + 1};

	if (!quiet) {
		pthread_cond_wait(&u->changed, &u->lock);
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
			flush_closed(u);
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

/* ---- after a crash ---- */

bool unsafe_tainted(const struct fs *fs)
{
	return marker_tainted(fs->unsafe->marker);
}

int unsafe_check(struct fs *fs, struct node *n)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	_cleanup_free_ char *paths = NULL;
	struct file_id id;
	struct statx st;
	int err;

	if (!unsafe_tainted(fs))
		return 0;
	node_file_id(n, &id);
	paths = node_paths(fs, n);
	err = path_fd_get(fs, n, &p);
	if (!err)
		err = fs_statx_fd(p.fd, &st);
	if (!err && marker_concerns(fs->unsafe->marker, &id, paths, &st))
		err = -EUCLEAN;
	return err;
}

static void warn_tainted(struct unsafe *u)
{
	char what[512];

	marker_describe(u->marker, what, sizeof(what));
	log_warn("the host went down while flushes were dropped: %s may have lost data. Opening "
		 "them fails (EUCLEAN) until you put them back to their last checkpoint "
		 "(cachefsctl rollback), say that they are good (cachefsctl trust), or mount with "
		 "after-crash=rollback or after-crash=trust",
		 what);
}

static bool rollback_concerned(void *arg, int fd, const char *path)
{
	struct unsafe *u = arg;
	_cleanup_free_ char *paths = calloc(1, strlen(path) + 2); /* a list of one */
	struct file_id id;
	struct statx st;

	if (!paths || !file_id_of(fd, &id) || fs_statx_fd(fd, &st))
		return false;
	strcpy(paths, path);
	return marker_concerns(u->marker, &id, paths, &st);
}

static void rollback_done(void *arg, const char *path, int err, const struct fs_rollback *r)
{
	struct unsafe *u = arg;

	if (!err)
		err = marker_trust_file(u->marker, &r->id, path);
	if (err)
		log_error("%s: it could not be put back to its checkpoint: %s", path,
			  strerror(-err));
	else
		log_warn("%s: put back to its checkpoint; the file that was there is %s beside it",
			 path, r->kept);
}

static void rollback_all(struct unsafe *u)
{
	unsigned n =
	    checkpointer_rollback_all(u->fs->checkpointer, rollback_concerned, rollback_done, u);

	log_warn("after-crash=rollback: %u files were put back; those without a checkpoint stay "
		 "as they are",
		 n);
}

/* A process died, but not the host: what it wrote is in the page cache still. */
static int resolve_same_boot(struct unsafe *u, enum marker_found *found)
{
	int err = fs_sync_backing(u->fs), gone;

	if (*found == MARKER_SAME_BOOT)
		log_warn("an earlier process ended without flushing: %s",
			 err ? strerror(-err) : "flushed now, nothing is lost");
	gone = marker_resolve(u->marker, -err);
	*found = marker_tainted(u->marker) ? MARKER_TAINTED : MARKER_CLEAN;
	return gone;
}

static int meet_marker(struct unsafe *u, enum marker_found found)
{
	int err = 0;

	if (found != MARKER_CLEAN)
		err = resolve_same_boot(u, &found);
	if (err || found != MARKER_TAINTED)
		return err;
	if (u->fs->config.trust_after_crash) {
		char what[512];

		marker_describe(u->marker, what, sizeof(what));
		log_warn(
		    "the host went down while flushes were dropped: %s may have lost data, and "
		    "is trusted all the same (after-crash=trust)",
		    what);
		return marker_trust_all(u->marker);
	}
	if (u->fs->config.rollback_after_crash)
		rollback_all(u);
	err = marker_seen(u->marker);
	warn_tainted(u);
	return err;
}

int unsafe_trust_id(struct fs *fs, const struct file_id *id, const char *name)
{
	return marker_tainted(fs->unsafe->marker) ? marker_trust_file(fs->unsafe->marker, id, name)
						  : 0;
}

int unsafe_trust(struct fs *fs, int fd, const char *name)
{
	struct file_id id;

	return file_id_of(fd, &id) ? unsafe_trust_id(fs, &id, name) : -EOPNOTSUPP;
}

int unsafe_trust_all(struct fs *fs)
{
	struct unsafe *u = fs->unsafe;

	pthread_mutex_lock(&u->lock);
	u->failed = false;
	pthread_cond_broadcast(&u->changed);
	pthread_mutex_unlock(&u->lock);
	return marker_trust_all(u->marker);
}

/* ---- life ---- */

int unsafe_create(struct fs *fs, struct unsafe **out)
{
	struct unsafe *u = calloc(1, sizeof(*u));
	enum marker_found found;
	sigset_t all, old;
	int err;

	if (!u)
		return -ENOMEM;
	u->fs = fs;
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->changed, NULL);
	err = marker_create(fs->own, NULL, &u->marker, &found);
	*out = u;
	if (!err)
		err = meet_marker(u, found);
	if (err)
		return err;
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
	if (flushed && !u->failed && !(still_used && u->writers) && marker_active(u->marker))
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
