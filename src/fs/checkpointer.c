/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/checkpointer.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/log.h"
#include "durability/checkpoint_ranges.h"
#include "fs/checkpointer_internal.h"
#include "fs/internal.h"

/* Less free space than this share of the filesystem is what writers need more than checkpoints. */
#define SPARE_SHARE 50
/* With less than this share the next look at it comes soon. */
#define LOOK_SHARE 8

struct taking {
	struct pool_job job;
	struct checkpointer *c;
	struct file *file; /* one open of ours */
};

int checkpointer_store(struct checkpointer *c, struct checkpoints **out)
{
	int err = 0;

	pthread_mutex_lock(&c->lock);
	*out = c->store;
	pthread_mutex_unlock(&c->lock);
	if (*out)
		return 0;
	err = private_dir_own(c->fs->own);
	if (!err)
		err = checkpoints_create(c->fs->own, c->fs->root_fd, out);
	if (err)
		return err;
	err = checkpoint_collect(*out);
	if (err)
		log_warn("what is left of checkpoints of files that are gone could not be removed: "
			 "%s",
			 strerror(-err));
	pthread_mutex_lock(&c->lock);
	if (c->store) { /* another thread was faster */
		struct checkpoints *mine = *out;

		*out = c->store;
		pthread_mutex_unlock(&c->lock);
		checkpoints_destroy(mine);
		return 0;
	}
	c->store = *out;
	pthread_mutex_unlock(&c->lock);
	return 0;
}

/* ---- taking one ---- */

/* Changes within a tick of the clock that times files would look like none. */
static bool changed_since(const struct stat *st, const struct file *f)
{
	return !f->checkpoint_taken || st->st_mtim.tv_sec != f->checkpoint_mtime.tv_sec ||
	       st->st_mtim.tv_nsec != f->checkpoint_mtime.tv_nsec ||
	       st->st_mtim.tv_sec + 1 >= f->checkpoint_taken;
}

static int take(struct checkpointer *c, struct file *f, int fd)
{
	struct checkpoint_gate *gate;
	struct checkpoints *store;
	struct checkpoint_cost cost;
	struct file_id id;
	struct stat st;
	char path[4096];
	int err = checkpointer_store(c, &store);

	if (err)
		return err;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!st.st_nlink || !changed_since(&st, f))
		return 0;
	if (flush_error(&f->flush)) /* what the page cache has is not what the disk has */
		return flush_error(&f->flush);
	if (fs_node_path(c->fs, f->node, path, sizeof(path)) < 0)
		return 0;
	node_file_id(f->node, &id);
	gate = atomic_load(&f->gate);
	err = gate ? checkpoint_take_ranges(store, fd, &id, path, gate, &cost)
		   : checkpoint_take(store, fd, &id, path, &cost);
	if (err) {
		if (err == -EIO)
			flush_latch(&f->flush, err);
		log_error("%s: no checkpoint could be taken: %s: the one before is kept", path,
			  strerror(-err));
		return err;
	}
	atomic_store(&c->any, true);
	f->checkpoint_mtime = st.st_mtim;
	f->checkpoint_taken = time(NULL);
	log_debug("%s: checkpoint: %llu ms of write-back, %llu ms for the reflink", path,
		  (unsigned long long)cost.flushed_nsec / 1000000,
		  (unsigned long long)cost.clone_nsec / 1000000);
	return 0;
}

static bool wants_one(const struct file *f)
{
	/* a racy look: whoever begins or ends to write now is seen the next time */
	return f->node->rec->handle_len &&
	       __atomic_load_n(&f->unsafe_writers, __ATOMIC_RELAXED) > 0;
}

static void take_job(struct pool_job *job)
{
	struct taking *t = container_of(job, struct taking, job);
	struct checkpointer *c = t->c;
	_cleanup_fd_ int fd =
	    wants_one(t->file) ? fs_reopen(c->fs, t->file->path.fd, O_RDONLY) : -1;

	if (fd >= 0)
		take(c, t->file, fd);
	atomic_store(&t->file->checkpointing, false);
	file_put(c->fs, t->file);
	free(t);
	pthread_mutex_lock(&c->lock);
	if (--c->taking == 0)
		pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
}

static void take_later(struct checkpointer *c, struct file *f)
{
	struct taking *t;

	if (atomic_exchange(&f->checkpointing, true))
		return; /* the one before is not done yet */
	t = malloc(sizeof(*t));
	if (!t || !(f = file_find(c->fs, f->node))) {
		free(t);
		return;
	}
	*t = (struct taking){.c = c, .file = f};
	t->job = (struct pool_job){.run = take_job, .key = f->node->index, .lane = LANE_FLUSH};
	pthread_mutex_lock(&c->lock);
	c->taking++;
	pthread_mutex_unlock(&c->lock);
	pool_submit(c->fs->config.pool, &t->job);
}

static void take_all(struct checkpointer *c)
{
	struct open_files all;

	if (fs_open_files(c->fs, &all))
		return;
	for (size_t i = 0; i < all.count; i++)
		if (wants_one(all.files[i]))
			take_later(c, all.files[i]);
	fs_open_files_put(c->fs, &all);
}

/* The newest checkpoint of F, and the store; -ENOENT: there is none. */
static int newest(struct checkpointer *c, const struct file *f, struct checkpoints **store,
		  struct checkpoint_info *info)
{
	struct file_id id;
	int err;

	if (!c->any || !f->node->rec->handle_len)
		return -ENOENT;
	err = checkpointer_store(c, store);
	node_file_id(f->node, &id);
	return err ? err : checkpoint_peek(*store, &id, info);
}

static int drop(struct checkpointer *c, struct file *f)
{
	struct checkpoints *store;
	struct file_id id;
	int err = checkpointer_store(c, &store);

	node_file_id(f->node, &id);
	if (!err)
		err = checkpoint_drop(store, &id);
	if (!err)
		f->checkpoint_taken = 0;
	return err;
}

static bool wanted(struct checkpointer *c)
{
	/* a racy look: one more or less */
	return __atomic_load_n(&c->seconds, __ATOMIC_RELAXED) && !atomic_load(&c->warned);
}

/* Files that the daemon alone writes are cloned in ranges, so that no write waits for all of it. */
static void gate_install(struct checkpointer *c, struct file *f)
{
	struct checkpoint_gate *gate, *none = NULL;

	if (!wanted(c) || f->backing_id > 0 || atomic_load(&f->gate) ||
	    checkpoint_gate_create(&gate))
		return;
	if (!atomic_compare_exchange_strong(&f->gate, &none, gate))
		checkpoint_gate_destroy(gate);
}

/*
 * Without it a crash in the first seconds would cost all. Any moment will do, so nobody waits for
 * it, and who closes again at once has none.
 */
static void take_first(struct checkpointer *c, struct file *f, const struct stat *st)
{
	if (wanted(c) && st->st_size && wants_one(f))
		take_later(c, f);
}

void checkpointer_changing(struct file *f, uint64_t off, uint64_t len)
{
	struct checkpoint_gate *gate = atomic_load(&f->gate);

	if (gate)
		checkpoint_gate_before(gate, off, len);
}

void checkpointer_opened(struct checkpointer *c, struct file *f, int fd)
{
	struct checkpoint_info info;
	struct checkpoints *store;
	struct stat st;

	gate_install(c, f);
	if ((!c->any && !wanted(c)) || fstat(fd, &st) < 0)
		return;
	if (newest(c, f, &store, &info)) {
		take_first(c, f, &st);
		return;
	}
	if (st.st_mtim.tv_sec == info.mtime.tv_sec && st.st_mtim.tv_nsec == info.mtime.tv_nsec &&
	    (uint64_t)st.st_size == info.size) {
		f->checkpoint_mtime = st.st_mtim;
		f->checkpoint_taken = info.taken.tv_sec;
		return;
	}
	drop(c, f);
	take_first(c, f, &st);
}

void checkpointer_resumed(struct checkpointer *c, struct file *f)
{
	struct checkpoint_info info;
	struct checkpoints *store;
	struct stat st;

	gate_install(c, f);
	if (f->checkpoint_taken || fstat(f->path.fd, &st) < 0)
		return;
	if (newest(c, f, &store, &info)) {
		take_first(c, f, &st);
		return;
	}
	f->checkpoint_mtime = info.mtime;
	f->checkpoint_taken = info.taken.tv_sec;
}

void checkpointer_closed(struct checkpointer *c, struct file *f, int fd)
{
	struct checkpoint_info info;
	struct checkpoints *store;

	if (!newest(c, f, &store, &info))
		take(c, f, fd);
}

/* ---- giving them up ---- */

bool checkpointer_no_space(struct checkpointer *c, struct file *f)
{
	char path[4096];

	if (!f->checkpoint_taken || drop(c, f))
		return false;
	if (fs_node_path(c->fs, f->node, path, sizeof(path)) < 0)
		strcpy(path, "a file");
	log_error("%s: the backing filesystem is full: its checkpoints were given up, so that "
		  "writes go on; a crash now would cost all since it was last flushed",
		  path);
	return true;
}

/* The kernel path's writers do not ask us: they get space before it is too late. */
static void watch_space(struct checkpointer *c)
{
	struct open_files all;
	struct statvfs v;
	bool low = fstatvfs(c->fs->root_fd, &v) == 0 && v.f_bavail < v.f_blocks / SPARE_SHARE;
	unsigned given_up = 0;

	c->look_soon = !low && v.f_bavail < v.f_blocks / LOOK_SHARE;
	if (!low || fs_open_files(c->fs, &all)) {
		c->warned = low && c->warned;
		return;
	}
	for (size_t i = 0; i < all.count; i++)
		given_up += all.files[i]->checkpoint_taken && !drop(c, all.files[i]);
	fs_open_files_put(c->fs, &all);
	if (given_up || !c->warned)
		log_error("the backing filesystem has less than %d %% free: no checkpoints are "
			  "taken, and those of %u open files were given up, since writes to files "
			  "with checkpoints need new space",
			  100 / SPARE_SHARE, given_up);
	c->warned = true;
}

int64_t checkpointer_age(const struct file *f)
{
	return f->checkpoint_taken ? time(NULL) - f->checkpoint_taken : -1;
}

/* ---- life ---- */

static void *checkpointer_thread(void *arg)
{
	struct checkpointer *c = arg;
	struct checkpoints *store;
	uint64_t last = 0, next, wake;

	if (c->resumed)
		checkpointer_store(c, &store);
	pthread_mutex_lock(&c->lock);
	while (!c->stop) {
		struct timespec until;

		if (!c->seconds) {
			last = 0;
			pthread_cond_wait(&c->changed, &c->lock);
			continue;
		}
		if (!last)
			last = clock_nsec();
		wake = clock_nsec() + UINT64_C(1000000) * (c->look_soon ? 20 : 1000);
		until = (struct timespec){(time_t)(wake / 1000000000u), (long)(wake % 1000000000u)};
		pthread_cond_clockwait(&c->changed, &c->lock, CLOCK_MONOTONIC, &until);
		if (c->stop || !c->seconds)
			continue;
		/* a remount may have brought the next one nearer */
		next = last + c->seconds * UINT64_C(1000000000);
		pthread_mutex_unlock(&c->lock);
		watch_space(c);
		if (clock_nsec() >= next) {
			last = 0;
			if (!c->warned)
				take_all(c);
		}
		pthread_mutex_lock(&c->lock);
	}
	while (c->taking)
		pthread_cond_wait(&c->changed, &c->lock);
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

int checkpointer_set(struct checkpointer *c, unsigned seconds)
{
	struct checkpoints *store;
	int err = 0;

	if (seconds) {
		err = checkpoint_probe(c->fs->root_fd);
		if (!err)
			err = checkpointer_store(c, &store);
	}
	if (err)
		return err;
	pthread_mutex_lock(&c->lock);
	c->seconds = seconds;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

/* All was tried before; what the process before us did not finish goes when the thread looks. */
static int resume(struct checkpointer *c, unsigned seconds)
{
	c->seconds = seconds;
	c->resumed = seconds != 0;
	return seconds ? private_dir_own(c->fs->own) : 0;
}

int checkpointer_create(struct fs *fs, unsigned seconds, struct checkpointer **out)
{
	struct checkpointer *c = calloc(1, sizeof(*c));
	sigset_t all, old;
	int err;

	*out = c;
	if (!c)
		return -ENOMEM;
	c->fs = fs;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->changed, NULL);
	atomic_store(&c->any, faccessat(fs->root_fd, PRIVATE_DIR "/checkpoints", F_OK, 0) == 0);
	err = fs->config.resumed ? resume(c, seconds) : checkpointer_set(c, seconds);
	if (err)
		return err;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	err = -pthread_create(&c->thread, NULL, checkpointer_thread, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	c->running = !err;
	return err;
}

void checkpointer_stop(struct checkpointer *c)
{
	if (!c || !c->running)
		return;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_broadcast(&c->changed);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	c->running = false;
}

void checkpointer_destroy(struct checkpointer *c)
{
	if (!c)
		return;
	checkpointer_stop(c);
	checkpoints_destroy(c->store);
	pthread_cond_destroy(&c->changed);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
