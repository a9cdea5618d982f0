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
	int err = fs_sync_dir(fs, dir_fd);

	return err ? err : fs_entry_lookup(fs, parent, dir_fd, name, e);
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
	return err ? err : created(fs, p, dir.fd, name, e);
}

static int remove_name(struct fs *fs, uint64_t parent, const char *name, int flags)
{
	_cleanup_path_ struct path_fd dir = PATH_FD_NONE;
	struct path_fd held;
	struct node *p;
	int err = dir_get(fs, parent, name, &p, &dir);

	if (err)
		return err;
	held = node_hold(fs, dir.fd, name);
	err = sysret(unlinkat(dir.fd, name, flags));
	node_name_lost(&held, p, name, !err);
	return err ? err : fs_sync_dir(fs, dir.fd);
}

int fs_unlink(struct fs *fs, uint64_t parent, const char *name)
{
	return remove_name(fs, parent, name, 0);
}

int fs_rmdir(struct fs *fs, uint64_t parent, const char *name)
{
	return remove_name(fs, parent, name, AT_REMOVEDIR);
}

/* The names by which nodes may be found again follow the rename. */
static void names_follow(struct fs *fs, struct node *from, struct node *to, struct node *moved,
			 const char *name, struct node *other, const char *oldname)
{
	if (moved) {
		node_renamed(fs, moved, to, name);
		node_unref(fs, moved);
	}
	if (other) {
		node_renamed(fs, other, from, oldname);
		node_unref(fs, other);
	}
}

int fs_rename(struct fs *fs, uint64_t parent, const char *name, uint64_t newparent,
	      const char *newname, unsigned flags)
{
	_cleanup_path_ struct path_fd from = PATH_FD_NONE, to = PATH_FD_NONE;
	struct path_fd replaced = PATH_FD_NONE;
	struct node *p, *np, *moved, *other = NULL;
	int err = dir_get(fs, parent, name, &p, &from);

	if (!err)
		err = dir_get(fs, newparent, newname, &np, &to);
	if (err)
		return err;
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL; /* RENAME_WHITEOUT makes a device that the mount could not explain
				 */
	moved = node_find(fs, from.fd, name);
	if (flags & RENAME_EXCHANGE)
		other = node_find(fs, to.fd, newname);
	else
		replaced = node_hold(fs, to.fd, newname);
	err = sysret(renameat2(from.fd, name, to.fd, newname, flags));
	/* renaming one link of a file to another does nothing */
	node_name_lost(&replaced, np, newname, !err && replaced.node != moved);
	if (err) {
		if (moved)
			node_unref(fs, moved);
		if (other)
			node_unref(fs, other);
		return err;
	}
	names_follow(fs, p, np, moved, newname, other, name);
	err = fs_sync_dir(fs, to.fd);
	return err || parent == newparent ? err : fs_sync_dir(fs, from.fd);
}
