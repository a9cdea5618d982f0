/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Another mode while files are open. What a file's mode is made from changes first; then the open
 * file is stopped between two of its reads and writes (CLAIM_GATE), its mode is found anew, its
 * handles get their new plans, and what the old mode left behind is made what the new one promises.
 */
#include <string.h>
#include <utlist.h>

#include "base/log.h"
#include "config/rules.h"
#include "fs/internal.h"

/* What the kernel was told at the open stays as it is. */
struct plan handle_replan(const struct fs *fs, const struct file *f, struct switches sw,
			  const struct handle *h)
{
	struct plan plan = file_plan_open(fs, f, sw, h->rec->client_flags);

	plan.kernel = h->plan.kernel;
	plan.kernel_sync = h->plan.kernel && plan.sync_metadata && h->can_write;
	plan.fopen_direct_io = h->plan.fopen_direct_io;
	return plan;
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

/* With F->lock held. */
static bool file_follows(const struct fs *fs, const struct file *f, struct switches to)
{
	bool follows = !to.direct || (!f->dio_error && fs->config.caps.backing_direct_io);
	const struct handle *h;

	DL_FOREACH(f->handles, h)
	follows = follows && handle_follows(fs, h, to);
	return follows;
}

/* With F->lock held: all of F's handles, as far as their descriptors go along. */
static int handles_replan(struct fs *fs, struct file *f, struct switches sw)
{
	struct handle *h;
	int err = 0;

	DL_FOREACH(f->handles, h)
	{
		err = err ? err : handle_apply_direct(h, sw.direct);
		h->plan = handle_replan(fs, f, sw, h);
	}
	atomic_store(&f->direct, sw.direct);
	return err;
}

/*
 * 0: F has mode TO. 1: its handles have the plans, and want the sync attribute (ATTR: it is there)
 * before the file has the mode. The question and the answer are under one lock with every open: one
 * that came in between might be on the kernel path in the old mode, and stay so.
 */
static int file_replan(struct fs *fs, struct file *f, struct file_mode to, bool attr)
{
	bool sync = false;
	struct handle *h;
	int err = -EBUSY;

	pthread_mutex_lock(&f->lock);
	if (file_follows(fs, f, to.switches))
		err = handles_replan(fs, f, to.switches);
	DL_FOREACH(f->handles, h)
	sync = sync || h->plan.kernel_sync;
	if (!err && sync && !attr)
		err = 1;
	else if (!err) {
		f->mode = to;
		file_mode_record(f);
	}
	pthread_mutex_unlock(&f->lock);
	atomic_fetch_add(&f->epoch, 1);
	return err;
}

/* Opens meanwhile had the old mode, so all of them follow back. */
static void file_replan_back(struct fs *fs, struct file *f)
{
	pthread_mutex_lock(&f->lock);
	handles_replan(fs, f, f->mode.switches);
	pthread_mutex_unlock(&f->lock);
	atomic_fetch_add(&f->epoch, 1);
	file_sync_update(fs, f);
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
		int drop = flush_drop_cache(flush, fd);

		err = err ? err : drop;
	}
	return err;
}

static void modes_get(struct file *f, struct file_mode *mode, struct file_mode *wanted)
{
	pthread_mutex_lock(&f->lock);
	*mode = f->mode;
	*wanted = f->wanted;
	pthread_mutex_unlock(&f->lock);
}

/*
 * The mode that F should have, noted as such. Whoever changes what it is made from counts that
 * before looking at what is noted (is_settled()): so either this sees the change, or they this.
 */
static struct file_mode want(struct fs *fs, struct file *f)
{
	struct file_mode to;
	unsigned epoch;

	do {
		epoch = atomic_load(&fs->mode_epoch);
		to = fs_mode_of(fs, f->node);
		pthread_mutex_lock(&f->lock);
		f->wanted = to;
		if (switches_equal(f->mode.switches, to.switches))
			f->mode.origin = to.origin;
		file_mode_record(f);
		pthread_mutex_unlock(&f->lock);
	} while (epoch != atomic_load(&fs->mode_epoch));
	return to;
}

/* Has F the mode that it should have, after a change that was counted? */
static bool is_settled(struct fs *fs, struct file *f)
{
	struct file_mode to = fs_mode_of(fs, f->node), mode, wanted;

	modes_get(f, &mode, &wanted);
	return switches_equal(to.switches, mode.switches) && to.origin == mode.origin &&
	       switches_equal(to.switches, wanted.switches);
}

/* By who owns a CLAIM_GATE of all of F. 1: it has another mode now. -EBUSY: it cannot follow. */
static int update_owned(struct fs *fs, struct file *f)
{
	struct file_mode to = want(fs, f);
	bool attr = f->sync_attr, owed = f->owed;
	int err;

	if (switches_equal(f->mode.switches, to.switches))
		return 0;
	if (unsafe_begin(fs, f, to.switches, to.origin))
		return -EBUSY; /* the log says why */
	f->owed = true;	       /* before the mode is, whoever serves the file then */
	while ((err = file_replan(fs, f, to, attr)) > 0) {
		err = file_sync_update(fs, f);
		if (err)
			break;
		attr = true;
	}
	if (err) {
		f->owed = owed;
		file_replan_back(fs, f);
		unsafe_switched(fs, f, true); /* nothing was dropped */
		return -EBUSY;
	}
	file_sync_update(fs, f); /* one that is not needed any more makes no mode weaker */
	unsafe_begin(fs, f, to.switches, to.origin); /* who opened it meanwhile */
	return 1;
}

/* By the same: what was written before. */
static int barrier_owned(struct fs *fs, struct file *f)
{
	int err = barrier(fs, f->path.fd, &f->flush, f->mode.switches);

	pthread_mutex_lock(&f->lock);
	f->owed = false;
	file_mode_record(f);
	pthread_mutex_unlock(&f->lock);
	unsafe_switched(fs, f, !err);
	return err;
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
	/* also where file_update_soon() made the change, and its barrier is still to come */
	if (err > 0 || (!err && f->owed))
		err = barrier_owned(fs, f);
	iolock_release(&f->range, &gate);
	file_limits_update(fs, f);
	return err;
}

/* ---- one file ---- */

/*
 * The barrier also where the mode is the same as before: the file may have been written in another
 * one that a rename or a close has ended since, and who asks for a mode is promised its durability.
 */
int fs_mode_apply(struct fs *fs, struct node *n)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	struct flush_state closed = {0};
	struct file_mode mode, wanted;
	struct file *f;
	bool switched;
	int err;

	atomic_fetch_add(&fs->mode_epoch, 1);
	f = file_find(fs, n);
	if (f) {
		err = file_update(fs, f, &switched);
		modes_get(f, &mode, &wanted);
		if (!err && !switched)
			err = barrier(fs, f->path.fd, &f->flush, mode.switches);
		file_put(fs, f);
	} else {
		mode = fs_mode_of(fs, n);
		err = path_fd_get(fs, n, &p);
		err = err ? err : barrier(fs, p.fd, &closed, mode.switches);
	}
	return err ? err : fs_sync_again(fs, !mode.switches.no_flush);
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
	int err = 0;

	drop_kernel_pages(b->fs, b->f);
	iolock_acquire_wait(&b->f->range, &gate);
	if (b->f->owed)
		err = barrier_owned(b->fs, b->f);
	iolock_release(&b->f->range, &gate);
	if (err) /* latched, but who had the file open may be gone */
		log_error("inode %llu has another mode now, but what was written before could not "
			  "be flushed: %s: data may be lost, check the backing",
			  (unsigned long long)b->f->node->key.ino, strerror(-err));
	file_put(b->fs, b->f);
	free(b);
}

static void barrier_submit(struct fs *fs, struct file *f, struct late_barrier *b)
{
	*b = (struct late_barrier){.fs = fs, .f = f};
	b->job =
	    (struct pool_job){.run = late_barrier_job, .key = f->node->index, .lane = LANE_FLUSH};
	pool_submit(fs->config.pool, &b->job);
}

void file_update_soon(struct fs *fs, struct file *f)
{
	struct claim gate = gate_of_all();
	struct late_barrier *b;
	int err;

	/* most renames change no mode: they hold up nobody's reads and writes */
	if (is_settled(fs, f)) {
		file_put(fs, f);
		return;
	}
	b = malloc(sizeof(*b));
	iolock_acquire_wait(&f->range, &gate);
	err = update_owned(fs, f);
	if (err > 0 && !b)
		barrier_owned(fs, f);
	iolock_release(&f->range, &gate);
	file_limits_update(fs, f);
	if (err <= 0 || !b) {
		free(b);
		file_put(fs, f);
		return;
	}
	barrier_submit(fs, f, b);
}

void file_barrier_soon(struct fs *fs, struct file *f)
{
	struct late_barrier *b = malloc(sizeof(*b));

	if (b)
		barrier_submit(fs, f, b);
	else
		file_put(fs, f); /* the next change of its mode does it */
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
	struct file_mode mode, wanted;

	modes_get(f, &mode, &wanted);
	return wanted.switches;
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
	struct switches to = fs_mode_of(fs, f->node).switches;
	bool *refused = arg;

	pthread_mutex_lock(&f->lock);
	/* what is pending for another reason does not matter here */
	if (!switches_equal(to, f->mode.switches) && !switches_equal(to, f->wanted.switches) &&
	    !file_follows(fs, f, to))
		*refused = true;
	pthread_mutex_unlock(&f->lock);
}

/* New opens have the new mode from here on, so that what follows sees all the old ones. */
static void mount_switches(struct fs *fs, struct switches to)
{
	atomic_store(&fs->owes->switches, OWES_MODE | switches_pack(to));
	atomic_store(&fs->switches, switches_pack(to));
	atomic_fetch_add(&fs->mode_epoch, 1);
}

/* What the mount's were before; also where a process was killed on the way to others. */
static struct switches mount_switching(struct fs *fs)
{
	unsigned from = OWES_MODE | switches_pack(fs_switches(fs)), none = 0;

	if (!atomic_compare_exchange_strong(&fs->owes->switching, &none, from))
		from = none;
	return switches_unpack(from & 7);
}

static int set_mount_switches(struct fs *fs, struct switches to)
{
	struct switches from = mount_switching(fs);
	struct fs_switched s, undone;
	bool refused = false;
	int err;

	if (switches_equal(from, to) && switches_equal(fs_switches(fs), to))
		return 0;
	mount_switches(fs, to);
	err = each_file(fs, check_one, &refused);
	if (!err && !refused)
		update_all(fs, &s);
	if (err || refused || s.refused) {
		mount_switches(fs, from);
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
	atomic_store(&fs->owes->switching, 0);
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
