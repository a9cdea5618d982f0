/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>

#include "base/log.h"
#include "fs/cred.h"
#include "fs/internal.h"

static int dir_get(struct fs *fs, uint64_t id, const char *name, struct node **n,
		   struct path_fd *dir)
{
	*n = node_get(fs, id);
	if (*n && fs_private_name(fs, *n, name))
		return -EPERM;
	return *n ? path_fd_get(fs, *n, dir) : report_or_stale(id, -EPERM);
}

/* What was made at NAME: durable where the mode says so, then its entry. */
static int created(struct fs *fs, struct node *parent, int dir_fd, const char *name,
		   struct fs_entry *e)
{
	int err = fs_entry_lookup(fs, parent, dir_fd, name, e);

	if (err)
		return err;
	err = fs_sync_dir(fs, dir_fd, fs_names_sync(fs, node_get(fs, e->id)));
	if (err)
		fs_forget(fs, e->id, 1);
	return err;
}

int fs_mknod(struct fs *fs, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
	     const struct fs_caller *c, struct fs_entry *e)
{
	_cleanup_path_ struct path_fd dir = PATH_FD_NONE;
	struct node *p;
	int err = dir_get(fs, parent, name, &p, &dir);

	if (err)
		return err;
	{
		_cleanup_cred_ struct cred cred = cred_assume(fs, c, dir.fd, CRED_OVERRIDE);

		err = cred.error ? cred.error : sysret(mknodat(dir.fd, name, mode, rdev));
	}
	return err ? err : created(fs, p, dir.fd, name, e);
}

int fs_mkdir(struct fs *fs, uint64_t parent, const char *name, mode_t mode,
	     const struct fs_caller *c, struct fs_entry *e)
{
	_cleanup_path_ struct path_fd dir = PATH_FD_NONE;
	struct node *p;
	int err = dir_get(fs, parent, name, &p, &dir);

	if (err)
		return err;
	{
		_cleanup_cred_ struct cred cred = cred_assume(fs, c, dir.fd, CRED_OVERRIDE);

		err = cred.error ? cred.error : sysret(mkdirat(dir.fd, name, mode));
	}
	return err ? err : created(fs, p, dir.fd, name, e);
}

int fs_symlink(struct fs *fs, uint64_t parent, const char *name, const char *target,
	       const struct fs_caller *c, struct fs_entry *e)
{
	_cleanup_path_ struct path_fd dir = PATH_FD_NONE;
	struct node *p;
	int err = dir_get(fs, parent, name, &p, &dir);

	if (err)
		return err;
	{
		_cleanup_cred_ struct cred cred = cred_assume(fs, c, dir.fd, CRED_OVERRIDE);

		err = cred.error ? cred.error : sysret(symlinkat(target, dir.fd, name));
	}
	return err ? err : created(fs, p, dir.fd, name, e);
}

int fs_link(struct fs *fs, uint64_t id, uint64_t parent, const char *name, struct fs_entry *e)
{
	_cleanup_path_ struct path_fd dir = PATH_FD_NONE, target = PATH_FD_NONE;
	struct node *p, *n = node_get(fs, id);
	int err = dir_get(fs, parent, name, &p, &dir);

	if (!err)
		err = n ? path_fd_get(fs, n, &target) : report_or_stale(id, -EPERM);
	if (!err)
		err = sysret(
		    linkat(AT_FDCWD, fs_fd_path(target.fd).s, dir.fd, name, AT_SYMLINK_FOLLOW));
	if (!err)
		err = created(fs, p, dir.fd, name, e);
	if (!err) /* one of O_TMPFILE's may be open, and has its first name */
		fs_mode_renamed(fs, n);
	return err;
}

static int remove_name(struct fs *fs, uint64_t parent, const char *name, int flags)
{
	_cleanup_path_ struct path_fd dir = PATH_FD_NONE;
	struct path_fd held;
	struct node *p;
	bool sync;
	int err = dir_get(fs, parent, name, &p, &dir);

	if (err)
		return err;
	held = node_hold(fs, dir.fd, name);
	sync = fs_names_sync(fs, held.node);
	err = sysret(unlinkat(dir.fd, name, flags));
	node_name_lost(&held, p, name, !err);
	return err ? err : fs_sync_dir(fs, dir.fd, sync);
}

int fs_unlink(struct fs *fs, uint64_t parent, const char *name)
{
	return remove_name(fs, parent, name, 0);
}

int fs_rmdir(struct fs *fs, uint64_t parent, const char *name)
{
	return remove_name(fs, parent, name, AT_REMOVEDIR);
}

struct renaming {
	struct node *from, *to;
	const char *name, *newname;
	struct node *moved,
	    *other; /* what was at NAME; with RENAME_EXCHANGE, what was at NEWNAME */
};

/* The names by which nodes may be found again follow the rename, and so do modes by rules. */
static void names_follow(struct fs *fs, const struct renaming *r)
{
	if (r->moved)
		node_moved(fs, r->moved, r->from, r->name, r->to, r->newname);
	if (r->other)
		node_moved(fs, r->other, r->to, r->newname, r->from, r->name);
	if (r->moved)
		fs_mode_renamed(fs, r->moved);
	if (r->other)
		fs_mode_renamed(fs, r->other);
}

static bool renaming_sync(struct fs *fs, const struct renaming *r)
{
	return fs_names_sync(fs, r->moved) || (r->other && fs_names_sync(fs, r->other));
}

int fs_rename(struct fs *fs, uint64_t parent, const char *name, uint64_t newparent,
	      const char *newname, unsigned flags)
{
	_cleanup_path_ struct path_fd from = PATH_FD_NONE, to = PATH_FD_NONE;
	struct path_fd replaced = PATH_FD_NONE;
	struct renaming r = {.name = name, .newname = newname};
	bool sync;
	int err = dir_get(fs, parent, name, &r.from, &from);

	if (!err)
		err = dir_get(fs, newparent, newname, &r.to, &to);
	if (err)
		return err;
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL; /* RENAME_WHITEOUT makes a device that the mount could not explain
				 */
	r.moved = node_find(fs, from.fd, name);
	if (flags & RENAME_EXCHANGE)
		r.other = node_find(fs, to.fd, newname);
	else
		replaced = node_hold(fs, to.fd, newname);
	sync = renaming_sync(fs, &r);
	err = unsafe_renaming(fs, r.moved, r.other);
	if (!err)
		err = sysret(renameat2(from.fd, name, to.fd, newname, flags));
	/* renaming one link of a file to another does nothing */
	node_name_lost(&replaced, r.to, newname, !err && replaced.node != r.moved);
	if (!err) {
		names_follow(fs, &r);
		sync = sync || renaming_sync(fs, &r);
	}
	if (r.moved)
		node_unref(fs, r.moved);
	if (r.other)
		node_unref(fs, r.other);
	if (!err)
		err = fs_sync_dir(fs, to.fd, sync);
	return err || parent == newparent ? err : fs_sync_dir(fs, from.fd, sync);
}
