/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>

#include "base/log.h"
#include "fs/cred.h"
#include "fs/internal.h"
#include "fs/once.h"

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
	err = fs_sync_dir_once(fs, dir_fd, fs_names_sync(fs, node_get(fs, e->id)));
	if (err)
		fs_forget(fs, e->id, 1);
	return err;
}

/* mknod, mkdir, symlink */
struct newcomer {
	mode_t mode; /* with its type */
	dev_t rdev;
	const char *target;
};

static int make(int dir_fd, const char *name, const struct newcomer *what)
{
	switch (what->mode & S_IFMT) {
	case S_IFDIR:
		return sysret(mkdirat(dir_fd, name, what->mode & ~(mode_t)S_IFMT));
	case S_IFLNK:
		return sysret(symlinkat(what->target, dir_fd, name));
	default:
		return sysret(mknodat(dir_fd, name, what->mode, what->rdev));
	}
}

static int make_once(struct fs *fs, int dir_fd, const char *name, const struct newcomer *what,
		     const struct fs_caller *c)
{
	int err;

	if (once_done(&err))
		return err;
	once_making(dir_fd);
	{
		_cleanup_cred_ struct cred cred = cred_assume(fs, c, dir_fd, CRED_OVERRIDE);

		err = cred.error ? cred.error : make(dir_fd, name, what);
	}
	if (err == -EEXIST && once_made(dir_fd, name, what->mode & S_IFMT))
		err = 0;
	return once_end(err);
}

static int make_entry(struct fs *fs, uint64_t parent, const char *name, const struct newcomer *what,
		      const struct fs_caller *c, struct fs_entry *e)
{
	_cleanup_path_ struct path_fd dir = PATH_FD_NONE;
	struct node *p;
	int err = dir_get(fs, parent, name, &p, &dir);

	if (!err)
		err = make_once(fs, dir.fd, name, what, c);
	return err ? err : created(fs, p, dir.fd, name, e);
}

int fs_mknod(struct fs *fs, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
	     const struct fs_caller *c, struct fs_entry *e)
{
	/* mknod(2): no type means a regular file */
	struct newcomer what = {.mode = mode & S_IFMT ? mode : mode | S_IFREG, .rdev = rdev};

	if (S_ISDIR(what.mode) || S_ISLNK(what.mode))
		return S_ISDIR(what.mode) ? -EPERM : -EINVAL; /* as mknod(2) */
	return make_entry(fs, parent, name, &what, c, e);
}

int fs_mkdir(struct fs *fs, uint64_t parent, const char *name, mode_t mode,
	     const struct fs_caller *c, struct fs_entry *e)
{
	struct newcomer what = {.mode = (mode & ~(mode_t)S_IFMT) | S_IFDIR};

	return make_entry(fs, parent, name, &what, c, e);
}

int fs_symlink(struct fs *fs, uint64_t parent, const char *name, const char *target,
	       const struct fs_caller *c, struct fs_entry *e)
{
	struct newcomer what = {.mode = S_IFLNK, .target = target};

	return make_entry(fs, parent, name, &what, c, e);
}

/* Is N the file at NAME? */
static bool is_at(struct fs *fs, const struct node *n, int dir_fd, const char *name)
{
	struct node_key seen;
	struct node *at = node_find(fs, dir_fd, name, &seen);

	if (at)
		node_unref(fs, at);
	return at == n;
}

static int link_once(struct fs *fs, struct node *n, int target_fd, int dir_fd, const char *name)
{
	int err;

	if (once_done(&err))
		return err;
	once_begin(NULL, NULL);
	err = sysret(linkat(AT_FDCWD, fs_fd_path(target_fd).s, dir_fd, name, AT_SYMLINK_FOLLOW));
	if (err == -EEXIST && once_begun() && is_at(fs, n, dir_fd, name))
		err = 0;
	return once_end(err);
}

int fs_link(struct fs *fs, uint64_t id, uint64_t parent, const char *name, struct fs_entry *e)
{
	_cleanup_path_ struct path_fd dir = PATH_FD_NONE, target = PATH_FD_NONE;
	struct node *p, *n = node_get(fs, id);
	int err = dir_get(fs, parent, name, &p, &dir);

	if (!err)
		err = n ? path_fd_get(fs, n, &target) : report_or_stale(id, -EPERM);
	if (!err)
		err = unsafe_naming(fs, n, p, name);
	if (err)
		return err;
	err = link_once(fs, n, target.fd, dir.fd, name);
	if (!err)
		err = created(fs, p, dir.fd, name, e);
	if (!err) /* one of O_TMPFILE's may be open, and has its first name */
		fs_mode_renamed(fs, n);
	unsafe_named(fs, n);
	return err;
}

static bool same_key(const struct node_key *a, const struct node_key *b)
{
	return a->ino == b->ino && a->dev == b->dev;
}

/*
 * NOW is at the name, and N its node. Has a dead worker removed what it found there? Then N is the
 * node of that.
 */
static bool removed_before(struct fs *fs, const struct node_key *now, struct node **n)
{
	struct node_key was;
	int result;

	if (!once_before(0, &was) || !was.ino || (!once_done(&result) && same_key(&was, now)))
		return false;
	if (*n)
		node_unref(fs, *n);
	*n = node_find_key(fs, &was);
	return true;
}

static int remove_name(struct fs *fs, uint64_t parent, const char *name, int flags)
{
	_cleanup_path_ struct path_fd dir = PATH_FD_NONE;
	struct path_fd held;
	struct node_key seen;
	struct node *p, *n;
	bool sync, removed;
	int err = dir_get(fs, parent, name, &p, &dir);

	if (err || (once_done(&err) && err))
		return err;
	n = node_find(fs, dir.fd, name, &seen);
	removed = removed_before(fs, &seen, &n);
	held = node_hold(fs, n);
	/* which names it had then is not known any more */
	sync = removed || fs_names_sync(fs, held.node);
	if (!removed)
		err = unsafe_unnaming(fs, held.node);
	if (!removed && !err) {
		once_begin(&seen, NULL);
		err = sysret(unlinkat(dir.fd, name, flags));
	}
	once_end(err);
	node_name_lost(&held, p, name, !err);
	return err ? err : fs_sync_dir_once(fs, dir.fd, sync);
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
	int from_fd, to_fd;
	unsigned flags;
	struct node_key seen[2]; /* at NAME and at NEWNAME, before */
	struct node *moved,
	    *other;		 /* what was at NAME; with RENAME_EXCHANGE, what was at NEWNAME */
	struct path_fd replaced; /* without it, what was at NEWNAME */
	bool renamed;		 /* by a dead worker */
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

/* Did a dead worker do it? What it found is in WAS, what is there now in r->seen. */
static bool renamed_before(const struct renaming *r, struct node_key was[2])
{
	int result;

	if (!once_before(0, &was[0]) || !once_before(1, &was[1]) || !was[0].ino)
		return false;
	if (once_done(&result) || (!r->seen[0].ino && !(r->flags & RENAME_EXCHANGE)))
		return true;
	/* links of one file change nothing when they are renamed to one another */
	if (same_key(&was[0], &was[1]) || !same_key(&was[0], &r->seen[1]))
		return false;
	return !(r->flags & RENAME_EXCHANGE) || same_key(&was[1], &r->seen[0]);
}

/* The nodes of what is at both names, or was before a dead worker renamed it. */
static void renaming_find(struct fs *fs, struct renaming *r)
{
	struct node *at_new;
	struct node_key was[2];

	r->moved = node_find(fs, r->from_fd, r->name, &r->seen[0]);
	at_new = node_find(fs, r->to_fd, r->newname, &r->seen[1]);
	r->renamed = renamed_before(r, was);
	if (r->renamed) {
		if (r->moved)
			node_unref(fs, r->moved);
		if (at_new)
			node_unref(fs, at_new);
		r->moved = node_find_key(fs, &was[0]);
		at_new = was[1].ino ? node_find_key(fs, &was[1]) : NULL;
	}
	if (r->flags & RENAME_EXCHANGE)
		r->other = at_new;
	else
		r->replaced = node_hold(fs, at_new);
}

static int rename_once(const struct renaming *r)
{
	int err;

	if (r->renamed)
		return once_end(0);
	once_begin(&r->seen[0], &r->seen[1]);
	err = sysret(renameat2(r->from_fd, r->name, r->to_fd, r->newname, r->flags));
	return once_end(err);
}

static void unsafe_renamed(struct fs *fs, const struct renaming *r)
{
	unsafe_named(fs, r->moved);
	unsafe_named(fs, r->other);
}

/* Also when a dead worker has done it: files may have been opened since by their old names. */
static int unsafe_renaming(struct fs *fs, const struct renaming *r)
{
	int err = unsafe_naming(fs, r->moved, r->to, r->newname);

	if (err)
		return err;
	err = unsafe_naming(fs, r->other, r->from, r->name);
	if (err) {
		unsafe_named(fs, r->moved);
		return err;
	}
	/* renaming one link of a file to another does nothing */
	if (r->replaced.node != r->moved)
		err = unsafe_unnaming(fs, r->replaced.node);
	if (err)
		unsafe_renamed(fs, r);
	return err;
}

static int rename_said(struct fs *fs, struct renaming *r, bool *sync)
{
	int err = rename_once(r);

	node_name_lost(&r->replaced, r->to, r->newname, !err && r->replaced.node != r->moved);
	if (!err) {
		names_follow(fs, r);
		*sync = *sync || renaming_sync(fs, r);
	}
	return err;
}

static int rename_found(struct fs *fs, struct renaming *r)
{
	bool sync = r->renamed || renaming_sync(fs, r);
	int unsaid = unsafe_renaming(fs, r), err = unsaid;

	/* what a dead worker has renamed has its new name, whatever is said of it */
	if (!unsaid || r->renamed)
		err = rename_said(fs, r, &sync);
	else
		node_name_lost(&r->replaced, r->to, r->newname, false);
	if (!unsaid)
		unsafe_renamed(fs, r);
	err = err ? err : unsaid;
	if (r->moved)
		node_unref(fs, r->moved);
	if (r->other)
		node_unref(fs, r->other);
	if (!err)
		err = fs_sync_dir_once(fs, r->to_fd, sync);
	return err || r->from == r->to ? err : fs_sync_dir_once(fs, r->from_fd, sync);
}

int fs_rename(struct fs *fs, uint64_t parent, const char *name, uint64_t newparent,
	      const char *newname, unsigned flags)
{
	_cleanup_path_ struct path_fd from = PATH_FD_NONE, to = PATH_FD_NONE;
	struct renaming r = {
	    .name = name, .newname = newname, .flags = flags, .replaced = PATH_FD_NONE};
	int err = dir_get(fs, parent, name, &r.from, &from);

	if (!err)
		err = dir_get(fs, newparent, newname, &r.to, &to);
	if (err || (once_done(&err) && err))
		return err;
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL; /* RENAME_WHITEOUT makes a device that the mount could not explain
				 */
	r.from_fd = from.fd;
	r.to_fd = to.fd;
	renaming_find(fs, &r);
	return rename_found(fs, &r);
}
