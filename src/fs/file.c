/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opening, creating and releasing files, and what is done to open ones besides reads and writes. */
#include <linux/falloc.h>

#include "base/cap.h"
#include "fs/cred.h"
#include "fs/internal.h"
#include "fs/once.h"
#include "fs/witness.h"

int file_reopen(struct fs *fs, int path_fd, int flags)
{
	if ((flags & O_ACCMODE) == O_WRONLY) {
		int fd = fs_reopen(fs, path_fd, (flags & ~O_ACCMODE) | O_RDWR);

		if (fd != -EACCES && fd != -EPERM)
			return fd;
	}
	return fs_reopen(fs, path_fd, flags);
}

static int durable(struct fs *fs, const struct plan *plan, struct file *f, int fd)
{
	if (!plan->sync_metadata || fs->config.engine->null)
		return 0;
	witness_open(fs, f);
	return flush_sync(&f->flush, fs->config.engine, fd, true);
}

/* After a change of the allocation: nothing of it in the page cache under direct modes, durable
 * where asked. */
static int settle(struct fs *fs, struct handle *h, int err)
{
	if (h->plan.direct && !fs->config.engine->null) {
		int drop = file_drop_cache(fs, h->file, h->fd);

		err = err ? err : drop;
	}
	return err ? err : durable(fs, &h->plan, h->file, h->fd);
}

static void claim_range(struct handle *h, struct claim *c)
{
	*c = (struct claim){.kind = CLAIM_RMW, .start = 0, .end = UINT64_MAX};
	iolock_acquire_wait(&h->file->range, c);
}

/*
 * O_TRUNC, once the file's range can be claimed: the kernel holds no lock over an open, and no
 * block may be read, modified and written back around it. ONCE: when the request comes again,
 * others may have written since, and been told so.
 */
static int truncate_by(struct fs *fs, struct handle *h, int fd, bool kill_priv, bool once)
{
	struct claim claim;
	int err;

	atomic_store_explicit(&fs->written, true, memory_order_relaxed);
	claim_range(h, &claim);
	checkpointer_changing(h->file, 0, UINT64_MAX);
	cap_thread_fsetid(!kill_priv);
	err = sysret(ftruncate(fd, 0));
	if (!err)
		err = settle(fs, h, 0);
	if (!err && once)
		once_end(0);
	iolock_release(&h->file->range, &claim);
	return err;
}

static int truncate_at_open(struct fs *fs, struct handle *h, bool kill_priv, bool once)
{
	_cleanup_fd_ int own = -1;
	struct unsafe_change change;
	int err;

	if (once && once_done(&err))
		return err;
	if (h->can_write)
		return truncate_by(fs, h, h->fd, kill_priv, once);
	/* open(2) with O_RDONLY | O_TRUNC truncates on Linux */
	own = file_reopen(fs, h->file->path.fd, O_WRONLY);
	if (own < 0)
		return own;
	err = unsafe_changing(fs, h->file, own, &change);
	if (!err)
		err = truncate_by(fs, h, own, kill_priv, once);
	unsafe_changed(fs, h->file, &change, &own);
	return err;
}

/* What the kernel is told of an open for which all is done. */
static void opened(struct fs *fs, struct handle *h, struct fs_opened *o)
{
	struct plan plan = handle_plan(h);

	handle_publish(h);

	*o = (struct fs_opened){.fh = handle_id(h),
				.direct_io = plan.fopen_direct_io,
				.parallel_direct_writes = plan.fopen_parallel_direct_writes,
				.noflush = plan.fopen_noflush,
				.backing_id = h->backing_id};
	if (plan.kernel && h->can_write) /* what the kernel writes is not seen */
		atomic_store_explicit(&fs->written, true, memory_order_relaxed);
}

/*
 * Of the client's flags only these concern the backing's descriptor; O_DIRECT is the mode's affair.
 * Readable as well where that is possible: unaligned direct writes read first.
 */
static int backing_flags(int client_flags)
{
	return (client_flags & (O_ACCMODE | O_NOATIME)) | O_NOFOLLOW | O_CLOEXEC;
}

int fs_open(struct fs *fs, uint64_t id, int flags, bool kill_priv, const struct fs_caller *c,
	    struct fs_opened *o)
{
	_cleanup_path_ struct path_fd p = PATH_FD_NONE;
	struct node *n = node_get(fs, id);
	struct handle *h;
	int fd, err = n ? path_fd_get(fs, n, &p) : report_open(fs, id, flags, c, o);

	if (err || !n)
		return err;
	h = handle_of_request(fs, id);
	if (h) {
		opened(fs, h, o);
		return 0;
	}
	if (n->rec->type != S_IFREG) /* the kernel opens devices and pipes by itself */
		return n->rec->type == S_IFDIR ? -EISDIR : -EOPNOTSUPP;
	err = unsafe_check(fs, n);
	if (err)
		return err;
	fd = file_reopen(fs, p.fd, backing_flags(flags));
	if (fd < 0)
		return fd;
	err = handle_create_file(fs, n, fd, flags, (struct opener){c->uid, c->pid}, &h);
	if (err)
		return err;
	if (flags & O_TRUNC)
		err = truncate_at_open(fs, h, kill_priv, true);
	if (err) {
		handle_destroy(fs, h);
		return err;
	}
	opened(fs, h, o);
	return 0;
}

/*
 * The name exists although the kernel thought it did not. It checked no permissions for this file,
 * so it is opened with the caller's own rights only.
 */
static int open_existing(struct fs *fs, int dir_fd, const char *name, int flags,
			 const struct fs_caller *c)
{
	_cleanup_fd_ int path = fs_open_beneath(fs, dir_fd, name);
	struct stat st;

	if (path < 0)
		return path;
	if (fstat(path, &st) < 0)
		return -errno;
	if (flags & O_TRUNC && (flags & O_ACCMODE) == O_RDONLY)
		flags |= O_RDWR; /* truncating takes the right to write */
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : S_ISLNK(st.st_mode) ? -ELOOP : -ENXIO;
	_cleanup_cred_ struct cred cred = cred_assume(fs, c, dir_fd, CRED_CALLER);

	return cred.error ? cred.error : fs_reopen(fs, path, flags & ~O_TRUNC);
}

static int open_new(struct fs *fs, int dir_fd, const char *name, int flags, mode_t mode,
		    const struct fs_caller *c)
{
	_cleanup_cred_ struct cred cred = cred_assume(fs, c, dir_fd, CRED_OVERRIDE);

	return cred.error ? cred.error : sysret(openat(dir_fd, name, flags, mode));
}

/* FD was opened in or under PARENT: its entry, and the handle. FD is consumed. */
static int finish_create(struct fs *fs, struct node *parent, const char *name, int fd, int flags,
			 const struct fs_caller *c, bool truncate, struct fs_entry *e,
			 struct fs_opened *o)
{
	_cleanup_fd_ int own = fd;
	int path = fs_reopen(fs, fd, O_PATH);
	struct handle *h;
	int err = path < 0 ? path : fs_entry_from_fd(fs, parent, name, path, e);

	if (err)
		return err;
	err = unsafe_check(fs, node_get(fs, e->id));
	if (!err)
		err = handle_create_file(fs, node_get(fs, e->id), steal_fd(&own), flags,
					 (struct opener){c->uid, c->pid}, &h);
	if (!err && truncate) {
		err = truncate_at_open(fs, h, c->uid != 0, false); /* the entry is the name's */
		if (err)
			handle_destroy(fs, h);
	}
	if (err) {
		fs_forget(fs, e->id, 1);
		return err;
	}
	opened(fs, h, o);
	return 0;
}

/* What a dead worker made at NAME for this very request, with the rights of who makes a file. */
static int open_own(struct fs *fs, int dir_fd, const char *name, int flags, int client_flags)
{
	_cleanup_fd_ int path = fs_open_beneath(fs, dir_fd, name);
	int fd = path < 0 ? path : fs_reopen(fs, path, flags);

	/* without privilege the file's mode counts, now that it is there */
	return fd == -EACCES ? fs_reopen(fs, path, client_flags) : fd;
}

/* A new file at NAME. -EEXIST: there is one that is not this request's doing. */
static int create_once(struct fs *fs, int dir_fd, const char *name, int flags, mode_t mode,
		       const struct fs_caller *c)
{
	/* a new file is readable by who made it, whatever its mode */
	int fl = (flags & ~O_ACCMODE) | O_RDWR, fd;

	if (once_done(&fd) && fd)
		return fd;
	if (once_done(&fd))
		return open_own(fs, dir_fd, name, fl, flags);
	once_making(dir_fd);
	fd = open_new(fs, dir_fd, name, fl | O_CREAT | O_EXCL, mode, c);
	if (fd == -EEXIST && once_made(dir_fd, name, S_IFREG))
		fd = open_own(fs, dir_fd, name, fl, flags);
	once_end(MIN(fd, 0));
	return fd;
}

static int create_at(struct fs *fs, struct node *parent, int dir_fd, const char *name, int flags,
		     mode_t mode, const struct fs_caller *c, struct fs_entry *e,
		     struct fs_opened *o)
{
	int fd = create_once(fs, dir_fd, name, backing_flags(flags), mode, c);
	bool truncate = fd == -EEXIST && flags & O_TRUNC;

	if (fd == -EEXIST && !(flags & O_EXCL))
		fd = open_existing(fs, dir_fd, name, backing_flags(flags) | (flags & O_TRUNC), c);
	return fd < 0 ? fd : finish_create(fs, parent, name, fd, flags, c, truncate, e, o);
}

/*
 * The request was executed before, and its answer never sent: H is its handle, and the lookup was
 * counted. 0, 1: it was not, or a negative errno.
 */
static int create_again(struct fs *fs, struct fs_entry *e, struct fs_opened *o)
{
	struct handle *h = handle_of_request(fs, 0);
	int err;

	/* it failed, perhaps after the open; one that found another's file may have gone on */
	if (once_done(&err) && err && err != -EEXIST) {
		if (h)
			handle_destroy(fs, h);
		return err;
	}
	err = h && h->file ? fs_statx_fd(h->fd, &e->st) : 1;
	if (err)
		return err;
	fs_fix_ino(fs, &e->st);
	e->id = node_id(h->file->node);
	opened(fs, h, o);
	return 0;
}

int fs_create_file(struct fs *fs, uint64_t parent, const char *name, int flags, mode_t mode,
		   const struct fs_caller *c, struct fs_entry *e, struct fs_opened *o)
{
	_cleanup_path_ struct path_fd dir = PATH_FD_NONE;
	struct node *p = node_get(fs, parent);
	int err = p ? path_fd_get(fs, p, &dir) : report_or_stale(parent, -EPERM);

	if (!err && fs_private_name(fs, p, name))
		err = -EPERM;
	if (err)
		return err;
	err = create_again(fs, e, o);
	if (err > 0)
		err = create_at(fs, p, dir.fd, name, flags, mode, c, e, o);
	if (err)
		return err;
	err = fs_sync_dir_once(fs, dir.fd, fs_names_sync(fs, node_get(fs, e->id)));
	if (err) {
		fs_release(fs, o->fh);
		fs_forget(fs, e->id, 1);
	}
	return err;
}

int fs_tmpfile(struct fs *fs, uint64_t parent, int flags, mode_t mode, const struct fs_caller *c,
	       struct fs_entry *e, struct fs_opened *o)
{
	_cleanup_path_ struct path_fd dir = PATH_FD_NONE;
	struct node *p = node_get(fs, parent);
	int err = p ? path_fd_get(fs, p, &dir) : report_or_stale(parent, -EPERM);
	int fl = (backing_flags(flags) & ~O_ACCMODE) | O_RDWR | O_TMPFILE | (flags & O_EXCL), fd;

	if (!err)
		err = create_again(fs, e, o);
	if (err <= 0)
		return err;
	fd = open_new(fs, dir.fd, ".", fl, mode, c);
	return fd < 0 ? fd : finish_create(fs, NULL, NULL, fd, flags, c, false, e, o);
}

void fs_release(struct fs *fs, uint64_t fh)
{
	struct handle *h = handle_get(fs, fh);

	if (h)
		handle_destroy(fs, h);
}

int fs_fsync(struct fs *fs, uint64_t fh, bool datasync)
{
	struct handle *h = handle_get(fs, fh);

	if (!h || !h->file)
		return h && h->report ? 0 : -EBADF;
	witness_open(fs, h->file);
	return flush_file(&h->file->flush, &h->file->stats, fs->config.engine, h->fd, datasync,
			  handle_plan(h).flush);
}

int fs_flush_file(struct fs *fs, uint64_t fh)
{
	struct handle *h = handle_get(fs, fh);

	if (!h || !h->file)
		return -EBADF;
	witness_open(fs, h->file);
	return flush_file(&h->file->flush, &h->file->stats, fs->config.engine, h->fd, false,
			  FLUSH_EXECUTE);
}

int fs_fallocate(struct fs *fs, uint64_t fh, int mode, uint64_t off, uint64_t len, bool kill_priv)
{
	struct handle *h = handle_get(fs, fh);
	struct claim claim;
	int err;

	if (!h || !h->file || !h->can_write)
		return -EBADF;
	cap_thread_fsetid(!kill_priv);
	atomic_store_explicit(&fs->written, true, memory_order_relaxed);
	claim_range(h, &claim);
	checkpointer_changing(h->file, off, len);
	err = sysret(fallocate(h->fd, mode, (off_t)off, (off_t)len));
	if (err != -EOPNOTSUPP)
		err = settle(fs, h, err);
	iolock_release(&h->file->range, &claim);
	return err;
}

int64_t fs_lseek(struct fs *fs, uint64_t fh, int64_t off, int whence)
{
	struct handle *h = handle_get(fs, fh);

	/* all I/O has its own offset, so the descriptor's does not matter to anyone */
	if (!h || h->report)
		return h ? report_lseek(h, off, whence) : -EBADF;
	return sysret((int64_t)lseek(h->fd, off, whence));
}

/*
 * Where the backing cannot share extents the kernel copies through its page cache, and wants
 * O_DIRECT's alignment of descriptors that have it; so under direct modes others do the copying.
 */
static int copy_fd(struct fs *fs, struct handle *h, int flags, int *own)
{
	if (!h->plan.direct)
		return h->fd;
	return *own = fs_reopen(fs, h->file->path.fd, flags);
}

static ssize_t copy_owned(struct fs *fs, struct handle *in, off_t from, struct handle *out,
			  off_t to, size_t len)
{
	_cleanup_fd_ int own_in = -1, own_out = -1;
	int fd_in = copy_fd(fs, in, O_RDONLY, &own_in);
	int fd_out = copy_fd(fs, out, O_WRONLY, &own_out);
	ssize_t n;
	int err;

	if (fd_in < 0 || fd_out < 0)
		return fd_in < 0 ? fd_in : fd_out;
	checkpointer_changing(out->file, (uint64_t)to, len);
	n = sysret(copy_file_range(fd_in, &from, fd_out, &to, len, 0));
	err = settle(fs, out, MIN((int)n, 0)); /* a part may be there in spite of an error */
	if (in->plan.direct && !fs->config.engine->null)
		file_drop_cache(fs, in->file, in->fd); /* latched: of what others wrote */
	return err ? err : n;
}

/*
 * All of both files, in one order for everybody, or two copies and two changes of modes could wait
 * for one another in a circle. What is read from is claimed as well: its descriptor must not become
 * one for direct I/O in the midst of it, nor may pages come into its cache after a mode without.
 */
static void claim_both(struct handle *in, struct claim *read, struct handle *out,
		       struct claim *write)
{
	bool in_first = (uintptr_t)in->file < (uintptr_t)out->file;

	*read = (struct claim){.kind = CLAIM_READ, .start = 0, .end = UINT64_MAX};
	if (in->file != out->file && in_first)
		iolock_acquire_wait(&in->file->range, read);
	claim_range(out, write);
	if (in->file != out->file && !in_first)
		iolock_acquire_wait(&in->file->range, read);
}

ssize_t fs_copy_file_range(struct fs *fs, uint64_t fh_in, uint64_t off_in, uint64_t fh_out,
			   uint64_t off_out, uint64_t len, unsigned flags, bool kill_priv)
{
	struct handle *in = handle_get(fs, fh_in), *out = handle_get(fs, fh_out);
	struct budget_file *budget;
	struct claim read, write;
	ssize_t n;

	if (in && in->report)
		return -EOPNOTSUPP; /* the kernel copies, then */
	if (!in || !out || !in->file || !out->file || !in->can_read || !out->can_write)
		return -EBADF;
	if (flags)
		return -EINVAL;
	cap_thread_fsetid(!kill_priv);
	atomic_store_explicit(&fs->written, true, memory_order_relaxed);
	len = MIN(len, 0x7ffff000u);
	budget = atomic_load_explicit(&out->file->budget, memory_order_acquire);
	if (budget) {
		len = budget_piece(budget, len);
		budget_admit_wait(budget, len);
	}
	claim_both(in, &read, out, &write);
	n = copy_owned(fs, in, (off_t)off_in, out, (off_t)off_out, len);
	iolock_release(&out->file->range, &write);
	if (in->file != out->file)
		iolock_release(&in->file->range, &read);
	if (budget)
		budget_written(budget, len);
	return n;
}

int fs_dio_alignment(struct fs *fs, uint64_t fh, uint32_t *mem, uint32_t *offset)
{
	struct handle *h = handle_get(fs, fh);

	if (!h || !h->file)
		return -ENOTTY;
	*mem = h->file->dio_mem;
	*offset = h->file->dio_offset;
	return 0;
}
