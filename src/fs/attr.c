/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "base/cap.h"
#include "fs/internal.h"
#include "fs/witness.h"

static int handle_fd(struct fs *fs, uint64_t fh)
{
	struct handle *h = fh == FS_NO_HANDLE ? NULL : handle_get(fs, fh);

	return h ? h->fd : -1;
}

int fs_getattr(struct fs *fs, uint64_t id, uint64_t fh, struct statx *st)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	struct node *n = node_get(fs, id);
	int fd = handle_fd(fs, fh), err = 0;

	if (!n)
		return report_getattr(fs, id, fh, st);
	if (fd < 0) {
		err = n ? path_fd_get(fs, n, &p) : -ESTALE;
		fd = p.fd;
	}
	if (!err)
		err = fs_statx_fd(fd, st);
	if (!err)
		fs_fix_ino(fs, st);
	return err;
}

/* A new size leaves part of a block in the page cache, and must be durable where the mode says so.
 */
static int size_settle(struct fs *fs, int fd, struct node *n, struct file *f)
{
	struct flush_state closed = {0}, *flush = f ? &f->flush : &closed;
	struct switches sw = f ? f->mode.switches : fs_mode_of(fs, n).switches;
	struct plan plan = fs_plan(fs, sw, 0);
	int err = 0;

	if (fs->config.engine->null)
		return 0;
	if (f && (plan.direct || plan.sync_metadata))
		witness_open(fs, f); /* FD may be a handle's */
	if (plan.direct)
		err = flush_drop_cache(flush, fd);
	if (!err && plan.sync_metadata)
		err = flush_sync(flush, fs->config.engine, fd, true);
	return err;
}

static int truncate_owned(struct fs *fs, int fd, struct node *n, struct file *f,
			  const struct fs_setattr *a)
{
	struct stat st;
	int err;

	if (f && fstat(fd, &st) == 0)
		checkpointer_changing(f, MIN(a->size, (uint64_t)st.st_size), UINT64_MAX);
	cap_thread_fsetid(!a->kill_priv);
	err = sysret(ftruncate(fd, (off_t)a->size));
	return err ? err : size_settle(fs, fd, n, f);
}

/* No block may be read, modified and written back around a change of the size. */
static int truncate_claimed(struct fs *fs, int fd, struct node *n, struct file *f,
			    const struct fs_setattr *a)
{
	struct claim claim = {.kind = CLAIM_RMW, .start = 0, .end = UINT64_MAX};
	int err;

	if (f)
		iolock_acquire_wait(&f->range, &claim);
	err = truncate_owned(fs, fd, n, f, a);
	if (f)
		iolock_release(&f->range, &claim);
	return err;
}

/*
 * By FD, which no client has open. Under a mode that drops flushes this is an open for writing:
 * what a flush would make durable, and none does, the marker says, and the background flushes.
 */
static int truncate_closed(struct fs *fs, int *fd, struct node *n, const struct fs_setattr *a)
{
	struct file *f = file_find(fs, n);
	struct unsafe_change change;
	int err;

	if (!f && fs_mode_of(fs, n).switches.no_flush) {
		f = file_open(fs, n);
		if (!f)
			return -ENOMEM;
	}
	err = f ? unsafe_changing(fs, f, *fd, &change) : 0;
	if (!err)
		err = truncate_claimed(fs, *fd, n, f, a);
	if (f) {
		unsafe_changed(fs, f, &change, fd);
		file_put(fs, f);
	}
	return err;
}

static int set_size(struct fs *fs, struct node *n, int path_fd, uint64_t fh,
		    const struct fs_setattr *a)
{
	struct handle *h = fh == FS_NO_HANDLE ? NULL : handle_get(fs, fh);
	bool opened = h && h->can_write;
	_cleanup_fd_ int own = -1;
	int err;

	if (!opened) {
		if (n->rec->type != S_IFREG)
			return n->rec->type == S_IFDIR ? -EISDIR : -EINVAL;
		own = file_reopen(fs, path_fd, O_WRONLY | O_NONBLOCK);
		if (own < 0)
			return own;
	}
	err = unsafe_check(fs, n);
	if (err)
		return err;
	atomic_store_explicit(&fs->written, true, memory_order_relaxed);
	return opened ? truncate_claimed(fs, h->fd, n, h->file, a)
		      : truncate_closed(fs, &own, n, a);
}

static int set_owner(int path_fd, const struct fs_setattr *a)
{
	uid_t uid = a->valid & FS_SET_UID ? a->uid : (uid_t)-1;
	gid_t gid = a->valid & FS_SET_GID ? a->gid : (gid_t)-1;

	cap_thread_fsetid(a->caller_root);
	return sysret(fchownat(path_fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

static int set_times(int path_fd, const struct fs_setattr *a)
{
	struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};

	if (a->valid & FS_SET_ATIME)
		t[0] = a->atime;
	if (a->valid & FS_SET_MTIME)
		t[1] = a->mtime;
	/* AT_EMPTY_PATH: Linux 5.8 */
	return sysret(utimensat(path_fd, "", t, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

static int set_mode(struct node *n, int path_fd, mode_t mode)
{
	if (n->rec->type == S_IFLNK)
		return -EOPNOTSUPP;
	cap_thread_fsetid(true); /* the kernel has cleared what the caller may not set */
	return sysret(chmod(fs_fd_path(path_fd).s, mode & 07777));
}

int fs_setattr(struct fs *fs, uint64_t id, uint64_t fh, const struct fs_setattr *a,
	       struct statx *st)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	struct node *n = node_get(fs, id);
	int err = n ? path_fd_get(fs, n, &p) : report_or_stale(id, -EPERM);

	if (!n)
		return err;
	atomic_store_explicit(&fs->written, true, memory_order_relaxed);
	if (!err && a->valid & (FS_SET_UID | FS_SET_GID))
		err = set_owner(p.fd, a);
	if (!err && a->valid & FS_SET_MODE)
		err = set_mode(n, p.fd, a->mode);
	if (!err && a->valid & FS_SET_SIZE)
		err = set_size(fs, n, p.fd, fh, a);
	if (!err && a->valid & (FS_SET_ATIME | FS_SET_MTIME))
		err = set_times(p.fd, a);
	return err ? err : fs_getattr(fs, id, fh, st);
}
