/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Another mode while files are open. New opens take the new switches as soon as they are stored;
 * then each open file is stopped between two of its reads and writes (CLAIM_GATE), its handles get
 * their new plans, and what the old mode left behind is made what the new one promises.
 */
#include <utlist.h>

#include "engine/bounce.h"
#include "fs/internal.h"

/* What the kernel was told at the open stays as it is. */
static struct plan replan(struct fs *fs, const struct handle *h)
{
	struct plan plan = fs_plan(fs, h->rec->client_flags);

	plan.kernel = h->plan.kernel;
	plan.kernel_sync = h->plan.kernel && plan.sync_metadata && h->can_write;
	plan.fopen_direct_io = h->plan.fopen_direct_io;
	return plan;
}

/* A handle that cannot have its new plan keeps the old one; the error says so. */
static int handles_replan(struct fs *fs, struct file *f)
{
	struct handle *h;
	int result = 0;

	pthread_mutex_lock(&f->lock);
	f->mode.switches = f->wanted.switches = fs_switches(fs);
	DL_FOREACH(f->handles, h)
	{
		struct plan plan = replan(fs, h);
		int err = plan.error ? plan.error : handle_apply_direct(h, plan.direct);

		if (!err)
			h->plan = plan;
		result = result ? result : err;
	}
	pthread_mutex_unlock(&f->lock);
	atomic_fetch_add(&f->epoch, 1);
	return result;
}

/* What was written before is as durable, and as little cached, as the new switches promise. */
static int file_barrier(struct fs *fs, struct file *f, struct switches to)
{
	_cleanup_fd_ int fd = -1;
	int err = 0;

	if (to.no_flush && !to.direct)
		return 0;
	fd = fs_reopen(fs, f->path.fd, O_RDONLY);
	if (fd < 0)
		return fd;
	if (!to.no_flush)
		err = flush_sync(&f->flush, fs->config.engine, fd, false);
	if (to.direct) {
		int drop = bounce_drop_cache(fd);

		if (drop)
			flush_latch(&f->flush, drop);
		err = err ? err : drop;
	}
	return err;
}

static int file_switch(struct fs *fs, struct file *f, struct switches to)
{
	struct claim gate = {.kind = CLAIM_GATE, .start = 0, .end = UINT64_MAX};
	int err, barrier = 0;

	/* first what the kernel holds of shared mappings, as requests to us */
	if (atomic_load(&f->fuse_pages))
		fs->config.invalidate(fs->config.invalidate_arg, node_id(f->node), 0, 0);
	iolock_acquire_wait(&f->range, &gate);
	err = handles_replan(fs, f);
	if (!err)
		err = file_sync_update(fs, f);
	if (!fs->config.engine->null)
		barrier = file_barrier(fs, f, to);
	iolock_release(&f->range, &gate);
	return err ? err : barrier;
}

/*
 * Handles on the kernel path keep the flags of their open: flushes follow, and with the sync
 * attribute cache.writeback. (One whose O_DSYNC unsafe would drop is slower than need be.)
 */
static bool handle_follows(const struct fs *fs, const struct handle *h, struct switches to)
{
	return !h->plan.kernel || (to.direct == !!(h->rec->client_flags & O_DIRECT) &&
				   (to.writeback || fs->sync_attr));
}

static bool file_follows(const struct fs *fs, struct file *f, struct switches to)
{
	bool follows = !to.direct || !f->dio_error;
	struct handle *h;

	pthread_mutex_lock(&f->lock);
	DL_FOREACH(f->handles, h)
	follows = follows && handle_follows(fs, h, to);
	pthread_mutex_unlock(&f->lock);
	return follows;
}

static int file_check(struct fs *fs, struct file *f, struct switches to)
{
	return file_follows(fs, f, to) ? 0 : -EBUSY;
}

/* FN for every open file; the first error, after all of them. */
static int each_file(struct fs *fs, struct switches to,
		     int (*fn)(struct fs *fs, struct file *f, struct switches to))
{
	int result = 0;

	for (int i = 0; i < NODE_SHARDS; i++) {
		struct file **files;
		int count = fs_shard_files(&fs->shards[i], &files);

		for (int k = 0; k < count; k++) {
			int err = fn(fs, files[k], to);

			result = result ? result : err;
			file_put(fs, files[k]);
		}
		free(files);
		result = count < 0 && !result ? count : result;
	}
	return result;
}

int fs_set_switches(struct fs *fs, struct switches to)
{
	struct switches from = fs_switches(fs);
	int result;

	if (!switches_valid(to))
		return -EINVAL;
	if (to.direct && !fs->config.caps.backing_direct_io)
		return -EOPNOTSUPP;
	if (switches_equal(from, to))
		return 0;
	/* new opens have the new mode from here on, so that what follows sees all the old ones */
	atomic_store(&fs->switches, switches_pack(to));
	result = each_file(fs, to, file_check);
	if (result) {
		atomic_store(&fs->switches, switches_pack(from));
		each_file(fs, from, file_switch);
		return result;
	}
	result = each_file(fs, to, file_switch);
	/* files that were closed with unflushed data, and names */
	if (!to.no_flush && (from.no_flush || !to.writeback) && !fs->config.engine->null) {
		int err = fs_sync_backing(fs);

		result = result ? result : err;
	}
	return result;
}
