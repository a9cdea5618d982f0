/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fs/handle.h"

#include <string.h>
#include <utlist.h>

#include "base/log.h"
#include "durability/checkpoint_ranges.h"
#include "fs/internal.h"
#include "fs/once.h"
#include "fs/witness.h"
#include "supervisor/arena.h"

struct handle *handle_get(struct fs *fs, uint64_t fh)
{
	uint32_t index = (uint32_t)fh, generation = (uint32_t)(fh >> 32);
	struct handle_record *r = arena_record(fs->handles, index);

	if (!index || !r || handle_record_state(r) == HANDLE_FREE || r->generation != generation)
		return NULL;
	return arena_private(fs->handles, index);
}

uint64_t handle_id(const struct handle *h)
{
	return h->index | (uint64_t)h->rec->generation << 32;
}

static void set_state(struct handle *h, enum handle_state state)
{
	__atomic_store_n(&h->rec->state, (uint8_t)state, __ATOMIC_RELEASE);
}

static struct handle *handle_new(struct fs *fs, uint64_t node, int fd, int client_flags)
{
	const struct once *once = fs_once();
	uint32_t index = arena_alloc(fs->handles);
	struct handle *h;

	if (!index)
		return NULL;
	h = arena_private(fs->handles, index);
	h->rec = arena_record(fs->handles, index);
	h->index = index;
	h->fd = fd;
	h->can_read = (client_flags & O_ACCMODE) != O_WRONLY;
	h->can_write = (client_flags & O_ACCMODE) != O_RDONLY;
	h->rec->node = node;
	h->rec->unique = once ? once->unique : 0;
	h->rec->fd = fd + 1;
	h->rec->client_flags = client_flags;
	h->rec->generation = atomic_fetch_add(&fs->shared->state->generation, 1) + 1;
	set_state(h, HANDLE_MADE);
	return h;
}

void handle_publish(struct handle *h)
{
	if (h->file) {
		struct plan plan = handle_plan(h);

		h->rec->kernel = plan.kernel;
		h->rec->fopen_direct_io = plan.fopen_direct_io;
		h->rec->backing_id = h->backing_id;
	}
	set_state(h, HANDLE_PUBLISHED);
}

void handle_give_fd(struct handle *h)
{
	__atomic_store_n(&h->rec->fd, 0, __ATOMIC_RELEASE);
}

/* A successor does not know it from here on, and closes what was its descriptor. */
static void handle_unmake(struct fs *fs, struct handle *h)
{
	set_state(h, HANDLE_FREE);
	cleanup_fd(&h->fd);
	arena_free(fs->handles, h->index);
}

int handle_create_dir(struct fs *fs, struct node *n, int fd, struct handle **out)
{
	*out = handle_new(fs, node_id(n), fd, O_RDONLY);
	if (*out)
		return 0;
	close(fd);
	return -ENFILE;
}

int handle_create_report(struct fs *fs, uint64_t id, struct report *r, int fd, pid_t pid,
			 struct handle **out)
{
	*out = handle_new(fs, id, fd, O_RDONLY);
	if (!*out)
		return -ENFILE;
	(*out)->rec->pid = pid;
	(*out)->report = r;
	return 0;
}

/* What direct I/O on the file asks for, where the kernel tells; else what is always enough. */
static void file_dio_init(struct fs *fs, struct file *f, bool recall)
{
	struct statx st;

	f->dio_mem = f->dio_offset = 4096;
	if (recall && file_dio_recall(f))
		return;
	if (!fs->config.caps.statx_dioalign ||
	    statx(f->path.fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) < 0 ||
	    !(st.stx_mask & STATX_DIOALIGN))
		return;
	/* 0: none on this file (encrypted, verity, data=journal); or more than our buffers allow */
	if (!st.stx_dio_offset_align || st.stx_dio_offset_align > FS_READ_SLACK / 2) {
		f->dio_error = -EOPNOTSUPP;
		return;
	}
	f->dio_offset = st.stx_dio_offset_align;
	f->dio_mem = MAX(st.stx_dio_mem_align, 1u);
}

bool file_needs_attr(struct file *f)
{
	bool needed = false;
	struct handle *h;

	pthread_mutex_lock(&f->lock);
	DL_FOREACH(f->handles, h)
	needed = needed || h->plan.kernel_sync;
	pthread_mutex_unlock(&f->lock);
	return needed;
}

int file_sync_update(struct fs *fs, struct file *f)
{
	uint64_t name = node_attr_name(f->node->rec);
	uint8_t *record = &f->node->rec->sync_attr;
	struct sync_attr *s = NULL;
	bool needed = file_needs_attr(f);
	int err = 0;

	if (needed || f->sync_attr)
		err = fs_sync_attr(fs, &s);
	if (err)
		return err;
	if (needed && !f->sync_attr) {
		_cleanup_fd_ int fd = fs_reopen(fs, f->path.fd, O_RDONLY);

		__atomic_store_n(record, OWES_ATTR_CHANGING, __ATOMIC_RELEASE);
		err = fd < 0 ? fd : sync_attr_set(s, fd, name);
		f->sync_attr = err == 0; /* 1: the file's own, and stays */
		__atomic_store_n(record, f->sync_attr, __ATOMIC_RELEASE); /* SET or NONE */
	} else if (!needed && f->sync_attr) {
		_cleanup_fd_ int fd = fs_reopen(fs, f->path.fd, O_RDONLY);

		__atomic_store_n(record, OWES_ATTR_CHANGING, __ATOMIC_RELEASE);
		err = fd < 0 ? fd : sync_attr_clear(s, fd, name);
		f->sync_attr = false;
		__atomic_store_n(record, OWES_ATTR_NONE, __ATOMIC_RELEASE);
		if (err)
			log_warn("the sync attribute of inode %llu could not be removed: %s; the "
				 "next mount will try again",
				 (unsigned long long)f->node->key.ino, strerror(-err));
	}
	return MIN(err, 0);
}

/* An open or a close has changed what F's handles need. */
static int file_sync_changed(struct fs *fs, struct file *f)
{
	struct claim gate = {.kind = CLAIM_GATE, .start = 0, .end = UINT64_MAX};
	int err;

	iolock_acquire_wait(&f->range, &gate);
	err = file_sync_update(fs, f);
	iolock_release(&f->range, &gate);
	return err;
}

struct file *file_new(struct fs *fs, struct node *n, bool recall)
{
	struct file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->path = (struct path_fd)PATH_FD_NONE;
	if (path_fd_get(fs, n, &f->path)) {
		free(f);
		return NULL;
	}
	f->node = n;
	f->opens = 1;
	if (!recall || !file_mode_recall(f))
		f->mode = f->wanted = fs_mode_of(fs, n);
	atomic_init(&f->direct, f->mode.switches.direct);
	if (n->rec->close_error)
		flush_latch(&f->flush, -n->rec->close_error);
	fs_limits_of(fs, n, &f->limits);
	file_dio_init(fs, f, recall);
	iolock_init(&f->range);
	pthread_mutex_init(&f->lock, NULL);
	return f;
}

/* Without a backing id: one that others knew has withdrawn it. */
static void file_free(struct file *f)
{
	budget_file_destroy(atomic_load(&f->budget));
	checkpoint_gate_destroy(atomic_load(&f->gate));
	path_fd_put(&f->path);
	iolock_destroy(&f->range);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

struct file *file_find(struct fs *fs, struct node *n)
{
	struct node_shard *s = node_shard(fs, n);
	struct file *f;

	pthread_mutex_lock(&s->lock);
	f = n->file;
	if (f)
		f->opens++;
	pthread_mutex_unlock(&s->lock);
	return f;
}

/*
 * N's open file with one open more: the one that there is, or FRESH (ownership taken), unless the
 * modes have changed since EPOCH, when FRESH was given its own: NULL then, as in file_find(). Who
 * changes modes counts that first and looks for the open file next, under the same lock: so nobody
 * else ever has the file open in a mode of yesterday.
 */
static struct file *file_publish(struct fs *fs, struct node *n, struct file *fresh, unsigned epoch)
{
	struct node_shard *s = node_shard(fs, n);
	struct file *f;

	pthread_mutex_lock(&s->lock);
	f = n->file;
	if (f) {
		f->opens++;
	} else if (epoch == atomic_load(&fs->mode_epoch)) {
		n->file = f = fresh;
		n->refs++; /* a file keeps its node */
		owes_opened(f);
	}
	pthread_mutex_unlock(&s->lock);
	if (f != fresh)
		file_free(fresh);
	return f;
}

static struct file *file_get(struct fs *fs, struct node *n, bool *first)
{
	struct file *f = file_find(fs, n), *fresh = NULL;

	while (!f) {
		unsigned epoch = atomic_load(&fs->mode_epoch);

		fresh = file_new(fs, n, false);
		if (!fresh)
			return NULL;
		f = file_publish(fs, n, fresh, epoch);
	}
	*first = f == fresh;
	return f;
}

struct file *file_open(struct fs *fs, struct node *n)
{
	bool first;

	return file_get(fs, n, &first);
}

void file_put(struct fs *fs, struct file *f)
{
	struct node *n = f->node;
	struct node_shard *s = node_shard(fs, n);
	_cleanup_fd_ int witness = -1;
	int backing_id = 0;
	bool last;

	pthread_mutex_lock(&s->lock);
	last = --f->opens == 0;
	if (last) {
		n->file = NULL;
		backing_id = backing_id_withdraw(f); /* the next open has a record of its own */
		witness = owes_closed(f);
		stats_retire(&f->stats); /* with the lock: a sum over all has it once (status.c) */
	}
	pthread_mutex_unlock(&s->lock);
	if (!last)
		return;
	backing_id_close(fs, n, backing_id);
	file_free(f);
	node_unref(fs, n);
}

/*
 * The plan of an open of F as far as F can follow it: without a backing id there is no kernel path.
 * With F->lock held; the ioctl does no I/O.
 */
static struct plan file_plan(struct fs *fs, struct file *f, struct handle *h, uid_t uid)
{
	struct plan plan = file_plan_open(fs, f, f->mode.switches, h->rec->client_flags);

	if (!f->backing_id) {
		f->backing_id =
		    plan.backing_id ? backing_id_open(fs, f->node, h->fd, uid) : -EOPNOTSUPP;
		f->kernel_refused = plan.backing_id && f->backing_id < 0;
		f->node->rec->backing_id = f->backing_id;
		f->node->rec->kernel_refused = f->kernel_refused;
	}
	if (plan.kernel && f->backing_id <= 0) {
		plan.kernel = plan.kernel_sync = false;
		plan.fopen_direct_io = true;
	}
	h->backing_id = MAX(f->backing_id, 0);
	return plan;
}

/*
 * The switches may have changed since the plan was made: whoever changes them looks at the handles
 * of every file afterwards, under the same lock, so a handle has the new plan either from here or
 * from there.
 */
static int handle_attach(struct fs *fs, struct file *f, struct handle *h, uid_t uid)
{
	int err;

	pthread_mutex_lock(&f->lock);
	if (!f->handles) /* closed by all, and only kept by what is done in the background */
		backing_id_forget(fs, f);
	h->plan = file_plan(fs, f, h, uid);
	err = h->plan.error ? h->plan.error : handle_apply_direct(h, h->plan.direct);
	if (!err)
		DL_APPEND(f->handles, h);
	pthread_mutex_unlock(&f->lock);
	return err;
}

struct plan handle_plan(struct handle *h)
{
	struct plan plan;

	pthread_mutex_lock(&h->file->lock);
	plan = h->plan;
	pthread_mutex_unlock(&h->file->lock);
	return plan;
}

/* Without the sync attribute the daemon does it; nobody has been told of the open yet. */
static void leave_kernel_path(struct handle *h)
{
	pthread_mutex_lock(&h->file->lock);
	h->plan.kernel = h->plan.kernel_sync = false;
	h->plan.fopen_direct_io = true;
	pthread_mutex_unlock(&h->file->lock);
}

int handle_apply_direct(struct handle *h, bool direct)
{
	int flags = fcntl(h->fd, F_GETFL);

	if (direct && h->file->dio_error)
		return h->file->dio_error;
	if (flags >= 0 && !!(flags & O_DIRECT) != direct)
		return sysret(fcntl(h->fd, F_SETFL, flags ^ O_DIRECT));
	return 0;
}

static void count_open(struct file *f, int client_flags)
{
	stats_count(&f->stats, STATS_opens_total, 1);
	if (client_flags & O_DIRECT)
		stats_count(&f->stats, STATS_opens_direct, 1);
	if (client_flags & O_DSYNC) /* O_SYNC contains it */
		stats_count(&f->stats, STATS_opens_sync, 1);
}

static void warn_no_direct(struct node *n)
{
	log_warn("a file was opened that its filesystem cannot do direct I/O on (inode %llu): "
		 "refused, give it a mode with cache.direct=off",
		 (unsigned long long)n->key.ino);
}

int handle_create_file(struct fs *fs, struct node *n, int fd, int client_flags, struct opener by,
		       struct handle **out)
{
	bool first;
	struct file *f = file_get(fs, n, &first);
	struct handle *h = f ? handle_new(fs, node_id(n), fd, client_flags) : NULL;
	int err;

	if (!h) {
		close(fd);
		if (f)
			file_put(fs, f);
		return f ? -ENFILE : -ENOMEM;
	}
	h->file = f;
	h->rec->pid = by.pid;
	err = handle_attach(fs, f, h, by.uid);
	if (err) {
		if (err == -EOPNOTSUPP)
			warn_no_direct(n);
		handle_unmake(fs, h);
		file_put(fs, f);
		return err;
	}
	if (h->can_write)
		file_limits_apply(fs, f);
	count_open(f, client_flags);
	if (handle_plan(h).kernel_sync && file_sync_changed(fs, f))
		leave_kernel_path(h);
	if (first && handle_plan(h).direct && !fs->config.engine->null)
		file_drop_cache(fs, f, fd); /* what others left in the page cache */
	err = h->can_write && handle_plan(h).flush == FLUSH_DROP ? unsafe_opened(fs, f, h) : 0;
	if (err) {
		handle_destroy(fs, h);
		return err;
	}
	*out = h;
	return 0;
}

/* One handle less: a mode that it could not follow into may be possible now, and is after the last.
 */
static void pending_again(struct fs *fs, struct file *f)
{
	struct file *again;
	bool pending;

	if (fs->ending) /* all is flushed, and nobody is left to do more */
		return;
	pthread_mutex_lock(&f->lock);
	pending = !switches_equal(f->mode.switches, f->wanted.switches);
	pthread_mutex_unlock(&f->lock);
	again = pending ? file_find(fs, f->node) : NULL;
	if (again)
		file_update_soon(fs, again);
}

void handle_destroy(struct fs *fs, struct handle *h)
{
	struct file *f = h->file;

	if (f) {
		pthread_mutex_lock(&f->lock);
		DL_DELETE(f->handles, h);
		pthread_mutex_unlock(&f->lock);
		if (h->plan.kernel_sync)
			file_sync_changed(fs, f);
		unsafe_closed(fs, f, h, &h->fd);
		if (h->can_write)
			file_limits_apply(fs, f);
	}
	report_free(h->report);
	handle_unmake(fs, h);
	if (!f)
		return;
	pending_again(fs, f);
	file_put(fs, f);
}
