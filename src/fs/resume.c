/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What modes owe, after a process was killed and we go on in its place. Open files are as they were
 * (handle_rebuild.c); what may block is done in the background, since clients wait for us.
 */
#include "fs/internal.h"
#include "fs/resume.h"
#include "fs/sweep.h"
#include "fs/witness.h"
#include "supervisor/arena.h"

/* ---- sync attributes ---- */

static int keep(struct sync_attr_kept *kept, uint64_t name)
{
	uint64_t *grown = reallocarray(kept->names, kept->count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	grown[kept->count++] = name;
	kept->names = grown;
	return 0;
}

int resume_attrs(struct fs *fs, struct sync_attr_kept *kept)
{
	int err = 0;

	for (uint32_t i = arena_next(fs->nodes, 0); i && !err; i = arena_next(fs->nodes, i)) {
		const struct node *n = arena_private(fs->nodes, i);

		if (n->file && n->rec->sync_attr == OWES_ATTR_SET)
			err = keep(kept, node_attr_name(n->rec));
		else
			n->rec->sync_attr = OWES_ATTR_NONE; /* it will be cleared now */
	}
	return err;
}

/* ---- files that were closed ---- */

static void owe_nothing(struct node *n)
{
	int witness = atomic_exchange(&n->rec->owes.witness, 0) - 1;

	n->rec->flush_owed = false;
	__atomic_store_n(&n->rec->mode, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&n->rec->error, 0, __ATOMIC_RELEASE);
	atomic_store(&n->rec->owes.barrier, 0);
	cleanup_fd(&witness);
}

bool resume_closed(struct fs *fs, struct node *n)
{
	bool flush = n->rec->flush_owed;
	struct file *f = NULL;

	if (n->rec->mode && (flush || atomic_load(&n->rec->owes.barrier)))
		f = file_rebuild(fs, n, -1);
	if (!f) { /* or it is gone, and with it what it owed */
		owe_nothing(n);
		return false;
	}
	f->opens = 1;
	if (flush)
		unsafe_resumed_closed(fs, f);
	else
		file_barrier_soon(fs, f);
	return true;
}

/* ---- open files, in the background ---- */

struct resuming {
	struct pool_job job;
	struct fs *fs;
	struct open_files all;
};

/*
 * The file's writers wait for the gate, so only where the attribute is not what the handles need.
 * Whoever opens or closes it right now looks for itself afterwards.
 */
static void settle_attr(struct fs *fs, struct file *f)
{
	struct claim gate = {.kind = CLAIM_GATE, .start = 0, .end = UINT64_MAX};
	uint8_t attr = __atomic_load_n(&f->node->rec->sync_attr, __ATOMIC_ACQUIRE);

	if (attr == (file_needs_attr(f) ? OWES_ATTR_SET : OWES_ATTR_NONE))
		return;
	iolock_acquire_wait(&f->range, &gate);
	file_sync_update(fs, f);
	iolock_release(&f->range, &gate);
}

/* A change that was half done ends in what the file should have now; its request comes again. */
static void settle(struct fs *fs, struct file *f)
{
	struct file *barrier, *mode;

	unsafe_resumed_open(fs, f);
	settle_attr(fs, f);
	barrier = atomic_load(&f->node->rec->owes.barrier) ? file_find(fs, f->node) : NULL;
	if (barrier)
		file_barrier_soon(fs, barrier);
	mode = file_find(fs, f->node);
	if (mode)
		file_update_soon(fs, mode);
}

/*
 * Which pages the kernel has is not known, so writes would drop them for good, each after a
 * notification.
 */
static void pages_job(struct pool_job *job)
{
	struct fs *fs = container_of(job, struct fs, pages_job);
	struct open_files all;

	if (fs_open_files(fs, &all))
		return; /* without memory they stay unknown */
	for (size_t i = 0; i < all.count; i++)
		sweep_now(fs, all.files[i]);
	fs_open_files_put(fs, &all);
}

static void resume_job(struct pool_job *job)
{
	struct resuming *r = container_of(job, struct resuming, job);
	struct fs *fs = r->fs;

	pool_submit(fs->config.pool, &fs->pages_job);
	unsafe_resumed_marker(fs);
	for (size_t i = 0; i < r->all.count; i++)
		settle(fs, r->all.files[i]);
	fs_open_files_put(fs, &r->all);
	free(r);
	atomic_store(&fs->resuming, false);
}

/* Does not block. */
static void start_file(struct fs *fs, struct file *f)
{
	/* opened again since its last close, or that was not over */
	bool flush = f->node->rec->flush_owed && !atomic_load(&f->flushing);
	struct file *own = flush ? file_find(fs, f->node) : NULL;

	if (own)
		unsafe_resumed_closed(fs, own);
}

int fs_resume(struct fs *fs)
{
	struct resuming *r = calloc(1, sizeof(*r));
	int err = r ? fs_open_files(fs, &r->all) : -ENOMEM;

	if (err) {
		free(r);
		return err;
	}
	private_dir_settle(fs->own);
	for (size_t i = 0; i < r->all.count; i++)
		start_file(fs, r->all.files[i]);
	atomic_store(&fs->resuming, true);
	r->fs = fs;
	r->job = (struct pool_job){.run = resume_job, .lane = LANE_FLUSH};
	fs->pages_job = (struct pool_job){.run = pages_job, .lane = LANE_NOTIFY};
	pool_submit(fs->config.pool, &r->job);
	return unsafe_start(fs->unsafe);
}
