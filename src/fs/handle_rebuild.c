/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Handles of a process that was killed, and their files: as the kernel was told of them, and in the
 * modes that were in force. Their descriptors are open here, too (the processes share one table).
 */
#include <string.h>
#include <utlist.h>

#include "base/log.h"
#include "fs/internal.h"
#include "fs/once.h"
#include "fs/resume.h"
#include "supervisor/arena.h"

/* ---- a request that comes again ---- */

struct handle *handle_of_request(struct fs *fs, uint64_t id)
{
	const struct once *once = fs_once();

	if (!once || !once->resent)
		return NULL;
	for (uint32_t i = arena_next(fs->handles, 0); i; i = arena_next(fs->handles, i)) {
		struct handle *h = arena_private(fs->handles, i);
		const struct handle_record *r = arena_record(fs->handles, i);

		if (handle_record_published(r) && r->unique == once->unique &&
		    (!id || r->node == id))
			return h;
	}
	return NULL;
}

/* ---- files and handles ---- */

/* FD: of one of its opens, for a file that cannot be found any more, as one without a name. */
struct file *file_rebuild(struct fs *fs, struct node *n, int fd)
{
	struct file *f = file_new(fs, n, true);
	int path = f ? -1 : fs_reopen(fs, fd, O_PATH);

	if (path >= 0) {
		path_fd_install(fs, n, path);
		f = file_new(fs, n, true);
	}
	if (!f)
		return NULL;
	f->backing_id = n->rec->backing_id;
	f->kernel_refused = n->rec->kernel_refused;
	f->sync_attr = n->rec->sync_attr == OWES_ATTR_SET;
	owes_recall(f);
	atomic_init(&f->direct, f->mode.switches.direct);
	atomic_init(&f->fuse_pages, true); /* not known */
	f->opens = 0;
	n->file = f;
	n->refs++;
	return f;
}

static int attach(struct fs *fs, struct node *n, struct handle *h)
{
	struct file *f = n->file ? n->file : file_rebuild(fs, n, h->fd);
	int err;

	if (!f) /* without a descriptor it was being closed, and that comes again */
		return h->fd < 0 ? 0 : -ENOMEM;
	f->opens++;
	h->file = f;
	h->backing_id = h->rec->backing_id;
	h->plan.kernel = h->rec->kernel;
	h->plan.fopen_direct_io = h->rec->fopen_direct_io;
	h->plan = handle_replan(fs, f, f->mode.switches, h);
	DL_APPEND(f->handles, h);
	/* a change of the mode may have been on its way */
	err = handle_apply_direct(h, h->plan.direct);
	if (err) /* as it was before, then: no reason to serve nobody */
		log_error(
		    "inode %llu: O_DIRECT of an open file could not be set as its mode says: %s",
		    (unsigned long long)n->key.ino, strerror(-err));
	return 0;
}

static int rebuild_one(struct fs *fs, uint32_t index)
{
	struct handle *h = arena_private(fs->handles, index);
	struct node *n;

	h->rec = arena_record(fs->handles, index);
	h->index = index;
	h->fd = h->rec->fd - 1;
	h->can_read = (h->rec->client_flags & O_ACCMODE) != O_WRONLY;
	h->can_write = (h->rec->client_flags & O_ACCMODE) != O_RDONLY;
	h->dir_pos = UINT64_MAX; /* not known where it stands */
	if (fs_is_report(h->rec->node))
		return report_rebuild(h);
	n = node_get(fs, h->rec->node);
	return n && n->rec->type == S_IFREG ? attach(fs, n, h) : 0;
}

int handles_rebuild(struct fs *fs)
{
	int err = 0;

	for (uint32_t i = arena_next(fs->handles, 0); i && !err; i = arena_next(fs->handles, i))
		err = rebuild_one(fs, i);
	return err;
}

/* ---- what needs the rest of the fs ---- */

/* N was closed by all, and its last close was not over. */
static void closed_resume(struct fs *fs, struct node *n)
{
	if (resume_closed(fs, n))
		return;
	if (n->rec->backing_id > 0)
		fs->config.backing_close(fs->config.backing_arg, n->rec->backing_id);
	n->rec->backing_id = 0;
}

static bool has_backing_id(struct fs *fs, int id)
{
	for (uint32_t i = arena_next(fs->nodes, 0); i; i = arena_next(fs->nodes, i))
		if (((struct node_record *)arena_record(fs->nodes, i))->backing_id == id)
			return true;
	return false;
}

/*
 * The kernel gives ids out in a circle. Those between the newest one that was recorded and a fresh
 * one were registered by a process that was killed before it could say of which file.
 */
static void backing_ids_resume(struct fs *fs)
{
	const struct fs_config *c = &fs->config;
	int last = atomic_load(&fs->shared->state->last_backing_id), probe;

	if (!c->caps.kernel_path || !c->backing_open)
		return;
	/* any regular file will do, on whatever filesystem */
	probe = c->backing_open(c->backing_arg, arena_memory_fd(fs->shared->nodes));
	if (probe <= 0)
		return;
	for (int id = last + 1; id < probe; id++)
		if (!has_backing_id(fs, id))
			c->backing_close(c->backing_arg, id);
	c->backing_close(c->backing_arg, probe);
	atomic_store(&fs->shared->state->last_backing_id, probe);
}

static void file_resume(struct fs *fs, struct file *f)
{
	struct handle *h;
	bool writer = false;

	DL_FOREACH(f->handles, h)
	{
		unsafe_resumed(fs, f, h);
		writer = writer || h->can_write;
	}
	if (writer)
		file_limits_apply(fs, f);
}

void handles_resume(struct fs *fs)
{
	for (uint32_t i = arena_next(fs->nodes, 0); i; i = arena_next(fs->nodes, i)) {
		struct node *n = arena_private(fs->nodes, i);
		bool held = node_was_open(n->rec); /* nodes_rebuild() */

		backing_id_resume(fs, n);
		if (n->file)
			file_resume(fs, n->file);
		else
			closed_resume(fs, n);
		if (held)
			node_unref(fs, n);
	}
	backing_ids_resume(fs);
}
