/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Another mode while files are open. What a file's mode is made from changes first; then the open
 * file is stopped between two of its reads and writes (CLAIM_GATE), its mode is found anew, its
 * handles get their new plans, and what the old mode left behind is made what the new one promises.
 */
#include <utlist.h>

#include "base/log.h"
#include "config/rules.h"
#include "engine/bounce.h"
#include "fs/internal.h"

/* What the kernel was told at the open stays as it is. */
static struct plan replan(struct fs *fs, const struct file *f, const struct handle *h)
{
	struct plan plan = file_plan_open(fs, f, h->rec->client_flags);

	plan.kernel = h->plan.kernel;
	plan.kernel_sync = h->plan.kernel && plan.sync_metadata && h->can_write;
	plan.fopen_direct_io = h->plan.fopen_direct_io;
	return plan;
}

/* All or none: where one descriptor cannot have its new flags, the others get theirs back. */
static int handles_apply_direct(struct file *f, bool direct, bool before)
{
	struct handle *h, *undo;
	int err = 0;

	DL_FOREACH(f->handles, h)
	{
		err = handle_apply_direct(h, direct);
		if (err)
			break;
	}
	if (err)
		DL_FOREACH(f->handles, undo)
	handle_apply_direct(undo, before);
	return err;
}

static int handles_replan(struct fs *fs, struct file *f, struct file_mode to)
{
	struct handle *h;
	int err;

	pthread_mutex_lock(&f->lock);
	err = handles_apply_direct(f, to.switches.direct, f->mode.switches.direct);
	if (!err) {
		f->mode = to;
		DL_FOREACH(f->handles, h)
		h->plan = replan(fs, f, h);
	}
	pthread_mutex_unlock(&f->lock);
	atomic_fetch_add(&f->epoch, 1);
	return err;
}

/* What was written before is as durable, and as little cached, as the new switches promise. */
static int barrier(struct fs *fs, int path_fd, struct flush_state *flush, struct switches to)
{
	_cleanup_fd_ int fd = -1;
	int err = 0;

	if ((to.no_flush && !to.direct) || fs->config.engine->null)
		return 0;
	fd = fs_reopen(fs, path_fd, O_RDONLY);
	if (fd < 0)
		return fd;
	if (!to.no_flush)
		err = flush_sync(flush, fs->config.engine, fd, false);
	if (to.direct) {
		int drop = bounce_drop_cache(fd);

		if (drop)
			flush_latch(flush, drop);
		err = err ? err : drop;
	}
	return err;
}

/*
 * Handles on the kernel path keep the flags of their open: flushes follow, and with the sync
 * attribute cache.writeback. (One whose O_DSYNC unsafe would drop is slower than need be.)
 */
static bool handle_follows(const struct fs *fs, const struct handle *h, struct switches to)
{
	return !h->plan.kernel || (to.direct == !!(h->rec->client_flags & O_DIRECT) &&
				   (to.writeback || fs->config.privileged));
}

static bool file_follows(const struct fs *fs, struct file *f, struct switches to)
{
	bool follows = !to.direct || (!f->dio_error && fs->config.caps.backing_direct_io);
	struct handle *h;

	pthread_mutex_lock(&f->lock);
	DL_FOREACH(f->handles, h)
	follows = follows && handle_follows(fs, h, to);
	pthread_mutex_unlock(&f->lock);
	return follows;
}

static void want(struct file *f, struct file_mode m, bool in_force)
{
	pthread_mutex_lock(&f->lock);
	f->wanted = m;
	if (in_force)
		f->mode = m;
	pthread_mutex_unlock(&f->lock);
}

/* By who owns a CLAIM_GATE of all of F. 1: it has another mode now. -EBUSY: it cannot follow. */
static int update_owned(struct fs *fs, struct file *f)
{
	struct file_mode from = f->mode, to = fs_mode_of(fs, f->node);
	int err;

	if (switches_equal(from.switches, to.switches)) {
		want(f, to, true);
		return 0;
	}
	want(f, to, false);
	if (!file_follows(fs, f, to.switches))
		return -EBUSY;
	err = handles_replan(fs, f, to);
	if (!err && file_sync_update(fs, f)) {
		handles_replan(fs, f, from);
		file_sync_update(fs, f);
		return -EBUSY;
	}
	return err ? -EBUSY : 1;
}

static struct claim gate_of_all(void)
{
	return (struct claim){.kind = CLAIM_GATE, .start = 0, .end = UINT64_MAX};
}

static void drop_kernel_pages(struct fs *fs, struct file *f)
{
	if (atomic_load(&f->fuse_pages))
		fs->config.invalidate(fs->config.invalidate_arg, node_id(f->node), 0, 0);
}

/* A pending change is as good as made when the handles that it waits for are gone. */
int file_update(struct fs *fs, struct file *f, bool *switched)
{
	struct claim gate = gate_of_all();
	int err;

	drop_kernel_pages(fs, f); /* of shared mappings, as requests to us, before the gate */
	iolock_acquire_wait(&f->range, &gate);
	err = update_owned(fs, f);
	*switched = err > 0;
	if (err > 0)
		err = barrier(fs, f->path.fd, &f->flush, f->mode.switches);
	iolock_release(&f->range, &gate);
	file_limits_update(fs, f);
	return err;
}

/* ---- one file ---- */

int fs_mode_apply(struct fs *fs, struct node *n, struct switches from)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	struct flush_state closed = {0};
	struct switches to;
	struct file *f;
	bool switched;
	int err;

	atomic_fetch_add(&fs->mode_epoch, 1);
	f = file_find(fs, n);
	if (f) {
		err = file_update(fs, f, &switched);
		file_put(fs, f);
		return err;
	}
	to = fs_mode_of(fs, n).switches;
	if (switches_equal(from, to))
		return 0;
	err = path_fd_get(fs, n, &p);
	return err ? err : barrier(fs, p.fd, &closed, to);
}

struct late_barrier {
	struct pool_job job;
	struct fs *fs;
	struct file *f;
};

static void late_barrier_job(struct pool_job *job)
{
	struct late_barrier *b = container_of(job, struct late_barrier, job);
	struct claim gate = gate_of_all();

	drop_kernel_pages(b->fs, b->f);
	iolock_acquire_wait(&b->f->range, &gate);
	barrier(b->fs, b->f->path.fd, &b->f->flush, b->f->mode.switches); /* errors are latched */
	iolock_release(&b->f->range, &gate);
	file_put(b->fs, b->f);
	free(b);
}

void file_update_soon(struct fs *fs, struct file *f)
{
	struct late_barrier *b = malloc(sizeof(*b));
	struct claim gate = gate_of_all();
	int err;

	iolock_acquire_wait(&f->range, &gate);
	err = update_owned(fs, f);
	if (err > 0 && !b)
		barrier(fs, f->path.fd, &f->flush, f->mode.switches);
	iolock_release(&f->range, &gate);
	file_limits_update(fs, f);
	if (err <= 0 || !b) {
		free(b);
		file_put(fs, f);
		return;
	}
	*b = (struct late_barrier){.fs = fs, .f = f};
	b->job =
	    (struct pool_job){.run = late_barrier_job, .key = f->node->index, .lane = LANE_FLUSH};
	pool_submit(fs->config.pool, &b->job);
}

/* ---- many files ---- */

/* FN for every open file. 0 or -ENOMEM. */
static int each_file(struct fs *fs, void (*fn)(struct fs *fs, struct file *f, void *arg), void *arg)
{
	struct open_files all;
	int err = fs_open_files(fs, &all);

	for (size_t i = 0; i < all.count; i++)
		fn(fs, all.files[i], arg);
	fs_open_files_put(fs, &all);
	return err;
}

static struct switches wanted_of(struct file *f)
{
	struct switches sw;

	pthread_mutex_lock(&f->lock);
	sw = f->wanted.switches;
	pthread_mutex_unlock(&f->lock);
	return sw;
}

static void update_one(struct fs *fs, struct file *f, void *arg)
{
	struct fs_switched *s = arg;
	struct switches before = wanted_of(f);
	bool switched;
	int err = file_update(fs, f, &switched);

	s->switched += switched;
	s->pending += err == -EBUSY;
	s->refused += err == -EBUSY && !switches_equal(before, wanted_of(f));
	s->failed += err && err != -EBUSY;
	s->error = s->error || err == -EBUSY ? s->error : err;
}

static void update_all(struct fs *fs, struct fs_switched *s)
{
	int err;

	*s = (struct fs_switched){0};
	atomic_fetch_add(&fs->mode_epoch, 1);
	err = each_file(fs, update_one, s);
	s->error = s->error ? s->error : err;
}

static void check_one(struct fs *fs, struct file *f, void *arg)
{
	struct file_mode to = fs_mode_of(fs, f->node);
	bool *refused = arg;

	/* what is pending for another reason does not matter here */
	if (!switches_equal(to.switches, f->mode.switches) &&
	    !switches_equal(to.switches, wanted_of(f)) && !file_follows(fs, f, to.switches))
		*refused = true;
}

static int set_mount_switches(struct fs *fs, struct switches to)
{
	struct switches from = fs_switches(fs);
	struct fs_switched s, undone;
	bool refused = false;
	int err;

	if (switches_equal(from, to))
		return 0;
	/* new opens have the new mode from here on, so that what follows sees all the old ones */
	atomic_store(&fs->switches, switches_pack(to));
	atomic_fetch_add(&fs->mode_epoch, 1);
	err = each_file(fs, check_one, &refused);
	if (!err && !refused)
		update_all(fs, &s);
	if (err || refused || s.refused) {
		atomic_store(&fs->switches, switches_pack(from));
		update_all(fs, &undone);
		return err ? err : -EBUSY;
	}
	/* files that were closed with unflushed data, and names */
	if (!to.no_flush && (from.no_flush || !to.writeback) && !fs->config.engine->null)
		err = fs_sync_backing(fs);
	return s.error ? s.error : err;
}

int fs_set_switches(struct fs *fs, struct switches to)
{
	struct claim turn = gate_of_all();
	int err;

	if (!switches_valid(to))
		return -EINVAL;
	if (to.direct && !fs->config.caps.backing_direct_io)
		return -EOPNOTSUPP;
	iolock_acquire_wait(&fs->changes, &turn);
	err = set_mount_switches(fs, to);
	iolock_release(&fs->changes, &turn);
	return err;
}

void fs_set_rules(struct fs *fs, struct rules *rules, struct fs_switched *s)
{
	struct claim turn = gate_of_all();
	struct rules *old;
	int err;

	iolock_acquire_wait(&fs->changes, &turn);
	pthread_mutex_lock(&fs->rules_lock);
	old = fs->rules;
	fs->rules = rules;
	pthread_mutex_unlock(&fs->rules_lock);
	rules_unref(old);
	update_all(fs, s);
	iolock_release(&fs->changes, &turn);
	/* files that were closed with unflushed data */
	err = fs_flush_all(fs);
	if (err) {
		s->failed++;
		s->error = s->error ? s->error : err;
	}
}

static void renamed_one(struct fs *fs, struct file *f, void *arg)
{
	struct file *own = file_find(fs, f->node);

	(void)arg;
	if (own)
		file_update_soon(fs, own);
}

void fs_mode_renamed(struct fs *fs, struct node *n)
{
	struct rules *rules = fs_rules(fs);
	bool any = rules_count(rules) != 0;
	struct file *f;

	rules_unref(rules);
	if (!any)
		return;
	atomic_fetch_add(&fs->mode_epoch, 1);
	if (n->rec->type == S_IFDIR) {
		each_file(fs, renamed_one, NULL);
		return;
	}
	f = file_find(fs, n);
	if (f)
		file_update_soon(fs, f);
}

/* ---- hand-over ---- */

int fs_handoff(struct fs *fs, uint64_t fh)
{
	struct handle *h = handle_get(fs, fh);
	struct claim gate = gate_of_all();
	_cleanup_fd_ int fd = -1;
	int err;

	if (!h || !h->file)
		return -EBADF;
	fd = fs_reopen(fs, h->file->path.fd, O_RDONLY);
	if (fd < 0)
		return fd;
	drop_kernel_pages(fs, h->file);
	iolock_acquire_wait(&h->file->range, &gate);
	err = flush_file(&h->file->flush, &h->file->stats, fs->config.engine, fd, false,
			 FLUSH_EXECUTE);
	if (!err)
		err = bounce_drop_cache(fd);
	iolock_release(&h->file->range, &gate);
	return err;
}
